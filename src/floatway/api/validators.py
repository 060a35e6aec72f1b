"""Whether a value may be what it is meant to be. A validator returns None, or Neutron's sentence on why not.

    string(255)(value)   range_(0, 4094)(value)   uuid(value)   dict_of({...})(value)

Factories take the limits and give the validator, so that a declaration reads as a line of the API's reference.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from floatway.control.errors import bad_request, conflict, invalid_input

__all__ = [
    "Key",
    "Validator",
    "any_of_dicts",
    "boolean",
    "dict_of",
    "fixed_ips",
    "host_routes",
    "ip_address",
    "ip_pools",
    "list_of",
    "mac_address",
    "name",
    "name_not_default",
    "nameservers",
    "non_negative",
    "not_empty_name",
    "not_empty_string",
    "oneline",
    "optional",
    "port_range",
    "range_",
    "service_types",
    "string",
    "subnet",
    "unless_empty",
    "uuid",
    "values",
]

Validator = Callable[[Any], str | None]

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\Z")
_BARE_UUID: Final = re.compile(r"[0-9a-fA-F]{32}\Z")
_MAC: Final = re.compile(r"[0-9a-fA-F]{1,2}([:-])[0-9a-fA-F]{1,2}(\1[0-9a-fA-F]{1,2}){4}\Z")
_NOT_MACS: Final = frozenset({"00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"})


def string(limit: int | None = None) -> Validator:
    """Text of at most ``limit`` characters."""

    def check(value: Any) -> str | None:
        if not isinstance(value, str):
            return f"'{value}' is not a valid string"
        if limit is not None and len(value) > limit:
            return f"'{value}' exceeds maximum length of {limit}"
        return None

    return check


def name(limit: int | None = None) -> Validator:
    """Text that can be shown: no line breaks or controls, no blanks around it; empty is a name."""
    text = string(limit)

    def check(value: Any) -> str | None:
        if message := text(value):
            return message
        if not value.isprintable() and not all(char.isprintable() or char == " " for char in value):
            return f"'{value}' is not a valid string"
        if value and (value[0].isspace() or value[-1].isspace()):
            return f"'{value}' is not a valid string"
        return None

    return check


def not_empty_string(limit: int | None = None) -> Validator:
    """Text with more than blanks."""
    text = string(limit)

    def check(value: Any) -> str | None:
        if message := text(value):
            return message
        return None if value.strip() else f"'{value}' Blank strings are not permitted"

    return check


def not_empty_name(limit: int | None = None) -> Validator:
    """A name with more than blanks."""
    return _both(not_empty_string(limit), name(limit))


def oneline(limit: int | None = None) -> Validator:
    """Text on one line, with more than blanks."""
    text = not_empty_string(limit)

    def check(value: Any) -> str | None:
        if message := text(value):
            return message
        return f"Multi-line string is not allowed: '{value}'" if len(value.splitlines()) > 1 else None

    return check


def name_not_default(limit: int | None = None) -> Validator:
    """A security group's name: not the one every project has already."""
    text = name(limit)

    def check(value: Any) -> str | None:
        if message := text(value):
            return message
        if isinstance(value, str) and value.lower() == "default":
            raise conflict("SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
        return None

    return check


def _both(first: Validator, second: Validator) -> Validator:
    return lambda value: first(value) or second(value)


def optional(validator: Validator) -> Validator:
    """None, or what ``validator`` takes."""
    return lambda value: None if value is None else validator(value)


def unless_empty(validator: Validator) -> Validator:
    """Anything empty, or what ``validator`` takes."""
    return lambda value: validator(value) if value else None


def values(*allowed: Any) -> Validator:
    """One of these."""

    def check(value: Any) -> str | None:
        try:
            found = value in allowed
        except TypeError:
            found = False
        return None if found else f"{value} is not in valid_values"

    return check


def boolean(value: Any) -> str | None:
    """True or false, in any spelling that converts."""
    if isinstance(value, bool) or str(value).lower() in {
        "true",
        "false",
        "1",
        "0",
        "yes",
        "no",
        "t",
        "f",
        "on",
        "off",
        "y",
        "n",
    }:
        return None
    return f"'{value}' is not a valid boolean value"


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        return value
    if isinstance(value, str) and len(value) < 40 and re.fullmatch(r"\s*[+-]?\d+\s*", value):
        return int(value)
    return None


def range_(least: int | None, most: int | None) -> Validator:
    """A whole number from ``least`` to ``most``, both included; None is no limit."""

    def check(value: Any) -> str | None:
        number = _integer(value)
        if number is None:
            return f"'{value}' is not an integer"
        if least is not None and number < least:
            return f"'{number}' is too small - must be at least '{least}'"
        if most is not None and number > most:
            return f"'{number}' is too large - must be no larger than '{most}'"
        return None

    return check


def non_negative(value: Any) -> str | None:
    """Zero or more."""
    number = _integer(value)
    if number is None:
        return f"'{value}' is not an integer"
    return f"'{value}' should be non-negative" if number < 0 else None


def uuid(value: Any) -> str | None:
    """A UUID; also in braces, as a URN, or without its hyphens."""
    if isinstance(value, str):
        if _UUID.match(value):
            return None
        if _BARE_UUID.match(value.replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "")):
            return None
    return f"'{value}' is not a valid UUID"


def mac_address(value: Any) -> str | None:
    """A MAC that a device may have."""
    if isinstance(value, str) and _MAC.match(value):
        canonical = value.lower().replace("-", ":")
        if len(canonical) < 17:
            canonical = ":".join(part.zfill(2) for part in canonical.split(":"))
        if canonical not in _NOT_MACS:
            return None
    return f"'{value}' is not a valid MAC address"


def ip_address(value: Any) -> str | None:
    """An address of either family; leading zeros are refused, lest they be taken for octal."""
    if isinstance(value, str) and value and not re.search(r"\s", value):
        try:
            ipaddress.ip_address(value)
        except ValueError:
            parts = value.split(".")
            if len(parts) == 4 and all(part.isdigit() and len(part) < 10 and int(part) < 256 for part in parts):
                plain = ".".join(str(int(part)) for part in parts)
                return f"'{value}' is not an accepted IP address, '{plain}' is recommended"
        else:
            if "%" not in value:
                return None
    return f"'{value}' is not a valid IP address"


def subnet(value: Any) -> str | None:
    """An address with a prefix length."""
    if isinstance(value, str) and "/" in value and not re.search(r"\s", value):
        try:
            interface = ipaddress.ip_interface(value)
        except ValueError:
            pass
        else:
            if interface.version == 6 or interface.with_prefixlen == value:
                return None
    return f"'{value}' is not a valid IP subnet"


def route_cidr(value: Any) -> str | None:
    """A network without host bits that may be routed."""
    if isinstance(value, str) and "/" in value and not re.search(r"\s", value):
        try:
            network = ipaddress.ip_network(value)
        except ValueError:
            pass
        else:
            return f"'{value}' is not a routable CIDR" if network.is_loopback else None
    return f"'{value}' is not a valid CIDR"


def _keys(expected: Sequence[str], value: Any, *, strict: bool = True) -> str | None:
    if not isinstance(value, dict):
        return f"Invalid input. '{value}' must be a dictionary with keys: {list(expected)}"
    provided = set(value)
    if (set(expected) != provided) if strict else not set(expected) <= provided:
        return f"Validation of dictionary's keys failed. Expected keys: {set(expected)} Provided keys: {provided}"
    return None


def ip_pools(value: Any) -> str | None:
    """A list of ``start`` and ``end``."""
    if not isinstance(value, list):
        return f"Invalid data format for IP pool: '{value}'"
    for pool in value:
        message = _keys(("start", "end"), pool) or ip_address(pool["start"]) or ip_address(pool["end"])
        if message:
            return message
    return None


def fixed_ips(value: Any) -> str | None:
    """A list of ``subnet_id`` and ``ip_address``, either or both."""
    if not isinstance(value, list):
        return f"Invalid data format for fixed IP: '{value}'"
    seen: set[str] = set()
    for fixed_ip in value:
        if not isinstance(fixed_ip, dict):
            return f"Invalid data format for fixed IP: '{fixed_ip}'"
        if "ip_address" in fixed_ip:
            address = fixed_ip["ip_address"]
            if message := ip_address(address):
                return message
            if address in seen:
                return f"Duplicate IP address '{address}'"
            seen.add(address)
        if "subnet_id" in fixed_ip and (message := uuid(fixed_ip["subnet_id"])):
            return message
    return None


def nameservers(value: Any) -> str | None:
    """A list of different addresses."""
    if not isinstance(value, list | tuple | str | dict):
        return f"Invalid data format for nameserver: '{value}'"
    seen: list[Any] = []
    for host in value:
        if message := ip_address(host):
            return f"'{host}' is not a valid nameserver. {message}"
        if host in seen:
            return f"Duplicate nameserver '{host}'"
        seen.append(host)
    return None


def host_routes(value: Any) -> str | None:
    """A list of different ``destination`` and ``nexthop``."""
    if not isinstance(value, list):
        return f"Invalid data format for hostroute: '{value}'"
    seen: list[Any] = []
    for route in value:
        message = (
            _keys(("destination", "nexthop"), route) or route_cidr(route["destination"]) or ip_address(route["nexthop"])
        )
        if message:
            return message
        if route in seen:
            return f"Duplicate hostroute '{route}'"
        seen.append(route)
    return None


def list_of(item: Validator, *, empty: bool = True) -> Validator:
    """A list of different values, each of which ``item`` takes."""

    def check(value: Any) -> str | None:
        if not isinstance(value, list):
            return f"'{value}' is not a list"
        if not value and not empty:
            return "List should not be empty"
        duplicates = [str(one) for at, one in enumerate(value) if one in value[:at]]
        if duplicates:
            return f"Duplicate items in the list: '{', '.join(duplicates)}'"
        for one in value:
            if message := item(one):
                return message
        return None

    return check


def port_range(least: int, most: int) -> Validator:
    """``22`` or ``8000:8010``."""

    def check(value: Any) -> str | None:
        if value is None:
            return None
        ports = str(value).split(":")
        if len(ports) > 2 or not all(ports):
            return "Port range must be two integers separated by a colon"
        for port in ports:
            if not (port.isascii() and port.isdigit() and int(port[:9]) <= 65535):
                return f"Invalid port: {port}"
            if not least <= int(port) <= most:
                return f"Invalid port: {port}, the port must be in the range [{least}, {most}]"
        if len(ports) == 2 and int(ports[0]) > int(ports[1]):
            return "First port in a port range must be lower than the second port"
        return None

    return check


class Key(msgspec.Struct, frozen=True):
    """What a dictionary may have under one key. ``convert`` comes before ``validate``, and its result stays."""

    validate: Validator | None = None
    required: bool = False
    convert: Callable[[Any], Any] | None = None


def dict_of(keys: Mapping[str, Key] | None = None) -> Validator:
    """A dictionary; with ``keys``, only these, each valid. Converts in place."""
    required = [key for key, spec in (keys or {}).items() if spec.required]

    def check(value: Any) -> str | None:
        if not isinstance(value, dict):
            return f"'{value}' is not a dictionary"
        if not keys:
            return None
        if required and (message := _keys(required, value, strict=False)):
            return message
        unexpected = [str(key) for key in value if key not in keys]
        if unexpected:
            return f"Unexpected keys supplied: {', '.join(unexpected)}"
        return _items(keys, value)

    return check


def _items(keys: Mapping[str, Key], value: dict[str, Any]) -> str | None:
    for key, spec in keys.items():
        if key not in value:
            continue
        if spec.convert is not None:
            value[key] = spec.convert(value[key])
        if spec.validate is not None and (message := spec.validate(value[key])):
            return message
    return None


def any_of_dicts(*specs: Mapping[str, Key]) -> Validator:
    """None, or a list of dictionaries, each of at least one of these forms."""
    forms = [dict_of(spec) for spec in specs]

    def one(value: Any) -> str | None:
        if any(form(value) is None for form in forms):
            return None
        return f"No valid key specs matched for: {value}"

    whole = list_of(one)

    def check(value: Any) -> str | None:
        message = None if value is None else whole(value)
        if message:
            raise invalid_input(message)
        return None

    return check


# The letters of "compute:" are Neutron's: it takes the word for a list of prefixes, and clients have come to rely on it.
_OWNERS: Final = ("network:", "neutron:", *"compute:")


def service_types(value: Any) -> str | None:
    """Prefixes of device owners for which a subnet is kept."""
    if not value:
        return None
    if not isinstance(value, list):
        raise bad_request("HTTPBadRequest", "Subnet service types must be a list.")
    for one in value:
        if not isinstance(one, str):
            raise bad_request("InvalidInputSubnetServiceType", f"Subnet service type {one} is not a string.")
        if not one.startswith(_OWNERS):
            raise bad_request(
                "InvalidSubnetServiceType", f"Subnet service type {one} does not correspond to a valid device owner."
            )
    return None
