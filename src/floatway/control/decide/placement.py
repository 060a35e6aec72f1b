"""Where the central part of a router is: the L3 agent that has its gateway, SNAT and, unless it is distributed, everything.

    distributed    gateway port, SNAT ports                 an agent of mode dvr_snat
    central        gateway port, interfaces                 an agent of mode legacy or dvr_snat

A router is placed once it has something to do there, on the agent of its zones that has the fewest; it stays until it is
moved by hand or the agent is deleted. Its ports are bound to the agent's host.
"""

from typing import Final

from floatway.control import entities as e
from floatway.control.caller import ADMIN
from floatway.control.decide import agents, dvr_ports, owners, ports
from floatway.control.draft import Draft

__all__ = ["L3_AGENT", "agent_came", "agent_gone", "bind_ports", "sync", "withdraw"]

L3_AGENT: Final = "L3 agent"
_CENTRES: Final = frozenset({"legacy", "dvr_snat"})
_CENTRAL: Final = frozenset({owners.ROUTER_GATEWAY, owners.CENTRALIZED_SNAT, owners.ROUTER_INTERFACE})


def sync(draft: Draft, router: e.Router) -> None:
    """Place the router if it needs a place and has none, and its ports with it."""
    if _needs_place(draft, router) and not draft.has(e.AgentBinding, "object", router.id):
        agent = _best(draft, router)
        if agent is not None:
            draft.put(e.AgentBinding(id=f"{agent.id}@{router.id}", agent_id=agent.id, object_id=router.id))
    bind_ports(draft, router)


def withdraw(draft: Draft, router: e.Router) -> None:
    """Nowhere any more."""
    for binding in draft.find(e.AgentBinding, "object", router.id):
        draft.remove(binding)
    bind_ports(draft, router)


def bind_ports(draft: Draft, router: e.Router) -> None:
    """Bind the ports of the central part to the host where it is."""
    host = _host(draft, router)
    for port in draft.find(e.Port, "device", router.id):
        if port.device_owner in _CENTRAL and port.binding_host_id != host:
            ports.update(draft, ADMIN, port, {"binding:host_id": host})


def agent_came(draft: Draft, agent: e.Agent) -> None:
    """What waited for an agent like this has a place now. A thousand that come back at once and have no centre cost nothing."""
    if agent.agent_type == L3_AGENT and agent.configurations.get("agent_mode", "legacy") in _CENTRES:
        for router in sorted(draft.all(e.Router), key=lambda router: router.sequence):
            sync(draft, router)


def agent_gone(draft: Draft, routers: list[str]) -> None:
    """What an agent had that is deleted goes to others."""
    for router_id in routers:
        router = draft.get(e.Router, router_id)
        if router is not None:
            sync(draft, router)


def _needs_place(draft: Draft, router: e.Router) -> bool:
    return router.gateway is not None or (not router.distributed and bool(dvr_ports.interfaces(draft, router.id)))


def _host(draft: Draft, router: e.Router) -> str:
    for binding in draft.find(e.AgentBinding, "object", router.id):
        agent = draft.get(e.Agent, binding.agent_id)
        if agent is not None:
            return agent.host
    return ""


def _best(draft: Draft, router: e.Router) -> e.Agent | None:
    modes = {"dvr_snat"} if router.distributed else _CENTRES
    hints = router.availability_zone_hints
    able = [
        agent
        for agent in draft.find(e.Agent, "type", L3_AGENT)
        if agent.admin_state_up
        and agent.configurations.get("agent_mode", "legacy") in modes
        and (not hints or agent.availability_zone in hints)
        and agents.is_usable(draft, agent)
    ]
    return min(able, key=lambda agent: len(draft.bucket(e.AgentBinding, "agent", agent.id)), default=None)
