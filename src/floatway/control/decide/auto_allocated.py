"""The rules of topologies made on demand: «get me a network».

    GET /v2.0/auto-allocated-topology/PROJECT ─▶ network ─ subnets from the default pools ─ router ─ default external network

The second GET gives the same network; DELETE takes it all away.
"""

from typing import Any

import msgspec

from floatway.control import entities as e
from floatway.control.caller import ADMIN
from floatway.control.decide import dvr_ports, networks, router_interfaces, routers, subnetpools, subnets
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, conflict
from floatway.control.snapshot import Readable

__all__ = ["check", "delete", "provide"]


def check(draft: Draft) -> None:
    """Whether a topology could be made.

    Raises:
        ApiError: 409 AutoAllocationFailure, saying what an operator must set up.
    """
    _default_external(draft)
    if not _pools(draft):
        raise _failure("No default subnetpools defined")


def provide(draft: Draft, project_id: str) -> str:
    """The id of the project's network, made if need be.

    Raises:
        ApiError: 409 AutoAllocationFailure, or OverQuota.
    """
    known = draft.get(e.AutoAllocatedTopology, project_id)
    if known is not None:
        return known.network_id
    external = _default_external(draft)
    pools = _pools(draft)
    if not pools:
        raise _failure("Unable to provide project private network")
    network = networks.create(
        draft, ADMIN, {"project_id": project_id, "name": "auto_allocated_network", "admin_state_up": False}
    )
    made = [subnets.create(draft, ADMIN, _subnet(project_id, network, pool)) for pool in pools]
    router = routers.create(
        draft,
        ADMIN,
        {
            "project_id": project_id,
            "name": "auto_allocated_router",
            "external_gateway_info": {"network_id": external.id},
        },
    )
    for subnet in made:
        router_interfaces.add(draft, ADMIN, router, {"subnet_id": subnet.id})
    network = draft.need(e.Network, network.id)
    draft.put(msgspec.structs.replace(network, admin_state_up=True))
    draft.put(e.AutoAllocatedTopology(id=project_id, network_id=network.id, router_id=router.id))
    return network.id


def delete(draft: Draft, project_id: str) -> None:
    """Take it away; ports of instances on it are in the way.

    Raises:
        ApiError: 409 NetworkInUse, RouterInUse.
    """
    known = draft.get(e.AutoAllocatedTopology, project_id)
    if known is None:
        return
    router = draft.get(e.Router, known.router_id)
    if router is not None:
        for port in dvr_ports.interfaces(draft, router.id):
            router_interfaces.remove(draft, ADMIN, router, {"port_id": port.id})
        routers.delete(draft, ADMIN, draft.need(e.Router, router.id))
    network = draft.get(e.Network, known.network_id)
    if network is not None:
        networks.delete(draft, ADMIN, network)
    draft.remove(known)


def of(model: Readable, project_id: str) -> e.AutoAllocatedTopology | None:
    """The project's topology, if it has one."""
    return model.get(e.AutoAllocatedTopology, project_id)


def _failure(reason: str) -> ApiError:
    return conflict("AutoAllocationFailure", f"Deployment error: {reason}.")


def _default_external(draft: Draft) -> e.Network:
    for network in draft.find(e.Network, "external", True):
        if network.is_default:
            return network
    raise _failure("No default router:external network")


def _pools(draft: Draft) -> list[e.SubnetPool]:
    found = (subnetpools.default_pool(draft, version) for version in (4, 6))
    return [pool for pool in found if pool is not None]


def _subnet(project_id: str, network: e.Network, pool: e.SubnetPool) -> dict[str, Any]:
    return {
        "project_id": project_id,
        "name": f"auto_allocated_subnet_v{pool.ip_version}",
        "network_id": network.id,
        "ip_version": pool.ip_version,
        "subnetpool_id": pool.id,
        "enable_dhcp": True,
    }
