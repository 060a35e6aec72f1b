"""How networks, subnets, subnet pools and address scopes read in the API."""

from collections.abc import Callable
from typing import Any, Final

from floatway.control import entities as e
from floatway.control.present import basic
from floatway.control.snapshot import Readable

__all__ = ["DEPENDS", "PRESENT", "network", "subnet"]

_AGENT_TYPE: Final = "DHCP agent"


def network(model: Readable, network: e.Network) -> dict[str, Any]:
    """With its subnets, their address scopes, and the zones its DHCP agents are in."""
    shown = basic(network)
    subnets = model.find(e.Subnet, "network", network.id)
    shown["subnets"] = [subnet.id for subnet in subnets]
    shown["ipv4_address_scope"] = _scope(model, subnets, 4)
    shown["ipv6_address_scope"] = _scope(model, subnets, 6)
    shown["availability_zones"] = _zones(model, network)
    if not network.router_external:
        del shown["is_default"]
    return shown


def _scope(model: Readable, subnets: list[e.Subnet], version: int) -> str | None:
    for subnet in subnets:
        if subnet.ip_version == version and subnet.subnetpool_id:
            pool = model.get(e.SubnetPool, subnet.subnetpool_id)
            if pool is not None:
                return pool.address_scope_id
    return None


def _zones(model: Readable, network: e.Network) -> list[str]:
    agents = (model.get(e.Agent, binding.agent_id) for binding in model.find(e.AgentBinding, "object", network.id))
    return sorted({agent.availability_zone for agent in agents if agent is not None and agent.availability_zone})


def _network_depends(model: Readable, network: e.Network) -> tuple[object, ...]:
    subnets = model.find(e.Subnet, "network", network.id)
    bindings = model.find(e.AgentBinding, "object", network.id)
    return (
        *subnets,
        *(model.get(e.SubnetPool, subnet.subnetpool_id) for subnet in subnets if subnet.subnetpool_id),
        *bindings,
        *(model.get(e.Agent, binding.agent_id) for binding in bindings),
    )


def subnet(model: Readable, subnet: e.Subnet) -> dict[str, Any]:
    """With whether its network is external."""
    shown = basic(subnet)
    shown["router:external"] = _external(model, subnet)
    return shown


def _external(model: Readable, subnet: e.Subnet) -> bool:
    network = model.get(e.Network, subnet.network_id)
    return network is not None and network.router_external


def _subnet_depends(model: Readable, subnet: e.Subnet) -> tuple[object, ...]:
    return (_external(model, subnet),)


def plain(model: Readable, entity: e.Entity) -> dict[str, Any]:
    """What needs nothing computed."""
    del model
    return basic(entity)


def subnetpool(model: Readable, pool: e.SubnetPool) -> dict[str, Any]:
    """Prefix lengths are text, as they always were."""
    del model
    shown = basic(pool)
    for name in ("default_prefixlen", "min_prefixlen", "max_prefixlen"):
        shown[name] = str(shown[name])
    return shown


PRESENT: Final[dict[str, Callable[[Readable, Any], dict[str, Any]]]] = {
    e.Network.KIND: network,
    e.Subnet.KIND: subnet,
    e.SubnetPool.KIND: subnetpool,
    e.AddressScope.KIND: plain,
}
DEPENDS: Final[dict[str, Callable[[Readable, Any], tuple[object, ...]]]] = {
    e.Network.KIND: _network_depends,
    e.Subnet.KIND: _subnet_depends,
}
