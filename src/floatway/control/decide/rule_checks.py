"""What a security group rule, or the template of one, may say: protocol, ports and types, families, one remote at most."""

import ipaddress
from collections.abc import Callable
from typing import Any, Final

from floatway.control.errors import bad_request

__all__ = ["PROTOCOLS", "check", "key", "key_of"]

PROTOCOLS: Final = {
    "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "hopopt": 0, "icmp": 1, "igmp": 2, "ip": 0, "ipip": 4,
    "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, "icmpv6": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43,
    "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136, "vrrp": 112,
}  # fmt: skip
_WITH_PORTS: Final = {"dccp": 33, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136}
_ICMP: Final = frozenset({1, 58})
_ONLY_V6: Final = frozenset(
    {
        *(name for name in PROTOCOLS if name.startswith("ipv6-")),
        "icmpv6",
        *(str(number) for name, number in PROTOCOLS.items() if name.startswith("ipv6-")),
    }
)
_IPV6_ICMP: Final = {"icmp": "ipv6-icmp", "icmpv6": "ipv6-icmp", "1": "58"}
_NAMES: Final = {str(number): name for name, number in PROTOCOLS.items() if name != "icmpv6"}
_REMOTES: Final = ("remote_ip_prefix", "remote_group_id", "remote_address_group_id")
_ANYWHERE: Final = frozenset({"0.0.0.0/0", "::/0", None, ""})
_KEY: Final = (
    "direction",
    "ethertype",
    "port_range_min",
    "port_range_max",
    "remote_group_id",
    "remote_address_group_id",
)


def check(values: dict[str, Any]) -> None:
    """Whether the parts of a rule fit each other; what can be said in several ways is put in one.

    Raises:
        ApiError: 400, in Neutron's words.
    """
    values["protocol"] = _canonical(values["protocol"], values["ethertype"])
    if values["port_range_min"] == 1 and values["port_range_max"] == 65535:
        values["port_range_min"] = values["port_range_max"] = None  # all ports are no range at all
    _check_ports(values)
    _check_prefix(values)
    if values["protocol"] in _ONLY_V6 and values["ethertype"] == "IPv4":
        raise bad_request(
            "SecurityGroupEthertypeConflictWithProtocol",
            f"Invalid ethertype {values['ethertype']} for protocol {values['protocol']}.",
        )
    if sum(1 for name in _REMOTES if values.get(name)) > 1:
        raise bad_request(
            "SecurityGroupMultipleRemoteEntites",
            "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.",
        )


def _canonical(protocol: str | None, ethertype: str) -> str | None:
    """ICMP in an IPv6 rule is IPv6's."""
    if protocol is None or ethertype != "IPv6":
        return protocol
    return _IPV6_ICMP.get(protocol, protocol)


def _check_prefix(values: dict[str, Any]) -> None:
    prefix = values.get("remote_ip_prefix")
    if prefix and f"IPv{ipaddress.ip_interface(prefix).version}" != values["ethertype"]:
        raise bad_request(
            "SecurityGroupRuleParameterConflict",
            f"Conflicting value ethertype {values['ethertype']} for CIDR {prefix}",
        )


def _check_ports(values: dict[str, Any]) -> None:
    low, high, protocol = values["port_range_min"], values["port_range_max"], values["protocol"]
    if low is None and high is None:
        return
    if not protocol:
        raise bad_request(
            "SecurityGroupProtocolRequiredWithPorts", "Must also specify protocol if port range is given."
        )
    which = PROTOCOLS[protocol] if protocol in PROTOCOLS else int(protocol)
    if which in _WITH_PORTS.values():
        if low == 0 or high == 0:
            raise bad_request("SecurityGroupInvalidPortValue", "Invalid value for port 0")
        if low is None or high is None or low > high:
            raise bad_request(
                "SecurityGroupInvalidPortRange", "For TCP/UDP protocols, port_range_min must be <= port_range_max"
            )
    elif which in _ICMP:
        _check_icmp(low, high)
    else:
        names = ", ".join(name.upper() for name in sorted(_WITH_PORTS))
        raise bad_request(
            "SecurityGroupInvalidProtocolForPort",
            f"Ports cannot be specified for protocol {which}. Ports are only supported for {names}.",
        )


def _check_icmp(type_: int | None, code: int | None) -> None:
    for attribute, field, value in (("port_range_min", "type", type_), ("port_range_max", "code", code)):
        if value is not None and not 0 <= value <= 255:
            raise bad_request(
                "SecurityGroupInvalidIcmpValue",
                f"Invalid value for ICMP {field} ({attribute}) {value}. It must be 0 to 255.",
            )
    if type_ is None and code is not None:
        raise bad_request(
            "SecurityGroupMissingIcmpType",
            f"ICMP code (port-range-max) {code} is provided but ICMP type (port-range-min) is missing.",
        )


def key(rule: Any) -> tuple[object, ...]:
    """What two rules of a group that do the same have in common."""
    return key_of(lambda name: getattr(rule, name))


def key_of(field: Callable[[str], Any]) -> tuple[object, ...]:
    """The key of a rule whose attributes ``field`` gives."""
    protocol, prefix = field("protocol"), field("remote_ip_prefix")
    if protocol is not None:
        protocol = _canonical(str(protocol), field("ethertype"))
        protocol = _NAMES.get(str(protocol), protocol)
    return (protocol, None if prefix in _ANYWHERE else prefix, *(field(name) for name in _KEY))
