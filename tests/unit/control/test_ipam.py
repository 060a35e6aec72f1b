"""Which addresses a subnet gives, and how it counts them."""

from control_cloud import ADMIN, MEMBER, a_draft, addresses, at, network_of, port_of, refused, subnet_of
from control_l2 import a_network, a_subnet
from floatway.control import entities as e
from floatway.control import ipam, present_l2
from floatway.control import prefixes as p
from floatway.control.decide import availability
from floatway.control.draft import Draft


def full(draft: Draft, network: e.Network, subnet: e.Subnet, but: int) -> None:
    """Ports on all of the subnet's addresses but the last few."""
    for pool in subnet.allocation_pools:
        for value in range(p.number(pool.start), p.number(pool.end) + 1 - but):
            port = e.Port(
                id=draft.new_id(),
                network_id=network.id,
                mac_address=f"{value}",
                fixed_ips=(at(subnet, p.text(value, 4)),),
            )
            draft.put(port)


def test_addresses_are_given_anywhere_but_in_order() -> None:
    draft = a_draft()
    subnet = subnet_of(draft, network_of(draft), "10.0.0.0/16", gateway_ip="10.0.0.1")
    found = [ipam.free_address(draft, subnet) for _ in range(50)]
    assert len(set(found)) > 25
    window = [p.number(address or "") - p.number("10.0.0.0") for address in found]
    assert min(window) >= 2
    assert max(window) <= 1001


def test_dhcp_gets_the_lowest() -> None:
    draft = a_draft()
    network = network_of(draft)
    subnet_of(draft, network, "10.0.0.0/24", gateway_ip="10.0.0.1")
    for expected in ("10.0.0.2", "10.0.0.3"):
        assert addresses(port_of(draft, network, ADMIN, device_owner="network:dhcp", device_id="d")) == [expected]


def test_the_last_address_is_found_and_no_other() -> None:
    draft = a_draft()
    network = network_of(draft)
    subnet = subnet_of(draft, network, "10.0.0.0/20", gateway_ip="10.0.0.1")
    full(draft, network, subnet, but=1)
    for lowest in (False, True):
        assert ipam.free_address(draft, subnet, lowest=lowest) == "10.0.15.254"
        assert ipam.free_address(draft, subnet, lowest=lowest, besides=["10.0.15.254"]) is None


def test_a_pool_without_addresses_gives_none() -> None:
    draft = a_draft()
    network = network_of(draft)
    subnet = subnet_of(draft, network, allocation_pools=())
    assert ipam.free_address(draft, subnet) is None
    refused(
        lambda: port_of(draft, network),
        409,
        "IpAddressGenerationFailure",
        f"No more IP addresses available on network {network.id}.",
    )
    assert addresses(port_of(draft, network, fixed_ips=[{"ip_address": "10.0.0.7"}])) == ["10.0.0.7"]


def test_pools_of_a_large_prefix_cost_no_more_than_small_ones() -> None:
    draft = a_draft()
    network = network_of(draft)
    subnet = subnet_of(draft, network, "2001:db8::/32", gateway_ip="2001:db8::1")
    for _ in range(20):
        assert p.number(addresses(port_of(draft, network))[0]) - p.number("2001:db8::") <= 1001
    assert ipam.free_address(draft, subnet, lowest=True) == "2001:db8::2"


def test_availability_counts_pools_and_every_allocation() -> None:
    draft = a_draft()
    network = a_network(draft)
    pools = [{"start": "10.0.0.10", "end": "10.0.0.19"}, {"start": "10.0.0.30", "end": "10.0.0.34"}]
    four = a_subnet(draft, network, allocation_pools=pools)
    six = a_subnet(draft, network, "2001:db8::/64", enable_dhcp=False)
    port_of(draft, network)
    port_of(draft, network, fixed_ips=[{"ip_address": "10.0.0.200"}, {"ip_address": "10.0.0.201"}])
    counts = availability.of_network(draft, network)
    details = counts.pop("ip_availability_details")
    assert (details["used_ips_in_subnet"], details["used_ips_in_allocation_pool"]) == (4, 2)
    for one in counts["subnet_ip_availability"]:
        details = one.pop("ip_availability_details")
        assert (details["used_ips_in_subnet"], details["total_ips_in_allocation_pool"]) == (
            one["used_ips"],
            one["total_ips"],
        )
    assert counts == {
        "network_id": network.id,
        "network_name": "n",
        "project_id": network.project_id,
        "tenant_id": network.project_id,
        "total_ips": 15 + 2**64 - 1,
        "used_ips": 4,
        "subnet_ip_availability": [
            {
                "subnet_id": four.id,
                "subnet_name": "s",
                "ip_version": 4,
                "cidr": "10.0.0.0/24",
                "total_ips": 15,
                "used_ips": 3,
            },
            {
                "subnet_id": six.id,
                "subnet_name": "s",
                "ip_version": 6,
                "cidr": "2001:db8::/64",
                "total_ips": 2**64 - 1,
                "used_ips": 1,
            },
        ],
    }
    assert availability.of_network(draft, a_network(draft))["subnet_ip_availability"] == []


def test_a_network_is_shown_with_its_subnets_and_scopes() -> None:
    draft = a_draft()
    network = a_network(draft, MEMBER, provider_network_type=None)
    subnet = a_subnet(draft, network)
    shown = present_l2.network(draft, network)
    assert shown["subnets"] == [subnet.id]
    assert (shown["ipv4_address_scope"], shown["ipv6_address_scope"]) == (None, None)
    assert shown["provider:network_type"] == "vxlan"
    assert present_l2.subnet(draft, subnet)["router:external"] is False
