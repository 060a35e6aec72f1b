"""Extra DHCP options of a port: a small dictionary, keyed by option name and address family, that updates edit.

has  bootfile-name=a (4)      asks for  bootfile-name=b, tftp-server=null, mtu=9000
has  tftp-server=10.0.0.9 (4)
                              ──▶  bootfile-name=b (4), mtu=9000 (4)          what is not named stays
"""

from collections.abc import Iterable
from typing import Any, Final

from floatway.control.entities import DhcpOption
from floatway.control.errors import conflict

__all__ = ["created", "updated"]

_MAY_BE_BLANK: Final = frozenset({"router", "classless-static-route"})


def created(wanted: Iterable[dict[str, Any]] | None) -> tuple[DhcpOption, ...]:
    """The options of a new port; those without a value are left out.

    Raises:
        ApiError: 409, one option twice for a family.
    """
    options: dict[tuple[str, int], DhcpOption] = {}
    for option in map(_option, wanted or ()):
        if not _has_value(option):
            continue
        key = (option.opt_name, option.ip_version)
        if key in options:
            raise conflict(
                "NeutronDbObjectDuplicateEntry",
                "Failed to create a duplicate ExtraDhcpOpt: for attribute(s) ['port_id', 'opt_name', 'ip_version'] "
                "with value(s) None",
            )
        options[key] = option
    return _ordered(options)


def updated(has: tuple[DhcpOption, ...], wanted: Iterable[dict[str, Any]] | None) -> tuple[DhcpOption, ...]:
    """``has`` edited: a value replaces, null removes, what is not named stays."""
    options = {(option.opt_name, option.ip_version): option for option in has}
    for option in map(_option, wanted or ()):
        key = (option.opt_name, option.ip_version)
        if option.opt_value is None:
            options.pop(key, None)
        elif _has_value(option):
            options[key] = option
    return _ordered(options)


def _ordered(options: dict[tuple[str, int], DhcpOption]) -> tuple[DhcpOption, ...]:
    return tuple(options[key] for key in sorted(options))


def _option(option: dict[str, Any]) -> DhcpOption:
    family = option.get("ip_version")
    return DhcpOption(option["opt_name"], option["opt_value"], 4 if family is None else int(family))


def _has_value(option: DhcpOption) -> bool:
    if option.opt_name in _MAY_BE_BLANK:
        return option.opt_value is not None
    return bool(option.opt_value)
