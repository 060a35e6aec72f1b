"""Intent to state: the union of one fragment per logical object, each a pure function of what it reads.

A fragment is remembered under its logical object together with its inputs; inputs are immutable, so a fragment whose
inputs are the same values is taken as it was. The key of a fragment is where its records come from (provenance).
"""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from floatway.compile import bridges, dvr, firewall, floating_ip, names, network, port, router, snat, tunnels
from floatway.compile.allocations import Allocations
from floatway.compile.view import HostView
from floatway.host.records import Netns, Record
from floatway.host.state import ConflictError, HostState, Key
from floatway.model.cloud import Cloud
from floatway.model.resources import OWNER_ROUTER_INTERFACE, Host, Network, Port

Origin = tuple[str, str]
"""A logical object: (resource type, id)."""

Fragment = tuple[Origin, str, Callable[..., list[Record]], tuple[object, ...]]
"""Of which object, which aspect, the function and its inputs."""


class Made(msgspec.Struct, frozen=True, gc=False):
    """A fragment: what made it from which inputs, and its records."""

    make: Callable[..., list[Record]]
    inputs: tuple[object, ...]
    state: HostState


class Memo:
    """Fragments of earlier compiles and the union of the last. One per resident agent; grows to the host's size and forgets what
    is gone. A table in which nothing changed is the very same object in the next union, which whoever compares two states sees
    at once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Origin, str], Made] = {}
        self._tables: dict[type[Record], dict[Key, Record]] = {}
        self._counts: dict[type[Record], dict[Key, int]] = {}

    def fragments(self, wanted: Iterable[Fragment]) -> Iterator[tuple[Origin, HostState]]:
        """Every fragment, made anew only where an input changed."""
        for origin, aspect, make, inputs in wanted:
            yield origin, self._made(origin, aspect, make, inputs).state

    def union(self, wanted: Iterable[Fragment]) -> HostState:
        """All records of all fragments. Raises ConflictError when two differ under one key."""
        before, now = self._known, dict[tuple[Origin, str], Made]()
        lost: list[HostState] = []
        new: list[HostState] = []
        for origin, aspect, make, inputs in wanted:
            known = now[origin, aspect] = self._made(origin, aspect, make, inputs)
            earlier = before.get((origin, aspect))
            if earlier is not known:
                new.append(known.state)
                if earlier is not None:
                    lost.append(earlier.state)
        if len(now) - len(before) != len(new) - len(lost):  # some are gone
            lost += [made.state for key, made in before.items() if key not in now]
        try:
            self._change(lost, new)
        except ConflictError:
            self._known, self._tables, self._counts = {}, {}, {}  # half of it is in: begin anew
            raise
        self._known = now
        return HostState(dict(self._tables))

    def _made(self, origin: Origin, aspect: str, make: Callable[..., list[Record]], inputs: tuple[object, ...]) -> Made:
        known = self._known.get((origin, aspect))
        if known is None or known.make is not make or not _same(known.inputs, inputs):
            return Made(make, inputs, HostState.of(make(*inputs)))
        return known

    def _change(self, lost: list[HostState], new: list[HostState]) -> None:
        """Take out, then put in: what is the same in both, and in the same order, makes no difference in the end."""
        kinds = {kind for state in (*lost, *new) for kind in state.kinds}
        tables = {kind: dict(self._tables.get(kind, {})) for kind in kinds}
        for state in lost:
            for kind in state.kinds:
                table, counts = tables[kind], self._counts[kind]
                for key in state.table(kind):
                    counts[key] -= 1
                    if not counts[key]:
                        del counts[key], table[key]
        for state in new:
            for kind in state.kinds:
                table, counts = tables[kind], self._counts.setdefault(kind, {})
                for key, record in state.table(kind).items():
                    if (present := table.setdefault(key, record)) is not record and present != record:
                        raise ConflictError(f"{kind.__name__} {key}: {present} and {record}")
                    counts[key] = counts.get(key, 0) + 1
        self._tables |= {kind: table for kind, table in tables.items() if table != self._tables.get(kind)}


def _same(before: tuple[object, ...], now: tuple[object, ...]) -> bool:
    return before == now  # tuples compare their members by identity first


def compile_host(cloud: Cloud, host: str, allocations: Allocations, memo: Memo | None = None) -> HostState:
    """The state that the host shall have. Pure; ``memo`` only saves work (law L5)."""
    view = HostView(cloud, cloud.hosts[host])
    fragments = _fragments(view, allocations)
    if memo is None:
        return HostState.of(record for _, _, make, inputs in fragments for record in make(*inputs))
    return memo.union(fragments)


def origins(
    cloud: Cloud, host: str, allocations: Allocations, memo: Memo | None = None
) -> dict[tuple[type[Record], Key], Origin]:
    """Which logical object each record comes from; the first that asks for a shared one."""
    found: dict[tuple[type[Record], Key], Origin] = {}
    fragments = _fragments(HostView(cloud, cloud.hosts[host]), allocations)
    for origin, state in (memo if memo is not None else Memo()).fragments(fragments):
        for record in state:
            found.setdefault((type(record), record.key), origin)
    return found


def _fragments(view: HostView, allocations: Allocations) -> Iterator[Fragment]:
    host = view.host
    others = tuple(other for name, other in sorted(view.cloud.hosts.items()) if name != host.name)
    yield ("host", host.name), "bridges", bridges.host_bridges, (host, others)
    yield from _networks(view, allocations)
    yield from _ports(view, allocations)
    yield from _external_networks(view, allocations)
    for router_ in view.routers:
        yield from _router(view, allocations, router_.id)


def _networks(view: HostView, allocations: Allocations) -> Iterator[Fragment]:
    cloud, host = view.cloud, view.host
    for net in view.networks:
        tag = allocations.local_vlans[net.id]
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
