"""Names of the domain name system: RFC 1035 and RFC 1123 in Neutron's sentences.

dns_label   web            dns_name   web.example   or  web.example.org.        dns_domain   example.org.
"""

import re
from typing import Any, Final

from floatway.api.validators import Validator, string

__all__ = ["dns_domain", "dns_label", "dns_name"]

_LABEL: Final = re.compile(r"[a-z0-9-]{1,63}\Z", re.IGNORECASE)
_TEXT: Final = string()


def _form(value: str, limit: int) -> str | None:
    reason = _fault(value.removesuffix("."), limit)
    return f"'{value}' not a valid PQDN or FQDN. Reason: {reason}" if reason else None


def _fault(name: str, limit: int) -> str | None:
    if len(name) > limit:
        return f"'{name}' exceeds the {limit} character FQDN limit"
    labels = name.split(".")
    for label in labels:
        if not label:
            return "Encountered an empty component"
        if label.startswith("-") or label.endswith("-"):
            return f"Name '{label}' must not start or end with a hyphen"
        if not _LABEL.match(label):
            return f"Name '{label}' must be 1-63 characters long, each of which can only be alphanumeric or a hyphen"
    if len(labels) > 1 and labels[-1].isdigit():
        return f"TLD '{labels[-1]}' must not be all numeric"
    return None


def _room(value: str, limit: int, room: int, what: str) -> str | None:
    """Whether ``room`` more characters would still make a name."""
    if len(value) <= limit - room:
        return None
    return (
        f"'{value}' contains {len(value)} characters. Adding a {what} will cause it to exceed the maximum length of a"
        f" FQDN of '{limit}'"
    )


def dns_name(limit: int) -> Validator:
    """A port's DNS name."""
    return lambda value: _TEXT(value) or (_form(value, limit) if value else None)


def dns_label(limit: int) -> Validator:
    """A floating IP's DNS name: relative."""

    def check(value: Any) -> str | None:
        if message := _TEXT(value):
            return message
        if not value:
            return None
        if value.endswith("."):
            return f"'{value}' is a FQDN. It should be a relative domain name"
        return _form(value, limit) or _room(value, limit, 3, "domain name")

    return check


def dns_domain(limit: int) -> Validator:
    """A DNS domain: absolute, with its final dot."""

    def check(value: Any) -> str | None:
        if message := _TEXT(value):
            return message
        if not value:
            return None
        if not value.endswith("."):
            return f"'{value}' is not a FQDN"
        return _form(value, limit) or _room(value, limit, 2, "sub-domain")

    return check
