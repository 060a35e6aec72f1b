"""Each rule, broken alone on a cloud that is right: found where it is broken, and nothing else said."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from effort import examples
from floatway.lab.sample import big_cloud
from floatway.model.cloud import Cloud, put, remove
from floatway.model.resources import (
    OWNER_AGENT_GATEWAY,
    OWNER_COMPUTE,
    OWNER_ROUTER_INTERFACE,
    AddressPair,
    AllocationPool,
    ExternalGateway,
    FixedIp,
    HostRoute,
    Network,
    Pins,
    Port,
    SecurityGroupRule,
    Subnet,
)
from floatway.model.validate import validate
from strategies import clouds

# One router with network 10.0.0.0/16, two instances, one floating IP 192.168.1.1 of 192.168.0.0/16, one host h1.
CLOUD = big_cloud(ports=2, routers=1, floating_ips=1)
(HOST,) = CLOUD.hosts.values()
(ROUTER,) = CLOUD.routers.values()
(FIP,) = CLOUD.floating_ips.values()
(GROUP,) = CLOUD.security_groups.values()
EXTERNAL, NET = sorted(CLOUD.networks.values(), key=lambda net: not net.router_external)
OUTER = CLOUD.subnets_by_network[EXTERNAL.id][0]
SUBNET = CLOUD.subnets_by_network[NET.id][0]
ONE, TWO = (port for port in CLOUD.ports.values() if port.device_owner == OWNER_COMPUTE)
(INTERFACE,) = (port for port in CLOUD.ports.values() if port.device_owner == OWNER_ROUTER_INTERFACE)
(GATEWAY,) = (port for port in CLOUD.ports.values() if port.device_owner == OWNER_AGENT_GATEWAY)


def but(thing: Any, **changes: Any) -> Cloud:
    """The cloud with one thing changed."""
    return put(CLOUD, msgspec.structs.replace(thing, **changes))


def beside(thing: Any, **changes: Any) -> Cloud:
    """The cloud with a changed copy of one thing beside it."""
    if isinstance(thing, Port):
        changes = {"mac_address": "fa:16:3e:44:44:44", **changes}
    return put(CLOUD, msgspec.structs.replace(thing, **changes))


def pinned(**pins: Any) -> Cloud:
    return but(HOST, pins=Pins(**pins))


def opening(**fields: Any) -> Cloud:
    return but(GROUP, rules=(SecurityGroupRule(id="r", **{"direction": "ingress", **fields}),))


def at(subnet: Subnet, address: str) -> dict[str, Any]:
    return {"fixed_ips": (FixedIp(subnet.id, address),)}


def one_more(**fields: Any) -> Cloud:
    """A second interface of the router, and a network and subnet for it."""
    net = Network(id="net-b", provider_segmentation_id=77)
    subnet = Subnet(id="sub-b", network_id="net-b", cidr="10.9.0.0/24")
    port = Port(id="port-b", network_id="net-b", mac_address="fa:16:3e:44:44:44", device_id=ROUTER.id,
                device_owner=OWNER_ROUTER_INTERFACE, fixed_ips=(FixedIp("sub-b", "10.9.0.1"),))  # fmt: skip
    changed = {key: value for key, value in fields.items() if key in Port.__struct_fields__}
    rest = {key: value for key, value in fields.items() if key not in changed}
    return put(CLOUD, net, msgspec.structs.replace(subnet, **rest), msgspec.structs.replace(port, **changed))


def route(nexthop: str) -> Cloud:
    return but(ROUTER, routes=(HostRoute("10.200.0.0/16", nexthop),))


def out(**fields: Any) -> Cloud:
    return but(ROUTER, external_gateway_info=ExternalGateway(network_id=EXTERNAL.id, **fields))


def pools(*ranges: tuple[str, str]) -> Cloud:
    return but(SUBNET, allocation_pools=tuple(AllocationPool(*pool) for pool in ranges))


OUT = "external_gateway_info.external_fixed_ips[0]"
BROKEN: dict[str, tuple[Callable[[], Cloud], str, str]] = {
    # what is wrong: the cloud, the field that is named, the rule
    "MTU too small": (lambda: but(NET, mtu=67), "mtu", "well-formed"),
    "MTU too big": (lambda: but(NET, mtu=65536), "mtu", "well-formed"),
    "MAC of a group": (lambda: but(ONE, mac_address="01:16:3e:00:00:01"), "mac_address", "well-formed"),
    "MAC of nobody": (lambda: but(ONE, mac_address="00:00:00:00:00:00"), "mac_address", "well-formed"),
    "MAC with a tail": (lambda: but(ONE, mac_address=ONE.mac_address + "\n"), "mac_address", "well-formed"),
    "MAC twice": (lambda: but(TWO, mac_address=ONE.mac_address), "mac_address", "unique-mac"),
    "IP twice": (lambda: but(TWO, **at(SUBNET, ONE.fixed_ips[0].ip_address)), "fixed_ips[0].ip_address", "unique-ip"),
    "IP outside": (lambda: but(TWO, **at(SUBNET, "10.1.0.9")), "fixed_ips[0].ip_address", "fixed-ip-in-subnet"),
    "IP is the network's": (
        lambda: but(TWO, **at(SUBNET, "10.0.0.0")),
        "fixed_ips[0].ip_address",
        "fixed-ip-in-subnet",
    ),
    "IP is the broadcast's": (
        lambda: but(TWO, **at(SUBNET, "10.0.255.255")),
        "fixed_ips[0].ip_address",
        "fixed-ip-in-subnet",
    ),
    "subnet elsewhere": (lambda: but(TWO, **at(OUTER, "192.168.9.9")), "fixed_ips[0].subnet_id", "subnet-of-network"),
    "external gateway's IP": (lambda: but(GATEWAY, **at(OUTER, "192.168.0.1")), "fixed_ips[0].ip_address", "unique-ip"),
    "address pair": (
        lambda: but(ONE, allowed_address_pairs=(AddressPair("10.0.0.1/16"),)),
        "allowed_address_pairs[0].ip_address",
        "well-formed",
    ),
    "gateway outside": (lambda: but(SUBNET, gateway_ip="10.1.0.1"), "gateway_ip", "gateway-in-subnet"),
    "pool outside": (lambda: pools(("10.1.0.1", "10.1.0.9")), "allocation_pools[0]", "pool-in-subnet"),
    "pool backwards": (lambda: pools(("10.0.0.9", "10.0.0.2")), "allocation_pools[0]", "well-formed"),
    "pool with the gateway": (lambda: pools(("10.0.0.1", "10.0.0.9")), "allocation_pools[0]", "gateway-outside-pools"),
    "pools overlap": (
        lambda: pools(("10.0.0.5", "10.0.0.9"), ("10.0.0.2", "10.0.0.5")),
        "allocation_pools[1]",
        "no-overlap",
    ),
    "network without length": (lambda: but(SUBNET, cidr="10.0.0.0"), "cidr", "well-formed"),
    "network with a netmask": (lambda: but(SUBNET, cidr="10.0.0.0/255.255.0.0"), "cidr", "well-formed"),
    "host route": (
        lambda: but(SUBNET, host_routes=(HostRoute("10.0.0.1/8", "10.0.0.1"),)),
        "host_routes[0]",
        "well-formed",
    ),
    "subnets overlap behind a router": (
        lambda: one_more(cidr="10.0.128.0/17", fixed_ips=(FixedIp("sub-b", "10.0.128.1"),)),
        "cidr",
        "no-overlap",
    ),
    "subnet overlaps the outside": (
        lambda: one_more(cidr="192.168.7.0/24", fixed_ips=(FixedIp("sub-b", "192.168.7.1"),)),
        "cidr",
        "no-overlap",
    ),
    "two interfaces on a subnet": (
        lambda: beside(INTERFACE, id="i2", **at(SUBNET, "10.0.0.2")),
        "fixed_ips[0]",
        "one-interface-per-subnet",
    ),
    "interface without address": (lambda: one_more(fixed_ips=()), "fixed_ips", "interface-has-address"),
    "no such network": (lambda: but(SUBNET, network_id="none"), "network_id", "known-reference"),
    "no such port": (lambda: but(FIP, port_id="none"), "port_id", "known-reference"),
    "no such host": (lambda: but(ONE, binding_host_id="h9"), "binding_host_id", "known-reference"),
    "no such group": (lambda: but(ONE, security_groups=("none",)), "security_groups[0]", "known-reference"),
    "no such remote group": (lambda: opening(remote_group_id="none"), "rules[0].remote_group_id", "known-reference"),
    "no such server": (lambda: but(ONE, device_id="none"), "device_id", "known-reference"),
    "no such router": (lambda: one_more(device_id="none"), "device_id", "known-reference"),
    "owner of an instance's port": (lambda: but(ONE, device_owner="network:dhcp"), "device_owner", "device-owner"),
    "owner of a router's port": (
        lambda: one_more(device_owner="network:router_interface"),
        "device_owner",
        "device-owner",
    ),
    "owner mistyped": (lambda: one_more(device_owner="network:dchp", device_id=""), "device_owner", "device-owner"),
    "next hop nowhere": (lambda: route("10.77.0.1"), "routes[0].nexthop", "reachable-next-hop"),
    "next hop is itself": (lambda: route("10.0.0.1"), "routes[0].nexthop", "reachable-next-hop"),
    "external address outside": (
        lambda: out(external_fixed_ips=(FixedIp(OUTER.id, "10.0.0.1"),)),
        OUT + ".ip_address",
        "fixed-ip-in-subnet",
    ),
    "external address taken": (
        lambda: out(external_fixed_ips=(FixedIp(OUTER.id, "192.168.1.1"),)),
        OUT + ".ip_address",
        "unique-ip",
    ),
    "external address of another net": (
        lambda: out(external_fixed_ips=(FixedIp(SUBNET.id, "10.0.0.9"),)),
        OUT + ".subnet_id",
        "subnet-of-network",
    ),
    "not distributed": (lambda: but(ROUTER, distributed=False), "distributed", "distributed-router"),
    "floating IP outside": (
        lambda: but(FIP, floating_ip_address="10.9.9.9"),
        "floating_ip_address",
        "floating-ip-in-external-network",
    ),
    "floating IP taken by a port": (
        lambda: but(FIP, floating_ip_address="192.168.255.1"),
        "floating_ip_address",
        "unique-ip",
    ),
    "floating IP of no port's address": (
        lambda: but(FIP, fixed_ip_address="10.0.0.77"),
        "fixed_ip_address",
        "fixed-ip-of-port",
    ),
    "two floating IPs on one address": (
        lambda: beside(FIP, id="f2", floating_ip_address="192.168.1.2"),
        "fixed_ip_address",
        "one-floating-ip-per-fixed-ip",
    ),
    "no way to the port": (lambda: but(ROUTER, external_gateway_info=None), "router_id", "reachable-port"),
    "no agent gateway": (lambda: remove(CLOUD, GATEWAY), "port_id", "agent-gateway-port"),
    "two agent gateways": (
        lambda: beside(GATEWAY, id="g2", **at(OUTER, "192.168.9.9")),
        "binding_host_id",
        "one-agent-gateway",
    ),
    "no bridge": (lambda: but(HOST, bridge_mappings={}, bridge_nics={}), "port_id", "external-bridge"),
    "no bridge for a port": (
        lambda: put(but(HOST, bridge_mappings={"physnet2": "br-ex"}), msgspec.structs.replace(FIP, port_id=None)),
        "binding_host_id",
        "physical-bridge",
    ),
    "a legacy host": (lambda: but(HOST, agent_mode="legacy"), "agent_mode", "agent-mode"),
    "a host without an outside": (lambda: but(HOST, agent_mode="dvr_no_external"), "agent_mode", "agent-mode"),
    "the wrong router": (lambda: but(FIP, router_id=None), "router_id", "reachable-port"),
    "segment of a flat network": (
        lambda: but(EXTERNAL, provider_segmentation_id=5),
        "provider_segmentation_id",
        "segment-range",
    ),
    "VNI": (lambda: but(NET, provider_segmentation_id=2**24), "provider_segmentation_id", "segment-range"),
    "no physical network": (
        lambda: put(but(EXTERNAL), Network(id="n2", provider_network_type="vlan", provider_segmentation_id=9)),
        "provider_physical_network",
        "physical-network",
    ),
    "segment twice": (lambda: beside(NET, id="n2"), "provider_segmentation_id", "unique-segment"),
    "flat network twice": (lambda: beside(EXTERNAL, id="n2"), "provider_segmentation_id", "unique-segment"),
    "ports backwards": (
        lambda: opening(protocol="tcp", port_range_min=9, port_range_max=8),
        "rules[0].port_range_min",
        "well-formed",
    ),
    "port 65536": (
        lambda: opening(protocol="udp", port_range_min=1, port_range_max=65536),
        "rules[0].port_range_min",
        "well-formed",
    ),
    "ports of ESP": (
        lambda: opening(protocol="esp", port_range_min=1, port_range_max=2),
        "rules[0].port_range_min",
        "well-formed",
    ),
    "ICMP type": (lambda: opening(protocol="icmp", port_range_min=256), "rules[0].port_range_min", "well-formed"),
    "ICMP code without a type": (
        lambda: opening(protocol="icmp", port_range_max=1),
        "rules[0].port_range_max",
        "well-formed",
    ),
    "no protocol": (lambda: opening(protocol="tpc"), "rules[0].protocol", "well-formed"),
    "no protocol number": (lambda: opening(protocol="256"), "rules[0].protocol", "well-formed"),
    "a digit of another script": (lambda: opening(protocol="²"), "rules[0].protocol", "well-formed"),
    "IPv6 prefix in an IPv4 rule": (
        lambda: opening(remote_ip_prefix="fe80::/10"),
        "rules[0].remote_ip_prefix",
        "well-formed",
    ),
    "prefix and group": (
        lambda: opening(remote_ip_prefix="10.0.0.0/8", remote_group_id=GROUP.id),
        "rules[0].remote_group_id",
        "well-formed",
    ),
    "bridge name too long": (
        lambda: but(HOST, bridge_mappings={"physnet1": "br-ex", "p2": "b" * 16}),
        "bridge_mappings.p2",
        "well-formed",
    ),
    "NIC name too long": (
        lambda: but(HOST, bridge_nics={"br-ex": "enx0123456789abcd"}),
        "bridge_nics.br-ex",
        "well-formed",
    ),
    "NIC of no bridge": (lambda: but(HOST, bridge_nics={"br-exx": "eth4"}), "bridge_nics.br-exx", "known-reference"),
    "a bridge for two": (
        lambda: but(HOST, bridge_mappings={"physnet1": "br-ex", "p2": "br-ex"}),
        "bridge_mappings.p2",
        "unique-bridge",
    ),
    "the integration bridge": (
        lambda: but(HOST, bridge_mappings={"physnet1": "br-ex", "p2": "br-int"}),
        "bridge_mappings.p2",
        "reserved-bridge",
    ),
    "tunnel address twice": (lambda: beside(HOST, name="h2"), "tunnel_ip", "unique-ip"),
    "tag twice": (lambda: pinned(local_vlans={"a": 1, "b": 1}), "pins.local_vlans.b", "unique-pin"),
    "tag out of range": (lambda: pinned(local_vlans={"a": 4095}), "pins.local_vlans.a", "pin-range"),
    "priority twice": (
        lambda: pinned(floating_ip_priorities={"10.0.0.1": 40000, "10.0.0.2": 40000}),
        "pins.floating_ip_priorities.10.0.0.2",
        "unique-pin",
    ),
    "priority out of range": (
        lambda: pinned(floating_ip_priorities={"10.0.0.1": 16}),
        "pins.floating_ip_priorities.10.0.0.1",
        "pin-range",
    ),
    "upper half of a pair": (lambda: pinned(link_local={"r": "169.254.106.115"}), "pins.link_local.r", "well-formed"),
    "pair out of range": (lambda: pinned(link_local={"r": "169.254.0.2"}), "pins.link_local.r", "well-formed"),
    "pinned MAC twice": (
        lambda: pinned(macs={"a": "fa:16:3e:0a:0a:0a", "b": "fa:16:3e:0a:0a:0a"}),
        "pins.macs.b",
        "unique-pin",
    ),
    "pinned MAC of a group": (lambda: pinned(macs={"a": "ff:ff:ff:ff:ff:ff"}), "pins.macs.a", "well-formed"),
    "id that leaves its directory": (lambda: beside(ROUTER, id="../etc"), "id", "well-formed"),
    "server's name with a slash": (lambda: beside(CLOUD.servers[ONE.device_id], name="../x"), "name", "well-formed"),
    "ids alike in their head": (
        lambda: beside(TWO, id=ONE.id[:11] + "x", **at(SUBNET, "10.0.7.7")),
        "id",
        "unique-device-name",
    ),
}


def test_the_cloud_is_right_until_it_is_broken() -> None:
    assert validate(CLOUD) == ()


@pytest.mark.parametrize("what", BROKEN)
def test_each_rule_is_found_where_it_is_broken(what: str) -> None:
    cloud, field, rule = BROKEN[what]
    found = [(finding.field, finding.rule) for finding in validate(cloud())]
    assert (field, rule) in found, found
    assert len(found) <= 2, found


@pytest.mark.parametrize(
    "cloud",
    [
        lambda: route("10.0.0.250"),
        lambda: route("192.168.0.1"),
        lambda: opening(protocol="icmp", port_range_min=0),
        lambda: opening(protocol="132", port_range_min=5, port_range_max=5),
        lambda: opening(ethertype="IPv6", protocol="ipv6-icmp", remote_ip_prefix="fe80::/10"),
        lambda: pools(("10.0.0.2", "10.0.0.5"), ("10.0.0.6", "10.0.255.254")),
        one_more,
        lambda: but(FIP, port_id=None, fixed_ip_address=None, router_id=None),
        lambda: out(external_fixed_ips=(FixedIp(OUTER.id, "192.168.8.8"),)),
        lambda: but(ONE, allowed_address_pairs=(AddressPair("0.0.0.0/0"),)),
    ],
)
def test_what_is_allowed_is_not_refused(cloud: Callable[[], Cloud]) -> None:
    assert validate(cloud()) == ()


def test_a_wide_subnet_hides_no_later_overlap() -> None:
    many = [Subnet(id=f"s{i}", network_id=NET.id, cidr=cidr) for i, cidr in
            enumerate(["10.64.0.0/10", "10.65.0.0/16", "10.66.0.0/16"])]  # fmt: skip
    found = validate(put(CLOUD, *many))
    assert [(f.id, f.rule) for f in found] == [("s1", "no-overlap"), ("s2", "no-overlap")]


@examples(60)
@given(clouds(), st.data())
def test_a_cloud_with_something_gone_is_judged_not_stumbled_over(cloud: Cloud, data: st.DataObject) -> None:
    things = [thing for field in cloud.__struct_fields__ for thing in getattr(cloud, field).values()]
    gone = data.draw(st.sampled_from(things))
    for finding in validate(remove(cloud, gone)):
        assert finding.id in getattr(cloud, finding.collection)
        assert finding.message
        assert finding.rule
