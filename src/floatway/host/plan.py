"""From what is there to what is wanted: ordered steps, each atomic, with no hole and no dangling reference between them.

    cut what is going ─▶ namespaces, bridges ─▶ settings ─▶ sets ─▶ chains (drop before allow) ─▶ forget connections
    ─▶ remove ports, devices ─▶ devices (down) ─▶ ports ─▶ move, set up ─▶ addresses, neighbours, routes, rules
    ─▶ flows ─▶ bring instance devices up ─▶ announce ─▶ remove sets, bridges, namespaces

Create before refer, delete after. A new instance port carries no frame before its chains and flows are in: its devices
come up last. A new bridge is fail-secure and empty until one bundle fills it.
"""

from collections.abc import Callable, Iterable, Iterator

from floatway.host.change import Change, by_netns, change_of
from floatway.host.conntrack import stale_connections
from floatway.host.losses import setting_device
from floatway.host.ownership import owned
from floatway.host.plan_addresses import announce, cut_ways, set_addressing
from floatway.host.plan_devices import (
    add_links,
    bring_up,
    cut_instances,
    place_links,
    remove_bridges,
    remove_ports_and_links,
    set_flows,
    set_ports,
)
from floatway.host.records import Chain, Ipset, Link, Netns, OvsBridge, OvsPort, Record, Sysctl
from floatway.host.restore import chain_restore, set_destroy, set_restore
from floatway.host.state import HostState, differing
from floatway.host.steps import BridgeSet, NetnsAdd, NetnsDelete, OvsTransaction, Plan, Step, SysctlWrite


def plan(observed: HostState, desired: HostState) -> Plan:
    """The steps that make the observed host as desired, touching nothing that is not ours. Empty when there is nothing to do."""
    have = owned(observed, desired)
    if have == desired:
        return Plan()
    missing = absent(observed, desired)
    want = _without_absent(desired, have, missing)
    change = change_of(observed, have, want)
    steps = tuple(step for phase in _PHASES for step in phase(change))
    return Plan(steps=steps, waiting=tuple(link.name for link in missing))


def attainable(observed: HostState, desired: HostState) -> HostState:
    """What is there after :func:`plan` was run: all that is wanted but for what waits for a device of somebody else's."""
    return _without_absent(desired, observed, absent(observed, desired))


def absent(observed: HostState, desired: HostState) -> list[Link]:
    """The wanted devices that others make, and have not made yet."""
    if observed.table(Link) is desired.table(Link):
        return []
    return [
        link
        for link in differing(Link, desired, observed)
        if link.kind == "foreign" and observed.get(Link, *link.key) is None
    ]


def _without_absent(desired: HostState, have: HostState, absent: list[Link]) -> HostState:
    """What can be done now: a device that others make is not wanted while it is not there, nor plugged in anew."""
    if not absent:
        return desired
    ports = [desired.get(OvsPort, link.name) for link in absent]
    unplugged: list[Record] = [p for p in ports if p is not None and p.type == "" and not have.get(OvsPort, p.name)]
    return desired.without(*absent, *unplugged)


def _namespaces_and_bridges(change: Change) -> Iterator[Step]:
    yield from (NetnsAdd(name=netns.name) for netns in change.added(Netns))
    bridges = change.put(OvsBridge)
    if bridges:
        have = change.have.table(OvsBridge)
        yield OvsTransaction(ops=tuple(BridgeSet(bridge=one, before=have.get(one.key)) for one in bridges))


def _settings(change: Change) -> Iterator[Step]:
    yield from _write(setting for setting in change.put(Sysctl) if not setting_device(setting.name))


def _device_settings(change: Change) -> Iterator[Step]:
    yield from _write(setting for setting in change.put(Sysctl) if setting_device(setting.name))


def _write(settings: Iterable[Sysctl]) -> Iterator[Step]:
    for netns, group in by_netns(settings):
        yield SysctlWrite(netns=netns, settings=tuple((setting.name, setting.value) for setting in group))


def _sets(change: Change) -> Iterator[Step]:
    """A set cannot change its type: no rule may ask it while it is made anew."""
    for netns, chains in by_netns(change.stripped):
        yield chain_restore(netns, {}, chains, ())
    for netns, sets in by_netns(change.retyped):
        yield set_destroy(netns, sets)
    for netns, group in by_netns(change.put(Ipset)):
        yield set_restore(netns, [(change.have.get(Ipset, *one.key), one) for one in group])


def _chains(change: Change) -> Iterator[Step]:
    gone: dict[str, list[Chain]] = dict(by_netns(c for c in change.removed(Chain) if change.stays(c.netns)))
    after: dict[str, list[Chain]] = dict(by_netns(change.put(Chain)))
    for netns in dict.fromkeys([*after, *gone]):
        here = {f"{chain.table} {chain.name}": change.before.get(Chain, *chain.key) for chain in after.get(netns, ())}
        yield chain_restore(netns, here, after.get(netns, ()), gone.get(netns, ()))


def _connections(change: Change) -> Iterator[Step]:
    if Chain in change.deltas or Ipset in change.deltas:
        yield from stale_connections(change.before, change.want)


def _remove_sets(change: Change) -> Iterator[Step]:
    for netns, group in by_netns(one for one in change.removed(Ipset) if change.stays(one.netns)):
        yield set_destroy(netns, group)


def _remove_namespaces(change: Change) -> Iterator[Step]:
    yield from (NetnsDelete(name=netns.name) for netns in change.removed(Netns))


_PHASES: tuple[Callable[[Change], Iterator[Step]], ...] = (
    cut_instances,
    cut_ways,
    _namespaces_and_bridges,
    _settings,
    _sets,
    _chains,
    _connections,
    remove_ports_and_links,
    add_links,
    set_ports,
    place_links,
    _device_settings,
    set_addressing,
    set_flows,
    bring_up,
    announce,
    _remove_sets,
    remove_bridges,
    _remove_namespaces,
)
