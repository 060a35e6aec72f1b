"""iptables matches against a packet: yes, no, or not understood.

-p udp -m udp --dport 53 -m physdev --physdev-in tap… ──▶ every Match must hold; a "!" turns one round
"""

from collections.abc import Callable

import msgspec

from floatway.net.address import in_prefix
from floatway.net.packet import PROTOCOL_NUMBER, Packet
from floatway.text.iptables import IptablesRule, Match
from floatway.trace.conntrack import UNTRACKED, Tracked
from floatway.trace.index import Index

ICMP_TYPES = {
    "echo-reply": "0", "pong": "0", "destination-unreachable": "3", "fragmentation-needed": "3/4", "source-quench": "4",
    "redirect": "5", "echo-request": "8", "ping": "8", "time-exceeded": "11", "ttl-exceeded": "11",
}  # fmt: skip


class Sight(msgspec.Struct):
    """All that a rule can see: the packet, its devices, its marks, its connection. The walk through a hook changes it."""

    index: Index
    host: str
    netns: str
    packet: Packet
    in_device: str = ""
    out_device: str = ""
    physdev_in: str = ""
    physdev_out: str = ""
    bridged: bool = False
    mark: int = 0
    tracked: Tracked = UNTRACKED
    zone: int = 0


def holds(rule: IptablesRule, sight: Sight) -> bool | None:
    """Do all matches hold? None when that hangs on one that is not understood."""
    unknown = False
    for match in rule.matches:
        answer = _one(match, sight)
        if answer is None:
            unknown = True
        elif answer == match.negated:
            return False
    return None if unknown else True


def _one(match: Match, sight: Sight) -> bool | None:
    test = TESTS.get(match.name) or TESTS.get(f"{match.module}:{match.name}")
    if test is None:
        return True if match.module == "comment" or match.name in IMPLIED else None
    try:
        return test(match.value, sight)
    except ValueError:
        return None


IMPLIED = frozenset({"comment"})


def device(pattern: str, name: str) -> bool:
    """Does the device fit, where ``qr-+`` stands for every name that begins so?"""
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern


def _address(value: str, address: str) -> bool:
    return any(in_prefix(address, one) for one in value.split(","))


def _protocol(value: str, sight: Sight) -> bool:
    return value in (sight.packet.proto, str(PROTOCOL_NUMBER[sight.packet.proto]), "all", "0", "ip")


def _port(value: str, port: int) -> bool:
    low, colon, high = value.partition(":")
    return (int(low or 0) <= port <= int(high or 65535)) if colon else int(low) == port


def _ports(value: str, *ports: int) -> bool:
    return any(_port(one, port) for one in value.split(",") for port in ports)


def _icmp(value: str, sight: Sight) -> bool:
    kind, slash, code = ICMP_TYPES.get(value, value).partition("/")
    if sight.packet.proto != "icmp":
        return False
    if kind in ("any", "255"):
        return True
    return int(kind) == sight.packet.icmp_type and (not slash or int(code) == sight.packet.icmp_code)


def _states(value: str, sight: Sight) -> bool:
    return bool(sight.tracked.states & set(value.split(",")))


def _masked(value: str, mark: int) -> bool:
    wanted, _, mask = value.partition("/")
    return mark & (int(mask, 0) if mask else 0xFFFFFFFF) == int(wanted, 0)


def _connmark(value: str, sight: Sight) -> bool:
    session = sight.tracked.session
    return session is not None and _masked(value, session.mark)


def _set(value: str, sight: Sight) -> bool | None:
    name, _, flags = value.partition(" ")
    members = sight.index.ipset(sight.netns, name)
    if members is None or members.type not in ("hash:net", "hash:ip"):
        return None
    address = sight.packet.src if flags.strip().startswith("src") else sight.packet.dst
    inside = False
    best = -1
    for member in members.members:
        prefix, _, word = member.partition(" ")
        length = int(prefix.partition("/")[2] or 32)
        if length > best and in_prefix(address, prefix):
            inside, best = word.strip() != "nomatch", length
    return inside


def _tcp(proto: str) -> Callable[[str, Sight], bool]:
    return lambda value, sight: sight.packet.proto == proto


def _ported(test: Callable[[str, Packet], bool]) -> Callable[[str, Sight], bool]:
    return lambda value, sight: sight.packet.proto in ("tcp", "udp") and test(value, sight.packet)


def _flags(value: str, sight: Sight) -> bool:
    mask, _, wanted = value.partition(" ")
    flags = set(sight.packet.tcp_flags.upper().split(","))
    examined = {"FIN", "SYN", "RST", "PSH", "ACK", "URG"} if mask == "ALL" else set(mask.split(","))
    return sight.packet.proto == "tcp" and flags & examined == (set() if wanted == "NONE" else set(wanted.split(",")))


TESTS: dict[str, Callable[[str, Sight], bool | None]] = {
    "source": lambda value, sight: _address(value, sight.packet.src),
    "destination": lambda value, sight: _address(value, sight.packet.dst),
    "in-interface": lambda value, sight: device(value, sight.in_device),
    "out-interface": lambda value, sight: device(value, sight.out_device),
    "protocol": _protocol,
    "fragment": lambda value, sight: False,
    "dport": _ported(lambda value, packet: _port(value, packet.dport)),
    "sport": _ported(lambda value, packet: _port(value, packet.sport)),
    "destination-port": _ported(lambda value, packet: _port(value, packet.dport)),
    "source-port": _ported(lambda value, packet: _port(value, packet.sport)),
    "dports": _ported(lambda value, packet: _ports(value, packet.dport)),
    "sports": _ported(lambda value, packet: _ports(value, packet.sport)),
    "ports": _ported(lambda value, packet: _ports(value, packet.sport, packet.dport)),
    "tcp-flags": _flags,
    "syn": lambda value, sight: _flags("FIN,SYN,RST,ACK SYN", sight),
    "icmp-type": _icmp,
    "state": _states,
    "ctstate": _states,
    "ctdir": lambda value, sight: (value == "REPLY") == sight.tracked.reply,
    "mac-source": lambda value, sight: sight.packet.src_mac == value.lower(),
    "physdev-in": lambda value, sight: device(value, sight.physdev_in),
    "physdev-out": lambda value, sight: device(value, sight.physdev_out),
    "physdev-is-bridged": lambda value, sight: sight.bridged,
    "physdev-is-in": lambda value, sight: bool(sight.physdev_in),
    "physdev-is-out": lambda value, sight: bool(sight.physdev_out),
    "match-set": _set,
    "mark:mark": lambda value, sight: _masked(value, sight.mark),
    "connmark:mark": _connmark,
}
