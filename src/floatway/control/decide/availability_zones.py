"""Availability zones: what the agents say they are in, and the hints that networks and routers may give.

a zone of the resource «network» is where a DHCP agent is, one of «router» where an L3 agent is
"""

from collections.abc import Iterable
from typing import Any, Final

from floatway.control import entities as e
from floatway.control.draft import Draft
from floatway.control.errors import ApiError
from floatway.control.settings import Settings
from floatway.control.snapshot import Readable

__all__ = ["check_hints", "hints", "zones"]

_AGENTS: Final = {"network": "DHCP agent", "router": "L3 agent"}


def zones(model: Readable) -> list[dict[str, Any]]:
    """Every zone and resource; available while any of its agents is administratively up."""
    found: dict[tuple[str, str], bool] = {}
    for resource, agent_type in _AGENTS.items():
        for agent in model.find(e.Agent, "type", agent_type):
            if agent.availability_zone:
                key = (agent.availability_zone, resource)
                found[key] = found.get(key, False) or agent.admin_state_up
    return [
        {"name": name, "resource": resource, "state": "available" if up else "unavailable"}
        for (name, resource), up in sorted(found.items())
    ]


def check_hints(draft: Draft, resource: str, wanted: Iterable[str]) -> None:
    """Whether there is an agent of the resource in each zone.

    Raises:
        ApiError: 404 AvailabilityZoneNotFound.
    """
    known = {agent.availability_zone for agent in draft.find(e.Agent, "type", _AGENTS[resource])}
    for zone in wanted:
        if zone not in known:
            raise ApiError(404, "AvailabilityZoneNotFound", f"AvailabilityZone {zone} could not be found.")


def hints(settings: Settings, wanted: Iterable[str]) -> tuple[str, ...]:
    """The hints that count: those given, else the operator's."""
    return tuple(wanted) or settings.default_availability_zones
