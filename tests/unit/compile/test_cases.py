"""What is not in the reference: one case each."""

import msgspec
import pytest

from floatway.compile.allocations import AllocationError, Allocations, allocate
from floatway.compile.host import compile_host, origins
from floatway.compile.names import integration_patch, provider_patch
from floatway.compile.openflow import COOKIE
from floatway.host.ownership import owned
from floatway.host.records import Chain, Flow, Ipset, Link, Netns, OvsPort, Route, Rule
from floatway.model.resources import ExternalGateway
from unit.compile.clouds import REFERENCE_HOST, built, changed, reference, unusual, uuid

CLOUD, HOST = unusual()
STATE = built(CLOUD, HOST)
VM = "8aa5e3b4-6c0b-4d77-8c45-146cacf576ec"
ROUTER, EXTERNAL = "d3218b9c-73bb-4788-87e4-5828625fe586", "eddc07d8-7544-4f3a-b9f4-27f005fb114f"
TAGS = allocate(CLOUD, HOST).local_vlans


def port_of(address: str) -> str:
    return next(p.id for p in CLOUD.ports.values() if any(f.ip_address == address for f in p.fixed_ips))


def mac_of(address: str) -> str:
    return CLOUD.ports[port_of(address)].mac_address


def flows(bridge: str, table: int, priority: int | None = None) -> dict[str, str]:
    return {
        f.match: f.actions
        for f in STATE.records(Flow, lambda f: (f.bridge, f.table) == (bridge, table))
        if priority in {None, f.priority}
    }


def rules(name: str, table: str = "filter", netns: str = "") -> tuple[str, ...]:
    chain = STATE.get(Chain, netns, table, name)
    assert chain is not None
    return chain.rules


def test_a_trusted_port_is_accepted_and_nothing_else() -> None:
    port = port_of("10.1.0.17")
    tap, short = f"tap{port[:11]}", port[:10]
    accepted = [rule for rule in rules("neutron-openvswi-FORWARD") if tap in rule]
    assert [rule.rsplit(" ", 1)[1] for rule in accepted] == ["ACCEPT", "ACCEPT"]
    assert STATE.get(Chain, "", "filter", f"neutron-openvswi-i{short}") is None
    assert not [rule for rule in rules("neutron-openvswi-PREROUTING", "raw") if tap in rule]
    assert not [match for match in flows("br-int", 25) if f"qvo{port[:11]}" in match]


def test_a_dead_port_goes_nowhere_and_remembers_its_tag() -> None:
    port = port_of("10.2.0.18")
    plugged = STATE.get(OvsPort, f"qvo{port[:11]}")
    assert plugged is not None
    assert plugged.tag == 4095
    assert dict(plugged.port_other_config)["tag"] == str(TAGS[CLOUD.ports[port].network_id])
    assert flows("br-int", 0, 2)[f'in_port="qvo{port[:11]}"'] == "drop"
    assert flows("br-int", 0, 65535) == {"dl_vlan=4095": "drop"}


def test_a_lone_dead_port_is_no_reason_to_renumber() -> None:
    cloud = changed(reference(), VM, admin_state_up=False)
    net = cloud.ports[VM].network_id
    assert allocate(cloud, REFERENCE_HOST, Allocations(local_vlans={net: 9})).local_vlans[net] == 9


def test_address_pairs_may_speak() -> None:
    port = port_of("10.2.0.12")
    own, spoof = mac_of("10.2.0.12"), rules(f"neutron-openvswi-s{port[:10]}")
    assert [rule.split(" -m comment")[0] for rule in spoof[:-1]] == [
        f"-s 10.2.0.12/32 -m mac --mac-source {own}",
        f"-s 10.9.0.0/16 -m mac --mac-source {own}",
        "-s 10.8.0.1/32 -m mac --mac-source 02:00:00:00:00:01",
        f"-m mac --mac-source {own}",
        f"-s 10.8.0.2/32 -m mac --mac-source {own}",
    ]
    assert spoof[-1].endswith("-j DROP")
    device = f'in_port="qvo{port[:11]}"'
    assert {f"{device},dl_src={own}", f"{device},dl_src=02:00:00:00:00:01"} <= set(flows("br-int", 25))
    asked = set(flows("br-int", 24))
    assert {f"arp,{device},arp_spa=10.9.0.0/16", f"arp,{device},arp_spa=10.8.0.2", f"arp,{device}"} <= asked
    assert f"icmp6,{device},icmp_type=136,nd_target=fe80::ff:fe00:1" in asked


def test_several_addresses_and_groups() -> None:
    port = port_of("10.1.0.11")
    inward = rules(f"neutron-openvswi-i{port[:10]}")
    assert inward[1].startswith("-d 10.1.0.11/32 ")
    assert inward[2].startswith("-d 10.2.0.11/32 ")
    assert inward[4:8] == (
        "-p icmp -m icmp --icmp-type 8 -j RETURN",
        f"-p tcp -m tcp --dport 22 -m set --match-set NIPv4{uuid('5e', 2)[:24]} src -j RETURN",
        f"-m set --match-set NIPv4{uuid('5e', 1)[:24]} src -j RETURN",
        "-s 10.0.0.0/8 -p udp -m udp -m multiport --dports 1:9 -j RETURN",
    )
    assert not [rule for rule in inward if "tcp" in rule and "--dport 22" not in rule and "INVALID" not in rule]


def test_a_set_holds_the_groups_members_everywhere() -> None:
    members = {s.name: s.members for s in STATE.table(Ipset).values()}
    assert members[f"NIPv4{uuid('5e', 2)[:24]}"] == ("10.1.0.11", "10.2.0.11")
    everybody = members[f"NIPv4{uuid('5e', 1)[:24]}"]
    assert {"10.1.0.19", "10.9.0.0/16", "0.0.0.0/1", "128.0.0.0/1"} <= set(everybody)
    assert "0.0.0.0/0" not in everybody
    assert list(everybody) == sorted(everybody)


def test_the_gateways_frames_go_to_the_subnets_own_gateway_where_a_network_has_several() -> None:
    tag = TAGS[uuid("a1", 4)]
    to_host = [actions for match, actions in flows("br-int", 3).items() if match.startswith(f"dl_vlan={tag},")]
    assert len(to_host) == 1
    back = flows("br-int", 1)
    assert mac_of("10.1.0.1") in back[f"dl_vlan={tag},dl_dst={mac_of('10.1.0.10')}"]
    assert mac_of("10.2.0.1") in back[f"dl_vlan={tag},dl_dst={mac_of('10.2.0.12')}"]
    # each of the three interfaces is hidden from the other hosts
    hidden = {match for match, actions in flows("br-tun", 1).items() if actions == "drop"}
    assert hidden == {f"dl_vlan={tag},dl_dst={mac_of(a)}" for a in ("10.1.0.1", "10.1.0.2", "10.2.0.1")}


def test_a_vlan_network() -> None:
    tag, own = TAGS[uuid("a1", 5)], mac_of("10.3.0.13")
    assert flows("br-int", 0, 3)['in_port="int-br-ex",dl_vlan=3'] == f"set_field:{4096 + tag}->vlan_vid,goto_table:58"
    assert flows("br-ex", 2, 4)[f'in_port="phy-br-ex",dl_vlan={tag}'] == "set_field:4099->vlan_vid,NORMAL"
    gateway = mac_of("10.3.0.1")
    assert flows("br-int", 2)[f"dl_vlan=3,dl_dst={own}"] == (
        f"set_field:{gateway}->eth_src,set_field:{4096 + tag}->vlan_vid,goto_table:58"
    )
    assert flows("br-ex", 1)[f"dl_vlan={tag},dl_dst={gateway}"] == "drop"
    assert flows("br-ex", 1)[f"arp,dl_vlan={tag},arp_tpa=10.3.0.1"] == "drop"


def test_a_flat_tenant_network() -> None:
    tag, untagged = TAGS[uuid("a1", 6)], "vlan_tci=0x0000/0x1fff"
    inner, outer = integration_patch("br-laboratory"), provider_patch("br-laboratory")
    push = f"push_vlan:0x8100,set_field:{4096 + tag}->vlan_vid,goto_table:58"
    assert flows("br-int", 0, 3)[f'in_port="{inner}",{untagged}'] == push
    assert flows("br-laboratory", 2, 4)[f'in_port="{outer}",dl_vlan={tag}'] == "pop_vlan,NORMAL"
    assert (
        flows("br-int", 2)[f"{untagged},dl_dst={mac_of('10.4.0.14')}"]
        == f"set_field:{mac_of('10.4.0.1')}->eth_src,{push}"
    )


def test_ports_on_other_hosts_are_known_beforehand() -> None:
    tag = TAGS[uuid("a1", 4)]
    mac, output = mac_of("10.1.0.19"), 'pop_vlan,set_field:0x1388->tun_id,output:"vxlan-0a0a1402"'
    assert flows("br-tun", 20)[f"dl_vlan={tag},dl_dst={mac}"] == output
    assert flows("br-tun", 22)[f"dl_vlan={tag}"] == output
    answer = flows("br-tun", 21)[f"arp,dl_vlan={tag},arp_tpa=10.1.0.19"]
    assert f"set_field:{mac}->arp_sha" in answer
    assert answer.endswith(",IN_PORT")
    # those of VLAN networks are learnt as on any switch
    assert not [match for match in flows("br-tun", 20) if mac_of("10.3.0.20") in match]


def test_two_routers_share_one_namespace_of_floating_ips() -> None:
    fip = f"fip-{uuid('a1', 1)}"
    assert sorted(n.name for n in STATE.table(Netns).values()) == [
        fip,
        *(f"qrouter-{uuid('e1', n)}" for n in (1, 2, 3)),
    ]
    links = STATE.records(Link, lambda link: link.netns == fip)
    assert sorted(link.name[:4] for link in links) == ["fg-c", "fpr-", "fpr-"]
    # three: the two routers' ways out and the floating IP that is associated
    assert len(STATE.records(Route, lambda r: r.netns == fip and r.prefix == "default")) == 2
    assert STATE.get(Route, fip, 254, "192.168.1.100", 0, "unicast") is not None
    assert STATE.get(Route, fip, 254, "192.168.1.101", 0, "unicast") is None


def test_a_router_without_a_gateway_has_no_way_out() -> None:
    netns = f"qrouter-{uuid('e1', 3)}"
    assert not STATE.records(Rule, lambda rule: rule.netns == netns)
    assert not [link for link in STATE.records(Link, lambda link: link.netns == netns) if link.name.startswith("rfp-")]
    assert rules("neutron-l3-agent-POSTROUTING", "nat", netns) == ()


def test_static_routes_of_a_router() -> None:
    fip = f"fip-{uuid('a1', 1)}"
    inner = STATE.get(Route, f"qrouter-{uuid('e1', 1)}", 254, "10.99.0.0/16", 0, "unicast")
    assert inner is not None
    assert (inner.via, inner.dev[:3]) == ("10.1.0.9", "qr-")
    outer = STATE.records(Route, lambda r: r.prefix == "172.16.0.0/12")
    assert [(r.netns, r.via, r.dev[:3]) for r in outer] == [(fip, "192.168.1.9", "fg-")]


def test_centralised_snat_only_where_it_can_be() -> None:
    cloud = reference()
    redirects = lambda c: built(c, REFERENCE_HOST).records(Rule, lambda rule: rule.src == "172.12.10.1/24")  # noqa: E731
    assert len(redirects(cloud)) == 1
    router = msgspec.structs.replace(
        cloud.routers[ROUTER], external_gateway_info=ExternalGateway(EXTERNAL, enable_snat=False)
    )
    assert not redirects(msgspec.structs.replace(cloud, routers={ROUTER: router}))
    hosts = {name: msgspec.structs.replace(host, agent_mode="dvr") for name, host in cloud.hosts.items()}
    assert not redirects(msgspec.structs.replace(cloud, hosts=hosts))


def test_nothing_of_a_floating_ip_whose_port_is_elsewhere() -> None:
    cloud = changed(reference(), VM, binding_host_id="cy2-compute01")
    state = built(cloud, REFERENCE_HOST)
    assert not state.table(Netns)
    assert not [f for f in state.table(Flow).values() if "fa:16:3e:ae:b3:e7" in f.match]


def test_no_external_traffic_where_the_host_may_not() -> None:
    cloud = reference()
    host = msgspec.structs.replace(cloud.hosts[REFERENCE_HOST], agent_mode="dvr_no_external")
    state = built(msgspec.structs.replace(cloud, hosts={**cloud.hosts, host.name: host}), REFERENCE_HOST)
    assert [n.name for n in state.table(Netns).values()] == [f"qrouter-{ROUTER}"]


def test_everything_is_ours() -> None:
    assert all(flow.cookie == COOKIE for flow in STATE.table(Flow).values())
    assert owned(STATE, STATE) == STATE


def test_every_record_has_an_origin() -> None:
    found = origins(CLOUD, HOST, allocate(CLOUD, HOST))
    assert set(found) == {(type(record), record.key) for record in STATE}
    assert found[Ipset, ("", f"NIPv4{uuid('5e', 2)[:24]}")] == ("security_group", uuid("5e", 2))
    port = port_of("10.1.0.10")
    assert found[Link, ("", f"qbr{port[:11]}")] == ("port", port)


def test_numbers_are_kept_then_pinned_then_lowest() -> None:
    cloud = reference()
    net = cloud.ports[VM].network_id
    assert allocate(cloud, REFERENCE_HOST).local_vlans == {net: 1, EXTERNAL: 2}
    kept = allocate(
        cloud, REFERENCE_HOST, Allocations({net: 2}, {(ROUTER, "172.12.10.4"): 40000}, {ROUTER: "169.254.70.0"})
    )
    assert kept.local_vlans == {net: 2, EXTERNAL: 3}  # 1 stays reserved: a pin is for one network only
    assert kept.floating_ip_priorities == {(ROUTER, "172.12.10.4"): 40000}
    assert kept.link_local == {ROUTER: "169.254.70.0"}
    assert compile_host(cloud, REFERENCE_HOST, kept).get(Rule, f"qrouter-{ROUTER}", 40000, "172.12.10.4", "", 16)


def test_a_range_that_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("floatway.compile.allocations.LOCAL_VLANS", range(1, 3))
    with pytest.raises(AllocationError, match="no local VLAN is left on this host"):
        allocate(CLOUD, HOST)
