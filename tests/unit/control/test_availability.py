"""What a network's addresses come to: Neutron 29's own answer for the same cloud."""

from control_cloud import a_draft, network_of, subnet_of
from floatway.control import entities as e
from floatway.control.decide import availability


def test_pools_and_allocations_are_counted_inside_and_outside() -> None:
    draft = a_draft()
    network = network_of(draft, name="n")
    pools = (e.AllocationPool("10.1.0.10", "10.1.0.20"), e.AllocationPool("10.1.0.30", "10.1.0.31"))
    pooled = subnet_of(draft, network, "10.1.0.0/24", allocation_pools=pools)
    bare = subnet_of(draft, network, "10.2.0.0/30", allocation_pools=())
    addresses = ((pooled, "10.1.0.10"), (pooled, "10.1.0.31"), (pooled, "10.1.0.200"), (bare, "10.2.0.1"))
    for at, (subnet, address) in enumerate(addresses):
        fixed_ips = (e.FixedIp(subnet.id, address),)
        draft.put(
            e.Port(id=draft.new_id(), network_id=network.id, mac_address=f"fa:16:3e:00:00:0{at}", fixed_ips=fixed_ips)
        )
    shown = availability.of_network(draft, network)
    by_subnet = {one["subnet_id"]: one for one in shown["subnet_ip_availability"]}
    assert (by_subnet[pooled.id]["total_ips"], by_subnet[pooled.id]["used_ips"]) == (13, 3)
    assert by_subnet[pooled.id]["ip_availability_details"] == {
        "total_ips_in_subnet": 254,
        "total_ips_in_allocation_pool": 13,
        "used_ips_in_subnet": 3,
        "used_ips_in_allocation_pool": 2,
    }
    assert by_subnet[bare.id]["total_ips"] == 4
    assert by_subnet[bare.id]["ip_availability_details"]["total_ips_in_allocation_pool"] == 0
    assert (shown["total_ips"], shown["used_ips"]) == (17, 4)
    assert shown["ip_availability_details"] == {
        "total_ips_in_subnet": 256,
        "total_ips_in_allocation_pool": 13,
        "used_ips_in_subnet": 4,
        "used_ips_in_allocation_pool": 2,
    }


def test_an_empty_network_has_nothing() -> None:
    draft = a_draft()
    shown = availability.of_network(draft, network_of(draft))
    assert shown["subnet_ip_availability"] == []
    assert set(shown["ip_availability_details"].values()) == {0}
