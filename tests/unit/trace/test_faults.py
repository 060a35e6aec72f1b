"""Each damage to the reference's host ends the walk where it should, with the fault's code and a line that proves it."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import pytest

from floatway.host.records import Chain, Flow, Link, Neighbour, OvsPort, Record, Route, Rule, Sysctl
from floatway.trace.question import Question
from floatway.trace.result import Disposition, Evidence, Trace, Walk
from floatway.trace.walk import walk
from floatway.trace.world import World
from unit.trace import worlds
from unit.trace.worlds import FG, FIP, FLOATING, GATEWAY, INSTANCE, OUTSIDE, QR, QROUTER, QVB, QVO, RFP, TAP

OUT = Question(source=INSTANCE, target=GATEWAY)
IN = Question(source=OUTSIDE, target=FLOATING)
UDP = Question(source=OUTSIDE, target=FLOATING, proto="udp", dport=5354)

Damage = Callable[[World], World]


def get(world: World, kind: type[Record], *key: object, host: str = worlds.HOST) -> Record:
    found = worlds.state(world, host).get(kind, *key)
    assert found is not None, (kind, key)
    return found


def gone(kind: type[Record], *key: object, host: str = worlds.HOST) -> Damage:
    return lambda world: worlds.less(world, get(world, kind, *key, host=host), host=host)


def changed(kind: type[Record], *key: object, host: str = worlds.HOST, **fields: object) -> Damage:
    return lambda world: worlds.put(
        world, msgspec.structs.replace(get(world, kind, *key, host=host), **fields), host=host
    )


def every(kind: type[Record], keep: Callable[[Record], bool]) -> Damage:
    def damage(world: World) -> World:
        state = worlds.state(world)
        return worlds.with_host(world, state.filter(lambda record: not isinstance(record, kind) or keep(record)))

    return damage


def without_rules(netns: str, table: str, chain: str, word: str) -> Damage:
    def damage(world: World) -> World:
        record = get(world, Chain, netns, table, chain)
        assert isinstance(record, Chain)
        kept = tuple(rule for rule in record.rules if word not in rule)
        assert kept != record.rules
        return worlds.put(world, msgspec.structs.replace(record, rules=kept))

    return damage


def both(*damages: Damage) -> Damage:
    def damage(world: World) -> World:
        for one in damages:
            world = one(world)
        return world

    return damage


class Case(NamedTuple):
    damage: Damage
    question: Question
    disposition: Disposition
    code: str
    proof: str
    learned: bool = True
    lost: str = "forward"


D = Disposition
CASES = {
    "rule-out": Case(gone(Rule, QROUTER, 57481, "172.12.10.4", "", 16), OUT, D.EXITS_NETWORK, "FIP_RULE_MISSING", "remote_ip"),
    "rule-in": Case(
        gone(Rule, QROUTER, 57481, "172.12.10.4", "", 16), IN, D.EXITS_NETWORK, "FIP_RULE_MISSING", "remote_ip", lost="reply"
    ),
    "table-16": Case(gone(Route, QROUTER, 16, "default", 0, "unicast"), OUT, D.EXITS_NETWORK, "FIP_T16_NODEFAULT", ""),
    "dnat": Case(
        without_rules(QROUTER, "nat", "neutron-l3-agent-PREROUTING", "-j DNAT"), IN, D.NO_ROUTE, "FIP_DNAT_MISSING", ""
    ),
    "snat": Case(
        without_rules(QROUTER, "nat", "neutron-l3-agent-float-snat", "-j SNAT"), OUT, D.NO_ROUTE, "FIP_SNAT_MISSING", "",
        lost="reply",
    ),
    "route": Case(gone(Route, FIP, 254, FLOATING, 0, "unicast"), IN, D.NEIGHBOUR_UNKNOWN, "FIP_ROUTE_MISSING", "192.168.0.0"),
    "route-cold": Case(
        gone(Route, FIP, 254, FLOATING, 0, "unicast"), IN, D.NEIGHBOUR_UNKNOWN, "FIP_ROUTE_MISSING", "192.168.0.0", False
    ),
    "proxy-arp": Case(
        changed(Sysctl, FIP, f"net.ipv4.conf.{FG}.proxy_arp", value="0"), IN, D.NEIGHBOUR_UNKNOWN, "PROXY_ARP_OFF",
        f"net.ipv4.conf.{FG}.proxy_arp = 0", False,
    ),
    "fg-gone": Case(gone(Link, FIP, FG), IN, D.NEIGHBOUR_UNKNOWN, "FG_MISSING", "(nothing)", False),
    "fg-down": Case(changed(Link, FIP, FG, up=False), IN, D.NEIGHBOUR_UNKNOWN, "FG_MISSING", "state DOWN", False),
    "fg-down-out": Case(changed(Link, FIP, FG, up=False), OUT, D.NO_ROUTE, "FG_MISSING", ""),
    "fg-dead": Case(changed(OvsPort, FG, tag=4095), IN, D.NEIGHBOUR_UNKNOWN, "FG_DEAD_VLAN", "tag: 4095", False),
    "dead-vlan": Case(changed(OvsPort, QVO, tag=4095), OUT, D.DROPPED_BY_FLOW, "PORT_DEAD_VLAN", ""),
    "dead-vlan-in": Case(changed(OvsPort, QVO, tag=4095), IN, D.DROPPED_BY_FLOW, "PORT_DEAD_VLAN", "tag: 4095", False),
    "sg-udp": Case(lambda world: world, UDP, D.DROPPED_BY_RULE, "SG_NO_RULE", "neutron-openvswi-sg-fallback"),
    "sg-udp-cold": Case(lambda world: world, UDP, D.DROPPED_BY_RULE, "SG_NO_RULE", "neutron-openvswi-sg-fallback", False),
    "spoofed-mac": Case(
        changed(Link, "", "eth0", host=INSTANCE, mac="fa:16:3e:00:00:99"), OUT, D.DROPPED_BY_RULE, "SG_SPOOF_DROP", ""
    ),
    "tap-down": Case(changed(Link, "", TAP, up=False), IN, D.DROPPED_BY_FLOW, "L2_IFACE_DOWN", "state DOWN"),
    "tap-down-cold": Case(changed(Link, "", TAP, up=False), IN, D.DROPPED_BY_FLOW, "L2_IFACE_DOWN", "state DOWN", False),
    "tap-gone": Case(gone(Link, "", TAP), OUT, D.DROPPED_BY_FLOW, "L2_IFACE_DOWN", "(nothing)"),
    "qvb-down": Case(changed(Link, "", QVB, up=False), IN, D.DROPPED_BY_FLOW, "L2_IFACE_DOWN", "state DOWN"),
    "qvo-down-cold": Case(changed(Link, "", QVO, up=False), IN, D.DROPPED_BY_FLOW, "L2_IFACE_DOWN", "state DOWN", False),
    "nic-down": Case(changed(Link, "", "eth4", up=False), OUT, D.DROPPED_BY_FLOW, "L2_IFACE_DOWN", "state DOWN"),
    "qr-down": Case(changed(Link, QROUTER, QR, up=False), OUT, D.DROPPED_BY_FLOW, "L2_IFACE_DOWN", "state DOWN"),
    "rfp-gone": Case(gone(Link, QROUTER, RFP), OUT, D.EXITS_NETWORK, "FIP_VETH_GONE", ""),
    "forward": Case(changed(Sysctl, QROUTER, "net.ipv4.ip_forward", value="0"), OUT, D.NO_ROUTE, "IP_FORWARD_OFF", "= 0"),
    "mtu": Case(
        lambda world: world, Question(source=OUTSIDE, target=FLOATING, size=1451), D.MTU_EXCEEDED, "MTU_OVERLAY", "1450"
    ),
    "ttl": Case(lambda world: world, Question(source=INSTANCE, target=GATEWAY, ttl=2), D.TTL_EXCEEDED, "", ""),
    "flows": Case(every(Flow, lambda flow: flow.bridge != "br-int"), OUT, D.DROPPED_BY_FLOW, "OVS_RESTART_FLOWS_LOST", ""),
    "rp-filter": Case(
        both(
            gone(Rule, QROUTER, 57481, "172.12.10.4", "", 16),
            changed(Sysctl, QROUTER, "net.ipv4.conf.all.rp_filter", value="1"),
        ),
        IN, D.NO_ROUTE, "RP_FILTER", "rp_filter = 1",
    ),
    "patch": Case(gone(OvsPort, "phy-br-ex"), OUT, D.DROPPED_BY_FLOW, "PHYSBR_MAPPING", "peer=phy-br-ex"),
    "scope-mark": Case(
        without_rules(QROUTER, "mangle", "neutron-l3-agent-scope", QR), OUT, D.DROPPED_BY_RULE, "ADDR_SCOPE_MARK", "-j DROP"
    ),
}  # fmt: skip


def lines(trace: Trace) -> list[Evidence]:
    return [*trace.evidence, *(proof for hop in trace.hops for step in hop.steps for proof in step.evidence)]


def asked(case: Case) -> Walk:
    return walk(case.damage(worlds.reference_world(case.learned)), case.question)


@pytest.mark.parametrize("name", CASES)
def test_damage_is_named(name: str) -> None:
    case = CASES[name]
    said = asked(case)
    trace = said.forward if case.lost == "forward" else said.reply
    assert trace is not None
    assert (trace.disposition, trace.code) == (case.disposition, case.code), trace.reason
    assert not said.ok
    assert trace.reason
    assert any(case.proof in proof.line for proof in lines(trace)), [proof.line for proof in lines(trace)]
    if case.code:
        assert trace.repair, case.code
        assert "{" not in trace.repair


def test_filtering_switched_off_is_noticed_though_the_packet_passes() -> None:
    world = worlds.put(worlds.reference_world(), Sysctl(netns="", name="net.bridge.bridge-nf-call-iptables", value="0"))
    said = walk(world, UDP)
    assert said.forward.disposition is Disposition.DELIVERED
    assert "BR_NF_OFF" in codes(said.forward)


def test_a_missing_permanent_neighbour_is_noticed_though_arp_may_help() -> None:
    world = gone(Neighbour, QROUTER, QR, "172.12.10.4")(worlds.reference_world())
    said = walk(world, IN)
    assert said.ok
    assert "DVR_ARP_MISSING" in codes(said.forward)


def test_a_missing_jump_leaves_the_port_open_and_is_noticed() -> None:
    world = without_rules("", "filter", "neutron-openvswi-FORWARD", TAP)(worlds.reference_world())
    said = walk(world, UDP)
    assert said.forward.disposition is Disposition.DELIVERED
    assert "SG_CHAIN_MISSING" in codes(said.forward)


def codes(trace: Trace) -> set[str]:
    return {step.code for hop in trace.hops for step in hop.steps if step.code}


def test_a_rule_that_is_not_understood_makes_the_answer_unknown() -> None:
    record = worlds.state(worlds.reference_world()).get(Chain, QROUTER, "filter", "neutron-l3-agent-FORWARD")
    assert record is not None
    strange = msgspec.structs.replace(record, rules=("-m u32 --u32 6&0xFF=0x1 -j DROP", *record.rules))
    said = walk(worlds.put(worlds.reference_world(), strange), OUT)
    assert said.forward.disposition is Disposition.UNKNOWN_STATE
    assert "u32" in said.forward.reason


def test_a_flow_that_is_not_understood_makes_the_answer_unknown() -> None:
    strange = Flow(bridge="br-int", table=0, priority=70, match="ip", actions="ct(table=5)")
    said = walk(worlds.put(worlds.reference_world(), strange), OUT)
    assert said.forward.disposition is Disposition.UNKNOWN_STATE
    assert "ct" in said.forward.reason


def test_the_repair_names_the_places() -> None:
    said = asked(CASES["rule-out"]).forward
    assert said.repair.startswith(f"ip netns exec {QROUTER} ip rule add from 172.12.10.4 lookup 16")
    route = asked(CASES["route-cold"]).forward
    assert route.repair == f"ip netns exec {FIP} ip route add {FLOATING}/32 via 169.254.106.114 dev {worlds.FPR}"
