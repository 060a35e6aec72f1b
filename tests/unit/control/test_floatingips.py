"""A floating IP's life: an address of the outside that leads to one fixed address, elsewhere, or nowhere."""

import pytest

from control_cloud import (
    ADMIN,
    MEMBER,
    OTHER,
    PROJECT,
    STRANGER,
    addresses,
    agent_of,
    changed,
    network_of,
    port_of,
    refused,
    subnet_of,
)
from control_l3 import Routed, l3_agent_of, outside_of
from floatway.control import present_l3
from floatway.control.decide import agents, bindings, floatingips, networks, ports, routers
from floatway.control.entities import FloatingIp, Network, Port, Quota

HOLDER = "network:floatingip"
AGENT_GATEWAY = "network:floatingip_agent_gateway"
MISSING = "11111111-2222-4333-8444-555555555555"


def bad(message: str) -> str:
    return f"Bad floatingip request: {message}."


def on_host(cloud: Routed, host: str = "h1") -> Port:
    return port_of(cloud.draft, cloud.network, ADMIN, device_owner="compute:nova", binding_host_id=host)


def now(cloud: Routed, floating_ip: FloatingIp) -> FloatingIp:
    return cloud.draft.need(FloatingIp, floating_ip.id)


def test_an_address_that_leads_nowhere_yet() -> None:
    cloud = Routed()
    floating_ip = cloud.floating(description="d", tags=["a"])
    (holder,) = cloud.ports(HOLDER)
    assert floating_ip.status == "DOWN"
    assert (floating_ip.port_id, floating_ip.fixed_ip_address, floating_ip.router_id) == (None, None, None)
    assert [floating_ip.floating_ip_address] == addresses(holder)
    assert (holder.project_id, holder.device_id, holder.status) == ("", floating_ip.id, "N/A")
    refused(lambda: ports.delete(cloud.draft, ADMIN, holder), 409, "ServicePortInUse", HOLDER)
    floatingips.delete(cloud.draft, MEMBER, floating_ip)
    assert cloud.ports(HOLDER) == []


def test_it_reads_as_the_api_says() -> None:
    cloud = Routed()
    port = port_of(cloud.draft, cloud.network, name="p", device_id="vm")
    shown = present_l3.floatingip(cloud.draft, cloud.floating(port_id=port.id))
    assert shown["router_id"] == cloud.router.id
    assert shown["fixed_ip_address"] == port.fixed_ips[0].ip_address
    assert shown["port_details"] == {
        "name": "p",
        "network_id": cloud.network.id,
        "mac_address": port.mac_address,
        "admin_state_up": True,
        "status": "DOWN",
        "device_id": "vm",
        "device_owner": "",
    }
    assert shown["port_forwardings"] == []
    assert "floating_port_id" not in shown


def test_the_address_may_be_chosen() -> None:
    cloud = Routed()
    second = subnet_of(cloud.draft, cloud.outside, "198.51.100.0/24", gateway_ip="198.51.100.1")
    assert cloud.floating(floating_ip_address="203.0.113.9").floating_ip_address == "203.0.113.9"
    assert cloud.floating(subnet_id=second.id).floating_ip_address.startswith("198.51.100.")
    refused(lambda: cloud.floating(floating_ip_address="203.0.113.9"), 409, "IpAddressAlreadyAllocated")
    refused(lambda: cloud.floating(floating_ip_address="192.0.2.9"), 400, "InvalidIpForNetwork")
    both = {"subnet_id": second.id, "floating_ip_address": "203.0.113.10"}
    refused(lambda: cloud.floating(**both), 400, "InvalidIpForSubnet")
    refused(lambda: cloud.floating(subnet_id=cloud.subnet.id), 400, "InvalidInput", cloud.subnet.id)


def test_the_network_is_external_and_has_ipv4() -> None:
    cloud = Routed()
    inner = bad(f"Network {cloud.network.id} is not a valid external network")
    assert refused(lambda: cloud.floating(floating_network_id=cloud.network.id), 400, "BadRequest").message == inner
    refused(lambda: cloud.floating(floating_network_id=MISSING), 404, "NetworkNotFound")
    v6, _ = outside_of(cloud.draft, "2001:db8:f::/64", "2001:db8:f::1")
    refused(lambda: cloud.floating(floating_network_id=v6.id), 400, "BadRequest", "does not contain any IPv4 subnet")
    hidden = network_of(cloud.draft, STRANGER, router_external=True)
    refused(lambda: cloud.floating(floating_network_id=hidden.id), 404, "NetworkNotFound", hidden.id)


def test_quota_and_exhaustion() -> None:
    cloud = Routed(gateway=False)
    cloud.draft.put(Quota(id=PROJECT, limits={"floatingip": 1}))
    cloud.floating()
    refused(cloud.floating, 409, "OverQuota", "floatingip")
    small, _ = outside_of(cloud.draft, "198.51.100.0/30", "198.51.100.1")
    cloud.draft.put(Quota(id=PROJECT, limits={"floatingip": -1}))
    cloud.floating(floating_network_id=small.id)
    refused(lambda: cloud.floating(floating_network_id=small.id), 409, "IpAddressGenerationFailure", small.id)


def test_it_moves_from_port_to_port() -> None:
    cloud = Routed()
    first, second = port_of(cloud.draft, cloud.network), port_of(cloud.draft, cloud.network)
    floating_ip = cloud.floating(port_id=first.id)
    moved = cloud.move(floating_ip, port_id=second.id)
    assert (moved.port_id, moved.fixed_ip_address) == (second.id, second.fixed_ips[0].ip_address)
    assert cloud.move(floating_ip, description="x").port_id == second.id
    assert cloud.move(floating_ip).port_id is None
    cloud.move(floating_ip, port_id=second.id)
    left = cloud.move(floating_ip, port_id=None)
    assert (left.port_id, left.fixed_ip_address, left.router_id, left.status) == (None, None, None, "DOWN")
    assert left.floating_ip_address == floating_ip.floating_ip_address


def test_which_of_several_addresses() -> None:
    cloud = Routed()
    two = [{"ip_address": "10.0.0.10"}, {"ip_address": "10.0.0.11"}]
    port = port_of(cloud.draft, cloud.network, fixed_ips=two)
    refused(lambda: cloud.floating(port_id=port.id), 400, "BadRequest", "has multiple fixed IPv4 addresses.  Must")
    refused(
        lambda: cloud.floating(port_id=port.id, fixed_ip_address="10.0.0.12"),
        400,
        "BadRequest",
        bad(f"Port {port.id} does not have fixed ip 10.0.0.12"),
    )
    refused(lambda: cloud.floating(port_id=port.id, fixed_ip_address="::1"), 400, "BadRequest", "not an IPv4 address")
    first = cloud.floating(port_id=port.id, fixed_ip_address="10.0.0.10")
    taken = refused(
        lambda: cloud.floating(port_id=port.id, fixed_ip_address="10.0.0.10"), 409, "FloatingIPPortAlreadyAssociated"
    )
    assert "using fixed IP 10.0.0.10, as that fixed IP already has a floating IP" in taken.message
    second = cloud.floating(port_id=port.id, fixed_ip_address="10.0.0.11")
    refused(
        lambda: cloud.move(second, port_id=port.id, fixed_ip_address="10.0.0.10"),
        409,
        "FloatingIPPortAlreadyAssociated",
    )
    cloud.move(first, port_id=None)
    again = cloud.move(second, port_id=port.id, fixed_ip_address="10.0.0.10")
    assert again.fixed_ip_address == "10.0.0.10"
    without = bad("fixed_ip_address cannot be specified without a port_id")
    for wrong in ({"fixed_ip_address": "10.0.0.10"}, {"fixed_ip_address": "10.0.0.10", "port_id": None}):
        error = refused(lambda values=wrong: cloud.move(second, **values), 400, "BadRequest")
        assert error.message == without
    refused(lambda: cloud.floating(fixed_ip_address="10.0.0.10"), 400, "BadRequest", without)


def test_ports_that_cannot_have_one() -> None:
    cloud = Routed()
    refused(lambda: cloud.floating(port_id=MISSING), 404, "PortNotFound", MISSING)
    leases = port_of(cloud.draft, cloud.network, ADMIN, device_owner="network:dhcp")
    refused(lambda: cloud.floating(port_id=leases.id), 400, "BadRequest", "unable to be assigned a floating IP")
    bare = port_of(cloud.draft, cloud.network, fixed_ips=[])
    refused(lambda: cloud.floating(port_id=bare.id), 400, "BadRequest", "has no fixed IPv4 addresses")
    direct = port_of(cloud.draft, cloud.network, ADMIN, binding_vnic_type="direct")
    refused(lambda: cloud.floating(port_id=direct.id), 400, "BadRequest", "VNIC type is not valid")
    far = network_of(cloud.draft)
    subnet = subnet_of(cloud.draft, far, "10.9.0.0/24", gateway_ip="10.9.0.1")
    port = port_of(cloud.draft, far)
    error = refused(lambda: cloud.floating(port_id=port.id), 404, "ExternalGatewayForFloatingIPNotFound")
    assert error.message == (
        f"External network {cloud.outside.id} is not reachable from subnet {subnet.id}.  Therefore, cannot associate"
        f" Port {port.id} with a Floating IP."
    )


def test_a_port_of_another_project_is_not_there() -> None:
    cloud = Routed()
    theirs = port_of(cloud.draft, cloud.network, ADMIN, project_id=STRANGER)
    refused(
        lambda: cloud.floating(OTHER, project_id=STRANGER, port_id=port_of(cloud.draft, cloud.network).id),
        404,
        "PortNotFound",
    )
    seen = bad(
        f"Cannot process floating IP association with Port {theirs.id}, since that port is owned by a different project"
    )
    assert refused(lambda: cloud.floating(port_id=theirs.id), 400, "BadRequest").message == seen
    assert cloud.floating(ADMIN, port_id=theirs.id).port_id == theirs.id


def test_the_subnets_own_gateway_is_preferred() -> None:
    cloud = Routed()
    later_one = routers.create(cloud.draft, ADMIN, {"project_id": PROJECT})
    routers.update(cloud.draft, ADMIN, later_one, {"external_gateway_info": {"network_id": cloud.outside.id}})
    beside = port_of(cloud.draft, cloud.network, fixed_ips=[{"ip_address": "10.0.0.2"}])
    ports.update(
        cloud.draft,
        ADMIN,
        beside,
        {"device_id": later_one.id, "device_owner": "network:router_interface_distributed"},
    )
    port = port_of(cloud.draft, cloud.network)
    assert cloud.floating(port_id=port.id).router_id == cloud.router.id
    cloud.draft.remove(cloud.ports("network:router_interface_distributed")[0])
    assert cloud.floating(port_id=port_of(cloud.draft, cloud.network).id).router_id == later_one.id


def test_it_lets_go_of_what_goes() -> None:
    cloud = Routed()
    port = port_of(cloud.draft, cloud.network)
    floating_ip = cloud.floating(port_id=port.id)
    refused(
        lambda: changed(cloud.draft, port, fixed_ips=[{"ip_address": "10.0.0.99"}]),
        400,
        "BadRequest",
        "its original fixed_ip has been associated to a floating ip",
    )
    ports.delete(cloud.draft, MEMBER, cloud.draft.need(Port, port.id))
    assert now(cloud, floating_ip).port_id is now(cloud, floating_ip).router_id is None


def test_a_project_does_not_delete_a_port_under_anothers_floating_ip() -> None:
    cloud = Routed()
    port = port_of(cloud.draft, cloud.network)
    cloud.floating(ADMIN, project_id=STRANGER, port_id=port.id)
    refused(lambda: ports.delete(cloud.draft, MEMBER, port), 409, "FipAssociated", port.id)
    ports.delete(cloud.draft, ADMIN, port)


def test_an_external_network_takes_those_along_that_lead_nowhere() -> None:
    cloud = Routed()
    port = port_of(cloud.draft, cloud.network)
    floating_ip = cloud.floating(port_id=port.id)
    refused(lambda: networks.delete(cloud.draft, ADMIN, cloud.outside), 409, "NetworkInUse")
    cloud.move(floating_ip, port_id=None)
    cloud.update(external_gateway_info=None)
    networks.delete(cloud.draft, ADMIN, cloud.draft.need(Network, cloud.outside.id))
    assert cloud.draft.get(FloatingIp, floating_ip.id) is None
    assert cloud.ports(HOLDER) == []


@pytest.mark.parametrize(("mode", "expected"), [("dvr", 1), ("dvr_snat", 1), ("legacy", 0), ("dvr_no_external", 0)])
def test_a_host_with_its_own_way_out_has_a_port_for_it(mode: str, expected: int) -> None:
    cloud = Routed()
    agent = l3_agent_of(cloud.draft, "h1", mode)
    floating_ip = cloud.floating(port_id=on_host(cloud).id)
    found = cloud.ports(AGENT_GATEWAY)
    assert [(port.binding_host_id, port.device_id, port.project_id) for port in found] == [
        ("h1", agent.id, "")
    ] * expected
    second = cloud.floating(port_id=on_host(cloud).id)
    assert cloud.ports(AGENT_GATEWAY) == found
    floatingips.delete(cloud.draft, MEMBER, now(cloud, floating_ip))
    assert cloud.ports(AGENT_GATEWAY) == found
    cloud.move(second, port_id=None)
    assert cloud.ports(AGENT_GATEWAY) == []


def test_the_port_follows_to_another_host() -> None:
    cloud = Routed()
    for host in ("h1", "h2", "h3"):
        agent_of(cloud.draft, host)
        l3_agent_of(cloud.draft, host)
    port = on_host(cloud)
    floating_ip = cloud.floating(port_id=port.id)

    def hosts() -> list[str]:
        return [port.binding_host_id for port in cloud.ports(AGENT_GATEWAY)]

    assert hosts() == ["h1"]
    changed(cloud.draft, cloud.draft.need(Port, port.id), ADMIN, binding_host_id="h2")
    assert hosts() == ["h2"]
    bindings.create(cloud.draft, ADMIN, {"port_id": port.id, "host": "h3"})
    assert hosts() == ["h2"]
    bindings.activate(cloud.draft, ADMIN, cloud.draft.need(Port, port.id), "h3")
    assert hosts() == ["h3"]
    assert now(cloud, floating_ip).port_id == port.id
    ports.delete(cloud.draft, ADMIN, cloud.draft.need(Port, port.id))
    assert hosts() == []


def test_agents_bring_their_ports_and_take_them_along() -> None:
    cloud = Routed()
    cloud.floating(port_id=on_host(cloud).id)
    assert cloud.ports(AGENT_GATEWAY) == []
    said = {"agent_type": "L3 agent", "host": "h1", "configurations": {"agent_mode": "dvr"}}
    agent = agents.report(cloud.draft, said)
    assert [port.device_id for port in cloud.ports(AGENT_GATEWAY)] == [agent.id]
    agents.report(cloud.draft, {**said, "configurations": {"agent_mode": "legacy"}})
    assert cloud.ports(AGENT_GATEWAY) == []
    agents.report(cloud.draft, said)
    agents.delete(cloud.draft, ADMIN, agent)
    assert cloud.ports(AGENT_GATEWAY) == []


def test_a_central_router_needs_no_ports_on_hosts() -> None:
    cloud = Routed(distributed=False)
    l3_agent_of(cloud.draft, "h1")
    cloud.floating(port_id=on_host(cloud).id)
    assert cloud.ports(AGENT_GATEWAY) == []
    cloud.update(admin_state_up=False)
    cloud.update(ADMIN, distributed=True)
    assert len(cloud.ports(AGENT_GATEWAY)) == 1
    cloud.update(ADMIN, distributed=False)
    assert cloud.ports(AGENT_GATEWAY) == []


def test_pools_are_the_ipv4_subnets_outside() -> None:
    cloud = Routed()
    subnet_of(cloud.draft, cloud.outside, "2001:db8:f::/64", gateway_ip="2001:db8:f::1")
    assert present_l3.floating_ip_pools(cloud.draft, [cloud.outside], PROJECT) == [
        {
            "network_id": cloud.outside.id,
            "subnet_id": cloud.outer.id,
            "subnet_name": "",
            "cidr": "203.0.113.0/24",
            "project_id": PROJECT,
            "tenant_id": PROJECT,
        }
    ]


def test_hosts_report_what_they_translate() -> None:
    cloud = Routed()
    floating_ip = cloud.floating()
    assert floatingips.reported(cloud.draft, floating_ip, "h1", "ACTIVE").status == "DOWN"
    cloud.move(floating_ip, port_id=on_host(cloud).id)
    assert floatingips.reported(cloud.draft, now(cloud, floating_ip), "h1", "ACTIVE").status == "ACTIVE"
    assert cloud.move(floating_ip, description="x").status == "ACTIVE"
    assert cloud.move(floating_ip, port_id=now(cloud, floating_ip).port_id).status == "ACTIVE"
    assert floatingips.reported(cloud.draft, now(cloud, floating_ip), "h2", "ERROR").status == "ACTIVE"
    assert floatingips.reported(cloud.draft, now(cloud, floating_ip), "h1", "ERROR").status == "ERROR"
    assert cloud.move(floating_ip, port_id=on_host(cloud, "h2").id).status == "DOWN"
