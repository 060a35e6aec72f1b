"""The rules of scheduling by hand: which L3 agent has which routers, which DHCP agent which networks.

    POST   agents/A/l3-routers      {"router_id": R}         POST   agents/A/dhcp-networks      {"network_id": N}
    DELETE agents/A/l3-routers/R                             DELETE agents/A/dhcp-networks/N

A distributed router is wherever its ports are; by hand only its centralised part (SNAT) is put on an agent that has it.
"""

from typing import Any, Final, TypeVar

from floatway.control import entities as e
from floatway.control.decide import placement
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, bad_request, conflict
from floatway.control.snapshot import Readable

__all__ = ["add_network", "add_router", "agents_of", "objects_of", "remove_network", "remove_router"]

L3: Final = "L3 agent"
DHCP: Final = "DHCP agent"
_NO_CENTRE: Final = frozenset({"dvr", "dvr_no_external"})
E = TypeVar("E", bound=e.Entity)


def objects_of(model: Readable, agent: e.Agent, kind: type[E]) -> list[E]:
    """The routers or networks that an agent has."""
    found = (model.get(kind, binding.object_id) for binding in model.find(e.AgentBinding, "agent", agent.id))
    return [entity for entity in found if entity is not None]


def agents_of(model: Readable, object_id: str) -> list[e.Agent]:
    """The agents that have a router or network."""
    found = (model.get(e.Agent, binding.agent_id) for binding in model.find(e.AgentBinding, "object", object_id))
    return [agent for agent in found if agent is not None]


def add_router(draft: Draft, agent: e.Agent, body: Any) -> None:
    """Give an L3 agent a router.

    Raises:
        ApiError: 400, 404 InvalidL3Agent, 409.
    """
    router = draft.need(e.Router, _named(body, "router_id"))
    mode = agent.configurations.get("agent_mode", "legacy")
    if agent.agent_type != L3:
        raise _invalid(agent)
    if mode in _NO_CENTRE:
        raise conflict(
            "DVRL3CannotAssignToDvrAgent", "Not allowed to manually assign a router to an agent in 'dvr' mode."
        )
    if router.distributed and mode == "legacy":
        raise conflict(
            "RouterL3AgentMismatch", f"Cannot host distributed router {router.id} on legacy L3 agent {agent.id}."
        )
    if not agent.admin_state_up:
        raise _invalid(agent)
    others = agents_of(draft, router.id)
    if others and agent.id not in {other.id for other in others}:
        raise conflict(
            "RouterHostedByL3Agent",
            f"The router {router.id} has been already hosted by the L3 Agent {others[0].id}.",
        )
    draft.put(_binding(agent.id, router.id))
    placement.bind_ports(draft, router)


def remove_router(draft: Draft, agent: e.Agent, router_id: str) -> None:
    """Take a router from an L3 agent. If it is not there, all is well already.

    Raises:
        ApiError: 404 RouterNotFound, 409.
    """
    if agent.configurations.get("agent_mode") in _NO_CENTRE:
        raise conflict(
            "DVRL3CannotRemoveFromDvrAgent", "Not allowed to manually remove a router from an agent in 'dvr' mode."
        )
    router = draft.need(e.Router, router_id)
    binding = draft.get(e.AgentBinding, _id(agent.id, router_id))
    if binding is not None:
        draft.remove(binding)
        placement.bind_ports(draft, router)


def add_network(draft: Draft, agent: e.Agent, body: Any) -> None:
    """Give a DHCP agent a network.

    Raises:
        ApiError: 400, 404 InvalidDHCPAgent, 409.
    """
    network = draft.need(e.Network, _named(body, "network_id"))
    if agent.agent_type != DHCP or not agent.admin_state_up:
        raise ApiError(404, "InvalidDHCPAgent", f"Agent {agent.id} is not a valid DHCP Agent or has been disabled.")
    if draft.get(e.AgentBinding, _id(agent.id, network.id)) is not None:
        raise conflict(
            "NetworkHostedByDHCPAgent",
            f"The network {network.id} has been already hosted by the DHCP Agent {agent.id}.",
        )
    draft.put(_binding(agent.id, network.id))


def remove_network(draft: Draft, agent: e.Agent, network_id: str) -> None:
    """Take a network from a DHCP agent.

    Raises:
        ApiError: 409 NetworkNotHostedByDhcpAgent.
    """
    binding = draft.get(e.AgentBinding, _id(agent.id, network_id))
    if binding is None:
        raise conflict(
            "NetworkNotHostedByDhcpAgent", f"The network {network_id} is not hosted by the DHCP Agent {agent.id}."
        )
    draft.remove(binding)


def _invalid(agent: e.Agent) -> ApiError:
    return ApiError(404, "InvalidL3Agent", f"Agent {agent.id} is not a L3 Agent or has been disabled")


def _id(agent_id: str, object_id: str) -> str:
    return f"{agent_id}@{object_id}"


def _binding(agent_id: str, object_id: str) -> e.AgentBinding:
    return e.AgentBinding(id=_id(agent_id, object_id), agent_id=agent_id, object_id=object_id)


def _named(body: Any, name: str) -> str:
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, str):
        raise bad_request("HTTPBadRequest", f"Failed to parse request. Required attribute '{name}' not specified")
    return value
