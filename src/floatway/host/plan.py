"""From what is there to what is wanted: ordered steps, each atomic, with no hole and no dangling reference between them.

    cut what is going ─▶ namespaces, bridges ─▶ settings ─▶ sets ─▶ chains (drop before allow) ─▶ forget connections
    ─▶ remove ports, devices ─▶ devices (down) ─▶ ports ─▶ move, set up ─▶ addresses, neighbours, routes, rules
    ─▶ flows ─▶ bring instance devices up ─▶ announce ─▶ remove sets, bridges, namespaces

Create before refer, delete after. A new instance port carries no frame before its chains and flows are in: its devices
come up last. A new bridge is fail-secure and empty until one bundle fills it.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, cast

import msgspec

from floatway.host.conntrack import stale_connections
from floatway.host.losses import Losses, flow_ports, foresee, setting_device
from floatway.host.ownership import MAIN_TABLE, owned
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
from floatway.host.restore import chain_restore, set_destroy, set_restore
from floatway.host.state import Delta, HostState, diff
from floatway.host.steps import (
    AddressAdd,
    AddressDelete,
    Announce,
    BridgeDelete,
    BridgeSet,
    Ip,
    IpOp,
    LinkAdd,
    LinkDelete,
    LinkMove,
    LinkSet,
    NeighbourDelete,
    NeighbourReplace,
    NetnsAdd,
    NetnsDelete,
    OfBundle,
    OvsOp,
    OvsTransaction,
    Plan,
    PortDelete,
    PortSet,
    RouteDelete,
    RouteReplace,
    RuleAdd,
    RuleDelete,
    Step,
    SysctlWrite,
)

R = TypeVar("R", bound=Record)
N = TypeVar("N", Sysctl, Ipset, Chain)


def plan(observed: HostState, desired: HostState) -> Plan:
    """The steps that make the observed host as desired, touching nothing that is not ours. Empty when there is nothing to do."""
    have = owned(observed, desired)
    waiting = tuple(
        link.name
        for link in desired.table(Link).values()
        if link.kind == "foreign" and observed.get(Link, *link.key) is None
    )
    if have == desired:
        return Plan(waiting=waiting)
    want = _without_absent(desired, observed)
    return Plan(steps=_steps(observed, have, want), waiting=waiting)


def _without_absent(desired: HostState, observed: HostState) -> HostState:
    """What can be done now: a device that others make is not wanted while it is not there."""
    absent = [
        link
        for link in desired.records(Link, lambda link: link.kind == "foreign")
        if observed.get(Link, *link.key) is None
    ]
    return desired.without(*absent) if absent else desired


class _Change(msgspec.Struct, frozen=True):
    """Two states and what lies between them. ``have`` is less what will be lost; ``before`` is all that is there now."""

    observed: HostState
    before: HostState
    have: HostState
    want: HostState
    losses: Losses
    deltas: dict[type[Record], Delta]

    def added(self, kind: type[R]) -> list[R]:
        """Wanted and not there."""
        delta = self.deltas.get(kind)
        return cast(list[R], list(delta.added)) if delta else []

    def removed(self, kind: type[R]) -> list[R]:
        """There and not wanted."""
        delta = self.deltas.get(kind)
        return cast(list[R], list(delta.removed)) if delta else []

    def changed(self, kind: type[R]) -> list[tuple[R, R]]:
        """(before, after) under one key."""
        delta = self.deltas.get(kind)
        return cast(list[tuple[R, R]], list(delta.changed)) if delta else []

    def put(self, kind: type[R]) -> list[R]:
        """Added and changed, as wanted."""
        return [*self.added(kind), *(after for _, after in self.changed(kind))]

    def stays(self, netns: str) -> bool:
        """Will the namespace be there afterwards? What is in one that goes needs no step of its own."""
        return netns == "" or self.want.get(Netns, netns) is not None


def _steps(observed: HostState, before: HostState, want: HostState) -> tuple[Step, ...]:
    losses = foresee(observed, before, want)
    have = before.without(*losses.records) if losses.records else before
    if losses.released:
        have = have.replaced(*(msgspec.structs.replace(link, master="") for link in losses.released))
    deltas = {delta.kind: delta for delta in diff(have, want)}
    change = _Change(observed, before, have, want, losses, deltas)
    return tuple(step for phase in _PHASES for step in phase(change))


def _cut(change: _Change) -> Iterator[Step]:
    """Instance ports that go carry nothing any more before their chains are taken away."""
    going = [link for link in _removed_links(change) if link.kind == "veth" and link.netns == "" and link.up]
    if going:
        ops = (LinkSet(link=msgspec.structs.replace(link, up=False), before=link) for link in going)
        yield Ip(netns="", ops=tuple(ops))


def _removed_links(change: _Change) -> list[Link]:
    wanted = change.want.table(Link)
    return [link for key, link in change.before.table(Link).items() if key not in wanted and link.kind != "foreign"]


def _namespaces_and_bridges(change: _Change) -> Iterator[Step]:
    yield from (NetnsAdd(name=netns.name) for netns in change.added(Netns))
    bridges = change.put(OvsBridge)
    if bridges:
        yield OvsTransaction(ops=tuple(BridgeSet(bridge=bridge) for bridge in bridges))


def _settings(change: _Change) -> Iterator[Step]:
    yield from _write(setting for setting in change.put(Sysctl) if not setting_device(setting.name))


def _device_settings(change: _Change) -> Iterator[Step]:
    yield from _write(setting for setting in change.put(Sysctl) if setting_device(setting.name))


def _write(settings: Iterable[Sysctl]) -> Iterator[Step]:
    for netns, group in _by_netns(settings):
        yield SysctlWrite(netns=netns, settings=tuple((setting.name, setting.value) for setting in group))


def _by_netns(records: Iterable[N]) -> list[tuple[str, list[N]]]:
    groups: dict[str, list[N]] = {}
    for record in records:
        groups.setdefault(record.netns, []).append(record)
    return list(groups.items())


def _sets(change: _Change) -> Iterator[Step]:
    for netns, group in _by_netns(change.put(Ipset)):
        yield set_restore(netns, [(change.before.get(Ipset, *one.key), one) for one in group])


def _chains(change: _Change) -> Iterator[Step]:
    gone: dict[str, list[Chain]] = dict(
        _by_netns(chain for chain in change.removed(Chain) if change.stays(chain.netns))
    )
    after: dict[str, list[Chain]] = dict(_by_netns(change.put(Chain)))
    for netns in dict.fromkeys([*after, *gone]):
        here = {f"{chain.table} {chain.name}": change.before.get(Chain, *chain.key) for chain in after.get(netns, ())}
        yield chain_restore(netns, here, after.get(netns, ()), gone.get(netns, ()))


def _connections(change: _Change) -> Iterator[Step]:
    if Chain in change.deltas or Ipset in change.deltas:
        yield from stale_connections(change.before, change.want)


def _remove_ports_and_links(change: _Change) -> Iterator[Step]:
    going = [port for port in change.removed(OvsPort) if change.want.get(OvsBridge, port.bridge)]
    ports = [*change.losses.replugged, *going]
    names = {port.name for port in ports}
    if names:
        # by name: once the port is gone, its flows can no longer be named
        flows = [flow for flow in change.before.table(Flow).values() if not names.isdisjoint(flow_ports(flow))]
        yield from (OfBundle(bridge=bridge, delete=tuple(group)) for bridge, group in _by_bridge(flows).items())
        yield OvsTransaction(ops=tuple(PortDelete(bridge=port.bridge, name=port.name) for port in ports))
    doomed = [link for link in (*change.losses.remade, *_removed_links(change)) if link.kind != "internal"]
    yield from _ip(_delete_links([link for link in doomed if change.stays(link.netns)]))


def _delete_links(links: list[Link]) -> Iterator[tuple[str, IpOp]]:
    """A veth's other end goes by itself."""
    done: set[tuple[str, str]] = set()
    for link in links:
        if (link.netns, link.name) not in done:
            done |= {(link.netns, link.name), (link.peer_netns, link.peer)}
            yield link.netns, LinkDelete(link=link)


def _by_bridge(flows: Iterable[Flow]) -> dict[str, list[Flow]]:
    groups: dict[str, list[Flow]] = {}
    for flow in flows:
        groups.setdefault(flow.bridge, []).append(flow)
    return groups


def _ip(ops: Iterable[tuple[str, IpOp]]) -> Iterator[Step]:
    """One batch per namespace; within one, the order given."""
    groups: dict[str, list[IpOp]] = {}
    for netns, op in ops:
        groups.setdefault(netns, []).append(op)
    yield from (Ip(netns=netns, ops=tuple(group)) for netns, group in groups.items())


def _is_plug(link: Link) -> bool:
    """A device of an instance's port in the root namespace: it comes up last."""
    return link.netns == "" and link.kind in ("bridge", "veth")


def _quiet(link: Link) -> Link:
    return msgspec.structs.replace(link, up=False, master="") if _is_plug(link) else link


def _add_links(change: _Change) -> Iterator[Step]:
    ops: list[tuple[str, IpOp]] = []
    done: set[tuple[object, ...]] = set()
    for link in change.added(Link):
        if link.key in done or link.kind not in ("bridge", "veth"):
            continue
        peer = change.want.get(Link, link.peer_netns, link.peer) if link.kind == "veth" and link.peer else None
        done |= {link.key, (link.peer_netns, link.peer)}
        ops.append((link.netns, LinkAdd(link=_quiet(link), peer=_quiet(peer) if peer else None)))
    yield from _ip(ops)


def _ports(change: _Change) -> Iterator[Step]:
    ports = change.put(OvsPort)
    if ports:
        yield OvsTransaction(ops=tuple(PortSet(port=port) for port in ports))


def _place_links(change: _Change) -> Iterator[Step]:
    ops: list[tuple[str, IpOp]] = []
    for link in change.added(Link):
        if link.kind == "internal":
            ops.append((link.netns, LinkMove(link=link)))
            ops.append((link.netns, LinkSet(link=link)))
    ops += [
        (after.netns, LinkSet(link=after, before=before)) for before, after in change.changed(Link) if not _late(after)
    ]
    yield from _ip(ops)


def _late(link: Link) -> bool:
    return _is_plug(link) or link.kind == "foreign"


def _bring_up(change: _Change) -> Iterator[Step]:
    ops: list[IpOp] = [
        LinkSet(link=link, before=_quiet(link))
        for link in change.added(Link)
        if _is_plug(link) and link != _quiet(link)
    ]
    ops += [LinkSet(link=after, before=before) for before, after in change.changed(Link) if _late(after)]
    if ops:
        yield Ip(netns="", ops=tuple(ops))


def _addressing(change: _Change) -> Iterator[Step]:
    put: list[tuple[str, IpOp]] = []
    take: list[tuple[str, IpOp]] = []
    for before, after in change.changed(Address):
        put += [(after.netns, AddressDelete(address=before)), (after.netns, AddressAdd(address=after))]
    put += [(one.netns, AddressAdd(address=one)) for one in change.added(Address)]
    put += [(one.netns, NeighbourReplace(neighbour=one)) for one in change.put(Neighbour)]
    put += [(one.netns, RouteReplace(route=one)) for one in _nearest_first(change.put(Route))]
    for old, new in change.changed(Rule):
        put += [(new.netns, RuleAdd(rule=new)), (old.netns, RuleDelete(rule=old))]
    put += [(one.netns, RuleAdd(rule=one)) for one in change.added(Rule)]
    take += [(one.netns, RuleDelete(rule=one)) for one in change.removed(Rule)]
    take += [(one.netns, RouteDelete(route=one)) for one in change.removed(Route)]
    take += [(one.netns, NeighbourDelete(neighbour=one)) for one in change.removed(Neighbour)]
    take += [(one.netns, AddressDelete(address=one)) for one in change.removed(Address)]
    yield from _ip([*put, *((netns, op) for netns, op in take if change.stays(netns))])


def _nearest_first(routes: list[Route]) -> list[Route]:
    """Routes without a next hop first: the next hops of others lie behind them."""
    return sorted(routes, key=lambda route: bool(route.via))


def _flows(change: _Change) -> Iterator[Step]:
    forgotten = {port.name for port in (*change.losses.replugged, *change.removed(OvsPort))}
    gone = [flow for flow in change.removed(Flow) if not forgotten or forgotten.isdisjoint(flow_ports(flow))]
    lost, new = _by_bridge(gone), _by_bridge(change.put(Flow))
    for bridge in dict.fromkeys([*lost, *new]):
        if change.want.get(OvsBridge, bridge):
            yield OfBundle(bridge=bridge, delete=tuple(lost.get(bridge, ())), add=tuple(new.get(bridge, ())))


def _announce(change: _Change) -> Iterator[Step]:
    """Tell the segment who answers for an address now, so that nobody goes on with a stale neighbour."""
    for address in change.added(Address):
        if address.netns.startswith("fip-") and address.link.startswith("fg-"):
            yield Announce(netns=address.netns, dev=address.link, address=address.cidr.partition("/")[0])
    gateways = {link.netns: link.name for link in change.want.table(Link).values() if link.name.startswith("fg-")}
    for route in change.added(Route):
        if (
            route.netns in gateways
            and route.table == MAIN_TABLE
            and route.dev.startswith("fpr-")
            and "/" not in route.prefix
        ):
            yield Announce(netns=route.netns, dev=gateways[route.netns], address=route.prefix)


def _remove_last(change: _Change) -> Iterator[Step]:
    for netns, group in _by_netns(one for one in change.removed(Ipset) if change.stays(one.netns)):
        yield set_destroy(netns, group)
    bridges: list[OvsOp] = [BridgeDelete(name=bridge.name) for bridge in change.removed(OvsBridge)]
    if bridges:
        yield OvsTransaction(ops=tuple(bridges))
    yield from (NetnsDelete(name=netns.name) for netns in change.removed(Netns))


_PHASES: tuple[Callable[[_Change], Iterator[Step]], ...] = (
    _cut,
    _namespaces_and_bridges,
    _settings,
    _sets,
    _chains,
    _connections,
    _remove_ports_and_links,
    _add_links,
    _ports,
    _place_links,
    _device_settings,
    _addressing,
    _flows,
    _bring_up,
    _announce,
    _remove_last,
)
