"""Interfaces of routers: by subnet or by port, what they must not overlap, what they are needed for, the SNAT ports beside them."""

import pytest

from control_cloud import (
    ADMIN,
    MEMBER,
    OTHER,
    PROJECT,
    STRANGER,
    addresses,
    network_of,
    port_of,
    refused,
    subnet_of,
)
from control_l3 import Routed, routes
from floatway.control.decide import ports, sharing
from floatway.control.entities import AllocationPool, Port, RbacPolicy, Router
from floatway.control.errors import ApiError

SNAT = "network:router_centralized_snat"
DISTRIBUTED = "network:router_interface_distributed"
V6 = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
MISSING = "11111111-2222-4333-8444-555555555555"


def bad(message: str) -> str:
    return f"Bad router request: {message}."


def test_by_subnet_the_port_has_the_gateways_address() -> None:
    cloud = Routed(inside=False)
    shown = cloud.attach(subnet_id=cloud.subnet.id)
    (port,) = cloud.ports(DISTRIBUTED)
    assert addresses(port) == ["10.0.0.1"]
    assert (port.project_id, port.device_id, port.binding_vif_type) == (PROJECT, cloud.router.id, "distributed")
    assert shown == {
        "id": cloud.router.id,
        "project_id": PROJECT,
        "port_id": port.id,
        "network_id": cloud.network.id,
        "subnet_id": cloud.subnet.id,
        "subnet_ids": [cloud.subnet.id],
    }


def test_by_port_it_has_its_own() -> None:
    cloud = Routed(inside=False, distributed=False)
    port = port_of(cloud.draft, cloud.network, fixed_ips=[{"ip_address": "10.0.0.50"}])
    assert cloud.attach(port_id=port.id)["subnet_ids"] == [cloud.subnet.id]
    port = cloud.draft.need(Port, port.id)
    assert (port.device_owner, addresses(port)) == ("network:router_interface", ["10.0.0.50"])
    assert cloud.detach(port_id=port.id)["port_id"] == port.id
    assert cloud.draft.get(Port, port.id) is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, "Either subnet_id or port_id must be specified"),
        ({}, "Either subnet_id or port_id must be specified"),
        ({"subnet_id": "x"}, "'x' is not a valid UUID"),
        ({"port_id": 7}, "'7' is not a valid UUID"),
        ({"port_id": "z" * 8 + "-zzzz-zzzz-zzzz-" + "z" * 12}, "is not a valid UUID"),
        ({"port_id": MISSING, "subnet_id": MISSING}, "Cannot specify both subnet-id and port-id"),
    ],
)
def test_one_of_the_two_is_named(body: dict[str, object] | None, message: str) -> None:
    cloud = Routed(inside=False)
    refused(lambda: cloud.attach(**body or {}), 400, "BadRequest", message)


def test_what_is_named_exists_for_the_caller() -> None:
    cloud = Routed(inside=False)
    refused(lambda: cloud.attach(subnet_id=MISSING), 404, "SubnetNotFound", MISSING)
    refused(lambda: cloud.attach(port_id=MISSING), 404, "PortNotFound", MISSING)
    theirs = network_of(cloud.draft, STRANGER)
    subnet = subnet_of(cloud.draft, theirs, "10.1.0.0/24", gateway_ip="10.1.0.1")
    port = port_of(cloud.draft, theirs, OTHER, project_id=STRANGER)
    refused(lambda: cloud.attach(subnet_id=subnet.id), 404, "SubnetNotFound", subnet.id)
    refused(lambda: cloud.attach(port_id=port.id), 404, "PortNotFound", port.id)
    assert cloud.attach(ADMIN, subnet_id=subnet.id)["subnet_id"] == subnet.id


def test_everybodys_network_is_not_everybodys_to_route() -> None:
    cloud = Routed(inside=False)
    theirs = network_of(cloud.draft, STRANGER)
    few = (AllocationPool("10.1.0.10", "10.1.0.20"),)
    subnet = subnet_of(cloud.draft, theirs, "10.1.0.0/24", gateway_ip="10.1.0.1", allocation_pools=few)

    def share(target: str) -> None:
        cloud.draft.put(
            RbacPolicy(
                id=cloud.draft.new_id(),
                object_type="network",
                object_id=theirs.id,
                action=sharing.SHARED,
                target_tenant=target,
            )
        )

    share("*")
    refused(lambda: cloud.attach(subnet_id=subnet.id), 400, "BadRequest", "is not owned by project making the request")
    outsider = port_of(cloud.draft, theirs, ADMIN, fixed_ips=[{"ip_address": "10.1.0.50"}])
    refused(lambda: cloud.attach(port_id=outsider.id), 400, "BadRequest", "out of the allocation pool of subnet")
    share(PROJECT)
    assert cloud.attach(subnet_id=subnet.id)["subnet_id"] == subnet.id


def test_ports_that_cannot_be_interfaces() -> None:
    cloud = Routed()
    used = port_of(cloud.draft, cloud.network, device_id="vm")
    error = refused(lambda: cloud.attach(port_id=used.id), 409, "PortInUse")
    assert error.message == (
        f"Unable to complete operation on port {used.id} for network {cloud.network.id}."
        " Port already has an attached device vm."
    )
    bare = port_of(cloud.draft, cloud.network, fixed_ips=[])
    refused(lambda: cloud.attach(port_id=bare.id), 400, "BadRequest", "must have at least one fixed IP")
    wide = network_of(cloud.draft)
    first, second = (subnet_of(cloud.draft, wide, f"10.{at}.0.0/24", gateway_ip=f"10.{at}.0.1") for at in (7, 8))
    both = port_of(cloud.draft, wide, fixed_ips=[{"subnet_id": first.id}, {"subnet_id": second.id}])
    refused(
        lambda: cloud.attach(port_id=both.id), 400, "BadRequest", "Cannot have multiple IPv4 subnets on router port"
    )


def test_subnets_that_cannot_be_routed() -> None:
    cloud = Routed()
    again = bad(f"Router already has a port on subnet {cloud.subnet.id}")
    assert refused(lambda: cloud.attach(subnet_id=cloud.subnet.id), 400, "BadRequest").message == again
    other = network_of(cloud.draft)
    ungated = subnet_of(cloud.draft, other, "10.5.0.0/24")
    refused(lambda: cloud.attach(subnet_id=ungated.id), 400, "BadRequest", "must have a gateway IP")
    same = subnet_of(cloud.draft, network_of(cloud.draft), "10.0.0.128/25", gateway_ip="10.0.0.129")
    overlap = bad(f"Cidr 10.0.0.128/25 of subnet {same.id} overlaps with cidr 10.0.0.0/24 of subnet {cloud.subnet.id}")
    assert refused(lambda: cloud.attach(subnet_id=same.id), 400, "BadRequest").message == overlap
    out = subnet_of(cloud.draft, network_of(cloud.draft), "203.0.113.128/25", gateway_ip="203.0.113.129")
    refused(lambda: cloud.attach(subnet_id=out.id), 400, "BadRequest", "overlaps with cidr 203.0.113.0/24")
    foreign = subnet_of(cloud.draft, other, "2001:db8:5::/64", gateway_ip="2001:db8:5::1", ipv6_address_mode="slaac")
    refused(lambda: cloud.attach(subnet_id=foreign.id), 400, "BadRequest", "RAs from an external router")


def test_ipv6_subnets_of_a_network_share_a_port() -> None:
    cloud = Routed()
    prefixes = [
        subnet_of(cloud.draft, cloud.network, f"2001:db8:{at}::/64", gateway_ip=f"2001:db8:{at}::1", **V6)
        for at in (1, 2)
    ]
    first, second = (cloud.attach(subnet_id=subnet.id) for subnet in prefixes)
    assert first["port_id"] == second["port_id"]
    assert second["subnet_ids"] == [prefixes[1].id]
    assert len(cloud.ports(DISTRIBUTED)) == 2
    v4, v6 = cloud.ports(SNAT)
    assert [ip.subnet_id for ip in v4.fixed_ips] == [cloud.subnet.id]
    assert {ip.subnet_id for ip in v6.fixed_ips} == {subnet.id for subnet in prefixes}
    cloud.detach(subnet_id=prefixes[0].id)
    port = cloud.draft.need(Port, second["port_id"])
    assert addresses(port) == ["2001:db8:2::1"]
    assert [ip.subnet_id for ip in cloud.ports(SNAT)[1].fixed_ips] == [prefixes[1].id]
    cloud.detach(subnet_id=prefixes[1].id)
    assert len(cloud.ports(DISTRIBUTED)) == len(cloud.ports(SNAT)) == 1


def test_one_ipv6_port_of_a_network_unless_distributed() -> None:
    for distributed in (False, True):
        cloud = Routed(distributed=distributed, inside=False)
        one = subnet_of(cloud.draft, cloud.network, "2001:db8:1::/64", gateway_ip="2001:db8:1::1")
        two = subnet_of(cloud.draft, cloud.network, "2001:db8:2::/64", gateway_ip="2001:db8:2::1")
        cloud.attach(subnet_id=one.id)
        port = port_of(cloud.draft, cloud.network, fixed_ips=[{"subnet_id": two.id}])
        if distributed:
            assert cloud.attach(port_id=port.id)["port_id"] == port.id
        else:
            refused(lambda it=(cloud, port): it[0].attach(port_id=it[1].id), 400, "BadRequest", "Only one IPv6 port")


def test_snat_ports_come_and_go_with_interfaces() -> None:
    cloud = Routed(inside=False)
    assert cloud.ports(SNAT) == []
    cloud.attach(subnet_id=cloud.subnet.id)
    (port,) = cloud.ports(SNAT)
    assert (port.project_id, port.device_id, port.network_id) == ("", cloud.router.id, cloud.network.id)
    refused(lambda: ports.delete(cloud.draft, ADMIN, port), 409, "ServicePortInUse", SNAT)
    cloud.detach(subnet_id=cloud.subnet.id)
    assert cloud.ports(SNAT) == []
    assert Routed(distributed=False).ports(SNAT) == []
    assert Routed(gateway=False).ports(SNAT) == []


def test_what_is_taken_away_is_there() -> None:
    cloud = Routed()
    other = Routed(inside=False)
    (port,) = cloud.ports(DISTRIBUTED)
    refused(lambda: cloud.detach(port_id=MISSING), 404, "RouterInterfaceNotFound", f"an interface with id {MISSING}")
    refused(lambda: cloud.detach(subnet_id=MISSING), 404, "SubnetNotFound")
    refused(
        lambda: other.detach(subnet_id=other.subnet.id),
        404,
        "RouterInterfaceNotFoundForSubnet",
        f"Router {other.router.id} has no interface on subnet {other.subnet.id}",
    )
    refused(lambda: cloud.detach(port_id=port.id, subnet_id=MISSING), 400, "SubnetMismatchForPort", MISSING)
    assert cloud.detach(port_id=port.id, subnet_id=cloud.subnet.id)["subnet_id"] == cloud.subnet.id


def test_dual_stack_interfaces_lose_one_family() -> None:
    cloud = Routed(inside=False)
    subnet = subnet_of(cloud.draft, cloud.network, "2001:db8:1::/64", gateway_ip="2001:db8:1::1")
    port = port_of(cloud.draft, cloud.network, fixed_ips=[{"subnet_id": cloud.subnet.id}, {"subnet_id": subnet.id}])
    shown = cloud.attach(port_id=port.id)
    assert len(shown["subnet_ids"]) == 2
    assert shown["subnet_id"] == shown["subnet_ids"][-1]
    cloud.detach(subnet_id=cloud.subnet.id)
    assert [ip.subnet_id for ip in cloud.draft.need(Port, port.id).fixed_ips] == [subnet.id]
    assert [ip.subnet_id for ip in cloud.ports(SNAT)[0].fixed_ips] == [subnet.id]


def test_an_interface_that_is_needed_stays() -> None:
    cloud = Routed()
    instance = port_of(cloud.draft, cloud.network)
    floating_ip = cloud.floating(port_id=instance.id)
    needed = "cannot be deleted, as it is required by one or more"

    def detach() -> dict[str, object]:
        return cloud.detach(subnet_id=cloud.subnet.id)

    refused(detach, 409, "RouterInterfaceInUseByFloatingIP", f"{needed} floating IPs.")
    cloud.move(floating_ip, port_id=None)
    forwarding = cloud.forward(floating_ip, instance)
    refused(detach, 409, "RouterInterfaceInUseByFloatingIP")
    ports.delete(cloud.draft, MEMBER, cloud.draft.need(Port, forwarding.internal_port_id))
    cloud.update(routes=routes(("192.0.2.0/24", "10.0.0.9")))
    refused(detach, 409, "RouterInterfaceInUseByRoute", f"{needed} routes.")
    refused(lambda: cloud.detach(port_id=cloud.ports(DISTRIBUTED)[0].id), 409, "RouterInterfaceInUseByRoute")
    cloud.update(routes=[])
    detach()


def test_a_refusal_changes_nothing() -> None:
    cloud = Routed()
    before = cloud.draft.model
    with pytest.raises(ApiError):
        cloud.attach(subnet_id=cloud.subnet.id)
    assert cloud.draft.model is before
    assert cloud.draft.need(Router, cloud.router.id) is cloud.router
