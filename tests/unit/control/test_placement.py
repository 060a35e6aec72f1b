"""Where a router's central part is: the agent that can have it and has the fewest, until it is deleted or an operator moves it."""

import pytest

from control_cloud import ADMIN, refused
from control_l3 import Routed, l3_agent_of, router_of
from floatway.control import present_l3
from floatway.control.decide import agents, schedulers
from floatway.control.entities import Agent, AgentBinding

CENTRAL = {"network:router_gateway", "network:router_centralized_snat", "network:router_interface"}


def hosts(cloud: Routed) -> set[str]:
    """Of the ports of the central part."""
    found = [port for owner in CENTRAL for port in cloud.ports(owner)]
    assert found
    return {port.binding_host_id for port in found}


def placed(cloud: Routed) -> list[str]:
    return [agent.host for agent in schedulers.agents_of(cloud.draft, cloud.router.id)]


@pytest.mark.parametrize(
    ("mode", "distributed", "expected"),
    [
        ("dvr_snat", True, ["h1"]),
        ("dvr", True, []),
        ("legacy", True, []),
        ("legacy", False, ["h1"]),
        ("dvr_snat", False, ["h1"]),
        ("dvr", False, []),
    ],
)
def test_the_agent_can_have_it(mode: str, distributed: bool, expected: list[str]) -> None:
    cloud = Routed(gateway=False, inside=False, distributed=distributed)
    l3_agent_of(cloud.draft, "h1", mode)
    cloud.set_gateway()
    cloud.attach(subnet_id=cloud.subnet.id)
    assert placed(cloud) == expected
    assert hosts(cloud) == set(expected or [""])


def test_the_one_with_the_fewest() -> None:
    cloud = Routed(gateway=False)
    for host in ("h1", "h2"):
        l3_agent_of(cloud.draft, host, "dvr_snat")
    way_out = {"network_id": cloud.outside.id}
    for _ in range(3):
        router_of(cloud.draft, external_gateway_info=way_out)
    cloud.set_gateway()
    found = cloud.draft.find(Agent, "type", "L3 agent")
    assert [len(cloud.draft.bucket(AgentBinding, "agent", agent.id)) for agent in found] == [2, 2]


def test_zones_are_kept_to() -> None:
    cloud = Routed(gateway=False)
    said = {"agent_type": "L3 agent", "configurations": {"agent_mode": "dvr_snat"}}
    for host, zone in (("h1", "az1"), ("h2", "az2")):
        agents.report(cloud.draft, {**said, "host": host, "availability_zone": zone})
    way_out = {"network_id": cloud.outside.id}
    for _ in range(2):
        router = router_of(cloud.draft, external_gateway_info=way_out, availability_zone_hints=["az2"])
        assert present_l3.router(cloud.draft, router)["availability_zones"] == ["az2"]


def test_an_agent_that_comes_later_takes_what_waits() -> None:
    cloud = Routed()
    assert hosts(cloud) == {""}
    said = {"agent_type": "L3 agent", "configurations": {"agent_mode": "dvr_snat"}}
    first = agents.report(cloud.draft, {**said, "host": "h1"})
    assert hosts(cloud) == {"h1"}
    agents.report(cloud.draft, {**said, "host": "h2"})
    assert hosts(cloud) == {"h1"}
    agents.delete(cloud.draft, ADMIN, first)
    assert hosts(cloud) == {"h2"}


def test_by_hand() -> None:
    cloud = Routed()
    first, second = (l3_agent_of(cloud.draft, host, "dvr_snat") for host in ("h1", "h2"))
    schedulers.add_router(cloud.draft, first, {"router_id": cloud.router.id})
    assert hosts(cloud) == {"h1"}
    refused(
        lambda: schedulers.add_router(cloud.draft, second, {"router_id": cloud.router.id}),
        409,
        "RouterHostedByL3Agent",
    )
    schedulers.remove_router(cloud.draft, first, cloud.router.id)
    assert hosts(cloud) == {""}
    schedulers.add_router(cloud.draft, second, {"router_id": cloud.router.id})
    assert hosts(cloud) == {"h2"}


def test_without_a_gateway_a_distributed_router_is_nowhere() -> None:
    cloud = Routed(gateway=False)
    l3_agent_of(cloud.draft, "h1", "dvr_snat")
    cloud.set_gateway()
    assert placed(cloud) == ["h1"]
    cloud.update(external_gateway_info=None)
    assert placed(cloud) == []
