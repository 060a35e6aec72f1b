"""Arithmetic on addresses and prefixes of both families, on integers, with parsed text kept.

network("10.0.0.0/24").network_address      number("10.0.0.5") == 167772165      text(167772165, 4) == "10.0.0.5"
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

__all__ = [
    "Interval",
    "address",
    "collapsed",
    "contains",
    "eui64",
    "intervals",
    "is_eui64",
    "network",
    "number",
    "overlap",
    "prefixes_of",
    "subtract",
    "text",
    "usable",
]

Interval = tuple[int, int]


@lru_cache(maxsize=65536)
def network(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The prefix, host bits dropped."""
    return ipaddress.ip_network(cidr, strict=False)


@lru_cache(maxsize=65536)
def address(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address."""
    return ipaddress.ip_address(value)


def number(value: str) -> int:
    """The address as an integer."""
    return int(address(value))


def text(value: int, version: int) -> str:
    """The integer as an address of the family."""
    if version == 4:
        return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"
    return str(ipaddress.IPv6Address(value))


def overlap(one: str, other: str) -> bool:
    """Whether two prefixes share an address."""
    a, b = network(one), network(other)
    return (
        a.version == b.version
        and int(a.network_address) <= int(b.broadcast_address)
        and int(b.network_address) <= int(a.broadcast_address)
    )


def usable(cidr: str) -> Interval:
    """The first and last address that a host may have: without IPv4's network and broadcast, and IPv6's router anycast address."""
    net = network(cidr)
    first, last = int(net.network_address), int(net.broadcast_address)
    if first == last:
        return first, last
    if net.version == 4:
        return (first + 1, last - 1) if net.prefixlen <= 30 else (first, last)
    return first + 1, last


def eui64(cidr: str, mac: str) -> str:
    """The address that a host with this MAC gives itself in the /64 (RFC 4291, appendix A)."""
    octets = bytes(int(part, 16) for part in mac.split(":"))
    interface = bytes([octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]])
    return str(ipaddress.IPv6Address(int(network(cidr).network_address) | int.from_bytes(interface)))


def is_eui64(value: str) -> bool:
    """Whether the address is IPv6 and has the mark of EUI-64, ``ff:fe`` in the middle of its interface identifier."""
    return ":" in value and (number(value) >> 24) & 0xFFFF == 0xFFFE


def intervals(cidrs: Iterable[str]) -> list[Interval]:
    """What the prefixes cover, as sorted intervals that neither touch nor overlap."""
    found: list[Interval] = []
    for net in sorted((network(cidr) for cidr in cidrs), key=lambda net: int(net.network_address)):
        first, last = int(net.network_address), int(net.broadcast_address)
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def subtract(cidrs: Iterable[str], without: Iterable[str]) -> list[Interval]:
    """What ``cidrs`` cover and ``without`` do not."""
    left: list[Interval] = []
    gaps = intervals(without)
    for first, last in intervals(cidrs):
        at = first
        for gap_first, gap_last in gaps:
            if gap_last < at or gap_first > last:
                continue
            if gap_first > at:
                left.append((at, gap_first - 1))
            at = gap_last + 1
        if at <= last:
            left.append((at, last))
    return left


def prefixes_of(spans: Iterable[Interval], version: int) -> list[str]:
    """The fewest prefixes that cover just these addresses, in order."""
    kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    return [str(net) for first, last in spans for net in ipaddress.summarize_address_range(kind(first), kind(last))]


def collapsed(cidrs: Iterable[str], version: int) -> tuple[str, ...]:
    """The fewest prefixes that cover what these do."""
    return tuple(prefixes_of(intervals(cidrs), version))


def contains(cidrs: Iterable[str], cidr: str) -> bool:
    """Whether together they cover all of ``cidr``."""
    return not subtract((cidr,), cidrs)
