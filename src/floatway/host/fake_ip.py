"""The in-memory kernel's devices, addresses, routes, rules and neighbours, with what it deletes unasked.

device deleted     its addresses, neighbours, routes, settings, its veth peer; its bridge ports are released
device down        its routes and neighbours        last address deleted    the same
MAC set            its neighbours, permanent ones too
device moved       all of that, and it is down, without master
address deleted    routes that prefer it as source; with a primary address the others of its subnet
"""

from collections.abc import Callable

import msgspec

from floatway.host.fake_base import Tables, unname
from floatway.host.losses import setting_device
from floatway.host.ownership import ALIAS
from floatway.host.records import Address, Link, Neighbour, Netns, OvsPort, Route, Rule, Sysctl
from floatway.host.steps import (
    AddressAdd,
    AddressDelete,
    IpOp,
    LinkAdd,
    LinkDelete,
    LinkMove,
    LinkSet,
    NeighbourDelete,
    NeighbourReplace,
    RouteDelete,
    RouteReplace,
    RuleAdd,
    RuleDelete,
)
from floatway.net.address import in_prefix, interface

_NAME_LENGTH = 15  # IFNAMSIZ less the terminating zero
_REJECTING = frozenset({"unreachable", "blackhole", "prohibit"})


def ip(tables: Tables, op: IpOp) -> None:
    """One operation. Raises FakeError."""
    _OPERATIONS[type(op)](tables, op)


# --- Devices --------------------------------------------------------------------------------------


def need_netns(tables: Tables, netns: str) -> None:
    """Refuse when there is no namespace of that name."""
    tables.need(netns == "" or tables.get(Netns, netns), f"there is no namespace {netns}")


def _need_link(tables: Tables, netns: str, name: str) -> Link:
    need_netns(tables, netns)
    link = tables.get(Link, netns, name)
    tables.need(link, f"there is no device {name} in namespace {netns!r}")
    assert link is not None
    return link


def _link_add(tables: Tables, op: LinkAdd) -> None:
    ends = (op.link, op.peer) if op.peer else (op.link,)
    tables.need(op.link.kind == ("veth" if op.peer else "bridge"), f"cannot make a device of kind {op.link.kind}")
    for end in ends:
        need_netns(tables, end.netns)
        tables.need(tables.get(Link, end.netns, end.name) is None, f"device {end.name} exists")
        tables.need(0 < len(end.name) <= _NAME_LENGTH, f"{end.name!r} is no device name")
        _need_master(tables, end)
    if op.peer:
        ways = {(a.netns, a.name): (a.peer_netns, a.peer) for a in ends}
        for here, there in ways.items():
            tables.need(ways.get(there) == here, f"{here} and {there} are not each other's peer")
    for end in ends:
        tables.put(msgspec.structs.replace(end, mac=end.mac or "02:00:00:00:00:aa"))


def _need_master(tables: Tables, link: Link) -> None:
    if link.master:
        master = tables.get(Link, link.netns, link.master)
        tables.need(master and master.kind == "bridge", f"there is no bridge {link.master}")


def _link_set(tables: Tables, op: LinkSet) -> None:
    """As the executor does it: what differs from ``before`` is set, nothing else."""
    wanted = op.link
    now = _need_link(tables, wanted.netns, wanted.name)
    old = op.before or Link(
        netns=wanted.netns, name=wanted.name, kind=wanted.kind, mac="", mtu=0, up=not wanted.up, alias=""
    )
    if wanted.mac and wanted.mac != old.mac:
        now = msgspec.structs.replace(now, mac=wanted.mac)
        _flush(tables, Neighbour, now)
    if wanted.mtu and wanted.mtu != old.mtu:
        now = msgspec.structs.replace(now, mtu=wanted.mtu)
    if wanted.master != old.master:
        _need_master(tables, wanted)
        now = msgspec.structs.replace(now, master=wanted.master)
    if wanted.kind != "foreign" and wanted.alias != old.alias:
        now = msgspec.structs.replace(now, alias=wanted.alias)
    if wanted.kind != "foreign" and not wanted.tx_checksum and old.tx_checksum:
        now = msgspec.structs.replace(now, tx_checksum=False)
    if wanted.up != old.up:
        if now.up and not wanted.up:
            _disable(tables, now)
        now = msgspec.structs.replace(now, up=wanted.up)
    tables.put(now)


def _flush(tables: Tables, kind: type[Neighbour], link: Link) -> None:
    for entry in [e for e in tables.of(kind).values() if (e.netns, e.link) == (link.netns, link.name)]:
        tables.drop(entry)


def _disable(tables: Tables, link: Link) -> None:
    _flush(tables, Neighbour, link)
    for route in [r for r in tables.of(Route).values() if (r.netns, r.dev) == (link.netns, link.name)]:
        tables.drop(route)


def _strip(tables: Tables, link: Link) -> None:
    """Take all that hangs on a device."""
    _disable(tables, link)
    for address in [a for a in tables.of(Address).values() if (a.netns, a.link) == (link.netns, link.name)]:
        tables.drop(address)
    for setting in [
        s for s in tables.of(Sysctl).values() if (s.netns, setting_device(s.name)) == (link.netns, link.name)
    ]:
        tables.drop(setting)


def remove_link(tables: Tables, link: Link) -> None:
    """The device goes, with all that goes with it; strict: not one that is a port of Open vSwitch."""
    port = tables.get(OvsPort, link.name)
    if port is not None and (port.type == "internal" if link.kind == "internal" else port.type + link.netns == ""):
        tables.need(not tables.strict, f"device {link.name} is a port of bridge {port.bridge}")
        unname(tables, port)
    _strip(tables, link)
    tables.drop(link)
    if link.kind == "bridge":
        for slave in [s for s in tables.of(Link).values() if (s.netns, s.master) == (link.netns, link.name)]:
            tables.put(msgspec.structs.replace(slave, master=""))
    peer = tables.get(Link, link.peer_netns, link.peer) if link.peer else None
    if peer is not None and (peer.peer_netns, peer.peer) == (link.netns, link.name):
        remove_link(tables, peer)


def _link_delete(tables: Tables, op: LinkDelete) -> None:
    link = _need_link(tables, op.link.netns, op.link.name)
    port = tables.get(OvsPort, link.name)
    tables.need(
        link.kind in ("bridge", "veth")
        or (link.kind == "internal" and port is None)
        or (link.kind == "foreign" and link.alias == ALIAS),
        f"a device of kind {link.kind} cannot be deleted",
    )
    remove_link(tables, link)


def _link_move(tables: Tables, op: LinkMove) -> None:
    name, netns = op.link.name, op.link.netns
    link = _need_link(tables, "", name)
    need_netns(tables, netns)
    tables.need(netns != "", "it is there already")
    tables.need(tables.get(Link, netns, name) is None, f"device {name} exists in {netns}")
    _strip(tables, link)
    tables.drop(link)
    tables.put(msgspec.structs.replace(link, netns=netns, up=False, master=""))


# --- Addresses ------------------------------------------------------------------------------------


def _address_add(tables: Tables, op: AddressAdd) -> None:
    _need_link(tables, op.address.netns, op.address.link)
    # adding again changes nothing, not even the broadcast address
    tables.of(Address).setdefault(op.address.key, op.address)


def _address_delete(tables: Tables, op: AddressDelete) -> None:
    own = op.address
    link = _need_link(tables, own.netns, own.link)
    tables.need(tables.get(Address, *own.key), f"there is no address {own.cidr}")
    here = [a for a in tables.of(Address).values() if (a.netns, a.link) == (own.netns, own.link)]
    same = [a for a in here if interface(a.cidr).network == interface(own.cidr).network]
    # the first of a subnet is primary: its secondaries go with it (promote_secondaries is off)
    gone = same if same[0].cidr == own.cidr else [own]
    for address in gone:
        tables.drop(address)
        source = address.cidr.partition("/")[0]
        for route in [r for r in tables.of(Route).values() if r.netns == own.netns and r.src == source]:
            tables.drop(route)
    if len(here) == len(gone):
        _disable(tables, link)


# --- Routes, rules, neighbours --------------------------------------------------------------------


def _route_replace(tables: Tables, op: RouteReplace) -> None:
    route = op.route
    need_netns(tables, route.netns)
    if route.type not in _REJECTING:
        link = _need_link(tables, route.netns, route.dev)
        tables.need(link.up, f"device {route.dev} is down")
        addresses = [a for a in tables.of(Address).values() if a.netns == route.netns]
        if route.via:
            own = {a.cidr.partition("/")[0] for a in addresses}
            tables.need(route.via not in own, f"next hop {route.via} is this namespace's own address")
            tables.need(_on_link(tables, route, addresses), f"next hop {route.via} is not on a link of {route.dev}")
        tables.need(
            not route.src or any(a.cidr.partition("/")[0] == route.src for a in addresses), f"no address {route.src}"
        )
    same = (route.netns, route.table, route.prefix, route.metric)
    for old in [r for r in tables.of(Route).values() if (r.netns, r.table, r.prefix, r.metric) == same]:
        tables.drop(old)  # whatever its type
    tables.put(route)


def _on_link(tables: Tables, route: Route, addresses: list[Address]) -> bool:
    if any(a.link == route.dev and interface(route.via) in interface(a.cidr).network for a in addresses):
        return True
    return any(
        r.netns == route.netns and r.dev == route.dev and not r.via and r.table in (route.table, 254)
        and in_prefix(route.via, r.prefix)
        for r in tables.of(Route).values()
    )  # fmt: skip


def _route_delete(tables: Tables, op: RouteDelete) -> None:
    tables.need(tables.get(Route, *op.route.key), "no such route")
    tables.drop(op.route)


def _rule_add(tables: Tables, op: RuleAdd) -> None:
    need_netns(tables, op.rule.netns)
    tables.need(tables.get(Rule, *op.rule.key) is None, "the rule exists")
    tables.put(op.rule)


def _rule_delete(tables: Tables, op: RuleDelete) -> None:
    tables.need(tables.get(Rule, *op.rule.key), "no such rule")
    tables.drop(op.rule)


def _neighbour_replace(tables: Tables, op: NeighbourReplace) -> None:
    _need_link(tables, op.neighbour.netns, op.neighbour.link)
    tables.put(op.neighbour)


def _neighbour_delete(tables: Tables, op: NeighbourDelete) -> None:
    tables.need(tables.get(Neighbour, *op.neighbour.key), "no such entry")
    tables.drop(op.neighbour)


_OPERATIONS: dict[type, Callable[..., None]] = {
    LinkAdd: _link_add,
    LinkSet: _link_set,
    LinkMove: _link_move,
    LinkDelete: _link_delete,
    AddressAdd: _address_add,
    AddressDelete: _address_delete,
    RouteReplace: _route_replace,
    RouteDelete: _route_delete,
    RuleAdd: _rule_add,
    RuleDelete: _rule_delete,
    NeighbourReplace: _neighbour_replace,
    NeighbourDelete: _neighbour_delete,
}
