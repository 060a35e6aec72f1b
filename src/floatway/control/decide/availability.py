"""How many addresses a network has, and how many are taken: what GET /v2.0/network-ip-availabilities counts."""

from collections.abc import Sequence
from typing import Any, Final

from floatway.control import entities as e
from floatway.control import prefixes as p
from floatway.control.snapshot import Readable

__all__ = ["of_network", "total"]

_DETAILS: Final = (
    "total_ips_in_subnet",
    "total_ips_in_allocation_pool",
    "used_ips_in_subnet",
    "used_ips_in_allocation_pool",
)


def of_network(model: Readable, network: e.Network) -> dict[str, Any]:
    """The document. A subnet's total is the size of its pools; every allocation counts as used, in a pool or not."""
    return {
        "network_id": network.id,
        "network_name": network.name,
        "project_id": network.project_id,
        "tenant_id": network.project_id,
        **total([_of_subnet(model, subnet) for subnet in model.find(e.Subnet, "network", network.id)]),
    }


def total(subnets: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a network's document says of these subnets together."""
    details = [subnet["ip_availability_details"] for subnet in subnets]
    return {
        "total_ips": sum(subnet["total_ips"] for subnet in subnets),
        "used_ips": sum(subnet["used_ips"] for subnet in subnets),
        "subnet_ip_availability": subnets,
        "ip_availability_details": {name: sum(one[name] for one in details) for name in _DETAILS},
    }


def _of_subnet(model: Readable, subnet: e.Subnet) -> dict[str, Any]:
    pools = [(p.number(pool.start), p.number(pool.end)) for pool in subnet.allocation_pools]
    pooled = sum(end - start + 1 for start, end in pools)
    every = p.network(subnet.cidr).num_addresses
    used = [
        p.number(ip.ip_address)
        for port in model.find(e.Port, "subnet", subnet.id)
        for ip in port.fixed_ips
        if ip.subnet_id == subnet.id
    ]
    return {
        "subnet_id": subnet.id,
        "subnet_name": subnet.name,
        "ip_version": subnet.ip_version,
        "cidr": subnet.cidr,
        "total_ips": pooled or every,
        "used_ips": len(used),
        "ip_availability_details": {
            # of IPv4, Neutron leaves out the network's own address and broadcast, however small the subnet
            "total_ips_in_subnet": every - 2 if subnet.ip_version == 4 else every,
            "total_ips_in_allocation_pool": pooled,
            "used_ips_in_subnet": len(used),
            "used_ips_in_allocation_pool": sum(1 for one in used if any(start <= one <= end for start, end in pools)),
        },
    }
