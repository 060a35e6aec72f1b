"""A host that Neutron itself made: the walk over its captured iptables, flows, MACs and port numbers.

vm 172.12.10.117 ── qbr65a85bb8-82 ── br-int ── qrouter-be38e5f6-… ── fip-a4ba9ef8-… ── br-int ── br-ex ── outside
"""

from functools import cache
from pathlib import Path

import pytest

from floatway.host.records import (
    Address,
    BridgeFdb,
    Link,
    Neighbour,
    Netns,
    OvsBridge,
    OvsPort,
    Record,
    Route,
    Rule,
    Sysctl,
)
from floatway.host.state import HostState
from floatway.text.appctl import parse_fdb
from floatway.text.iptables import parse_save
from floatway.text.ofctl import parse_flows, parse_show
from floatway.trace.question import Question
from floatway.trace.result import Disposition, StepKind
from floatway.trace.walk import walk
from floatway.trace.world import Endpoint, Machine, Wire, World
from unit.trace.worlds import instance, kernel_made, outside, with_host

CAPTURE = Path(__file__).parents[2] / "golden" / "neutron-29"
HOST, VM, GATEWAY, FIXED, FLOATING = "host", "vm-65a85bb8", "192.168.0.1", "172.12.10.117", "192.168.13.164"
QROUTER = "qrouter-be38e5f6-045b-4ead-8f2d-a66edad3b18a"
FIP = "fip-a4ba9ef8-b3af-45e8-8356-603607788ffd"
TAP, QBR, QVB, QVO = (f"{prefix}65a85bb8-82" for prefix in ("tap", "qbr", "qvb", "qvo"))
QR, FG, RFP, FPR = "qr-2fc51678-e8", "fg-17859d50-e9", "rfp-be38e5f6-0", "fpr-be38e5f6-0"
VM_MAC, GATEWAY_MAC = "fa:16:3e:8a:a7:ee", "f6:e8:77:c4:5b:dc"


def text(name: str) -> str:
    return (CAPTURE / f"{name}.txt").read_text()


def devices() -> list[Record]:
    return [
        Netns(name=QROUTER),
        Netns(name=FIP),
        Link(netns="", name=TAP, kind="foreign", mac="4e:73:4b:ba:b1:5e", mtu=1450, master=QBR),
        Link(netns="", name=QBR, kind="bridge", mac="02:c1:15:cd:af:ac", mtu=1450),
        Link(netns="", name=QVB, kind="veth", mac="02:c1:15:cd:af:ac", mtu=1450, master=QBR, peer=QVO),
        Link(netns="", name=QVO, kind="veth", mac="e6:5a:fd:ee:6b:84", mtu=1450, peer=QVB),
        Link(netns="", name="ext0", kind="foreign", mac="d6:8d:80:f7:be:f2"),
        Link(netns=QROUTER, name=QR, kind="internal", mac="fa:16:3e:61:35:87", mtu=1450),
        Link(netns=QROUTER, name=RFP, kind="veth", mac="7e:37:92:44:77:f2", peer_netns=FIP, peer=FPR),
        Link(netns=FIP, name=FPR, kind="veth", mac="1a:98:f4:19:6d:88", peer_netns=QROUTER, peer=RFP),
        Link(netns=FIP, name=FG, kind="internal", mac="fa:16:3e:86:c9:8c"),
        OvsBridge(name="br-int"),
        OvsBridge(name="br-ex"),
        OvsBridge(name="br-tun"),
        OvsPort(bridge="br-int", name=QVO, tag=1),
        OvsPort(bridge="br-int", name=QR, type="internal", tag=1),
        OvsPort(bridge="br-int", name=FG, type="internal", tag=2),
        *(
            OvsPort(bridge=bridge, name=name, type="patch", options=(("peer", peer),))
            for bridge, name, peer in (
                ("br-int", "int-br-ex", "phy-br-ex"), ("br-ex", "phy-br-ex", "int-br-ex"),
                ("br-int", "patch-tun", "patch-int"), ("br-tun", "patch-int", "patch-tun"),
            )
        ),
        OvsPort(bridge="br-ex", name="ext0"),
    ]  # fmt: skip


def layer3() -> list[Record]:
    settings = [
        Sysctl(netns=netns, name=name, value="1")
        for netns in (QROUTER, FIP)
        for name in ("net.ipv4.ip_forward", "net.ipv4.conf.all.arp_ignore")
    ]
    return [
        *settings,
        Sysctl(netns="", name="net.bridge.bridge-nf-call-iptables", value="1"),
        Sysctl(netns=FIP, name=f"net.ipv4.conf.{FG}.proxy_arp", value="1"),
        Address(netns=QROUTER, link=QR, cidr="172.12.10.1/24"),
        Address(netns=QROUTER, link=RFP, cidr="169.254.88.134/31"),
        Address(netns=FIP, link=FPR, cidr="169.254.88.135/31"),
        Address(netns=FIP, link=FG, cidr="192.168.12.5/16"),
        Rule(netns=QROUTER, priority=56340, src=FIXED, table=16),
        Rule(netns=QROUTER, priority=2886470145, src="172.12.10.1/24", table=2886470145),
        Rule(netns=FIP, priority=2852018311, iif=FPR, table=2852018311),
        Route(netns=QROUTER, prefix="default", table=16, via="169.254.88.135", dev=RFP),
        Route(netns=QROUTER, prefix="default", table=2886470145, via="172.12.10.16", dev=QR),
        Route(netns=FIP, prefix="default", table=2852018311, via=GATEWAY, dev=FG),
        Route(netns=FIP, prefix=FLOATING, via="169.254.88.134", dev=FPR),
        Neighbour(netns=QROUTER, link=QR, address=FIXED, mac=VM_MAC),
        Neighbour(netns=QROUTER, link=QR, address="172.12.10.16", mac="fa:16:3e:8f:9b:e5"),
        Neighbour(netns=QROUTER, link=RFP, address="169.254.88.135", mac="1a:98:f4:19:6d:88"),
        Neighbour(netns=FIP, link=FPR, address="169.254.88.134", mac="7e:37:92:44:77:f2"),
        BridgeFdb(netns="", bridge=QBR, mac=VM_MAC, port=TAP),
        BridgeFdb(netns="", bridge=QBR, mac="fa:16:3e:61:35:87", port=QVB),
    ]


@cache
def neutron_host() -> HostState:
    records = [*devices(), *layer3()]
    for bridge in ("br-int", "br-tun", "br-ex"):
        ports = parse_show(text(f"{bridge}.ofctl-show"), bridge)
        names = {(port.bridge, port.ofport): port.name for port in ports}
        records += [
            *ports,
            *parse_flows(text(f"{bridge}.flows"), bridge),
            *parse_fdb(text(f"{bridge}.fdb"), bridge, names),
        ]
    for file, netns in (("host", ""), ("qrouter", QROUTER), ("fip", FIP)):
        records += parse_save(text(f"{file}.iptables-save"), netns)
    return kernel_made(HostState.of(records))


@cache
def neutron_world() -> World:
    machines = (
        instance(VM, VM_MAC, f"{FIXED}/24", "172.12.10.1"),
        Machine(HOST, "compute", neutron_host()),
        outside(GATEWAY_MAC, f"{GATEWAY}/16", "eth0"),
    )
    wires = (
        Wire("tap", (Endpoint(VM, "eth0"), Endpoint(HOST, TAP))),
        Wire("external", (Endpoint(HOST, "ext0"), Endpoint("outside", "eth0"))),
    )
    return World(machines={one.name: one for one in machines}, wires=wires)


@pytest.mark.parametrize(("source", "target"), [(VM, GATEWAY), ("outside", FLOATING), (VM, "172.12.10.1")])
def test_pings_pass(source: str, target: str) -> None:
    said = walk(neutron_world(), Question(source=source, target=target))
    assert said.ok, (said.forward.reason, said.reply and said.reply.reason)


def test_ssh_is_open_and_smtp_is_not() -> None:
    def ask(port: int) -> Disposition:
        return walk(
            neutron_world(), Question(source="outside", target=FLOATING, proto="tcp", dport=port)
        ).forward.disposition

    assert ask(22) is Disposition.DELIVERED
    assert ask(25) is Disposition.DROPPED_BY_RULE


def test_the_flow_rewrites_no_mac_of_a_local_router() -> None:
    forward = walk(neutron_world(), Question(source="outside", target=FLOATING)).forward
    last = forward.hops[-1].packet
    assert (last.src_mac, last.dst_mac) == ("fa:16:3e:61:35:87", VM_MAC)


def test_central_snat_is_a_way_out_for_who_has_no_floating_ip() -> None:
    state = neutron_host()
    rule = state.get(Rule, QROUTER, 56340, FIXED, "", 16)
    assert rule is not None
    said = walk(with_host(neutron_world(), state.without(rule), HOST), Question(source=VM, target="8.8.8.8"))
    router = next(hop for hop in said.forward.hops if hop.node == QROUTER)
    assert any(step.kind is StepKind.POLICY and "2886470145" in step.text for step in router.steps)
    assert said.forward.code == "FIP_RULE_MISSING"
    assert said.forward.hops[-1].node == "br-int"
