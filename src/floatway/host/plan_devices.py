"""The plan's phases for devices and Open vSwitch ports.

A device of an instance's port is made down and without a bridge, and comes up last, when its chains and flows are in.
"""

from collections.abc import Iterator

import msgspec

from floatway.host.change import Change, by_bridge, ip_steps
from floatway.host.flow_ports import flow_ports, flows_naming
from floatway.host.records import Flow, Link, OvsBridge, OvsPort
from floatway.host.steps import (
    BridgeDelete,
    Ip,
    IpOp,
    LinkAdd,
    LinkDelete,
    LinkMove,
    LinkSet,
    OfBundle,
    OvsOp,
    OvsTransaction,
    PortDelete,
    PortSet,
    Step,
)


def cut_instances(change: Change) -> Iterator[Step]:
    """Instance ports that go carry nothing any more before their chains are taken away; a bridge that must be rebuilt goes."""
    going = {(link.netns, link.name): link for link in (*change.removed_links(), *change.losses.remade)}
    ops = [
        LinkSet(link=msgspec.structs.replace(link, up=False), before=link)
        for link in going.values()
        if link.kind == "veth" and link.netns == "" and link.up
    ]
    if ops:
        yield Ip(netns="", ops=tuple(ops))
    if change.losses.rebuilt:
        yield OvsTransaction(ops=tuple(BridgeDelete(name=bridge.name) for bridge in change.losses.rebuilt))


def remove_ports_and_links(change: Change) -> Iterator[Step]:
    """Flows that name the ports first: once a port is gone, they can no longer be named."""
    ports = _going_ports(change)
    if ports:
        names = {port.name for port in ports}
        flows = flows_naming(change.before.table(Flow).values(), names)
        for bridge, group in by_bridge(f for f in flows if not _is_rebuilt(change, f.bridge)).items():
            now = {flow.key: new for flow in group if (new := early_replacement(change, flow, names)) is not None}
            delete = tuple(flow for flow in group if flow.key not in now)
            yield OfBundle(bridge=bridge, delete=delete, add=tuple(now.values()))
        yield OvsTransaction(ops=tuple(PortDelete(bridge=port.bridge, name=port.name) for port in ports))
    doomed = [
        link
        for link in (*change.losses.remade, *change.removed_links())
        if change.stays(link.netns) and (link.kind != "internal" or change.before.get(OvsPort, link.name) is None)
    ]
    yield from ip_steps(_delete_links(doomed))


def _going_ports(change: Change) -> list[OvsPort]:
    return [*change.losses.replugged, *change.removed(OvsPort)]


def _is_rebuilt(change: Change, bridge: str) -> bool:
    return any(one.name == bridge for one in change.losses.rebuilt)


def early_replacement(change: Change, flow: Flow, going: set[str]) -> Flow | None:
    """The wanted flow in place of this one, if all ports that it names are there and stay (a flood to fewer tunnels)."""
    wanted = change.want.get(Flow, *flow.key)
    if wanted is None or wanted == flow:
        return None
    named = flow_ports(wanted)
    there = all(change.have.get(OvsPort, name) is not None for name in named)
    return wanted if there and named.isdisjoint(going) else None


def _delete_links(links: list[Link]) -> Iterator[tuple[str, IpOp]]:
    """A veth's other end goes by itself."""
    done: set[tuple[str, str]] = set()
    for link in links:
        if (link.netns, link.name) not in done:
            done |= {(link.netns, link.name), (link.peer_netns, link.peer)}
            yield link.netns, LinkDelete(link=link)


def _is_plug(link: Link) -> bool:
    """A device of an instance's port in the root namespace: it comes up last."""
    return link.netns == "" and link.kind in ("bridge", "veth")


def _quiet(link: Link) -> Link:
    return msgspec.structs.replace(link, up=False, master="") if _is_plug(link) else link


def add_links(change: Change) -> Iterator[Step]:
    """Bridges and veth pairs."""
    ops: list[tuple[str, IpOp]] = []
    done: set[tuple[object, ...]] = set()
    for link in change.added(Link):
        if link.key in done or link.kind not in ("bridge", "veth"):
            continue
        peer = change.want.get(Link, link.peer_netns, link.peer) if link.kind == "veth" and link.peer else None
        done |= {link.key, (link.peer_netns, link.peer)}
        ops.append((link.netns, LinkAdd(link=_quiet(link), peer=_quiet(peer) if peer else None)))
    yield from ip_steps(ops)


def set_ports(change: Change) -> Iterator[Step]:
    """All new and changed ports in one transaction."""
    ports = change.put(OvsPort)
    if ports:
        have = change.have.table(OvsPort)
        yield OvsTransaction(ops=tuple(PortSet(port=port, before=have.get(port.key)) for port in ports))


def place_links(change: Change) -> Iterator[Step]:
    """Internal devices into their namespaces, and all but the instances' devices as wanted."""
    ops: list[tuple[str, IpOp]] = []
    for link in change.added(Link):
        if link.kind == "internal":
            ops.append((link.netns, LinkMove(link=link)))
            ops.append((link.netns, LinkSet(link=link)))
    ops += [
        (after.netns, LinkSet(link=after, before=before)) for before, after in change.changed(Link) if not _late(after)
    ]
    yield from ip_steps(ops)


def _late(link: Link) -> bool:
    return _is_plug(link) or link.kind == "foreign"


def set_flows(change: Change) -> Iterator[Step]:
    """One bundle per bridge: the packet path of a bridge changes at once."""
    going = {port.name for port in _going_ports(change)}
    gone = [flow for flow in change.removed(Flow) if not going or going.isdisjoint(flow_ports(flow))]
    lost, new = by_bridge(gone), by_bridge(flow for flow in change.put(Flow) if not _is_in(change, flow, going))
    for bridge in dict.fromkeys([*lost, *new]):
        if change.want.get(OvsBridge, bridge):
            yield OfBundle(bridge=bridge, delete=tuple(lost.get(bridge, ())), add=tuple(new.get(bridge, ())))


def _is_in(change: Change, flow: Flow, going: set[str]) -> bool:
    """Did the removal of ports put this flow in already?"""
    old = change.before.get(Flow, *flow.key) if going else None
    return (
        old is not None
        and not going.isdisjoint(flow_ports(old))
        and not _is_rebuilt(change, flow.bridge)
        and early_replacement(change, old, going) is not None
    )


def bring_up(change: Change) -> Iterator[Step]:
    """The instances' devices and those of others, as wanted."""
    ops: list[IpOp] = [
        LinkSet(link=link, before=_quiet(link))
        for link in change.added(Link)
        if _is_plug(link) and link != _quiet(link)
    ]
    ops += [LinkSet(link=after, before=before) for before, after in change.changed(Link) if _late(after)]
    if ops:
        yield Ip(netns="", ops=tuple(ops))


def remove_bridges(change: Change) -> Iterator[Step]:
    """Bridges that are not wanted, empty by now."""
    ops: list[OvsOp] = [BridgeDelete(name=bridge.name) for bridge in change.removed(OvsBridge)]
    if ops:
        yield OvsTransaction(ops=tuple(ops))
