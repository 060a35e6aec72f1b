"""How many addresses a network has, and how many are taken: what GET /v2.0/network-ip-availabilities counts."""

from typing import Any

from floatway.control import entities as e
from floatway.control import prefixes as p
from floatway.control.snapshot import Readable

__all__ = ["of_network"]


def of_network(model: Readable, network: e.Network) -> dict[str, Any]:
    """The document. A subnet's total is the size of its pools; every allocation counts as used, in a pool or not."""
    subnets = model.find(e.Subnet, "network", network.id)
    shown = [_of_subnet(model, subnet) for subnet in subnets]
    return {
        "network_id": network.id,
        "network_name": network.name,
        "project_id": network.project_id,
        "tenant_id": network.project_id,
        "total_ips": sum(one["total_ips"] for one in shown),
        "used_ips": sum(one["used_ips"] for one in shown),
        "subnet_ip_availability": shown,
    }


def _of_subnet(model: Readable, subnet: e.Subnet) -> dict[str, Any]:
    pools = [(p.number(pool.start), p.number(pool.end)) for pool in subnet.allocation_pools]
    total = sum(end - start + 1 for start, end in pools) or p.network(subnet.cidr).num_addresses
    return {
        "subnet_id": subnet.id,
        "subnet_name": subnet.name,
        "ip_version": subnet.ip_version,
        "cidr": subnet.cidr,
        "total_ips": total,
        "used_ips": sum(
            1 for port in model.find(e.Port, "subnet", subnet.id) for ip in port.fixed_ips if ip.subnet_id == subnet.id
        ),
    }
