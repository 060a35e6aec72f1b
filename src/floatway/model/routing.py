"""Rules about addresses that a router or a subnet promises: next hops on a link, gateways outside the pools, external addresses once.

10.200.0.0/24 via 172.12.10.250   the next hop is on a subnet of one of the router's ports
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise

from floatway.model.cloud import Cloud
from floatway.model.resources import OWNER_ROUTER_INTERFACE, Router
from floatway.model.shape import Finding


def next_hops_are_on_a_link(cloud: Cloud) -> Iterator[Finding]:
    """A router's static route goes to a neighbour, and not to the router itself."""
    for router in cloud.routers.values():
        networks = [IPv4Network(cloud.subnets[subnet].cidr) for subnet in _subnets(cloud, router)]
        own = {fixed.ip_address for port in cloud.ports_by_device.get(router.id, ()) for fixed in port.fixed_ips}
        for index, route in enumerate(router.routes):
            known = ", ".join(str(net) for net in networks) or "none"
            message = ""
            if not any(IPv4Address(route.nexthop) in net for net in networks):
                message = f"{route.nexthop} is on no subnet of this router ({known})"
            elif route.nexthop in own:
                message = f"{route.nexthop} is this router's own address"
            if message:
                yield Finding("routers", router.id, f"routes[{index}].nexthop", "reachable-next-hop", message)


def _subnets(cloud: Cloud, router: Router) -> list[str]:
    """The subnets that a router has a link to, inside first."""
    inside = [
        fixed.subnet_id
        for port in cloud.ports_by_device.get(router.id, ())
        if port.device_owner == OWNER_ROUTER_INTERFACE
        for fixed in port.fixed_ips
    ]
    gateway = router.external_gateway_info
    outside = cloud.subnets_by_network.get(gateway.network_id, ()) if gateway else ()
    return list(dict.fromkeys([*inside, *(subnet.id for subnet in outside)]))


def pools_are_apart(cloud: Cloud) -> Iterator[Finding]:
    """A subnet's pools do not overlap, and none holds the gateway: it would be given to an instance."""
    for subnet in cloud.subnets.values():
        pools = [
            (IPv4Address(pool.start), IPv4Address(pool.end), index)
            for index, pool in enumerate(subnet.allocation_pools)
        ]
        for start, end, index in pools:
            if subnet.gateway_ip is not None and start <= IPv4Address(subnet.gateway_ip) <= end:
                message = f"{start}-{end} holds the gateway {subnet.gateway_ip}"
                yield Finding("subnets", subnet.id, f"allocation_pools[{index}]", "gateway-outside-pools", message)
        for (_, end, first), (start, _, second) in pairwise(sorted(pools)):
            if start <= end:
                path = f"allocation_pools[{max(first, second)}]"
                message = f"overlaps pool {min(first, second)}"
                yield Finding("subnets", subnet.id, path, "no-overlap", message)


def router_gateways_have_addresses_of_their_own(cloud: Cloud) -> Iterator[Finding]:
    """The external addresses of a router lie in its external network and belong to nobody else."""
    taken: dict[tuple[str, str], str] = {}
    for port in cloud.ports.values():
        for fixed in port.fixed_ips:
            if port.device_owner != "network:router_gateway":
                taken.setdefault((port.network_id, fixed.ip_address), f"port {port.id}")
    for fip in cloud.floating_ips.values():
        taken.setdefault((fip.floating_network_id, fip.floating_ip_address), f"floating IP {fip.id}")
    for router in cloud.routers.values():
        gateway = router.external_gateway_info
        for index, fixed in enumerate(gateway.external_fixed_ips if gateway else ()):
            assert gateway is not None
            subnet = cloud.subnets[fixed.subnet_id]
            path = f"external_gateway_info.external_fixed_ips[{index}]"
            if subnet.network_id != gateway.network_id:
                message = f"subnet {subnet.id} is not on network {gateway.network_id}"
                yield Finding("routers", router.id, f"{path}.subnet_id", "subnet-of-network", message)
            elif IPv4Address(fixed.ip_address) not in IPv4Network(subnet.cidr):
                message = f"{fixed.ip_address} is not in {subnet.cidr}"
                yield Finding("routers", router.id, f"{path}.ip_address", "fixed-ip-in-subnet", message)
            else:
                holder = "the gateway" if fixed.ip_address == subnet.gateway_ip else ""
                me = f"router {router.id}"
                other = holder or taken.setdefault((gateway.network_id, fixed.ip_address), me)
                if other != me:
                    message = f"{fixed.ip_address} is already taken by {other}"
                    yield Finding("routers", router.id, f"{path}.ip_address", "unique-ip", message)


def nobody_else_is_the_way_out(cloud: Cloud) -> Iterator[Finding]:
    """The gateway of an external subnet stands outside the cloud: no port may have its address."""
    for port in cloud.ports.values():
        if not cloud.networks[port.network_id].router_external:
            continue
        for index, fixed in enumerate(port.fixed_ips):
            if fixed.ip_address == cloud.subnets[fixed.subnet_id].gateway_ip:
                message = f"{fixed.ip_address} is the external gateway's"
                yield Finding("ports", port.id, f"fixed_ips[{index}].ip_address", "unique-ip", message)
