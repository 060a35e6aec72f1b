"""First the shape: every address, MAC, number and name is one, and every id that is given is somebody's."""

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Network, NetmaskValueError

import msgspec

from floatway.model.cloud import Cloud
from floatway.model.resources import SecurityGroupRule
from floatway.net.address import is_multicast_mac

MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")
PROTOCOLS = frozenset(
    "any icmp tcp udp ah dccp egp esp gre igmp ipip ospf pgm rsvp sctp udplite vrrp".split()  # noqa: SIM905
)
WITH_PORTS = frozenset({"tcp", "udp", "sctp", "dccp", "udplite", "6", "17", "33", "132", "136"})
MTU_MIN, MTU_MAX = 68, 65535
IFNAMSIZ = 15
ID = re.compile(r"[0-9a-zA-Z](?:[0-9a-zA-Z-]{0,35})")
MACHINE = re.compile(r"(?![.-])[^/\x00-\x1f\x7f]{1,64}")
DEVICE = re.compile(rf"[^\s/:]{{1,{IFNAMSIZ}}}")
LINK_LOCAL = IPv4Network("169.254.64.0/18")


class Finding(msgspec.Struct, frozen=True):
    """A rule broken by one resource: ``collection`` and ``id`` say whose, ``field`` what of it."""

    collection: str
    id: str
    field: str
    rule: str
    message: str


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


def _is_written_out(text: str) -> bool:
    """Is it address/length, as the tools print it? A bare address and a netmask are other words for the same."""
    return str(parse_network(text)) == text


def _unicast(mac: str) -> bool:
    return bool(MAC.fullmatch(mac)) and not is_multicast_mac(mac) and mac != "00:00:00:00:00:00"


def bad(collection: str, identity: str, field: str, message: str) -> Finding:
    """What has not the form that its field asks for."""
    return Finding(collection, identity, field, "well-formed", message)


def well_formed(cloud: Cloud) -> Iterator[Finding]:
    """Addresses, prefixes, MACs, numbers and names that are none."""
    for check in (_names, _networks, _subnets, _ports, _floating_ips, _routes, _gateways, _openings, _hosts):
        yield from check(cloud)


def _names(cloud: Cloud) -> Iterator[Finding]:
    for collection in ("networks", "subnets", "ports", "routers", "floating_ips", "security_groups", "servers"):
        for identity in getattr(cloud, collection):
            if not ID.fullmatch(identity):
                yield bad(collection, identity, "id", f"{identity!r} is not an id: 1 to 36 letters, digits and dashes")
    for server in cloud.servers.values():
        if server.name and not MACHINE.fullmatch(server.name):
            yield bad(
                "servers",
                server.id,
                "name",
                f"{server.name!r} is not a name for a machine (no slash, at most 64 characters)",
            )


def _networks(cloud: Cloud) -> Iterator[Finding]:
    for net in cloud.networks.values():
        if not MTU_MIN <= net.mtu <= MTU_MAX:
            yield bad("networks", net.id, "mtu", f"{net.mtu} is not between {MTU_MIN} and {MTU_MAX} bytes")


def _subnets(cloud: Cloud) -> Iterator[Finding]:
    for subnet in cloud.subnets.values():
        if not _is_written_out(subnet.cidr):
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


def _ports(cloud: Cloud) -> Iterator[Finding]:
    for port in cloud.ports.values():
        if not _unicast(port.mac_address):
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
            if pair.mac_address is not None and not _unicast(pair.mac_address):
                yield bad(
                    "ports",
                    port.id,
                    f"allowed_address_pairs[{index}].mac_address",
                    f"{pair.mac_address!r} is not a lower-case unicast MAC address",
                )


def _floating_ips(cloud: Cloud) -> Iterator[Finding]:
    for fip in cloud.floating_ips.values():
        for field in ("floating_ip_address", "fixed_ip_address"):
            value = getattr(fip, field)
            if value is not None and parse_address(value) is None:
                yield bad("floating_ips", fip.id, field, f"{value!r} is not an IPv4 address")


def _routes(cloud: Cloud) -> Iterator[Finding]:
    routes = [("routers", r.id, "routes", r.routes) for r in cloud.routers.values()]
    routes += [("subnets", s.id, "host_routes", s.host_routes) for s in cloud.subnets.values()]
    for collection, identity, field, given in routes:
        for index, route in enumerate(given):
            if not _is_written_out(route.destination) or parse_address(route.nexthop) is None:
                message = f"{route.destination} via {route.nexthop} is not an IPv4 route"
                yield bad(collection, identity, f"{field}[{index}]", message)


def _gateways(cloud: Cloud) -> Iterator[Finding]:
    for router in cloud.routers.values():
        gateway = router.external_gateway_info
        for index, fixed in enumerate(gateway.external_fixed_ips if gateway else ()):
            if parse_address(fixed.ip_address) is None:
                path = f"external_gateway_info.external_fixed_ips[{index}].ip_address"
                yield bad("routers", router.id, path, f"{fixed.ip_address!r} is not an IPv4 address")


def _openings(cloud: Cloud) -> Iterator[Finding]:
    for group in cloud.security_groups.values():
        for index, opening in enumerate(group.rules):
            for field, message in _rule_faults(opening):
                yield bad("security_groups", group.id, f"rules[{index}].{field}", message)


def _hosts(cloud: Cloud) -> Iterator[Finding]:
    for host in cloud.hosts.values():
        if host.tunnel_ip and parse_address(host.tunnel_ip) is None:
            yield bad("hosts", host.name, "tunnel_ip", f"{host.tunnel_ip!r} is not an IPv4 address")
        if not MACHINE.fullmatch(host.name):
            yield bad(
                "hosts",
                host.name,
                "name",
                f"{host.name!r} is not a name for a machine (no slash, at most 64 characters)",
            )
        for field, table in (("bridge_mappings", host.bridge_mappings), ("bridge_nics", host.bridge_nics)):
            for key, name in table.items():
                if not DEVICE.fullmatch(name) or name in (".", ".."):
                    message = f"{name!r} is not a device name (1 to {IFNAMSIZ} characters, no space, slash or colon)"
                    yield bad("hosts", host.name, f"{field}.{key}", message)
        for fixed_ip in host.pins.floating_ip_priorities:
            if parse_address(fixed_ip) is None:
                message = f"{fixed_ip!r} is not an IPv4 address"
                yield bad("hosts", host.name, f"pins.floating_ip_priorities.{fixed_ip}", message)
        for router_id, text in host.pins.link_local.items():
            address = parse_address(text)
            if address is None or address not in LINK_LOCAL or int(address) & 1:
                message = f"{text!r} is not the lower address of a /31 in {LINK_LOCAL}"
                yield bad("hosts", host.name, f"pins.link_local.{router_id}", message)
        for device, mac in host.pins.macs.items():
            if not _unicast(mac):
                yield bad("hosts", host.name, f"pins.macs.{device}", f"{mac!r} is not a lower-case unicast MAC address")
            if not DEVICE.fullmatch(device):
                yield bad("hosts", host.name, f"pins.macs.{device}", f"{device!r} is not a device name")


def _is_network(text: str, ethertype: str) -> bool:
    try:
        IPv4Network(text) if ethertype == "IPv4" else IPv6Network(text)
    except ValueError:
        return False
    return True


def _is_protocol(text: str, ethertype: str) -> bool:
    if re.fullmatch(r"[0-9]{1,3}", text):
        return int(text) <= 255
    return text in PROTOCOLS or (ethertype == "IPv6" and text in ("icmpv6", "ipv6-icmp"))


def _rule_faults(opening: SecurityGroupRule) -> Iterator[tuple[str, str]]:
    low, high, protocol = opening.port_range_min, opening.port_range_max, opening.protocol
    if protocol is not None and not _is_protocol(protocol, opening.ethertype):
        yield "protocol", f"{protocol!r} is not an IP protocol name or number"
    if opening.remote_ip_prefix is not None and not _is_network(opening.remote_ip_prefix, opening.ethertype):
        yield "remote_ip_prefix", f"{opening.remote_ip_prefix!r} is not an {opening.ethertype} network (no host bits)"
    if opening.remote_ip_prefix is not None and opening.remote_group_id is not None:
        yield "remote_group_id", "a rule names a remote prefix or a remote group, not both"
    if protocol in ("icmp", "1", "icmpv6", "ipv6-icmp"):
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
        for index, fixed in enumerate(gateway.external_fixed_ips if gateway else ()):
            if fixed.subnet_id not in cloud.subnets:
                path = f"external_gateway_info.external_fixed_ips[{index}].subnet_id"
                yield missing("routers", router.id, path, "subnet", fixed.subnet_id)
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
