"""Whose is this? How an agent with no memory knows what on a host is Floatway's.

namespaces          qrouter-<uuid>, fip-<uuid>: they and all that is in them, less what the kernel puts there
root devices        ifalias "floatway"
bridges, ports      external_ids owner=floatway
flows               cookie
root chains, sets   prefix; in the kernel's own chains the rules that jump to ours
settings, devices made by others: only those wanted, and only what is wanted of them
"""

import re
from collections.abc import Mapping

import msgspec

from floatway.host.records import (
    Address,
    Chain,
    Flow,
    Ipset,
    Link,
    Neighbour,
    Netns,
    OvsBridge,
    OvsPort,
    Record,
    Route,
    Rule,
    Sysctl,
)
from floatway.host.state import HostState, apart

ALIAS = "floatway"
COOKIE = 0xF10A7
LEARN_COOKIE = 0xF10A8

MAIN_TABLE, LOCAL_TABLE = 254, 255
DEFAULT_RULES = frozenset({0, 32766, 32767})
BUILTIN_CHAINS = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})

_NETNS = re.compile(r"(qrouter|fip)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CHAIN = re.compile(r"neutron-(openvswi-|filter-top$)")
_JUMP = re.compile(r"-j neutron-(openvswi-\S+|filter-top)$")
_SET = re.compile(r"NIPv4[0-9a-f]{8}-")


def is_our_netns(name: str) -> bool:
    """Is this namespace, and all that is in it, ours?"""
    return _NETNS.fullmatch(name) is not None


def is_our_jump(rule: str) -> bool:
    """Does this rule, in one of the kernel's own chains of the root namespace, lead to a chain of ours?"""
    return _JUMP.search(rule) is not None


def owned(observed: HostState, desired: HostState | None = None) -> HostState:
    """What of the observed state is ours, in the form in which it is wanted: comparable with a compiled state.

    ``desired`` names the foreign devices and the settings that are ours to set; without it there are none.
    """
    wanted = HostState({}) if desired is None else desired
    refs = apart(observed, wanted)
    if refs is not None:  # all else is what is wanted, and so ours
        there = ((one, observed.get(one[0], *one[1])) for one in refs)
        marked = {one: (record, _ours(record, wanted)) for one, record in there if record is not None}
        return observed.changed({one: ours for one, (record, ours) in marked.items() if ours is not record})
    tables: dict[type[Record], Mapping[tuple[object, ...], Record]] = {}
    for kind in (Netns, OvsBridge, OvsPort, Link, Address, Neighbour, Route, Rule, Sysctl, Ipset, Chain, Flow):
        asked = wanted.table(kind)
        if observed.table(kind) is asked:
            tables[kind] = asked
            continue
        kept: dict[tuple[object, ...], Record] = {}
        tables[kind] = kept
        for key, record in observed.table(kind).items():
            # what an agent wanted before and wants still is the same object: all that is wanted is ours
            ours = record if asked.get(key) is record else _ours(record, wanted)
            if ours is not None:
                kept[key] = ours
    return HostState({kind: table for kind, table in tables.items() if table})


def _ours(record: Record, wanted: HostState) -> Record | None:
    match record:
        case Netns(name=name):
            return record if is_our_netns(name) else None
        case Link():
            return _link(record, wanted)
        case Address(netns=netns, link=link, scope=scope):
            return record if is_our_netns(netns) and link != "lo" and scope != "link" else None
        case Neighbour(netns=netns, state=state):
            return record if is_our_netns(netns) and state == "PERMANENT" else None
        case Route(netns=netns, table=table, proto=proto):
            return record if is_our_netns(netns) and table != LOCAL_TABLE and proto != "kernel" else None
        case Rule(netns=netns, priority=priority):
            return record if is_our_netns(netns) and priority not in DEFAULT_RULES else None
        case Sysctl():
            return record if wanted.get(Sysctl, *record.key) else None
        case Ipset(netns=netns, name=name):
            return record if is_our_netns(netns) or (netns == "" and _SET.match(name)) else None
        case Chain():
            return _chain(record, wanted)
        case OvsBridge(external_ids=ids) | OvsPort(external_ids=ids):
            return record if ("owner", ALIAS) in ids or wanted.get(type(record), *record.key) else None
        case Flow(cookie=cookie):
            return record if cookie == COOKIE else None
        case _:
            return None


def _link(link: Link, wanted: HostState) -> Link | None:
    asked = wanted.get(Link, link.netns, link.name)
    if asked is not None and asked.kind == "foreign":
        return Link(
            netns=link.netns,
            name=link.name,
            kind="foreign",
            mtu=link.mtu if asked.mtu else 0,
            up=link.up,
            master=link.master if asked.master else "",
        )
    if is_our_netns(link.netns):
        if link.kind == "loopback" or (link.kind == "foreign" and asked is None):
            return None
        return _indifferent(link, asked)
    # by name and kind too: the name of a port of ours is mark enough for a device that lost its alias
    named = asked is not None and asked.kind == link.kind
    return _indifferent(link, asked) if link.netns == "" and (link.alias == ALIAS or named) else None


def _indifferent(link: Link, asked: Link | None) -> Link:
    """Checksum offload on is nobody's wish: only off is ever wanted."""
    if not link.tx_checksum and (asked is None or asked.tx_checksum):
        return msgspec.structs.replace(link, tx_checksum=True)
    return link


def _chain(chain: Chain, wanted: HostState) -> Chain | None:
    if is_our_netns(chain.netns):
        # an empty built-in chain cannot be removed: nobody needs to want it
        idle = not chain.rules and chain.policy == "ACCEPT" and chain.name in BUILTIN_CHAINS
        return chain if not idle or wanted.get(Chain, *chain.key) else None
    if chain.netns:
        return None
    if chain.name not in BUILTIN_CHAINS:
        return chain if _CHAIN.match(chain.name) else None
    rules = tuple(rule for rule in chain.rules if is_our_jump(rule))
    if not rules and wanted.get(Chain, *chain.key) is None:
        return None
    return Chain(netns="", table=chain.table, name=chain.name, policy="ACCEPT", rules=rules)
