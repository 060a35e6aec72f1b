"""The names of a port in the cloud's DNS domain.

    [network] dns_domain = "cloud.example."      dns_name web1  ──▶  web1.cloud.example.   (each of the port's addresses)
    dns_name not given                           ──▶  host-10-0-0-5.cloud.example.

While the domain is left at its default, names are accepted but not kept: there is nothing to put them under.
"""

from typing import Any, Final

from floatway.control.entities import FixedIp
from floatway.control.errors import bad_request
from floatway.control.settings import Settings

__all__ = ["assignment", "domain", "kept", "named"]

_DEFAULT: Final = "openstacklocal."
_LONGEST: Final = 255


def domain(settings: Settings) -> str:
    """The cloud's domain with its final dot, or ""."""
    name = settings.dns_domain
    return f"{name}." if name and not name.endswith(".") else name


def named(settings: Settings) -> bool:
    """Whether the cloud has a domain of its own, so that ports' names count."""
    return domain(settings) not in {"", _DEFAULT}


def kept(settings: Settings, values: dict[str, Any], before: tuple[str, str] = ("", "")) -> tuple[str, str]:
    """``dns_name`` and ``dns_domain`` after a request on a port that had ``before``.

    Raises:
        ApiError: 400, the name does not fit under the cloud's domain.
    """
    if not named(settings):
        return before
    name, own_domain = values.get("dns_name"), values.get("dns_domain")
    if name:
        _fits(settings, name)
    return before[0] if name is None else name, before[1] if own_domain is None else own_domain


def assignment(settings: Settings, dns_name: str, addresses: tuple[FixedIp, ...]) -> list[dict[str, str]]:
    """What each address of a port is called."""
    under = domain(settings)
    name = dns_name if named(settings) else ""
    assigned = []
    for fixed_ip in addresses:
        address = fixed_ip.ip_address
        host = name or "host-" + address.replace(".", "-").replace(":", "-")
        full = host if host.endswith(".") or not under else f"{host}.{under}"
        assigned.append({"ip_address": address, "hostname": host, "fqdn": full})
    return assigned


def _fits(settings: Settings, name: str) -> None:
    under = f".{domain(settings)}"
    given = settings.dns_domain
    if name.endswith("."):
        if len(name) <= len(under) or not name.endswith(under):
            raise _refused(
                f"The dns_name passed is a FQDN. Its higher level labels must be equal to the dns_domain option "
                f"in neutron.conf, that has been set to '{given}'. It must also include one or more valid DNS "
                f"labels to the left of '{given}'"
            )
    elif len(name) + len(under) > _LONGEST:
        raise _refused(
            f"The dns_name passed is a PQDN and its size is '{len(name)}'. The dns_domain option in neutron.conf "
            f"is set to {given}, with a length of '{len(under)}'. When the two are concatenated to form a FQDN "
            f"(with a '.' at the end), the resulting length exceeds the maximum size of '{_LONGEST}'"
        )


def _refused(reason: str) -> Exception:
    return bad_request("HTTPBadRequest", f"Invalid input for dns_name. Reason: {reason}.")
