"""The rules between resources: each a small function that yields findings; all are run, none stops the others."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from itertools import pairwise

import msgspec

from floatway.model.cloud import Cloud
from floatway.model.resources import (
    OWNER_AGENT_GATEWAY,
    OWNER_ROUTER_INTERFACE,
    Port,
    SecurityGroupRule,
)

MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")
PROTOCOLS = frozenset(
    {
        "icmp",
        "tcp",
        "udp",
        "ah",
        "dccp",
        "egp",
        "esp",
        "gre",
        "igmp",
        "ipip",
        "ospf",
        "pgm",
        "rsvp",
        "sctp",
        "udplite",
        "vrrp",
        "any",
    }
)
WITH_PORTS = frozenset({"tcp", "udp", "sctp", "dccp", "udplite", "6", "17", "33", "132", "136"})
MTU_MIN, MTU_MAX = 68, 65535
VNI_MAX, VLAN_MAX, TAG_MAX = 2**24 - 1, 4094, 4094
IFNAMSIZ = 15


class Finding(msgspec.Struct, frozen=True):
    """A rule broken by one resource: ``collection`` and ``id`` say whose, ``field`` what of it."""

    collection: str
    id: str
    field: str
    rule: str
    message: str


Check = Callable[[Cloud], Iterator[Finding]]
_CHECKS: list[Check] = []


def rule(check: Check) -> Check:
    """Put a check in the table; its name with dashes is the rule's name."""
    _CHECKS.append(check)
    return check


def validate(cloud: Cloud) -> tuple[Finding, ...]:
    """Every broken rule. First shapes and references, then, when those hold, what leans on them."""
    shape = tuple(finding for check in (well_formed, known_references) for finding in check(cloud))
    return shape or tuple(finding for check in _CHECKS for finding in check(cloud))


def parse_address(text: str) -> IPv4Address | None:
    """The address, or None when it is not one."""
    try:
        return IPv4Address(text)
    except (AddressValueError, ValueError):
        return None


def parse_network(text: str) -> IPv4Network | None:
    """The network, or None when it is not one or has host bits set."""
    try:
        return IPv4Network(text)
    except (AddressValueError, NetmaskValueError, ValueError):
        return None


def well_formed(cloud: Cloud) -> Iterator[Finding]:
    """Addresses, prefixes, MACs, numbers and names that are none."""

    def bad(collection: str, identity: str, field: str, message: str) -> Finding:
        return Finding(collection, identity, field, "well-formed", message)

    for net in cloud.networks.values():
        if not MTU_MIN <= net.mtu <= MTU_MAX:
            yield bad("networks", net.id, "mtu", f"{net.mtu} is not between {MTU_MIN} and {MTU_MAX} bytes")
        if not re.fullmatch(r"[0-9a-zA-Z-]{1,36}", net.id):
            yield bad("networks", net.id, "id", f"{net.id!r} is not a UUID")
    for subnet in cloud.subnets.values():
        if parse_network(subnet.cidr) is None:
            yield bad(
                "subnets", subnet.id, "cidr", f"{subnet.cidr!r} is not an IPv4 network (address/length, no host bits)"
            )
        if subnet.gateway_ip is not None and parse_address(subnet.gateway_ip) is None:
            yield bad("subnets", subnet.id, "gateway_ip", f"{subnet.gateway_ip!r} is not an IPv4 address")
        for index, pool in enumerate(subnet.allocation_pools):
            start, end = parse_address(pool.start), parse_address(pool.end)
            if start is None or end is None or start > end:
                yield bad(
                    "subnets",
                    subnet.id,
                    f"allocation_pools[{index}]",
                    f"{pool.start}-{pool.end} is not a range of IPv4 addresses",
                )
    for port in cloud.ports.values():
        if not MAC.match(port.mac_address) or int(port.mac_address[:2], 16) & 1:
            yield bad("ports", port.id, "mac_address", f"{port.mac_address!r} is not a lower-case unicast MAC address")
        for index, fixed in enumerate(port.fixed_ips):
            if parse_address(fixed.ip_address) is None:
                yield bad(
                    "ports", port.id, f"fixed_ips[{index}].ip_address", f"{fixed.ip_address!r} is not an IPv4 address"
                )
        for index, pair in enumerate(port.allowed_address_pairs):
            if parse_network(pair.ip_address) is None:
                yield bad(
                    "ports",
                    port.id,
                    f"allowed_address_pairs[{index}].ip_address",
                    f"{pair.ip_address!r} is not an IPv4 address or network",
                )
            if pair.mac_address is not None and not MAC.match(pair.mac_address):
                yield bad(
                    "ports",
                    port.id,
                    f"allowed_address_pairs[{index}].mac_address",
                    f"{pair.mac_address!r} is not a lower-case MAC address",
                )
    for fip in cloud.floating_ips.values():
        for field in ("floating_ip_address", "fixed_ip_address"):
            value = getattr(fip, field)
            if value is not None and parse_address(value) is None:
                yield bad("floating_ips", fip.id, field, f"{value!r} is not an IPv4 address")
    for router in cloud.routers.values():
        for index, route in enumerate(router.routes):
            if parse_network(route.destination) is None or parse_address(route.nexthop) is None:
                yield bad(
                    "routers",
                    router.id,
                    f"routes[{index}]",
                    f"{route.destination} via {route.nexthop} is not an IPv4 route",
                )
    for group in cloud.security_groups.values():
        for index, opening in enumerate(group.rules):
            for field, message in _rule_faults(opening):
                yield bad("security_groups", group.id, f"rules[{index}].{field}", message)
    for host in cloud.hosts.values():
        if host.tunnel_ip and parse_address(host.tunnel_ip) is None:
            yield bad("hosts", host.name, "tunnel_ip", f"{host.tunnel_ip!r} is not an IPv4 address")
        for name in (*host.bridge_mappings.values(), *host.bridge_nics.values()):
            if not name or len(name) > IFNAMSIZ or re.search(r"[\s/]", name):
                yield bad(
                    "hosts", host.name, "bridge_mappings", f"{name!r} is not a device name (1 to {IFNAMSIZ} characters)"
                )
        for device, mac in host.pins.macs.items():
            if not MAC.match(mac):
                yield bad("hosts", host.name, f"pins.macs.{device}", f"{mac!r} is not a lower-case MAC address")


def _rule_faults(opening: SecurityGroupRule) -> Iterator[tuple[str, str]]:
    low, high, protocol = opening.port_range_min, opening.port_range_max, opening.protocol
    if protocol is not None and protocol not in PROTOCOLS and not (protocol.isdigit() and int(protocol) <= 255):
        yield "protocol", f"{protocol!r} is not an IP protocol name or number"
    if (
        opening.remote_ip_prefix is not None
        and opening.ethertype == "IPv4"
        and parse_network(opening.remote_ip_prefix) is None
    ):
        yield "remote_ip_prefix", f"{opening.remote_ip_prefix!r} is not an IPv4 network"
    if opening.remote_ip_prefix is not None and opening.remote_group_id is not None:
        yield "remote_group_id", "a rule names a remote prefix or a remote group, not both"
    if protocol in ("icmp", "1"):
        if high is not None and low is None:
            yield "port_range_max", "an ICMP code needs a type (port_range_min)"
        if any(value is not None and not 0 <= value <= 255 for value in (low, high)):
            yield "port_range_min", "ICMP type and code are 0 to 255"
    elif low is not None or high is not None:
        if protocol not in WITH_PORTS:
            yield "port_range_min", f"protocol {protocol or 'any'} has no ports"
        elif low is None or high is None or not 1 <= low <= high <= 65535:
            yield "port_range_min", f"{low}-{high} is not a range of ports from 1 to 65535"


def known_references(cloud: Cloud) -> Iterator[Finding]:
    """Every id that one resource gives is that of another."""

    def missing(collection: str, identity: str, field: str, kind: str, wanted: str) -> Finding:
        return Finding(collection, identity, field, "known-reference", f"there is no {kind} {wanted!r}")

    for subnet in cloud.subnets.values():
        if subnet.network_id not in cloud.networks:
            yield missing("subnets", subnet.id, "network_id", "network", subnet.network_id)
    for port in cloud.ports.values():
        if port.network_id not in cloud.networks:
            yield missing("ports", port.id, "network_id", "network", port.network_id)
        for index, fixed in enumerate(port.fixed_ips):
            if fixed.subnet_id not in cloud.subnets:
                yield missing("ports", port.id, f"fixed_ips[{index}].subnet_id", "subnet", fixed.subnet_id)
        for index, group in enumerate(port.security_groups):
            if group not in cloud.security_groups:
                yield missing("ports", port.id, f"security_groups[{index}]", "security group", group)
        if port.binding_host_id and port.binding_host_id not in cloud.hosts:
            yield missing("ports", port.id, "binding_host_id", "host", port.binding_host_id)
        if port.device_owner.startswith("network:router") and port.device_id not in cloud.routers:
            yield missing("ports", port.id, "device_id", "router", port.device_id)
    for router in cloud.routers.values():
        gateway = router.external_gateway_info
        if gateway and gateway.network_id not in cloud.networks:
            yield missing("routers", router.id, "external_gateway_info.network_id", "network", gateway.network_id)
    for fip in cloud.floating_ips.values():
        if fip.floating_network_id not in cloud.networks:
            yield missing("floating_ips", fip.id, "floating_network_id", "network", fip.floating_network_id)
        if fip.port_id is not None and fip.port_id not in cloud.ports:
            yield missing("floating_ips", fip.id, "port_id", "port", fip.port_id)
        if fip.router_id is not None and fip.router_id not in cloud.routers:
            yield missing("floating_ips", fip.id, "router_id", "router", fip.router_id)
    for group_ in cloud.security_groups.values():
        for index, opening in enumerate(group_.rules):
            if opening.remote_group_id is not None and opening.remote_group_id not in cloud.security_groups:
                yield missing(
                    "security_groups",
                    group_.id,
                    f"rules[{index}].remote_group_id",
                    "security group",
                    opening.remote_group_id,
                )
    for server in cloud.servers.values():
        if server.host not in cloud.hosts:
            yield missing("servers", server.id, "host", "host", server.host)


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
    """Subnets of one network, and subnets behind one router, are disjoint."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for subnet in cloud.subnets.values():
        groups["network", subnet.network_id].append(subnet.id)
    for port in cloud.ports.values():
        if port.device_owner == OWNER_ROUTER_INTERFACE:
            groups["router", port.device_id] += [fixed.subnet_id for fixed in port.fixed_ips]
    seen: set[frozenset[str]] = set()
    for (kind, owner), ids in groups.items():
        ordered = sorted(dict.fromkeys(ids), key=lambda i: IPv4Network(cloud.subnets[i].cidr))
        for first, second in pairwise(ordered):
            if frozenset((first, second)) in seen or not IPv4Network(cloud.subnets[first].cidr).overlaps(
                IPv4Network(cloud.subnets[second].cidr)
            ):
                continue
            seen.add(frozenset((first, second)))
            late = second if list(cloud.subnets).index(second) > list(cloud.subnets).index(first) else first
            other = first if late == second else second
            yield Finding(
                "subnets",
                late,
                "cidr",
                "no-overlap",
                f"{cloud.subnets[late].cidr} overlaps {cloud.subnets[other].cidr} of subnet {other} on {kind} {owner}",
            )


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
                f"{fip.fixed_ip_address} is not an address of port {port.id} ({', '.join(own) or 'none'})",
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
            yield Finding(
                "floating_ips",
                fip.id,
                "router_id",
                "reachable-port",
                f"no router with a gateway on {network.name or network.id} has an interface on the subnet of {fip.fixed_ip_address}",
            )


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
    """Instances' ports stand on the instance's host; a floating IP's host has its agent gateway port and mapping; pins are consistent."""
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
        for field, pins in (
            ("local_vlans", host.pins.local_vlans),
            ("floating_ip_priorities", host.pins.floating_ip_priorities),
            ("link_local", host.pins.link_local),
        ):
            if len(set(pins.values())) != len(pins):
                yield Finding("hosts", host.name, f"pins.{field}", "unique-pin", "one value is pinned twice")
        if any(not 1 <= tag <= TAG_MAX for tag in host.pins.local_vlans.values()):
            yield Finding("hosts", host.name, "pins.local_vlans", "pin-range", f"local VLANs are 1 to {TAG_MAX}")
        if any(not 32768 <= priority <= 72767 for priority in host.pins.floating_ip_priorities.values()):
            yield Finding(
                "hosts",
                host.name,
                "pins.floating_ip_priorities",
                "pin-range",
                "floating-IP rule priorities are 32768 to 72767",
            )
