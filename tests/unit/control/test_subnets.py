"""A subnet's life: a prefix, given or cut from a pool, its pools and gateway, and who is in the way of its end."""

from typing import Any

import pytest

from control_cloud import ADMIN, MEMBER, OTHER, a_draft, addresses, later, network_of, port_of, refused
from control_l2 import a_network, a_pool, a_scope, a_subnet, pools_of, resubnetted
from floatway.control import entities as e
from floatway.control.decide import sharing, subnets

MAC = "fa:16:3e:00:00:01"


def spans(*pools: str) -> dict[str, Any]:
    return {"allocation_pools": [dict(zip(("start", "end"), pool.split("-"), strict=True)) for pool in pools]}


def test_a_subnet_has_the_api_s_defaults() -> None:
    draft = a_draft()
    network = a_network(draft)
    after = later(draft)
    subnet = a_subnet(after, network, "10.0.0.7/24")
    assert (subnet.cidr, subnet.gateway_ip, subnet.enable_dhcp) == ("10.0.0.0/24", "10.0.0.1", True)
    assert pools_of(subnet) == ["10.0.0.2-10.0.0.254"]
    assert (subnet.dns_nameservers, subnet.host_routes, subnet.service_types) == ((), (), ())
    assert (subnet.ipv6_ra_mode, subnet.ipv6_address_mode, subnet.subnetpool_id) == (None, None, None)
    assert after.need(e.Network, network.id).revision_number == 1
    six = a_subnet(after, network, "2001:db8::/64")
    assert (six.gateway_ip, pools_of(six)) == ("2001:db8::", ["2001:db8::1-2001:db8::ffff:ffff:ffff:ffff"])


@pytest.mark.parametrize(
    ("cidr", "values", "gateway_ip", "pools"),
    [
        ("10.0.0.0/29", {"gateway_ip": None}, None, ["10.0.0.1-10.0.0.6"]),
        ("10.0.0.0/29", {"gateway_ip": "10.0.0.4"}, "10.0.0.4", ["10.0.0.1-10.0.0.3", "10.0.0.5-10.0.0.6"]),
        ("10.0.0.0/29", {"gateway_ip": "10.0.0.6"}, "10.0.0.6", ["10.0.0.1-10.0.0.5"]),
        ("10.0.0.0/29", {"gateway_ip": "192.0.2.1"}, "192.0.2.1", ["10.0.0.1-10.0.0.6"]),
        ("10.0.0.0/30", {}, "10.0.0.1", ["10.0.0.2-10.0.0.2"]),
        ("10.0.0.0/31", {"enable_dhcp": False, "gateway_ip": None}, None, ["10.0.0.0-10.0.0.1"]),
        ("10.0.0.4/32", {"enable_dhcp": False}, "10.0.0.5", ["10.0.0.4-10.0.0.4"]),
        ("10.0.0.4/32", {"enable_dhcp": False, "gateway_ip": None}, None, ["10.0.0.4-10.0.0.4"]),
        ("2001:db8::/126", {"gateway_ip": "2001:db8::2"}, "2001:db8::2", ["2001:db8::1-2001:db8::1", "2001:db8::3-2001:db8::3"]),
        ("2001:db8::8/128", {"enable_dhcp": False}, "2001:db8::8", ["2001:db8::8-2001:db8::8"]),
        ("2001:db8::/127", {"enable_dhcp": False, "gateway_ip": "2001:db8::1"}, "2001:db8::1", []),
        ("10.0.0.0/24", {"allocation_pools": []}, "10.0.0.1", ["10.0.0.2-10.0.0.254"]),
        (
            "10.0.0.0/24",
            spans("10.0.0.9-10.0.0.9", "10.0.0.2-10.0.0.8"),
            "10.0.0.1",
            ["10.0.0.2-10.0.0.8", "10.0.0.9-10.0.0.9"],
        ),
    ],
)  # fmt: skip
def test_pools_are_what_gateway_network_and_broadcast_leave(
    cidr: str, values: dict[str, Any], gateway_ip: str | None, pools: list[str]
) -> None:
    draft = a_draft()
    subnet = a_subnet(draft, a_network(draft), cidr, **values)
    assert (subnet.gateway_ip, pools_of(subnet)) == (gateway_ip, pools)


@pytest.mark.parametrize(
    ("cidr", "values", "message"),
    [
        ("10.0.0.0/24", {"ip_version": 6}, "cidr '10.0.0.0/24' does not match the ip_version '6'"),
        ("10.0.0.0/24", {"gateway_ip": "2001:db8::1"}, "gateway_ip '2001:db8::1' does not match the ip_version '4'"),
        ("10.0.0.0/24", {"gateway_ip": "10.0.0.0"}, "Gateway is not valid on subnet"),
        ("10.0.0.0/24", {"gateway_ip": "10.0.0.255"}, "Gateway is not valid on subnet"),
        ("10.0.0.0/31", {}, "Subnet has a prefix length that is incompatible with DHCP service enabled"),
        ("2001:db8::/127", {}, "Subnet has a prefix length that is incompatible with DHCP service enabled"),
        ("224.0.0.0/24", {}, "Multicast IP subnet is not supported if enable_dhcp is True"),
        ("127.0.0.0/8", {}, "Loopback IP subnet is not supported if enable_dhcp is True"),
        ("0.0.0.0/8", {}, "First IP '0.0.0.0' of network is not supported if enable_dhcp is True."),
        ("0.0.0.0/0", {"enable_dhcp": False}, "0 is not allowed as CIDR prefix length"),
        ("::/64", {}, "IPv6 subnet '::' is not supported"),
        ("10.0.0.0/24", {"ipv6_ra_mode": "slaac"}, "ipv6_ra_mode is not valid when ip_version is 4"),
        ("10.0.0.0/24", {"ipv6_address_mode": "slaac"}, "ipv6_address_mode is not valid when ip_version is 4"),
        (
            "2001:db8::/64",
            {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "dhcpv6-stateful"},
            "ipv6_ra_mode set to 'slaac' with ipv6_address_mode set to 'dhcpv6-stateful' is not valid. If both attributes are"
            " set, they must be the same value",
        ),
        (
            "2001:db8::/64",
            {"ipv6_ra_mode": "slaac", "enable_dhcp": False},
            "ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False",
        ),
        (
            "2001:db8::/80",
            {"ipv6_address_mode": "slaac"},
            "Invalid CIDR 2001:db8::/80 for IPv6 address mode. OpenStack uses the EUI-64 address format, which requires the"
            " prefix to be /64",
        ),
        ("10.0.0.0/24", {"dns_nameservers": ["::1"]}, "dns_nameserver '::1' does not match the ip_version '4'"),
        (
            "10.0.0.0/24",
            {"host_routes": [{"destination": "10.1.0.0/24", "nexthop": "::1"}]},
            "nexthop '::1' does not match the ip_version '4'",
        ),
        (
            "10.0.0.0/24",
            {"host_routes": [{"destination": "2001:db8::/64", "nexthop": "10.0.0.9"}]},
            "destination '2001:db8::/64' does not match the ip_version '4'",
        ),
    ],
)
def test_a_subnet_that_cannot_be_is_refused(cidr: str, values: dict[str, Any], message: str) -> None:
    draft = a_draft()
    network = a_network(draft)
    refused(
        lambda: a_subnet(draft, network, cidr, **values),
        400,
        "InvalidInput",
        f"Invalid input for operation: {message}.",
    )


@pytest.mark.parametrize(
    ("values", "status", "type_", "message"),
    [
        (spans("10.0.0.9-10.0.0.2"), 400, "InvalidAllocationPool", "The allocation pool"),
        (spans("2001:db8::1-2001:db8::2"), 400, "InvalidAllocationPool", "is not valid."),
        (
            spans("10.0.0.0-10.0.0.9"),
            400,
            "OutOfBoundsAllocationPool",
            "The allocation pool 10.0.0.0-10.0.0.9 spans beyond the subnet cidr 10.0.0.0/24.",
        ),
        (spans("10.0.0.9-10.0.0.255"), 400, "OutOfBoundsAllocationPool", "spans beyond"),
        (spans("10.0.1.2-10.0.1.3"), 400, "OutOfBoundsAllocationPool", "spans beyond"),
        (
            spans("10.0.0.2-10.0.0.9", "10.0.0.9-10.0.0.9"),
            409,
            "OverlappingAllocationPools",
            "Found overlapping allocation pools: 10.0.0.2-10.0.0.9 10.0.0.9-10.0.0.9 for subnet 10.0.0.0/24.",
        ),
        (
            spans("10.0.0.1-10.0.0.9"),
            409,
            "GatewayConflictWithAllocationPools",
            "Gateway ip 10.0.0.1 conflicts with allocation pool 10.0.0.1-10.0.0.9.",
        ),
        (
            {"dns_nameservers": [f"10.0.0.{n}" for n in range(6)]},
            400,
            "DNSNameServersExhausted",
            "Unable to complete operation for new subnet. The number of DNS nameservers exceeds the limit 5.",
        ),
        (
            {"host_routes": [{"destination": f"10.{n}.0.0/16", "nexthop": "10.0.0.9"} for n in range(21)]},
            400,
            "HostRoutesExhausted",
            "Unable to complete operation for new subnet. The number of host routes exceeds the limit 20.",
        ),
        (
            {"cidr": "10.0.0.0/31", "enable_dhcp": False},
            409,
            "IpamValueInvalid",
            "Gateway IP 10.0.0.1 cannot be the network or broadcast IP address 10.0.0.0/31",
        ),
        ({"prefixlen": 24}, 400, "BadRequest", "Bad subnets request: cidr and prefixlen must not be supplied together."),
    ],
)  # fmt: skip
def test_what_does_not_fit_a_subnet_is_refused(values: dict[str, Any], status: int, type_: str, message: str) -> None:
    draft = a_draft()
    network = a_network(draft)
    refused(lambda: a_subnet(draft, network, **({"cidr": "10.0.0.0/24"} | values)), status, type_, message)


def test_prefixes_on_a_network_do_not_overlap() -> None:
    draft = a_draft()
    network = a_network(draft)
    a_subnet(draft, network, "10.0.4.0/22")
    for cidr in ("10.0.4.0/22", "10.0.0.0/8", "10.0.5.128/25"):
        refused(
            lambda cidr=cidr: a_subnet(draft, network, cidr),
            400,
            "InvalidInput",
            f"Requested subnet with cidr: {cidr} for network: {network.id} overlaps with another subnet",
        )
    assert a_subnet(draft, network, "10.0.8.0/22")
    assert a_subnet(draft, a_network(draft), "10.0.4.0/22")


def test_network_and_quota_are_asked_first() -> None:
    draft = a_draft(default_quotas={"subnet": 1})
    network = a_network(draft)
    a_subnet(draft, network)
    refused(lambda: a_subnet(draft, network, "10.0.1.0/24"), 409, "OverQuota", "['subnet']")
    gone = network_of(a_draft(), project="")
    refused(lambda: a_subnet(draft, gone), 404, "NetworkNotFound", f"Network {gone.id} could not be found.")


def test_ports_that_are_there_get_an_address_of_a_slaac_subnet() -> None:
    draft = a_draft()
    network = a_network(draft)
    a_subnet(draft, network)
    port = port_of(draft, network, mac_address=MAC)
    router = port_of(draft, network, ADMIN, device_owner="network:router_interface", device_id="r")
    slaac = a_subnet(draft, network, "2001:db8::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    assert addresses(draft.need(e.Port, port.id))[1:] == ["2001:db8::f816:3eff:fe00:1"]
    assert len(addresses(draft.need(e.Port, router.id))) == 1
    subnets.delete(draft, MEMBER, slaac)
    assert len(addresses(draft.need(e.Port, port.id))) == 1


def test_an_update_changes_what_may_change() -> None:
    draft = a_draft()
    network = a_network(draft)
    subnet = a_subnet(draft, network, allocation_pools=[{"start": "10.0.0.10", "end": "10.0.0.20"}])
    after = later(draft)
    new = resubnetted(
        after,
        subnet,
        name="t",
        enable_dhcp=False,
        gateway_ip="10.0.0.254",
        dns_nameservers=["10.0.0.53", "10.0.0.54"],
        host_routes=[{"destination": "10.1.0.0/16", "nexthop": "10.0.0.9"}],
        allocation_pools=[{"start": "10.0.0.30", "end": "10.0.0.40"}],
        service_types=["compute:nova"],
    )
    assert (new.name, new.enable_dhcp, new.gateway_ip) == ("t", False, "10.0.0.254")
    assert (new.dns_nameservers, new.service_types) == (("10.0.0.53", "10.0.0.54"), ("compute:nova",))
    assert (new.host_routes, pools_of(new)) == ((e.HostRoute("10.1.0.0/16", "10.0.0.9"),), ["10.0.0.30-10.0.0.40"])
    assert (new.revision_number, after.need(e.Network, network.id).revision_number) == (1, 1)
    same = later(after)
    assert resubnetted(same, new, name="t", dns_nameservers=["10.0.0.53", "10.0.0.54"]) == new
    assert same.changes() == ()
    refused(
        lambda: resubnetted(after, new, gateway_ip="10.0.0.35"), 409, "GatewayConflictWithAllocationPools", "10.0.0.35"
    )
    refused(
        lambda: resubnetted(after, new, allocation_pools=[{"start": "10.0.0.250", "end": "10.0.0.254"}]),
        409,
        "GatewayConflictWithAllocationPools",
        "Gateway ip 10.0.0.254 conflicts with allocation pool 10.0.0.250-10.0.0.254.",
    )
    assert resubnetted(after, new, gateway_ip=None).gateway_ip is None


def test_a_gateway_that_a_router_has_stays() -> None:
    draft = a_draft()
    network = a_network(draft)
    subnet = a_subnet(draft, network)
    owner = {"device_owner": "network:router_interface", "device_id": "r"}
    port = port_of(draft, network, ADMIN, **owner, fixed_ips=[{"ip_address": "10.0.0.1"}])
    message = f"Current gateway ip 10.0.0.1 already in use by port {port.id}. Unable to update."
    for gateway_ip in (None, "10.0.1.1"):
        refused(
            lambda gateway_ip=gateway_ip: resubnetted(draft, subnet, gateway_ip=gateway_ip),
            409,
            "GatewayIpInUse",
            message,
        )
    assert resubnetted(draft, subnet, gateway_ip="10.0.0.1", name="t").name == "t"


def test_dhcp_stays_where_addresses_are_announced() -> None:
    draft = a_draft()
    network = a_network(draft)
    slaac = a_subnet(draft, network, "2001:db8::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    refused(
        lambda: resubnetted(draft, slaac, enable_dhcp=False),
        400,
        "InvalidInput",
        "Cannot disable enable_dhcp with ipv6 attributes set.",
    )
    small = a_subnet(draft, network, "10.0.0.0/31", enable_dhcp=False, gateway_ip=None)
    refused(lambda: resubnetted(draft, small, enable_dhcp=True), 400, "InvalidInput", "incompatible with DHCP")


def test_a_subnet_in_use_is_not_deleted() -> None:
    draft = a_draft()
    network = a_network(draft)
    subnet = a_subnet(draft, network)
    dhcp = port_of(draft, network, ADMIN, device_owner="network:dhcp", device_id="d")
    user = port_of(draft, network)
    message = (
        f"Unable to complete operation on subnet {subnet.id}: One or more ports have an IP allocation from this subnet."
    )
    refused(lambda: subnets.delete(draft, MEMBER, subnet), 409, "SubnetInUse", message)
    draft.remove(user)
    after = later(draft)
    subnets.delete(after, MEMBER, subnet)
    assert after.get(e.Subnet, subnet.id) is None
    assert after.need(e.Port, dhcp.id).fixed_ips == ()
    assert after.need(e.Network, network.id).revision_number == 1
    slaac = a_subnet(after, network, "2001:db8::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    owner = {"device_owner": "network:router_interface", "device_id": "r"}
    port_of(after, network, ADMIN, **owner, fixed_ips=[{"subnet_id": slaac.id}])
    refused(lambda: subnets.delete(after, MEMBER, slaac), 409, "SubnetInUse", slaac.id)


def test_a_prefix_is_cut_from_a_pool() -> None:
    draft = a_draft()
    network = a_network(draft)
    pool = a_pool(draft, "10.0.0.0/16", default_prefixlen=26, min_prefixlen=20, max_prefixlen=28)
    first = a_subnet(draft, network, None, subnetpool_id=pool.id)
    assert (first.cidr, first.gateway_ip, first.subnetpool_id) == ("10.0.0.0/26", "10.0.0.1", pool.id)
    assert pools_of(first) == ["10.0.0.2-10.0.0.62"]
    assert a_subnet(draft, network, None, subnetpool_id=pool.id, prefixlen=28).cidr == "10.0.0.64/28"
    assert a_subnet(draft, network, "10.0.9.0/24", subnetpool_id=pool.id).subnetpool_id == pool.id
    bare = a_subnet(draft, network, None, subnetpool_id=pool.id, gateway_ip=None)
    assert (bare.cidr, bare.gateway_ip) == ("10.0.0.128/26", None)
    for values, type_, message in (
        ({"prefixlen": 29}, "MaxPrefixSubnetAllocationError", "prefix length 29, maximum allowed prefix is 28."),
        ({"prefixlen": 19}, "MinPrefixSubnetAllocationError", "prefix length 19, minimum allowed prefix is 20."),
        (spans("10.0.0.2-10.0.0.3"), "BadRequest", "allocation_pools allowed only for specific subnet requests."),
        ({"ip_version": 6}, "BadRequest", "Cannot allocate IPv6 subnet from IPv4 subnet pool."),
        ({"use_default_subnetpool": True}, "BadRequest", "cannot both be specified"),
    ):
        refused(
            lambda values=values: a_subnet(draft, network, None, subnetpool_id=pool.id, **values),
            400,
            type_,
            message,
        )
    refused(
        lambda: a_subnet(draft, network, "10.0.9.0/25", subnetpool_id=pool.id),
        409,
        "SubnetAllocationError",
        "Failed to allocate subnet: Cannot allocate requested subnet from the available set of prefixes.",
    )


def test_a_gateway_says_which_prefix_of_the_pool_is_meant() -> None:
    draft = a_draft()
    network = a_network(draft)
    pool = a_pool(draft, "10.0.0.0/16", default_prefixlen=24)
    subnet = a_subnet(draft, network, None, subnetpool_id=pool.id, gateway_ip="10.0.7.9")
    assert (subnet.cidr, subnet.gateway_ip) == ("10.0.7.0/24", "10.0.7.9")
    assert pools_of(subnet) == ["10.0.7.1-10.0.7.8", "10.0.7.10-10.0.7.254"]
    refused(
        lambda: a_subnet(draft, network, None, subnetpool_id=pool.id, gateway_ip="10.0.8.255"),
        409,
        "IpamValueInvalid",
        "Gateway IP 10.0.8.255 cannot be the network or broadcast IP address 10.0.8.0/24",
    )
    refused(
        lambda: a_subnet(draft, network, None, subnetpool_id=pool.id, gateway_ip="10.0.7.1"),
        409,
        "SubnetAllocationError",
    )
    refused(
        lambda: a_subnet(draft, network, None, subnetpool_id=pool.id, gateway_ip="10.0.8.1", prefixlen=40),
        400,
        "AddrFormatError",
        "invalid IPNetwork 0.0.0.0/40",
    )


def test_derived_addresses_need_half_the_bits_of_a_pool_s_prefix_too() -> None:
    draft = a_draft()
    network = a_network(draft)
    pool = a_pool(draft, "2001:db8::/48")
    modes = {"ip_version": 6, "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
    refused(
        lambda: a_subnet(draft, network, None, subnetpool_id=pool.id, prefixlen=80, **modes),
        400,
        "InvalidInput",
        "Invalid CIDR 2001:db8::/80 for IPv6 address mode",
    )
    subnet = a_subnet(draft, network, None, subnetpool_id=pool.id, **modes)
    assert (subnet.cidr, subnet.gateway_ip) == ("2001:db8::/64", "2001:db8::1")


def test_the_default_pool_serves_who_asks_for_it() -> None:
    draft = a_draft()
    network = a_network(draft)
    refused(
        lambda: a_subnet(draft, network, None, use_default_subnetpool=True),
        400,
        "BadRequest",
        "Bad subnets request: No default subnetpool found for IPv4.",
    )
    refused(
        lambda: a_subnet(draft, network, None),
        400,
        "BadRequest",
        "Bad subnets request: a subnetpool must be specified in the absence of a cidr.",
    )
    pool = a_pool(draft, "10.0.0.0/16", default_prefixlen=24, is_default=True, caller=ADMIN)
    assert a_subnet(draft, network, None, use_default_subnetpool=True).subnetpool_id == pool.id
    assert a_subnet(draft, network, "10.0.3.0/24", use_default_subnetpool=True).subnetpool_id == pool.id


def test_a_pool_that_is_not_the_caller_s_is_not_there() -> None:
    draft = a_draft()
    network = a_network(draft)
    theirs = a_pool(draft, "10.0.0.0/16", caller=OTHER, default_prefixlen=24)
    message = f"Subnet pool {theirs.id} could not be found."
    refused(lambda: a_subnet(draft, network, None, subnetpool_id=theirs.id), 404, "SubnetPoolNotFound", message)
    sharing.set_shared(draft, theirs, True)
    assert a_subnet(draft, network, None, subnetpool_id=theirs.id).cidr == "10.0.0.0/24"


def test_subnets_of_a_family_on_a_network_come_from_one_pool() -> None:
    draft = a_draft()
    one, two = (a_pool(draft, prefix, default_prefixlen=24) for prefix in ("10.0.0.0/16", "10.1.0.0/16"))
    network = a_network(draft)
    a_subnet(draft, network, None, subnetpool_id=one.id)
    message = "Subnets hosted on the same network must be allocated from the same subnet pool."
    for cidr, values in ((None, {"subnetpool_id": two.id}), ("192.0.2.0/24", {})):
        refused(
            lambda cidr=cidr, values=values: a_subnet(draft, network, cidr, **values),
            400,
            "NetworkSubnetPoolAffinityError",
            message,
        )
    assert a_subnet(draft, network, "2001:db8::/64")
    scope = a_scope(draft)
    three, four = (
        a_pool(draft, prefix, default_prefixlen=24, address_scope_id=scope.id)
        for prefix in ("10.3.0.0/16", "10.4.0.0/16")
    )
    scoped = a_network(draft)
    for pool in (three, four):
        assert a_subnet(draft, scoped, None, subnetpool_id=pool.id)
    refused(
        lambda: a_subnet(draft, scoped, None, subnetpool_id=one.id),
        400,
        "NetworkAddressScopeAffinityError",
        "must all participate in the same address scope.",
    )


def test_prefixes_are_not_delegated_to_us() -> None:
    draft = a_draft()
    network = a_network(draft)
    refused(
        lambda: a_subnet(draft, network, None, ip_version=6, subnetpool_id="prefix_delegation"),
        400,
        "BadRequest",
        "Prefix Delegation is not supported",
    )
    assert a_subnet(draft, network, "2001:db8::/64", subnetpool_id="prefix_delegation").subnetpool_id is None
