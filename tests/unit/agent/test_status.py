"""What a host says of its part: each thing's status follows from what is missing, and from what it cannot be without."""

import msgspec
import pytest

from floatway.agent.status import difference, truth
from floatway.compile.host import Origin
from floatway.model.cloud import Cloud, put
from floatway.model.load import load_cloud
from floatway.model.resources import OWNER_AGENT_GATEWAY
from floatway.model.stream import Status
from lab.support import REFERENCE

HOST = "cy2-compute02"
PORT, FLOATING_IP = "8aa5e3b4-6c0b-4d77-8c45-146cacf576ec", "2e9b7c41-0d5f-4b8a-93c6-7f1e2d3c4b06"
ROUTER, EXTERNAL = "d3218b9c-73bb-4788-87e4-5828625fe586", "eddc07d8-7544-4f3a-b9f4-27f005fb114f"


@pytest.fixture
def cloud() -> Cloud:
    return load_cloud(REFERENCE)


def way_out(cloud: Cloud) -> str:
    return next(port.id for port in cloud.ports.values() if port.device_owner == OWNER_AGENT_GATEWAY)


def test_all_that_is_made_is_active(cloud: Cloud) -> None:
    said = truth(cloud, HOST, 7)
    assert said.applied == 7
    assert {*said.ports.values(), *said.floating_ips.values(), *said.routers.values()} == {Status("ACTIVE")}
    assert {PORT, way_out(cloud)} <= said.ports.keys()
    assert (said.floating_ips.keys(), said.routers.keys()) == ({FLOATING_IP}, {ROUTER})


def test_what_is_not_plugged_is_down_and_nothing_else(cloud: Cloud) -> None:
    said = truth(cloud, HOST, 7, waiting=[f"tap{PORT[:11]}"])
    assert said.ports.pop(PORT) == Status("DOWN")
    assert {*said.ports.values(), *said.floating_ips.values(), *said.routers.values()} == {Status("ACTIVE")}


@pytest.mark.parametrize("what", ["itself", "router", "external network", "agent gateway", "host"])
def test_a_floating_ip_is_in_error_with_what_it_cannot_be_without(cloud: Cloud, what: str) -> None:
    origins: dict[str, Origin] = {
        "itself": ("floating_ip", FLOATING_IP),
        "router": ("router", ROUTER),
        "external network": ("network", EXTERNAL),
        "agent gateway": ("port", way_out(cloud)),
        "host": ("host", HOST),
    }
    said = truth(cloud, HOST, 7, blocked={origins[what]: "ip link add: no room"})
    assert said.floating_ips == {FLOATING_IP: Status("ERROR", "ip link add: no room")}
    assert (said.ports[PORT].state == "ERROR") == (what == "host")


def test_a_router_that_is_down_has_no_floating_ips(cloud: Cloud) -> None:
    down = put(cloud, msgspec.structs.replace(cloud.routers[ROUTER], admin_state_up=False))
    said = truth(down, HOST, 7)
    assert said.floating_ips == {FLOATING_IP: Status("DOWN")} and said.routers == {}
    told = difference(truth(cloud, HOST, 6), said)
    assert told.routers == {ROUTER: Status("DOWN")} and told.ports[way_out(cloud)] == Status("DOWN")
    assert PORT not in told.ports


def test_what_was_touched_is_told_even_if_it_is_as_before(cloud: Cloud) -> None:
    before = truth(cloud, HOST, 6)
    assert difference(before, truth(cloud, HOST, 7)).ports == {}
    assert difference(before, truth(cloud, HOST, 7), {("ports", PORT)}).ports == {PORT: Status("ACTIVE")}
    assert difference(None, before).fresh
