"""Agents: what they report, whether they are heard, where they are, and what is scheduled to them by hand."""

from collections.abc import Callable
from typing import Any

import pytest

from control_cloud import ADMIN, PROJECT, a_draft, later, network_of, refused
from floatway.control.decide import agents, availability_zones, routers, schedulers
from floatway.control.draft import Draft
from floatway.control.entities import Agent, AgentBinding, Network, Router
from floatway.control.present_admin import agent_presenter

MISSING = "11111111-1111-4111-8111-111111111111"


def reported(draft: Draft, host: str = "h1", agent_type: str = "L3 agent", **more: Any) -> Agent:
    values = {"agent_type": agent_type, "host": host, "binary": "b", "configurations": {"agent_mode": "legacy"}}
    return agents.report(draft, values | more)


def router_of(draft: Draft, *, distributed: bool = False) -> Router:
    return routers.create(draft, ADMIN, {"project_id": PROJECT, "name": "r", "distributed": distributed})


def test_an_agent_is_one_by_its_type_and_host() -> None:
    draft = a_draft()
    first = reported(draft)
    agents.update(draft, ADMIN, first, {"admin_state_up": False, "description": "mine"})
    draft = later(draft)
    again = reported(draft, configurations={"agent_mode": "dvr"}, availability_zone="z")
    assert (again.id, again.admin_state_up, again.description) == (first.id, False, "mine")
    assert (again.configurations, again.availability_zone) == ({"agent_mode": "dvr"}, "z")
    assert (again.created_at, again.started_at) == (first.created_at, first.started_at)
    assert again.heartbeat_timestamp > first.heartbeat_timestamp
    assert reported(draft, started=True).started_at > first.started_at
    assert reported(draft, "h2").id != first.id
    assert reported(draft, agent_type="DHCP agent").id != first.id


def test_an_agent_that_is_silent_for_too_long_is_down() -> None:
    draft = a_draft(agent_down_seconds=75)
    agent = reported(draft)
    for silence, alive in ((0, True), (75, True), (76, False)):
        present, depends = agent_presenter(draft.settings, lambda silence=silence: draft.seconds + silence)
        assert present(draft, agent)["alive"] is alive
        assert depends(draft, agent) == (alive,)
    assert agents.is_alive(draft, agent)
    never = draft.put(Agent(id=MISSING, agent_type="x", binary="b", host="h"))
    assert not agents.is_alive(draft, never)


def test_agents_are_not_made_by_hand() -> None:
    refused(lambda: agents.create(a_draft(), ADMIN, {}), 400, "BadRequest", "Agent creation using API is not supported")


def test_a_forgotten_agent_leaves_what_it_had() -> None:
    draft = a_draft()
    agent, router = reported(draft), router_of(draft)
    schedulers.add_router(draft, agent, {"router_id": router.id})
    agents.delete(draft, ADMIN, agent)
    assert not list(draft.all(AgentBinding))
    assert draft.get(Router, router.id) is not None


def test_routers_are_given_to_one_agent_that_can_have_them() -> None:
    draft = a_draft()
    legacy, other = reported(draft, "h1"), reported(draft, "h2")
    dvr = reported(draft, "h3", configurations={"agent_mode": "dvr"})
    snat = reported(draft, "h4", configurations={"agent_mode": "dvr_snat"})
    router, distributed = router_of(draft), router_of(draft, distributed=True)
    for _ in range(2):
        schedulers.add_router(draft, legacy, {"router_id": router.id})
    assert schedulers.objects_of(draft, legacy, Router) == [router]
    assert schedulers.agents_of(draft, router.id) == [legacy]
    cannot: list[tuple[Agent, Router, int, str, str]] = [
        (other, router, 409, "RouterHostedByL3Agent", f"has been already hosted by the L3 Agent {legacy.id}."),
        (legacy, distributed, 409, "RouterL3AgentMismatch", "Cannot host distributed router"),
        (dvr, distributed, 409, "DVRL3CannotAssignToDvrAgent", "Not allowed to manually assign a router"),
    ]
    for agent, one, status, type_, words in cannot:
        refused(
            lambda agent=agent, one=one: schedulers.add_router(draft, agent, {"router_id": one.id}),
            status,
            type_,
            words,
        )
    schedulers.add_router(draft, snat, {"router_id": distributed.id})
    refused(lambda: schedulers.add_router(draft, other, {"router_id": MISSING}), 404, "RouterNotFound")
    for body in ({}, [], None, {"router_id": 5}):
        refused(lambda body=body: schedulers.add_router(draft, other, body), 400, "HTTPBadRequest", "'router_id'")


@pytest.mark.parametrize("why", ["disabled", "another type"])
def test_only_l3_agents_in_service_get_routers(why: str) -> None:
    draft = a_draft()
    agent = reported(draft, agent_type="L3 agent" if why == "disabled" else "DHCP agent")
    if why == "disabled":
        agent = agents.update(draft, ADMIN, agent, {"admin_state_up": False})
    router = router_of(draft)
    refused(
        lambda: schedulers.add_router(draft, agent, {"router_id": router.id}),
        404,
        "InvalidL3Agent",
        f"Agent {agent.id} is not a L3 Agent or has been disabled",
    )


def test_a_router_is_taken_from_an_agent() -> None:
    draft = a_draft()
    agent, router = reported(draft), router_of(draft)
    schedulers.add_router(draft, agent, {"router_id": router.id})
    for _ in range(2):
        schedulers.remove_router(draft, agent, router.id)
        assert schedulers.agents_of(draft, router.id) == []
    refused(lambda: schedulers.remove_router(draft, agent, MISSING), 404, "RouterNotFound", MISSING)
    dvr = reported(draft, "h2", configurations={"agent_mode": "dvr_no_external"})
    refused(lambda: schedulers.remove_router(draft, dvr, router.id), 409, "DVRL3CannotRemoveFromDvrAgent")


def test_networks_are_given_to_dhcp_agents_once() -> None:
    draft = a_draft()
    one, two = reported(draft, "h1", "DHCP agent"), reported(draft, "h2", "DHCP agent")
    network = network_of(draft)
    body = {"network_id": network.id}
    for agent in (one, two):
        schedulers.add_network(draft, agent, body)
    assert schedulers.objects_of(draft, one, Network) == [network]
    assert {agent.host for agent in schedulers.agents_of(draft, network.id)} == {"h1", "h2"}
    refused(
        lambda: schedulers.add_network(draft, one, body),
        409,
        "NetworkHostedByDHCPAgent",
        f"The network {network.id} has been already hosted by the DHCP Agent {one.id}.",
    )
    refused(lambda: schedulers.add_network(draft, reported(draft), body), 404, "InvalidDHCPAgent")
    schedulers.remove_network(draft, one, network.id)
    refused(
        lambda: schedulers.remove_network(draft, one, network.id),
        409,
        "NetworkNotHostedByDhcpAgent",
        f"The network {network.id} is not hosted by the DHCP Agent {one.id}.",
    )


def test_zones_are_where_agents_are() -> None:
    draft = a_draft()
    reported(draft, "h1", availability_zone="a")
    down = reported(draft, "h2", "DHCP agent", availability_zone="a")
    agents.update(draft, ADMIN, down, {"admin_state_up": False})
    reported(draft, "h3", "Open vSwitch agent", availability_zone="c")
    expected = [("a", "network", "unavailable"), ("a", "router", "available")]
    assert [tuple(zone.values()) for zone in availability_zones.zones(draft)] == expected
    reported(draft, "h4", "DHCP agent", availability_zone="a")
    assert {zone["state"] for zone in availability_zones.zones(draft)} == {"available"}


HINTS: list[tuple[str, Callable[[], list[str]], bool]] = [
    ("router", lambda: ["a"], True),
    ("router", lambda: [], True),
    ("network", lambda: ["a"], False),
    ("router", lambda: ["a", "b"], False),
]


@pytest.mark.parametrize(("resource", "wanted", "known"), HINTS)
def test_hints_are_of_zones_that_are_there(resource: str, wanted: Callable[[], list[str]], known: bool) -> None:
    draft = a_draft()
    reported(draft, availability_zone="a")
    if known:
        availability_zones.check_hints(draft, resource, wanted())
    else:
        refused(
            lambda: availability_zones.check_hints(draft, resource, wanted()),
            404,
            "AvailabilityZoneNotFound",
            f"AvailabilityZone {wanted()[-1]} could not be found.",
        )
