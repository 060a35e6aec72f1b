"""From what a client sent to the value a rule works with; what cannot be converted is refused in Neutron's words.

"True" ─▶ True      "1400" ─▶ 1400      "FA-16-3E-00-00-01" ─▶ "fa:16:3e:00:00:01"      "TCP" ─▶ "tcp"
"""

import contextlib
import ipaddress
import math
import re
from collections.abc import Callable
from typing import Any, Final

from floatway.control.decide.rule_checks import PROTOCOLS
from floatway.control.errors import ApiError, bad_request, invalid_input

__all__ = [
    "Converter",
    "canonical_cidr",
    "canonical_ip",
    "canonical_pools",
    "ethertype",
    "lower",
    "mac",
    "none_to_list",
    "optional",
    "port_value",
    "prefix_to_cidr",
    "protocol_number",
    "rule_protocol",
    "to_bool",
    "to_int",
]

Converter = Callable[[Any], Any]

_TRUE: Final = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE: Final = frozenset({"0", "f", "false", "off", "n", "no"})
_INTEGER: Final = re.compile(r"\s*[+-]?\d+(_\d+)*\s*\Z")
_CANONICAL_MAC: Final = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\Z")
_MAC: Final = re.compile(r"[0-9a-fA-F]{1,2}([:-])[0-9a-fA-F]{1,2}(\1[0-9a-fA-F]{1,2}){4}\Z")
_BARE_MAC: Final = re.compile(r"[0-9a-fA-F]{12}\Z")
_WORDS_MAC: Final = re.compile(r"[0-9a-fA-F]{1,4}([.:-])[0-9a-fA-F]{1,4}\1[0-9a-fA-F]{1,4}\Z")
_FORWARDED: Final = frozenset({"dccp", "icmp", "ipv6-icmp", "sctp", "tcp", "udp"})


def to_bool(value: Any) -> bool:
    """True and its friends, false and its."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise invalid_input(f"'{value}' cannot be converted to boolean")


def to_int(value: Any) -> int:
    """A whole number, or the text of one."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return int(value)
    if isinstance(value, str) and len(value) < 40 and _INTEGER.match(value):
        return int(value)
    raise invalid_input(f"'{value}' is not an integer")


def optional(convert: Converter) -> Converter:
    """``convert``, but None stays None."""

    def converted(value: Any) -> Any:
        return None if value is None else convert(value)

    return converted


def none_to_list(value: Any) -> Any:
    """None is an empty list."""
    return [] if value is None else value


def lower(value: Any) -> str:
    """In lower case."""
    if not isinstance(value, str):
        raise invalid_input(f"Input value {value} must be string type")
    return value.lower()


def ethertype(value: Any) -> Any:
    """``ipv4`` as ``IPv4``; anything else is refused."""
    for known in ("IPv4", "IPv6"):
        if isinstance(value, str) and value.lower() == known.lower():
            return known
    raise bad_request(
        "SecurityGroupRuleInvalidEtherType",
        f"Security group rule for ethertype '{value}' not supported. Allowed values are ['IPv4', 'IPv6'].",
    )


def rule_protocol(value: Any) -> Any:
    """The protocol of a security group rule: a known name in lower case, a number 0-255 as text, or None."""
    if value is None:
        return None
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise _rule_protocol(value)
    with contextlib.suppress(ApiError):
        if 0 <= to_int(value) <= 255:
            return str(to_int(value))
    if isinstance(value, str) and (value.lower() in PROTOCOLS or value.lower() == "any"):
        return None if value.lower() == "any" else value.lower()
    raise _rule_protocol(value)


def _rule_protocol(value: Any) -> ApiError:
    known = (None, "any", *PROTOCOLS)
    return bad_request(
        "SecurityGroupRuleInvalidProtocol",
        f"Security group rule protocol {value} not supported. Only protocol values {known} and integer representations [0 to 255]"
        " are supported.",
    )


def protocol_number(value: Any) -> Any:
    """The name of a protocol with ports or a connection, or any protocol's number, as given."""
    if value is None:
        return None
    if lower(value) in _FORWARDED:
        return value
    with contextlib.suppress(ApiError):
        if 0 <= to_int(value) <= 255:
            return value
    raise invalid_input(
        f"IP protocol '{value}' is not supported. Only protocol names and their integer representation (0 to 255) are supported"
    )


def port_value(value: Any) -> Any:
    """A TCP or UDP port, ICMP type or code; None stays None."""
    if value is None:
        return None
    with contextlib.suppress(ApiError):
        number = to_int(value)
        if 0 <= number <= 65535:
            return number
    raise bad_request("SecurityGroupInvalidPortValue", f"Invalid value for port {value}")


def mac(value: Any) -> Any:
    """A MAC as ``xx:xx:xx:xx:xx:xx``, from any of the usual forms or from its number; what is none is left for the validator."""
    if isinstance(value, str) and _CANONICAL_MAC.match(value):
        return value
    digits = None
    if isinstance(value, int):
        digits = f"{value:012x}" if value >= 0 else None
    elif not isinstance(value, str):
        return value
    elif _MAC.match(value):
        digits = "".join(part.zfill(2) for part in re.split("[:-]", value))
    elif _BARE_MAC.match(value):
        digits = value
    elif _WORDS_MAC.match(value):
        digits = "".join(part.zfill(4) for part in re.split("[.:-]", value))
    elif len(value) < 16 and _INTEGER.match(value) and int(value) >= 0:
        digits = f"{int(value):012x}"
    if digits is None or len(digits) != 12:
        return value
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2)).lower()


def canonical_ip(value: Any) -> Any:
    """IPv6 in its short form; everything else as it is."""
    if isinstance(value, str) and ":" in value:
        with contextlib.suppress(ValueError):
            return _text(ipaddress.IPv6Address(value))
    return value


def _text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """An IPv4 address that is mapped into IPv6 keeps its dots, as inet_ntop has it."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return f"::ffff:{address.ipv4_mapped}"
    return str(address)


def _cidr(value: Any) -> str | None:
    """An address with its prefix length; the host bits stay."""
    if isinstance(value, str) and "%" not in value:
        with contextlib.suppress(ValueError):
            interface = ipaddress.ip_interface(value)
            return f"{_text(interface.ip)}/{interface.network.prefixlen}"
    return None


def canonical_cidr(value: Any) -> str:
    """A subnet in its short form. Neutron keeps the host bits."""
    if (cidr := _cidr(value)) is None:
        raise invalid_input(f"{value} is not in a CIDR format")
    return cidr


def prefix_to_cidr(value: Any) -> Any:
    """The remote prefix of a rule in its short form: an address gets its /32 or /128. Neutron keeps the host bits."""
    if not value:
        return None
    if (cidr := _cidr(value)) is None:
        raise bad_request("InvalidCIDR", f"Invalid CIDR {value} given as IP prefix.")
    return cidr


def canonical_pools(value: Any) -> Any:
    """Allocation pools with canonical addresses."""
    if value is None:
        return []
    try:
        return [{key: canonical_ip(address) for key, address in pool.items()} for pool in value]
    except (AttributeError, TypeError):
        raise invalid_input("Invalid data format for allocation pools") from None
