"""Ports of a floating IP that lead to ports of instances: which may be led where, and what happens when an end goes."""

from typing import Any

import pytest

from control_cloud import ADMIN, MEMBER, OTHER, changed, network_of, port_of, refused, subnet_of
from control_l3 import Routed, router_of
from floatway.control import present_l3
from floatway.control.decide import floatingips, port_forwardings, ports, router_interfaces
from floatway.control.entities import FloatingIp, Port, PortForwarding

MISSING = "11111111-2222-4333-8444-555555555555"


def bad(message: str) -> str:
    return f"Bad port_forwarding request: {message}"


@pytest.fixture
def cloud() -> Routed:
    return Routed()


def ends(cloud: Routed) -> tuple[FloatingIp, Port]:
    return cloud.floating(), port_of(cloud.draft, cloud.network)


def update(cloud: Routed, forwarding: PortForwarding, **values: Any) -> PortForwarding:
    return port_forwardings.update(cloud.draft, MEMBER, cloud.draft.need(PortForwarding, forwarding.id), values)


def test_one_port_to_one_port(cloud: Routed) -> None:
    floating_ip, port = ends(cloud)
    cloud.later()
    forwarding = cloud.forward(floating_ip, port, description="ssh", protocol="TCP")
    shown = present_l3.port_forwarding(cloud.draft, forwarding)
    assert shown == {
        "id": forwarding.id,
        "protocol": "tcp",
        "internal_port_id": port.id,
        "internal_ip_address": port.fixed_ips[0].ip_address,
        "description": "ssh",
        "external_port": 2222,
        "internal_port": 22,
        "external_port_range": "2222:2222",
        "internal_port_range": "22:22",
    }
    after = cloud.draft.need(FloatingIp, floating_ip.id)
    assert (after.router_id, after.port_id) == (cloud.router.id, None)
    assert after.revision_number == floating_ip.revision_number + 1
    assert cloud.draft.need(Port, port.id).revision_number == port.revision_number + 1
    assert present_l3.floatingip(cloud.draft, after)["port_forwardings"] == [
        {
            "id": forwarding.id,
            "protocol": "tcp",
            "internal_port_id": port.id,
            "internal_ip_address": port.fixed_ips[0].ip_address,
            "external_port": 2222,
            "internal_port": 22,
        }
    ]


@pytest.mark.parametrize(
    ("external", "internal", "fits"),
    [("80:89", "8080:8089", True), ("80:89", "8080", True), ("80:89", "8080:8088", False), ("80", "8080:8081", False)],
)
def test_ranges_of_one_size_or_many_to_one(cloud: Routed, external: str, internal: str, fits: bool) -> None:
    floating_ip, port = ends(cloud)
    values = {"external_port": None, "internal_port": None}

    def forward() -> PortForwarding:
        return cloud.forward(floating_ip, port, **values, external_port_range=external, internal_port_range=internal)

    if not fits:
        refused(forward, 400, "BadRequest", "must be N-N or 1-N")
        return
    shown = present_l3.port_forwarding(cloud.draft, forward())
    assert shown["external_port_range"] == external
    assert "external_port" not in shown
    assert ("internal_port" in shown) == (":" not in internal)


def test_a_port_leads_one_way(cloud: Routed) -> None:
    floating_ip, port = ends(cloud)
    other = port_of(cloud.draft, cloud.network)
    cloud.forward(floating_ip, port)
    outside = refused(lambda: cloud.forward(floating_ip, other, internal_port=23), 400, "BadRequest")
    assert outside.message == bad(
        "There is a port collision with the external_port_range. The following ranges collide: 2222:2222 and 2222:2222."
    )
    refused(lambda: cloud.forward(floating_ip, port, external_port=2223), 400, "BadRequest", "internal_port_range")
    refused(
        lambda: cloud.forward(floating_ip, other, external_port=None, external_port_range="2220:2230"),
        400,
        "BadRequest",
        "2222:2222 and 2220:2230",
    )
    assert cloud.forward(floating_ip, port, protocol="udp").protocol == "udp"
    assert cloud.forward(cloud.floating(), other).external_port_start == 2222


def test_ports_are_named_once(cloud: Routed) -> None:
    floating_ip, port = ends(cloud)
    refused(lambda: cloud.forward(floating_ip, port, external_port=None), 400, "BadRequest")
    refused(lambda: cloud.forward(floating_ip, port, external_port_range="1:2"), 400, "BadRequest", "both")


def test_the_port_must_be_reached_from_outside(cloud: Routed) -> None:
    floating_ip, port = ends(cloud)
    refused(lambda: cloud.forward(floating_ip, port, internal_port_id=MISSING), 404, "PortNotFound", MISSING)
    refused(lambda: cloud.forward(floating_ip, port, OTHER), 404, "PortNotFound", port.id)
    refused(
        lambda: cloud.forward(floating_ip, port, internal_ip_address="10.0.0.250"),
        400,
        "BadRequest",
        "is not suitable for internal neutron port",
    )
    far = network_of(cloud.draft)
    subnet_of(cloud.draft, far, "10.9.0.0/24", gateway_ip="10.9.0.1")
    alone = port_of(cloud.draft, far)
    refused(lambda: cloud.forward(floating_ip, alone), 400, "BadRequest", "is not reachable from subnet")
    subnet_of(cloud.draft, bare := network_of(cloud.draft), "2001:db8:9::/64")
    v6 = port_of(cloud.draft, bare)
    refused(lambda: cloud.forward(floating_ip, v6), 400, "BadRequest", "must allocate an IPv4 address at least")


def test_all_ports_of_a_floating_ip_are_behind_one_router(cloud: Routed) -> None:
    floating_ip, port = ends(cloud)
    cloud.forward(floating_ip, port)
    network = network_of(cloud.draft)
    subnet = subnet_of(cloud.draft, network, "10.2.0.0/24", gateway_ip="10.2.0.1")
    second = router_of(cloud.draft, external_gateway_info={"network_id": cloud.outside.id})
    router_interfaces.add(cloud.draft, MEMBER, second, {"subnet_id": subnet.id})
    behind = port_of(cloud.draft, network)
    refused(
        lambda: cloud.forward(floating_ip, behind, external_port=99),
        400,
        "BadRequest",
        f"had been set on router {cloud.router.id}",
    )


def test_a_floating_ip_leads_to_one_port_or_to_ports(cloud: Routed) -> None:
    floating_ip, port = ends(cloud)
    cloud.forward(floating_ip, port)
    other = port_of(cloud.draft, cloud.network)
    refused(lambda: cloud.move(floating_ip, port_id=other.id), 409, "FipInUseByPortForwarding", floating_ip.id)
    refused(lambda: floatingips.delete(cloud.draft, MEMBER, floating_ip), 409, "FipInUseByPortForwarding")
    assert cloud.move(floating_ip, port_id=None).router_id == cloud.router.id
    refused(lambda: cloud.floating(port_id=port.id), 400, "PortHasPortForwarding", port.id)
    bound = cloud.floating(port_id=other.id)
    taken = refused(lambda: cloud.forward(cloud.floating(), other), 409, "PortHasBindingFloatingIP")
    assert f"{bound.floating_ip_address} ({bound.id})" in taken.message
    refused(lambda: cloud.forward(bound, port, external_port=3), 409, "FloatingIPPortAlreadyAssociated")


def test_a_central_router_serves_both() -> None:
    cloud = Routed(distributed=False)
    floating_ip, port = ends(cloud)
    cloud.forward(floating_ip, port)
    assert cloud.floating(port_id=port.id).port_id == port.id


def test_it_may_lead_elsewhere(cloud: Routed) -> None:
    floating_ip, port = ends(cloud)
    other = port_of(cloud.draft, cloud.network)
    first, second = cloud.forward(floating_ip, port), cloud.forward(floating_ip, other, external_port=2223)
    cloud.later()
    moved = update(
        cloud, first, internal_port_id=other.id, internal_ip_address=other.fixed_ips[0].ip_address, internal_port=80
    )
    assert (moved.internal_port_id, moved.internal_port_start, moved.revision_number) == (other.id, 80, 1)
    assert update(cloud, first, description="d").description == "d"
    assert update(cloud, first, protocol="UDP").protocol == "udp"
    update(cloud, first, protocol="tcp")
    same = refused(lambda: update(cloud, first, external_port=2223), 400, "BadRequest")
    assert same.message == bad(
        "Another port forwarding entry with the same attributes already exists, conflicting values are"
        f" {{'floating_ip_address': '{floating_ip.floating_ip_address}', 'external_port': 2223}}."
    )
    refused(lambda: update(cloud, first, internal_port=22), 400, "BadRequest", "'internal_port': 22")
    refused(lambda: update(cloud, second, internal_ip_address="10.0.0.250"), 400, "BadRequest")
    refused(lambda: update(cloud, second, internal_port_id=MISSING), 404, "PortNotFound")
    before = cloud.draft.changes()
    update(cloud, second, external_port=2223)
    assert cloud.draft.changes() == before


def test_the_last_one_frees_the_floating_ip(cloud: Routed) -> None:
    floating_ip, port = ends(cloud)
    one, two = (cloud.forward(floating_ip, port, external_port=at, internal_port=at) for at in (1, 2))
    port_forwardings.delete(cloud.draft, MEMBER, one)
    assert cloud.draft.need(FloatingIp, floating_ip.id).router_id == cloud.router.id
    port_forwardings.delete(cloud.draft, MEMBER, two)
    assert cloud.draft.need(FloatingIp, floating_ip.id).router_id is None
    floatingips.delete(cloud.draft, MEMBER, cloud.draft.need(FloatingIp, floating_ip.id))


def test_it_goes_with_its_port_or_address(cloud: Routed) -> None:
    floating_ip, port = ends(cloud)
    cloud.forward(floating_ip, port)
    changed(cloud.draft, cloud.draft.need(Port, port.id), fixed_ips=[{"ip_address": "10.0.0.99"}])
    assert not list(cloud.draft.all(PortForwarding))
    port = cloud.draft.need(Port, port.id)
    cloud.forward(floating_ip, port)
    ports.delete(cloud.draft, ADMIN, cloud.draft.need(Port, port.id))
    assert not list(cloud.draft.all(PortForwarding))
    assert cloud.draft.need(FloatingIp, floating_ip.id).router_id is None
