"""Which addresses a port gets, keeps, loses; and which it is refused."""

import pytest

from control_cloud import (
    ADMIN,
    PROJECT,
    a_draft,
    addresses,
    at,
    changed,
    fixed,
    network_of,
    port_of,
    refused,
    slaac_of,
    subnet_of,
)
from floatway.control import prefixes
from floatway.control.decide import ports_addresses
from floatway.control.entities import Port, Router

MAC = "fa:16:3e:12:34:56"
DERIVED = "2001:db8::f816:3eff:fe12:3456"


def test_one_address_of_each_family_and_one_of_every_derived_subnet() -> None:
    draft = a_draft()
    network = network_of(draft)
    v4 = [subnet_of(draft, network, f"10.0.{n}.0/24") for n in range(2)]
    v6 = subnet_of(draft, network, "2001:db8:1::/64", ipv6_address_mode="dhcpv6-stateful")
    slaac = slaac_of(draft, network)
    stateless = slaac_of(draft, network, "2001:db8:2::/64", "dhcpv6-stateless")
    port = port_of(draft, network, mac_address=MAC)
    subnets = [ip.subnet_id for ip in port.fixed_ips]
    assert sorted(subnets) == sorted([v4[0].id, v6.id, slaac.id, stateless.id])
    assert DERIVED in addresses(port)
    assert addresses(port) == sorted(addresses(port))


def test_the_next_subnet_serves_when_the_first_is_full() -> None:
    draft = a_draft()
    network = network_of(draft)
    first, second = subnet_of(draft, network, "10.0.0.0/30"), subnet_of(draft, network, "10.0.1.0/30")
    given = [port_of(draft, network).fixed_ips[0].subnet_id for _ in range(4)]
    assert given == [first.id, first.id, second.id, second.id]
    refused(
        lambda: port_of(draft, network),
        409,
        "IpAddressGenerationFailure",
        f"No more IP addresses available on network {network.id}.",
    )


def test_no_subnet_no_address_no_complaint() -> None:
    draft = a_draft()
    network = network_of(draft)
    port = port_of(draft, network)
    assert (port.fixed_ips, port.ip_allocation) == ((), "immediate")
    refused(
        lambda: port_of(draft, network, fixed_ips=[{"ip_address": "10.0.0.5"}]),
        400,
        "InvalidInput",
        "IP allocation requires subnets for network",
    )


def test_none_asked_none_given_but_derived_ones() -> None:
    draft = a_draft()
    network = network_of(draft)
    subnet_of(draft, network)
    port = port_of(draft, network, fixed_ips=[])
    assert (port.fixed_ips, port.ip_allocation) == ((), "none")
    slaac_of(draft, network)
    assert addresses(port_of(draft, network, mac_address=MAC, fixed_ips=[])) == [DERIVED]


def test_by_address_by_subnet_and_several() -> None:
    draft = a_draft()
    network = network_of(draft)
    one, two = subnet_of(draft, network), subnet_of(draft, network, "10.0.1.0/24")
    asked = [
        {"subnet_id": one.id},
        {"ip_address": "10.0.0.77"},
        {"subnet_id": two.id, "ip_address": "10.0.1.9"},
        {"subnet_id": one.id},
    ]
    port = port_of(draft, network, fixed_ips=asked)
    assert at(one, "10.0.0.77") in port.fixed_ips
    assert at(two, "10.0.1.9") in port.fixed_ips
    assert [ip.subnet_id for ip in port.fixed_ips].count(one.id) == 3
    assert len(set(addresses(port))) == 4


def test_exact_addresses_come_before_any() -> None:
    draft = a_draft()
    network = network_of(draft)
    subnet = subnet_of(draft, network, "10.0.0.0/30")
    port = port_of(draft, network, fixed_ips=[{"subnet_id": subnet.id}, {"ip_address": "10.0.0.1"}])
    assert addresses(port) == ["10.0.0.1", "10.0.0.2"]


def test_an_address_is_given_once() -> None:
    draft = a_draft()
    network = network_of(draft)
    subnet = subnet_of(draft, network)
    port_of(draft, network, fixed_ips=[{"ip_address": "10.0.0.5"}])
    refused(
        lambda: port_of(draft, network, fixed_ips=[{"ip_address": "10.0.0.5"}]),
        409,
        "IpAddressAlreadyAllocated",
        f"IP address 10.0.0.5 already allocated in subnet {subnet.id}",
    )
    slaac_of(draft, network)
    refused(
        lambda: port_of(draft, network, mac_address=MAC, fixed_ips=[{"ip_address": DERIVED}, {"ip_address": DERIVED}]),
        409,
        "IpAddressAlreadyAllocated",
    )


@pytest.mark.parametrize("address", ["10.0.0.0", "10.0.0.255", "10.9.0.1", "2001:db8::5"])
def test_addresses_outside_are_refused(address: str) -> None:
    draft = a_draft()
    network = network_of(draft)
    subnet = subnet_of(draft, network)
    asked = {"subnet_id": subnet.id, "ip_address": address}
    refused(lambda: port_of(draft, network, fixed_ips=[asked]), 400, "InvalidIpForSubnet", address)
    del asked["subnet_id"]
    refused(lambda: port_of(draft, network, fixed_ips=[asked]), 400, "InvalidIpForNetwork", address)


def test_subnets_of_other_networks_are_refused() -> None:
    draft = a_draft()
    network, other = network_of(draft), network_of(draft)
    subnet_of(draft, network)
    elsewhere = subnet_of(draft, other)
    asked = [{"subnet_id": elsewhere.id}]
    refused(lambda: port_of(draft, network, fixed_ips=asked), 400, "InvalidInput", network.id, elsewhere.id)
    refused(lambda: port_of(draft, network, fixed_ips=[{"subnet_id": "gone"}]), 404, "SubnetNotFound", "gone")
    refused(lambda: port_of(draft, network, fixed_ips=[{}]), 400, "InvalidInput", "requires subnet_id or ip_address")


def test_the_first_ipv6_address_is_for_routers() -> None:
    draft = a_draft()
    network = network_of(draft)
    subnet_of(draft, network, "2001:db8::/64")
    asked = [{"ip_address": "2001:db8::"}]
    refused(lambda: port_of(draft, network, device_owner="compute:a", fixed_ips=asked), 400, "InvalidIpForNetwork")
    owner = "network:router_interface"
    assert addresses(port_of(draft, network, ADMIN, device_owner=owner, fixed_ips=asked)) == ["2001:db8::"]


def test_ipv6_is_written_one_way() -> None:
    draft = a_draft()
    network = network_of(draft)
    subnet_of(draft, network, "2001:db8::/64")
    port = port_of(draft, network, fixed_ips=[{"ip_address": "2001:0DB8:0::00aB"}])
    assert addresses(port) == ["2001:db8::ab"]
    kept = changed(draft, port, fixed_ips=[{"ip_address": "2001:DB8::AB"}])
    assert kept == port


def test_derived_addresses_follow_from_the_mac() -> None:
    draft = a_draft()
    network = network_of(draft)
    slaac = slaac_of(draft, network)
    subnet_of(draft, network)
    refused(
        lambda: port_of(draft, network, mac_address=MAC, fixed_ips=[{"ip_address": "2001:db8::5"}]),
        400,
        "AllocationOnAutoAddressSubnet",
        slaac.id,
    )
    port = port_of(draft, network, mac_address=MAC, fixed_ips=[{"ip_address": DERIVED}])
    assert addresses(port) == [DERIVED]
    for named in ([], [{"subnet_id": slaac.id}], [{"ip_address": DERIVED}]):
        assert addresses(changed(draft, port, fixed_ips=named)) == [DERIVED]
    port = changed(draft, port, mac_address="fa:16:3e:00:00:01")
    assert addresses(port) == ["2001:db8::f816:3eff:fe00:1"]


def test_a_new_mac_leaves_other_addresses_alone() -> None:
    draft = a_draft()
    network = network_of(draft)
    subnet_of(draft, network)
    slaac_of(draft, network)
    port = port_of(draft, network, mac_address=MAC)
    v4 = [ip for ip in port.fixed_ips if ":" not in ip.ip_address]
    after = changed(draft, port, mac_address="fa:16:3e:00:00:01")
    assert [ip for ip in after.fixed_ips if ":" not in ip.ip_address] == v4
    assert DERIVED not in addresses(after)


def test_router_ports_announce_prefixes_and_derive_nothing() -> None:
    draft = a_draft()
    network = network_of(draft)
    subnet_of(draft, network)
    slaac = slaac_of(draft, network)
    owner = "network:router_interface"
    plain = port_of(draft, network, ADMIN, device_owner=owner)
    assert all(":" not in address for address in addresses(plain))
    asked = [{"subnet_id": slaac.id, "ip_address": "2001:db8::1"}]
    router = draft.put(Router(id=draft.new_id(), project_id=PROJECT))
    port = port_of(draft, network, ADMIN, device_owner=owner, device_id=router.id, fixed_ips=asked)
    assert addresses(port) == ["2001:db8::1"]
    assert addresses(changed(draft, port, ADMIN, fixed_ips=[])) == []


def test_service_types_keep_subnets_for_their_devices() -> None:
    draft = a_draft()
    network = network_of(draft)
    kept = subnet_of(draft, network, "10.0.1.0/24", service_types=("compute:a",))
    refused(
        lambda: port_of(draft, network),
        409,
        "IpAddressGenerationFailureNoMatchingSubnet",
        f"No valid service subnet for the given device owner, network {network.id}, service type .",
    )
    open_ = subnet_of(draft, network)
    assert port_of(draft, network).fixed_ips[0].subnet_id == open_.id
    assert port_of(draft, network, device_owner="compute:a").fixed_ips[0].subnet_id == kept.id
    dhcp = port_of(draft, network, ADMIN, device_owner="network:dhcp", fixed_ips=[{"subnet_id": kept.id}])
    assert addresses(dhcp) == ["10.0.1.1"]


def test_update_keeps_by_address_then_by_subnet() -> None:
    draft = a_draft()
    network = network_of(draft)
    one, two = subnet_of(draft, network), subnet_of(draft, network, "10.0.1.0/24")
    port = port_of(draft, network, fixed_ips=[{"ip_address": "10.0.0.5"}, {"ip_address": "10.0.0.6"}])
    assert changed(draft, port, fixed_ips=[{"subnet_id": one.id}, {"subnet_id": one.id}]) == port
    assert changed(draft, port, fixed_ips=[*fixed(port)]) == port
    assert addresses(changed(draft, port, fixed_ips=[{"ip_address": "10.0.0.6"}])) == ["10.0.0.6"]
    moved = changed(draft, port, fixed_ips=[{"subnet_id": two.id}, {"ip_address": "10.0.0.5"}])
    assert "10.0.0.5" in addresses(moved)
    assert {ip.subnet_id for ip in moved.fixed_ips} == {one.id, two.id}
    assert not draft.has(Port, "address", (one.id, "10.0.0.6"))
    more = changed(draft, moved, fixed_ips=[*fixed(moved), {"subnet_id": one.id}])
    assert len(more.fixed_ips) == 3
    assert addresses(changed(draft, more, fixed_ips=[])) == []


def test_a_router_s_ipv4_addresses_are_its_own_business() -> None:
    draft = a_draft()
    network = network_of(draft)
    v4, v6 = subnet_of(draft, network), subnet_of(draft, network, "2001:db8::/64")
    router = draft.put(Router(id=draft.new_id(), project_id=PROJECT))
    owner = "network:router_interface_distributed"
    port = port_of(
        draft, network, ADMIN, device_owner=owner, device_id=router.id, fixed_ips=[{"ip_address": "10.0.0.1"}]
    )
    message = f"Bad ports request: IP updates for port {port.id} are not allowed."
    for asked in ([], [{"ip_address": "10.0.0.2"}], [*fixed(port), {"subnet_id": v4.id}]):
        refused(lambda asked=asked: changed(draft, port, ADMIN, fixed_ips=asked), 400, "BadRequest", message)  # type: ignore[misc]
    both = changed(draft, port, ADMIN, fixed_ips=[*fixed(port), {"subnet_id": v6.id}])
    assert len(both.fixed_ips) == 2
    draft.remove(router)
    refused(lambda: changed(draft, both, ADMIN, fixed_ips=[]), 404, "RouterNotFound", router.id)


def test_a_new_derived_subnet_reaches_ports_that_are_there() -> None:
    draft = a_draft()
    network = network_of(draft)
    plain = port_of(draft, network, mac_address=MAC)
    router = port_of(draft, network, ADMIN, device_owner="network:router_interface")
    ports_addresses.add_derived(draft, slaac_of(draft, network))
    assert addresses(draft.need(Port, plain.id)) == [DERIVED]
    assert addresses(draft.need(Port, router.id)) == []
    assert prefixes.eui64("2001:db8::/64", MAC) == DERIVED
