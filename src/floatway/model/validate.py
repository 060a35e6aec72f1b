"""The rules between resources: each a small function that yields findings; all are run, none stops the others."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network

from floatway.model import devices, routing
from floatway.model.cloud import Cloud
from floatway.model.resources import (
    OWNER_AGENT_GATEWAY,
    OWNER_ROUTER_INTERFACE,
    Port,
)
from floatway.model.shape import Finding, known_references, well_formed

VNI_MAX, VLAN_MAX = 2**24 - 1, 4094


Check = Callable[[Cloud], Iterator[Finding]]
_CHECKS: list[Check] = [
    devices.bridges_are_apart,
    devices.names_stay_apart_when_cut,
    devices.owners_fit_their_devices,
    devices.one_agent_gateway_per_host,
    devices.pins_are_apart,
    devices.hosts_have_the_bridges,
    devices.modes_are_realised,
    routing.next_hops_are_on_a_link,
    routing.pools_are_apart,
    routing.router_gateways_have_addresses_of_their_own,
    routing.nobody_else_is_the_way_out,
]


def rule(check: Check) -> Check:
    """Put a check in the table."""
    _CHECKS.append(check)
    return check


def validate(cloud: Cloud) -> tuple[Finding, ...]:
    """Every broken rule. First shapes and references, then, when those hold, what leans on them."""
    shape = tuple(finding for check in (well_formed, known_references) for finding in check(cloud))
    return shape or tuple(finding for check in _CHECKS for finding in check(cloud))


@rule
def addresses_inside_their_subnet(cloud: Cloud) -> Iterator[Finding]:
    """Gateway and fixed IPs lie in the subnet; fixed IPs in a subnet of the port's own network."""
    for subnet in cloud.subnets.values():
        net = IPv4Network(subnet.cidr)
        if subnet.gateway_ip is not None and not _host_address(subnet.gateway_ip, net):
            yield Finding(
                "subnets",
                subnet.id,
                "gateway_ip",
                "gateway-in-subnet",
                f"gateway {subnet.gateway_ip} is not a host address of {subnet.cidr}",
            )
        for index, pool in enumerate(subnet.allocation_pools):
            if IPv4Address(pool.start) not in net or IPv4Address(pool.end) not in net:
                yield Finding(
                    "subnets",
                    subnet.id,
                    f"allocation_pools[{index}]",
                    "pool-in-subnet",
                    f"{pool.start}-{pool.end} is not inside {subnet.cidr}",
                )
    for port in cloud.ports.values():
        for index, fixed in enumerate(port.fixed_ips):
            subnet = cloud.subnets[fixed.subnet_id]
            if subnet.network_id != port.network_id:
                yield Finding(
                    "ports",
                    port.id,
                    f"fixed_ips[{index}].subnet_id",
                    "subnet-of-network",
                    f"subnet {subnet.id} is on another network",
                )
            elif not _host_address(fixed.ip_address, IPv4Network(subnet.cidr)):
                yield Finding(
                    "ports",
                    port.id,
                    f"fixed_ips[{index}].ip_address",
                    "fixed-ip-in-subnet",
                    f"{fixed.ip_address} is not a host address of {subnet.cidr}",
                )


def _host_address(text: str, net: IPv4Network) -> bool:
    address = IPv4Address(text)
    return address in net and (net.prefixlen >= 31 or address not in (net.network_address, net.broadcast_address))


@rule
def no_overlap(cloud: Cloud) -> Iterator[Finding]:
    """Subnets of one network, and subnets that one router joins (its external network's too), are disjoint."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for subnet in cloud.subnets.values():
        groups["network", subnet.network_id].append(subnet.id)
    for port in cloud.ports.values():
        if port.device_owner == OWNER_ROUTER_INTERFACE:
            groups["router", port.device_id] += [fixed.subnet_id for fixed in port.fixed_ips]
    for router in cloud.routers.values():
        if router.external_gateway_info:
            outside = cloud.subnets_by_network.get(router.external_gateway_info.network_id, ())
            groups["router", router.id] += [subnet.id for subnet in outside]
    networks = {subnet.id: IPv4Network(subnet.cidr) for subnet in cloud.subnets.values()}
    position = {identity: index for index, identity in enumerate(cloud.subnets)}
    seen: set[tuple[str, str]] = set()
    for (kind, owner), ids in groups.items():
        ordered = sorted(set(ids), key=lambda i: (networks[i], position[i]))
        widest = ordered[0] if ordered else ""
        for at in ordered[1:]:
            other, late = sorted((widest, at), key=position.__getitem__)
            # sorted by first address: whoever overlaps an earlier subnet overlaps the one that reaches furthest
            if networks[widest].overlaps(networks[at]) and (other, late) not in seen:
                seen.add((other, late))
                message = f"{networks[late]} overlaps {networks[other]} of subnet {other} on {kind} {owner}"
                yield Finding("subnets", late, "cidr", "no-overlap", message)
            widest = max(widest, at, key=lambda i: networks[i].broadcast_address)


@rule
def unique_addresses(cloud: Cloud) -> Iterator[Finding]:
    """A MAC once in a network, an IP once in a subnet; a distributed interface's MAC and IP stand once for all hosts."""
    macs: dict[tuple[str, str], str] = {}
    addresses: dict[tuple[str, str], str] = {}
    for port in cloud.ports.values():
        if (other := macs.setdefault((port.network_id, port.mac_address), port.id)) != port.id:
            yield Finding(
                "ports",
                port.id,
                "mac_address",
                "unique-mac",
                f"{port.mac_address} is already the MAC of port {other} on this network",
            )
        for index, fixed in enumerate(port.fixed_ips):
            if (
                addresses.setdefault((fixed.subnet_id, fixed.ip_address), f"port {port.id} field {index}")
                != f"port {port.id} field {index}"
            ):
                yield Finding(
                    "ports",
                    port.id,
                    f"fixed_ips[{index}].ip_address",
                    "unique-ip",
                    f"{fixed.ip_address} is already taken by {addresses[fixed.subnet_id, fixed.ip_address].partition(' field')[0]}",
                )
    taken: dict[tuple[str, str], str] = {}
    for fip in cloud.floating_ips.values():
        if (other := taken.setdefault((fip.floating_network_id, fip.floating_ip_address), fip.id)) != fip.id:
            yield Finding(
                "floating_ips",
                fip.id,
                "floating_ip_address",
                "unique-ip",
                f"{fip.floating_ip_address} is already floating IP {other}",
            )
        for subnet in cloud.subnets_by_network.get(fip.floating_network_id, ()):
            holder = addresses.get((subnet.id, fip.floating_ip_address), "")
            if holder or fip.floating_ip_address == subnet.gateway_ip:
                yield Finding(
                    "floating_ips",
                    fip.id,
                    "floating_ip_address",
                    "unique-ip",
                    f"{fip.floating_ip_address} is already taken by {holder.partition(' field')[0] or 'the gateway'}",
                )


@rule
def floating_ips_make_sense(cloud: Cloud) -> Iterator[Finding]:
    """The address is of the external network; the fixed address is the port's; a router joins the two."""
    pairs: dict[tuple[str, str], str] = {}
    for fip in cloud.floating_ips.values():
        network = cloud.networks[fip.floating_network_id]
        if not network.router_external:
            yield Finding(
                "floating_ips",
                fip.id,
                "floating_network_id",
                "external-network",
                f"network {network.name or network.id} is not external",
            )
        subnets = cloud.subnets_by_network.get(network.id, ())
        if not any(_host_address(fip.floating_ip_address, IPv4Network(subnet.cidr)) for subnet in subnets):
            known = ", ".join(subnet.cidr for subnet in subnets) or "no subnet"
            yield Finding(
                "floating_ips",
                fip.id,
                "floating_ip_address",
                "floating-ip-in-external-network",
                f"{fip.floating_ip_address} is outside the external network ({known})",
            )
        if fip.port_id is None:
            continue
        port = cloud.ports[fip.port_id]
        own = [fixed.ip_address for fixed in port.fixed_ips]
        if fip.fixed_ip_address is None or fip.fixed_ip_address not in own:
            yield Finding(
                "floating_ips",
                fip.id,
                "fixed_ip_address",
                "fixed-ip-of-port",
                f"{fip.fixed_ip_address or 'nothing'} is not an address of port {port.id}: {' or '.join(own) or 'it has none'}",
            )
            continue
        if (other := pairs.setdefault((port.id, fip.fixed_ip_address), fip.id)) != fip.id:
            yield Finding(
                "floating_ips",
                fip.id,
                "fixed_ip_address",
                "one-floating-ip-per-fixed-ip",
                f"{fip.fixed_ip_address} already has floating IP {other}",
            )
        if fip.router_id is None or not _joins(cloud, fip.router_id, port, fip.fixed_ip_address, network.id):
            way = f"between {network.name or network.id} and the subnet of {fip.fixed_ip_address}"
            others = [r for r in cloud.routers if _joins(cloud, r, port, fip.fixed_ip_address, network.id)]
            if not others:
                message = f"there is no router {way}: it takes a gateway there and an interface here"
            else:
                message = (
                    f"{f'router {fip.router_id}' if fip.router_id else 'nothing'} is not {way}: router {others[0]} is"
                )
            yield Finding("floating_ips", fip.id, "router_id", "reachable-port", message)


def _joins(cloud: Cloud, router_id: str, port: Port, fixed_ip: str, external: str) -> bool:
    gateway = cloud.routers[router_id].external_gateway_info
    subnet = next(fixed.subnet_id for fixed in port.fixed_ips if fixed.ip_address == fixed_ip)
    interfaces = cloud.router_interfaces_by_network.get(port.network_id, ())
    joined = any(i.device_id == router_id and any(f.subnet_id == subnet for f in i.fixed_ips) for i in interfaces)
    return joined and gateway is not None and gateway.network_id == external


@rule
def networks_can_be_realised(cloud: Cloud) -> Iterator[Finding]:
    """Segments exist, are in range and unique; flat and VLAN networks name their physical network."""
    segments: dict[tuple[object, ...], str] = {}
    for net in cloud.networks.values():
        kind, segment, physical = net.provider_network_type, net.provider_segmentation_id, net.provider_physical_network
        if kind in ("vxlan", "vlan"):
            top = VNI_MAX if kind == "vxlan" else VLAN_MAX
            if segment is None or not 1 <= segment <= top:
                yield Finding(
                    "networks",
                    net.id,
                    "provider_segmentation_id",
                    "segment-range",
                    f"{segment} is not a {kind} segment (1 to {top})",
                )
        elif segment is not None:
            yield Finding(
                "networks", net.id, "provider_segmentation_id", "segment-range", f"a {kind} network has no segment"
            )
        if (kind in ("flat", "vlan")) != (physical is not None):
            yield Finding(
                "networks",
                net.id,
                "provider_physical_network",
                "physical-network",
                f"a {kind} network {'needs a' if physical is None else 'has no'} physical network",
            )
        if net.router_external and kind not in ("flat", "vlan"):
            yield Finding(
                "networks", net.id, "provider_network_type", "physical-network", "an external network is flat or vlan"
            )
        if kind != "local" and (other := segments.setdefault((kind, physical, segment), net.id)) != net.id:
            yield Finding(
                "networks",
                net.id,
                "provider_segmentation_id",
                "unique-segment",
                f"this segment is already network {other}",
            )


@rule
def routers_make_sense(cloud: Cloud) -> Iterator[Finding]:
    """Distributed routers only (so far); a gateway on an external network; one interface per subnet; interfaces inside."""
    interfaces: dict[tuple[str, str], str] = {}
    for router in cloud.routers.values():
        if not router.distributed:
            yield Finding(
                "routers",
                router.id,
                "distributed",
                "distributed-router",
                "only distributed routers are realised; set distributed: true",
            )
        gateway = router.external_gateway_info
        if gateway and not cloud.networks[gateway.network_id].router_external:
            yield Finding(
                "routers",
                router.id,
                "external_gateway_info.network_id",
                "external-network",
                f"network {gateway.network_id} is not external",
            )
    for port in cloud.ports.values():
        if port.device_owner == OWNER_ROUTER_INTERFACE:
            if not port.fixed_ips:
                yield Finding(
                    "ports", port.id, "fixed_ips", "interface-has-address", "a router interface needs a fixed IP"
                )
            for index, fixed in enumerate(port.fixed_ips):
                if (other := interfaces.setdefault((port.device_id, fixed.subnet_id), port.id)) != port.id:
                    yield Finding(
                        "ports",
                        port.id,
                        f"fixed_ips[{index}]",
                        "one-interface-per-subnet",
                        f"router {port.device_id} already has interface {other} on this subnet",
                    )
        if port.device_owner == OWNER_AGENT_GATEWAY:
            if not cloud.networks[port.network_id].router_external:
                yield Finding(
                    "ports",
                    port.id,
                    "network_id",
                    "external-network",
                    "an agent gateway port is on an external network",
                )
            if not port.fixed_ips or not port.binding_host_id:
                yield Finding(
                    "ports",
                    port.id,
                    "fixed_ips",
                    "interface-has-address",
                    "an agent gateway port needs a fixed IP and a host",
                )


@rule
def hosts_can_carry_it(cloud: Cloud) -> Iterator[Finding]:
    """Instances' ports stand on the instance's host; a floating IP's host has its agent gateway port and mapping."""
    tunnels: dict[str, str] = {}
    gateways = {
        (p.network_id, p.binding_host_id) for p in cloud.ports.values() if p.device_owner == OWNER_AGENT_GATEWAY
    }
    for server in cloud.servers.values():
        for port in cloud.ports_by_device.get(server.id, ()):
            if port.binding_host_id != server.host:
                yield Finding(
                    "ports",
                    port.id,
                    "binding_host_id",
                    "port-on-its-server's-host",
                    f"server {server.name or server.id} is on {server.host}, its port on {port.binding_host_id or 'none'}",
                )
    for fip in cloud.floating_ips.values():
        port_host = cloud.ports[fip.port_id].binding_host_id if fip.port_id else ""
        if not port_host:
            continue
        physical = cloud.networks[fip.floating_network_id].provider_physical_network
        if physical not in cloud.hosts[port_host].bridge_mappings:
            yield Finding(
                "floating_ips",
                fip.id,
                "port_id",
                "external-bridge",
                f"host {port_host} has no bridge for physical network {physical}: add it to its bridge_mappings",
            )
        elif (fip.floating_network_id, port_host) not in gateways:
            yield Finding(
                "floating_ips",
                fip.id,
                "port_id",
                "agent-gateway-port",
                f"host {port_host} has no agent gateway port ({OWNER_AGENT_GATEWAY}) on network {fip.floating_network_id}",
            )
    for host in cloud.hosts.values():
        if host.tunnel_ip and (other := tunnels.setdefault(host.tunnel_ip, host.name)) != host.name:
            yield Finding(
                "hosts",
                host.name,
                "tunnel_ip",
                "unique-ip",
                f"{host.tunnel_ip} is already the tunnel address of {other}",
            )
