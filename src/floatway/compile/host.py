"""Intent to state: the union of one fragment per logical object, each a pure function of what it reads.

A fragment is remembered under its logical object together with its inputs; inputs are immutable, so a fragment whose
inputs are the same values is taken as it was. The key of a fragment is where its records come from (provenance).
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial

import msgspec

from floatway.compile import bridges, dvr, firewall, floating_ip, names, network, port, router, snat, tunnels
from floatway.compile.allocations import Allocations
from floatway.compile.view import HostView, view_of
from floatway.host.records import Netns, Record
from floatway.host.state import ConflictError, HostState, Key, Ref
from floatway.model.cloud import Cloud
from floatway.model.resources import OWNER_ROUTER_INTERFACE, Host, Network, Port, Router

Origin = tuple[str, str]
"""A logical object: (resource type, id)."""

Fragment = tuple[Origin, str, Callable[..., list[Record]], tuple[object, ...]]
"""Of which object, which aspect, the function and its inputs."""


Block = tuple[Hashable, tuple[object, ...], Callable[[], Iterator[Fragment]]]
"""A name, all that its fragments are made from, and the fragments. What reads the same is not even asked for them."""


class Made(msgspec.Struct, frozen=True, gc=False):
    """A fragment: what made it from which inputs, and its records."""

    origin: Origin
    make: Callable[..., list[Record]]
    inputs: tuple[object, ...]
    state: HostState


class _Known(msgspec.Struct, frozen=True):
    """A block as it was the last time."""

    reads: tuple[object, ...]
    made: dict[tuple[object, ...], Made]


class Memo:
    """What earlier compiles made. One per resident agent; grows to the host's size and forgets what is gone.

    The union is not made anew either: it is the last one with the records of changed fragments taken out and put in, and so it
    knows how it differs from the last one (``host.state.apart``).
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, _Known] = {}
        self._state = HostState({})
        self._shared: dict[Ref, int] = {}

    def state(self, blocks: Iterable[Block]) -> HostState:
        """The union of all fragments, made anew only where an input changed. Raises ConflictError."""
        now: dict[Hashable, _Known] = {}
        gone: list[HostState] = []
        new: list[HostState] = []
        for name, reads, fragments in blocks:
            before = self._known.get(name)
            if before is not None and _reads_same(before.reads, reads):
                now[name] = before
                continue
            old = before.made if before is not None else {}
            made = now[name] = _Known(reads, {})
            for origin, aspect, make, inputs in fragments():
                key: tuple[object, ...] = (origin, aspect)
                while key in made.made:
                    key = (*key, "again")
                known = old.get(key)
                if known is None or known.make is not make or known.inputs != inputs:  # members by identity first
                    known = Made(origin, make, inputs, HostState.of(make(*inputs)))
                    new.append(known.state)
                made.made[key] = known
            gone += (was.state for key, was in old.items() if made.made.get(key) is not was)
        for name in self._known.keys() - now.keys():
            gone += (was.state for was in self._known[name].made.values())
        if gone or new:
            self._state, self._shared = self._moved(gone, new)
        self._known = now
        return self._state

    def made(self) -> Iterator[Made]:
        """All fragments of the last compile."""
        for known in self._known.values():
            yield from known.made.values()

    def _moved(self, gone: list[HostState], new: list[HostState]) -> tuple[HostState, dict[Ref, int]]:
        """The union without what is gone and with what is new; a record that several fragments hold goes with the last of them."""
        put: dict[Ref, Record | None] = {}
        shared = dict(self._shared)
        for state in gone:
            for record in state:
                one = (type(record), record.key)
                if left := shared.get(one, 0):
                    _count(shared, one, left - 1)
                else:
                    put[one] = None
        there = self._state
        for state in new:
            for record in state:
                one = (type(record), record.key)
                present = put[one] if one in put else there.get(one[0], *one[1])
                if present is None:
                    was = there.get(one[0], *one[1])
                    put[one] = was if was == record else record  # what is as it was stays the same object
                elif present == record:
                    _count(shared, one, shared.get(one, 0) + 1)
                else:
                    raise ConflictError(f"{one[0].__name__} {one[1]}: {present} and {record}")
        changed = {one: record for one, record in put.items() if there.get(one[0], *one[1]) is not record}
        return there.changed(changed), shared


def _count(shared: dict[Ref, int], one: Ref, number: int) -> None:
    if number:
        shared[one] = number
    else:
        shared.pop(one, None)


def _reads_same(before: tuple[object, ...], now: tuple[object, ...]) -> bool:
    """Whole tables count as the same only if they are one object: to compare them costs more than to make fragments."""
    return len(before) == len(now) and all(
        one is other or (not isinstance(one, dict) and one == other) for one, other in zip(before, now, strict=True)
    )


def compile_host(cloud: Cloud, host: str, allocations: Allocations, memo: Memo | None = None) -> HostState:
    """The state that the host shall have. Pure; ``memo`` only saves work (law L5)."""
    view = view_of(cloud, cloud.hosts[host])
    if memo is None:
        fragments = (fragment for _, _, made in _blocks(view, allocations) for fragment in made())
        return HostState.of(record for _, _, make, inputs in fragments for record in make(*inputs))
    return memo.state(_blocks(view, allocations))


def origins(
    cloud: Cloud, host: str, allocations: Allocations, memo: Memo | None = None
) -> dict[tuple[type[Record], Key], Origin]:
    """Which logical object each record comes from; the first that asks for a shared one."""
    found: dict[tuple[type[Record], Key], Origin] = {}
    memo = memo if memo is not None else Memo()
    memo.state(_blocks(view_of(cloud, cloud.hosts[host]), allocations))
    for made in memo.made():
        for record in made.state:
            found.setdefault((type(record), record.key), made.origin)
    return found


def _blocks(view: HostView, allocations: Allocations) -> Iterator[Block]:
    host, cloud, tags = view.host, view.cloud, allocations.local_vlans
    yield "bridges", (host, cloud.hosts), lambda: _bridges(view)
    for net in view.networks:
        reads = (net, tags[net.id], host, cloud.ports_by_network.get(net.id, ()), cloud.hosts)
        yield ("network", net.id), reads, partial(_network, view, net, tags[net.id])
    tables = (host, cloud.ports, cloud.networks, cloud.subnets, cloud.routers, cloud.hosts, tags)
    yield "ports", (*tables, cloud.security_groups), lambda: _ports(view, allocations)
    yield "external", tables, lambda: _external_networks(view, allocations)
    for one in view.routers:
        yield ("router", one.id), _router_reads(view, allocations, one), partial(_router, view, allocations, one.id)


def _router_reads(view: HostView, allocations: Allocations, one: Router) -> tuple[object, ...]:
    cloud, interfaces, floating = view.cloud, view.interfaces[one.id], view.floating_ips.get(one.id, ())
    external = view.gateway_network(one)
    networks = [each.network.id for each in interfaces]
    return (
        (one, view.host, external, allocations.link_local.get(one.id), view.agent_gateways.get(external.id) if external else None),
        tuple((each.port, each.subnet, each.network, each.address) for each in interfaces),
        tuple(allocations.local_vlans[network_id] for network_id in networks),
        tuple(cloud.ports_by_network.get(network_id, ()) for network_id in networks),
        tuple(view.interfaces_by_network[network_id][0].port for network_id in networks),
        cloud.ports_by_device.get(one.id, ()),
        floating,
        tuple(cloud.ports[fip.port_id or ""] for fip in floating),
        tuple(allocations.floating_ip_priorities[one.id, fip.fixed_ip_address or ""] for fip in floating),
        cloud.hosts,
        cloud.networks,
        cloud.subnets,
    )  # fmt: skip


def _bridges(view: HostView) -> Iterator[Fragment]:
    host = view.host
    others = tuple(other for name, other in sorted(view.cloud.hosts.items()) if name != host.name)
    yield ("host", host.name), "bridges", bridges.host_bridges, (host, others)


def _network(view: HostView, net: Network, tag: int) -> Iterator[Fragment]:
    cloud, host = view.cloud, view.host
    yield ("network", net.id), "segment", network.network, (net, tag, host)
    remote = tuple(
        (port_, tunnel)
        for port_ in cloud.ports_by_network.get(net.id, ())
        if port_.binding_host_id not in ("", host.name)
        # a distributed interface is everywhere, whatever host its port was last seen on
        and port_.device_owner != OWNER_ROUTER_INTERFACE
        # a host that was never heard of has no tunnel
        and (there := cloud.hosts.get(port_.binding_host_id))
        and (tunnel := there.tunnel_ip)
    )
    yield ("network", net.id), "remote", tunnels.remote_ports, (net, tag, remote if host.tunnel_ip else ())


def _ports(view: HostView, allocations: Allocations) -> Iterator[Fragment]:
    cloud, host = view.cloud, view.host
    remote_groups: set[str] = set()
    for one in view.instance_ports:
        net, tag = cloud.networks[one.network_id], allocations.local_vlans[one.network_id]
        yield ("port", one.id), "plug", port.instance_port, (one, net, tag, host)
        gateway = view.gateway(one)
        if gateway and one.admin_state_up:
            inputs = (net, tag, one, names.device("qvo", one.id), gateway.port.mac_address)
            yield ("port", one.id), "dvr", dvr.behind_distributed_router, inputs
        if one.port_security_enabled:
            groups = tuple(cloud.security_groups[group] for group in one.security_groups)
            yield ("port", one.id), "chains", firewall.port_chains, (one, groups)
            remote_groups.update(firewall.remote_groups(groups))
    for group_id in sorted(remote_groups):
        members = cloud.members_by_group.get(group_id, ())
        yield ("security_group", group_id), "members", firewall.group_members, (group_id, members)
    tags = {net.id: allocations.local_vlans[net.id] for net in view.networks}
    yield ("host", host.name), "firewall", firewall.shared_chains, (view.instance_ports, tags)


def _external_networks(view: HostView, allocations: Allocations) -> Iterator[Fragment]:
    for network_id, gateway in view.agent_gateways.items():
        external = view.cloud.networks[network_id]
        subnets = view.cloud.subnets_by_network.get(network_id, ())
        yield ("network", network_id), "fip", floating_ip.fip_namespace, (external, gateway, subnets)
        tag = allocations.local_vlans[network_id]
        yield ("port", gateway.id), "plug", _internal_port, (gateway, external, tag, names.device("fg-", gateway.id))


def _router(view: HostView, allocations: Allocations, router_id: str) -> Iterator[Fragment]:
    cloud, host = view.cloud, view.host
    origin = ("router", router_id)
    one, interfaces = cloud.routers[router_id], view.interfaces[router_id]
    yield origin, "namespace", _namespace, (router_id,)
    yield origin, "routes", router.extra_routes, (router_id, one.routes, interfaces)
    for each in {interface.port.id: interface for interface in interfaces}.values():
        device = names.device("qr-", each.port.id)
        tag = allocations.local_vlans[each.network.id]
        yield ("port", each.port.id), "plug", _internal_port, (each.port, each.network, tag, device)
        yield ("port", each.port.id), "link", router.interface_link, (router_id, each.port, each.network, device)
        first = view.interfaces_by_network[each.network.id][0].port is each.port
        distributed = dvr.Distributed(each.network, tag, each.port, device, dvr.dvr_mac(host), first)
        yield ("port", each.port.id), "dvr", dvr.distributed_interface, (distributed, host)
    for each in interfaces:
        device = names.device("qr-", each.port.id)
        aspect = f"address {each.address}"
        yield ("port", each.port.id), aspect, router.interface_records, (router_id, each, device)
        ports = cloud.ports_by_network.get(each.network.id, ())
        yield (
            ("subnet", each.subnet.id),
            f"neighbours {router_id}",
            router.neighbours,
            (router_id, device, each.subnet.id, ports, each.port),
        )
        central = view.snat_address(one, each)
        if central:
            yield ("port", each.port.id), f"snat {each.address}", snat.snat_redirect, (router_id, each, device, central)
    external = view.gateway_network(one)
    floating = view.floating_ips.get(router_id, ())
    devices = tuple(dict.fromkeys(names.device("qr-", i.port.id) for i in interfaces))
    rfp = names.device("rfp-", router_id) if external else ""
    yield origin, "chains", router.filter_chains, (router_id, devices, rfp, floating)
    if external is None:
        return
    address, gateway = allocations.link_local[router_id], view.agent_gateways[external.id]
    subnets = cloud.subnets_by_network.get(external.id, ())
    yield origin, "link", router.link_to_fip, (router_id, external, host, address)
    yield origin, "gateway", floating_ip.way_out, (external, gateway, subnets, address)
    yield origin, "outer routes", floating_ip.outer_routes, (external, gateway, subnets, one.routes, address)
    for fip in floating:
        priority = allocations.floating_ip_priorities[router_id, fip.fixed_ip_address or ""]
        inner = cloud.networks[cloud.ports[fip.port_id or ""].network_id].mtu
        mtu = inner if inner < external.mtu else 0
        yield ("floating_ip", fip.id), "way", floating_ip.floating_ip, (fip, priority, address, mtu)


def _namespace(router_id: str) -> list[Record]:
    netns = names.qrouter(router_id)
    return [Netns(name=netns), *router.namespace_sysctls(netns)]


def _internal_port(one: Port, net: Network, tag: int, device: str) -> list[Record]:
    return [port.vlan_port(one, net, tag, device, "internal")]


__all__ = ["Allocations", "Host", "Memo", "Origin", "compile_host", "origins"]
