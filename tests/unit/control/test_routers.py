"""A router's life: made with the operator's defaults, distributed or not, with a way out, gone when nothing is attached."""

import pytest

from control_cloud import ADMIN, PROJECT, STRANGER, a_draft, addresses, network_of, refused, subnet_of
from control_l3 import Routed, outside_of, router_of, routes, stored
from floatway.control import present_l3
from floatway.control.decide import ports, routers, subnets
from floatway.control.entities import AgentBinding, Port, Quota, Router

SNAT = "network:router_centralized_snat"
GATEWAY = "network:router_gateway"
DISTRIBUTED = "network:router_interface_distributed"
CENTRAL = "network:router_interface"


def test_a_router_has_the_operators_default() -> None:
    assert router_of(a_draft()).distributed
    assert not router_of(a_draft(router_distributed=False)).distributed
    assert not router_of(a_draft(), ADMIN, distributed=False).distributed


def test_it_reads_as_the_api_says() -> None:
    cloud = Routed()
    shown = present_l3.router(cloud.draft, cloud.router)
    port = cloud.ports(GATEWAY)[0]
    assert shown["external_gateway_info"] == {
        "network_id": cloud.outside.id,
        "enable_snat": True,
        "external_fixed_ips": port.fixed_ips,
    }
    assert (shown["status"], shown["routes"], shown["availability_zones"]) == ("ACTIVE", (), [])
    assert shown["tenant_id"] == shown["project_id"] == PROJECT
    assert shown["ha"] is False


def test_quota_and_zones_are_asked() -> None:
    draft = a_draft()
    draft.put(Quota(id=PROJECT, limits={"router": 1}))
    router_of(draft)
    refused(lambda: router_of(draft), 409, "OverQuota", "router")
    refused(lambda: router_of(a_draft(), availability_zone_hints=["az9"]), 404, "AvailabilityZoneNotFound", "az9")


def test_the_gateways_port_belongs_to_nobody() -> None:
    cloud = Routed(inside=False)
    port = cloud.ports(GATEWAY)[0]
    assert (port.project_id, port.device_id, port.network_id) == ("", cloud.router.id, cloud.outside.id)
    assert not port.port_security_enabled
    refused(lambda: ports.delete(cloud.draft, ADMIN, port), 409, "ServicePortInUse", GATEWAY)


def test_a_gateway_with_an_address_of_ones_own() -> None:
    cloud = Routed(gateway=False)
    cloud.set_gateway(external_fixed_ips=[{"ip_address": "203.0.113.77"}], enable_snat=False)
    assert addresses(cloud.ports(GATEWAY)[0]) == ["203.0.113.77"]
    assert cloud.router.gateway is not None
    assert not cloud.router.gateway.enable_snat
    cloud.set_gateway(external_fixed_ips=[{"subnet_id": cloud.outer.id, "ip_address": "203.0.113.78"}])
    (port,) = cloud.ports(GATEWAY)
    assert addresses(port) == ["203.0.113.78"]
    assert cloud.router.gateway.enable_snat
    error = refused(
        lambda: cloud.set_gateway(external_fixed_ips=[{"ip_address": "203.0.113.1"}]), 400, "BadRequest", "gateway IP"
    )
    assert error.message == "Bad router request: External IP 203.0.113.1 is the same as the gateway IP."
    refused(lambda: cloud.set_gateway(external_fixed_ips=[{"ip_address": "192.0.2.9"}]), 400, "InvalidIpForNetwork")


def test_a_gateway_is_on_an_external_network_that_overlaps_nothing() -> None:
    cloud = Routed(gateway=False)
    refused(
        lambda: cloud.update(external_gateway_info={"network_id": cloud.network.id}),
        400,
        "BadRequest",
        f"Network {cloud.network.id} is not an external network",
    )
    missing = "11111111-2222-4333-8444-555555555555"
    refused(lambda: cloud.update(external_gateway_info={"network_id": missing}), 404, "NetworkNotFound", missing)
    hidden = network_of(cloud.draft, STRANGER, router_external=True)
    refused(lambda: cloud.update(external_gateway_info={"network_id": hidden.id}), 404, "NetworkNotFound", hidden.id)
    subnet_of(cloud.draft, cloud.outside, "10.0.0.128/25", gateway_ip="10.0.0.129")
    refused(cloud.set_gateway, 400, "BadRequest", "10.0.0.128/25", "overlaps with cidr 10.0.0.0/24")


def test_another_gateway_replaces_the_first() -> None:
    cloud = Routed()
    before = cloud.ports(GATEWAY)[0]
    snat = cloud.ports(SNAT)
    other, _ = outside_of(cloud.draft, "198.51.100.0/24", "198.51.100.1")
    cloud.update(external_gateway_info={"network_id": other.id})
    (port,) = cloud.ports(GATEWAY)
    assert port.id != before.id
    assert port.network_id == other.id
    assert len(cloud.ports(SNAT)) == len(snat) == 1


def test_a_gateway_moves_between_the_subnets_outside() -> None:
    cloud = Routed(inside=False)
    second = subnet_of(cloud.draft, cloud.outside, "198.51.100.0/24", gateway_ip="198.51.100.1")
    for subnet in (second, cloud.outer):
        cloud.set_gateway(external_fixed_ips=[{"subnet_id": subnet.id}])
        (port,) = cloud.ports(GATEWAY)
        assert [ip.subnet_id for ip in port.fixed_ips] == [subnet.id]
    has = {"subnet_id": cloud.outer.id, "ip_address": addresses(port)[0]}
    cloud.set_gateway(external_fixed_ips=[has, {"subnet_id": second.id}])
    (port,) = cloud.ports(GATEWAY)
    assert {ip.subnet_id for ip in port.fixed_ips} == {cloud.outer.id, second.id}
    assert has["ip_address"] in addresses(port)
    inner = [{"subnet_id": cloud.subnet.id}]
    refused(lambda: cloud.set_gateway(external_fixed_ips=inner), 400, "InvalidInput", cloud.subnet.id)


def test_an_outside_without_subnets_gives_its_addresses_later() -> None:
    cloud = Routed(gateway=False)
    bare = network_of(cloud.draft, router_external=True)
    cloud.update(external_gateway_info={"network_id": bare.id})
    assert addresses(cloud.ports(GATEWAY)[0]) == []
    for cidr, version in (("198.51.100.0/24", 4), ("198.51.101.0/24", 4), ("2001:db8:f::/64", 6)):
        subnets.create(
            cloud.draft,
            ADMIN,
            {"network_id": bare.id, "project_id": "", "ip_version": version, "cidr": cidr},
        )
    assert sorted(address.split(".")[0].split(":")[0] for address in addresses(cloud.ports(GATEWAY)[0])) == [
        "198",
        "2001",
    ]


@pytest.mark.parametrize("nothing", [None, {}])
def test_the_gateway_goes_with_what_it_brought(nothing: object) -> None:
    cloud = Routed()
    assert len(cloud.ports(SNAT)) == 1
    cloud.update(external_gateway_info=nothing)
    assert cloud.router.gateway is None
    assert cloud.ports(SNAT) == cloud.ports(GATEWAY) == []


def test_floating_ips_and_routes_keep_the_gateway() -> None:
    cloud = Routed()
    port = ports.create(cloud.draft, ADMIN, {"network_id": cloud.network.id, "project_id": PROJECT})
    floating_ip = cloud.floating(port_id=port.id)
    gateway = f"gateway to external network {cloud.outside.id} is required"
    refused(lambda: cloud.update(external_gateway_info=None), 409, "RouterExternalGatewayInUseByFloatingIp", gateway)
    cloud.move(floating_ip, port_id=None)
    cloud.update(routes=routes(("192.0.2.0/24", "203.0.113.200")))
    refused(lambda: cloud.update(external_gateway_info=None), 400, "InvalidRoutes", "203.0.113.200")
    cloud.update(external_gateway_info=None, routes=[])
    assert (cloud.router.gateway, cloud.router.routes) == (None, ())


def test_an_external_subnet_of_another_family_gives_the_gateway_an_address() -> None:
    cloud = Routed()
    v6 = {"network_id": cloud.outside.id, "project_id": "", "ip_version": 6, "cidr": "2001:db8:f::/64"}
    subnets.create(cloud.draft, ADMIN, v6)
    (port,) = cloud.ports(GATEWAY)
    assert sorted(":" in address for address in addresses(port)) == [False, True]


def test_distributed_changes_while_it_is_down() -> None:
    cloud = Routed()
    refused(lambda: cloud.update(ADMIN, distributed=False), 400, "BadRequest", "set router admin_state_up to False")
    refused(lambda: cloud.update(ADMIN, distributed=False, admin_state_up=False), 400, "BadRequest")
    cloud.update(admin_state_up=False)
    refused(lambda: cloud.update(ADMIN, distributed=False, admin_state_up=True), 400, "BadRequest")
    assert cloud.update(distributed=True).distributed
    cloud.update(ADMIN, distributed=False)
    (interface,) = cloud.ports(CENTRAL)
    assert interface.binding_vif_type == "unbound"
    assert cloud.ports(SNAT) == cloud.ports(DISTRIBUTED) == []
    cloud.update(ADMIN, distributed=True)
    (interface,) = cloud.ports(DISTRIBUTED)
    assert interface.binding_vif_type == "distributed"
    assert len(cloud.ports(SNAT)) == 1


def test_a_router_in_use_stays() -> None:
    cloud = Routed()
    (interface,) = cloud.ports(DISTRIBUTED)
    error = refused(lambda: routers.delete(cloud.draft, ADMIN, cloud.router), 409, "RouterInUse", interface.id)
    assert error.message == f"Router {cloud.router.id} has ports still attached: {interface.id}"


def test_a_router_goes_with_its_gateway_and_schedule() -> None:
    cloud = Routed(inside=False)
    id_ = cloud.router.id
    cloud.draft.put(AgentBinding(id=f"a@{id_}", agent_id="a", object_id=id_))
    routers.delete(cloud.draft, ADMIN, cloud.router)
    assert cloud.draft.get(Router, id_) is None
    assert not list(cloud.draft.all(Port))
    assert not list(cloud.draft.all(AgentBinding))


def test_routes_have_a_neighbour_that_is_not_the_router() -> None:
    cloud = Routed()
    cloud.update(routes=routes(("192.0.2.0/24", "10.0.0.9"), ("198.51.100.0/24", "203.0.113.9")))
    assert cloud.router.routes == stored(("192.0.2.0/24", "10.0.0.9"), ("198.51.100.0/24", "203.0.113.9"))
    error = refused(
        lambda: cloud.update(routes=routes(("192.0.2.0/24", "10.9.0.9"))),
        400,
        "InvalidRoutes",
        "the nexthop is not connected with router",
    )
    assert error.message.startswith(
        "Invalid format for routes: [{'destination': '192.0.2.0/24', 'nexthop': '10.9.0.9'}]"
    )
    refused(lambda: cloud.update(routes=routes(("192.0.2.0/24", "10.0.0.1"))), 400, "InvalidRoutes", "used by router")
    cloud.update(routes=None)
    assert cloud.router.routes == ()


def test_routes_are_counted() -> None:
    cloud = Routed()
    cloud.draft.put(Quota(id=PROJECT, limits={"router_route": 2}))
    many = [(f"192.0.2.{at}/32", "10.0.0.9") for at in range(3)]
    refused(lambda: cloud.update(routes=routes(*many)), 409, "OverQuota", "router_route")
    assert len(cloud.update(routes=routes(*many[:2])).routes) == 2


def test_routes_are_added_and_removed_one_by_one() -> None:
    cloud = Routed()
    a, b, c = ("192.0.2.0/24", "10.0.0.8"), ("192.0.2.0/24", "10.0.0.9"), ("198.51.100.0/24", "10.0.0.9")
    add, remove = routers.ACTIONS["add_extraroutes"], routers.ACTIONS["remove_extraroutes"]
    add(cloud.draft, ADMIN, cloud.router, {"router": {"routes": routes(a, b, a)}})
    assert add(cloud.draft, ADMIN, cloud.router, {"router": {"routes": routes(b, c)}})["router"] == cloud.router
    assert cloud.router.routes == stored(a, b, c)
    remove(cloud.draft, ADMIN, cloud.router, {"router": {"routes": routes(a, ("192.0.2.0/24", "10.0.0.77"))}})
    assert cloud.router.routes == stored(b, c)
    for broken in (None, {}, {"router": {}}, {"router": {"routes": "x"}}, {"router": {"routes": [{"nexthop": "1"}]}}):
        refused(lambda body=broken: add(cloud.draft, ADMIN, cloud.router, body), 400, "HTTPBadRequest")
    mixed = routes(("192.0.2.0/24", "2001:db8::1"))
    refused(lambda: add(cloud.draft, ADMIN, cloud.router, {"router": {"routes": mixed}}), 400, "InvalidInput")


def test_interfaces_move_the_routers_revision() -> None:
    cloud = Routed(inside=False)
    revisions = [cloud.router.revision_number]
    for change in (cloud.attach, cloud.detach):
        cloud.later()
        change(subnet_id=cloud.subnet.id)
        revisions.append(cloud.router.revision_number)
    assert revisions == [0, 1, 2]


def test_a_router_fails_while_a_host_cannot_make_it() -> None:
    draft = a_draft()
    router = router_of(draft)
    for host, state, status in (("h1", "ERROR", "ERROR"), ("h2", "ACTIVE", "ERROR"), ("h1", "ACTIVE", "ACTIVE")):
        router = routers.reported(draft, router, host, state)
        assert router.status == status
