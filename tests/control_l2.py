"""Networks, subnets, pools and scopes as the API makes them, to try their rules on."""

from typing import Any

from control_cloud import MEMBER, PROJECT
from floatway.control.caller import Caller
from floatway.control.decide import address_scopes, networks, subnetpools, subnets
from floatway.control.draft import Draft
from floatway.control.entities import AddressScope, Network, Subnet, SubnetPool

__all__ = ["a_network", "a_pool", "a_scope", "a_subnet", "pools_of", "renetworked", "repooled", "resubnetted"]


def a_network(draft: Draft, caller: Caller = MEMBER, **values: Any) -> Network:
    """``provider_segmentation_id`` and the like stand for names with a colon."""
    given = {"project_id": caller.project_id or PROJECT, "name": "n", "mtu": 0, "shared": False} | _named(values)
    return networks.create(draft, caller, given)


def renetworked(draft: Draft, network: Network, caller: Caller = MEMBER, **values: Any) -> Network:
    return networks.update(draft, caller, network, _named(values))


def a_subnet(
    draft: Draft, network: Network, cidr: str | None = "10.0.0.0/24", caller: Caller = MEMBER, **values: Any
) -> Subnet:
    given = {"project_id": network.project_id, "network_id": network.id, "name": "s", "enable_dhcp": True}
    if cidr is not None:
        given["cidr"] = cidr
    given["ip_version"] = 6 if cidr and ":" in cidr else 4
    return subnets.create(draft, caller, given | values)


def resubnetted(draft: Draft, subnet: Subnet, caller: Caller = MEMBER, **values: Any) -> Subnet:
    return subnets.update(draft, caller, subnet, values)


def a_pool(draft: Draft, *prefixes: str, caller: Caller = MEMBER, **values: Any) -> SubnetPool:
    given = {"project_id": caller.project_id or PROJECT, "name": "p", "prefixes": list(prefixes)}
    return subnetpools.create(draft, caller, given | values)


def repooled(draft: Draft, pool: SubnetPool, caller: Caller = MEMBER, **values: Any) -> SubnetPool:
    return subnetpools.update(draft, caller, pool, values)


def a_scope(draft: Draft, version: int = 4, caller: Caller = MEMBER, **values: Any) -> AddressScope:
    given = {"project_id": caller.project_id or PROJECT, "name": "a", "ip_version": version, "shared": False}
    return address_scopes.create(draft, caller, given | values)


def pools_of(subnet: Subnet) -> list[str]:
    """A subnet's allocation pools, each as first-last."""
    return [f"{pool.start}-{pool.end}" for pool in subnet.allocation_pools]


def _named(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name.replace("provider_", "provider:", 1).replace("router_", "router:", 1): value
        for name, value in values.items()
    }
