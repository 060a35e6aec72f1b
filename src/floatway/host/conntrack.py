"""Connections that must be forgotten because what let them in is gone.

The rules for known sessions come first in every chain, so a removed opening would go on for whoever is already through;
and a translation, once made, outlives its floating IP.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from floatway.host.records import Chain, Ipset
from floatway.host.state import HostState, differing
from floatway.host.steps import ConntrackDelete

_PORT_CHAIN = re.compile(r"neutron-openvswi-([ios])(.+)")
_SPOOF = re.compile(r"-s (\S+?)(?:/32)? -m mac")
_ZONE = re.compile(r"-m physdev --physdev-in tap(\S+) .*-j CT --zone (\d+)")
_DNAT = re.compile(r"-d (\S+?)/32 .*-j DNAT --to-destination (\S+)")
_SET = re.compile(r"--match-set (\S+) (src|dst)")
_DIRECTION: dict[str, Literal["orig-src", "orig-dst"]] = {"src": "orig-src", "dst": "orig-dst"}


def stale_connections(have: HostState, want: HostState) -> tuple[ConntrackDelete, ...]:
    """The deletions that the difference of two states of ours calls for."""
    found = [*_lost_openings(have, want), *_lost_members(have, want), *_lost_translations(have, want)]
    return tuple(dict.fromkeys(found))


def _lost_openings(have: HostState, want: HostState) -> Iterator[ConntrackDelete]:
    zones: dict[str, int] | None = None
    asked = want.table(Chain)
    for chain in differing(Chain, have, want):
        after = asked.get(chain.key)
        if after is chain:
            continue
        match = _PORT_CHAIN.fullmatch(chain.name) if not chain.netns and chain.table == "filter" else None
        if match is None or match[1] == "s":
            continue
        # a port that goes: whoever gets its address next must not inherit its connections
        if after is not None and all(rule in after.rules for rule in chain.rules if rule.endswith("-j RETURN")):
            continue
        zones = _zones(have) if zones is None else zones
        yield from _of_port(have, match[2], zones)


def _of_port(have: HostState, port: str, zones: dict[str, int]) -> Iterator[ConntrackDelete]:
    spoof = have.get(Chain, "", "filter", f"neutron-openvswi-s{port}")
    zone = next((number for tap, number in zones.items() if tap.startswith(port)), None)
    for rule in spoof.rules if spoof else ():
        match = _SPOOF.match(rule)
        if match and "/" not in match[1]:
            yield ConntrackDelete(netns="", direction="orig-src", address=match[1], zone=zone)
            yield ConntrackDelete(netns="", direction="orig-dst", address=match[1], zone=zone)


def _zones(have: HostState) -> dict[str, int]:
    chain = have.get(Chain, "", "raw", "neutron-openvswi-PREROUTING")
    matches = (_ZONE.match(rule) for rule in (chain.rules if chain else ()))
    return {match[1]: int(match[2]) for match in matches if match}


def _lost_members(have: HostState, want: HostState) -> Iterator[ConntrackDelete]:
    lost = {
        old.name: [member for member in old.members if member not in new.members and "/" not in member]
        for old in differing(Ipset, have, want)
        if not old.netns and (new := want.get(Ipset, *old.key)) is not None and new is not old
    }
    lost = {name: members for name, members in lost.items() if members}
    if not lost:
        return
    zones: list[int | None] = [*dict.fromkeys(_zones(have).values())] or [None]
    used = {found for chain in want.table(Chain).values() for rule in _set_rules(chain) for found in _SET.findall(rule)}
    for name, members in lost.items():
        for member in members:
            for side in ("src", "dst"):
                for zone in zones if (name, side) in used else ():
                    yield ConntrackDelete(netns="", direction=_DIRECTION[side], address=member, zone=zone)


def _set_rules(chain: Chain) -> Iterable[str]:
    return (rule for rule in chain.rules if "--match-set" in rule) if not chain.netns else ()


def _lost_translations(have: HostState, want: HostState) -> Iterator[ConntrackDelete]:
    for chain in differing(Chain, have, want):
        if chain.table != "nat" or chain.name != "neutron-l3-agent-PREROUTING":
            continue
        after = want.get(Chain, *chain.key)
        if after is chain or after is None:
            continue  # with its namespace go its connections
        kept = set(after.rules)
        for rule in chain.rules:
            match = _DNAT.match(rule) if rule not in kept else None
            if match:
                yield ConntrackDelete(netns=chain.netns, direction="orig-dst", address=match[1])
                yield ConntrackDelete(netns=chain.netns, direction="reply-dst", address=match[1])
