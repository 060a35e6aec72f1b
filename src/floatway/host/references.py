"""What of a host names something that is not there. A plan leaves no such thing behind it, after any of its steps."""

from collections.abc import Iterator

from floatway.host.flow_ports import flow_ports
from floatway.host.ownership import COOKIE
from floatway.host.records import Address, Chain, Flow, Ipset, Link, Neighbour, OvsBridge, OvsPort, Route, Rule
from floatway.host.rules import jump_target, set_names
from floatway.host.state import HostState


def dangling(state: HostState) -> tuple[str, ...]:
    """One line for each reference to nothing: chains, sets, bridges, masters, peers, devices, ports, routing tables."""
    return (*_chains(state), *_links(state), *_ovs(state), *_routing(state))


def _chains(state: HostState) -> Iterator[str]:
    for chain in state.table(Chain).values():
        for rule in chain.rules:
            target = jump_target(rule)
            if target and state.get(Chain, chain.netns, chain.table, target) is None:
                yield f"chain {chain.name} of {chain.netns!r}: no chain {target}"
            yield from (
                f"chain {chain.name} of {chain.netns!r}: no set {name}"
                for name in set_names(rule)
                if state.get(Ipset, chain.netns, name) is None
            )


def _links(state: HostState) -> Iterator[str]:
    for link in state.table(Link).values():
        if link.master and state.get(Link, link.netns, link.master) is None:
            yield f"device {link.name} of {link.netns!r}: no bridge {link.master}"
        if link.peer and state.get(Link, link.peer_netns, link.peer) is None:
            yield f"device {link.name} of {link.netns!r}: no peer {link.peer}"


def _ovs(state: HostState) -> Iterator[str]:
    for port in state.table(OvsPort).values():
        if state.get(OvsBridge, port.bridge) is None:
            yield f"port {port.name}: no bridge {port.bridge}"
        peer = dict(port.options).get("peer")
        if peer and state.get(OvsPort, peer) is None:
            yield f"port {port.name}: no peer {peer}"
    for flow in state.table(Flow).values():
        for name in flow_ports(flow) if flow.cookie == COOKIE else ():
            found = state.get(OvsPort, name)
            if (found is None or found.bridge != flow.bridge) and name != flow.bridge:
                yield f"flow {flow.match!r} of {flow.bridge}: no port {name}"


def _routing(state: HostState) -> Iterator[str]:
    for kind in (Address, Neighbour):
        for record in state.table(kind).values():
            if state.get(Link, record.netns, record.link) is None:  # type: ignore[attr-defined]
                yield f"{record}: no device"
    tables = {(route.netns, route.table) for route in state.table(Route).values()}
    for route in state.table(Route).values():
        if route.dev and state.get(Link, route.netns, route.dev) is None:
            yield f"{route}: no device"
    for rule in state.table(Rule).values():
        if rule.table not in (253, 254, 255) and (rule.netns, rule.table) not in tables:
            yield f"rule {rule.priority} of {rule.netns}: no route in table {rule.table}"
