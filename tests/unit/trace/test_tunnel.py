"""Two hosts and a VXLAN tunnel between their br-tun, flows reduced to the tunnel's own.

a 10.0.0.1 ── br-int/br-tun @one ══ 10.20.0.1 ═══ 10.20.0.2 ══ @two br-tun/br-int ── b 10.0.0.2
"""

import msgspec
import pytest

from floatway.host.records import Address, Flow, Link, OvsBridge, OvsPort, Record
from floatway.trace.question import Question
from floatway.trace.result import Disposition
from floatway.trace.walk import walk
from floatway.trace.world import Endpoint, Wire, World
from unit.trace.worlds import instance, less, machine, put

MACS = {"a": "fa:16:3e:00:00:0a", "b": "fa:16:3e:00:00:0b"}


def flow(bridge: str, table: int, match: str, actions: str, priority: int = 1) -> Flow:
    return Flow(bridge=bridge, table=table, priority=priority, match=match, actions=actions)


def host(own: str, far: str, underlay: int) -> list[Record]:
    tunnel = f"vxlan-to-{far[-1]}"
    options = (("df_default", "true"), ("in_key", "flow"), ("local_ip", own), ("out_key", "flow"), ("remote_ip", far))
    return [
        Link(netns="", name="eth1", kind="foreign", mac=f"02:00:00:00:00:0{own[-1]}", mtu=underlay),
        Address(netns="", link="eth1", cidr=f"{own}/24"),
        Link(netns="", name="tap", kind="foreign", mac=f"fe:00:00:00:00:0{own[-1]}", mtu=1450),
        OvsBridge(name="br-int"),
        OvsBridge(name="br-tun"),
        OvsPort(bridge="br-int", name="tap", tag=1),
        OvsPort(bridge="br-int", name="patch-tun", type="patch", options=(("peer", "patch-int"),)),
        OvsPort(bridge="br-tun", name="patch-int", type="patch", options=(("peer", "patch-tun"),)),
        OvsPort(bridge="br-tun", name=tunnel, type="vxlan", options=options),
        flow("br-int", 0, "", "NORMAL"),
        flow("br-tun", 0, 'in_port="patch-int"', "goto_table:22"),
        flow("br-tun", 0, f'in_port="{tunnel}"', "goto_table:4"),
        flow("br-tun", 4, "tun_id=0x2530", 'push_vlan:0x8100,set_field:4097->vlan_vid,output:"patch-int"'),
        flow("br-tun", 22, "dl_vlan=1", f'pop_vlan,set_field:0x2530->tun_id,output:"{tunnel}"'),
    ]


def world(underlay: int = 1500) -> World:
    machines = [
        instance("a", MACS["a"], "10.0.0.1/24", "10.0.0.254"),
        instance("b", MACS["b"], "10.0.0.2/24", "10.0.0.254"),
        machine("one", "compute", host("10.20.0.1", "10.20.0.2", underlay)),
        machine("two", "compute", host("10.20.0.2", "10.20.0.1", underlay)),
    ]
    wires = tuple(
        Wire(guest, (Endpoint(guest, "eth0"), Endpoint(on, "tap"))) for guest, on in (("a", "one"), ("b", "two"))
    )
    return World(machines={one.name: one for one in machines}, wires=wires)


QUESTION = Question(source="a", target="b")


def test_from_host_to_host() -> None:
    said = walk(world(), QUESTION)
    assert said.ok
    assert [(hop.host, hop.node) for hop in said.forward.hops] == [
        ("a", "a"), ("one", "br-int"), ("one", "br-tun"), ("two", "br-tun"), ("two", "br-int"), ("b", "b"),
    ]  # fmt: skip


@pytest.mark.parametrize(("size", "ok"), [(1450, True), (1451, False)])
def test_1450_is_what_1500_carries(size: int, ok: bool) -> None:
    assert walk(world(), msgspec.structs.replace(QUESTION, size=size)).ok is ok


def test_a_small_underlay_swallows_long_packets() -> None:
    said = walk(world(1450), msgspec.structs.replace(QUESTION, size=1450)).forward
    assert (said.disposition, said.code) == (Disposition.MTU_EXCEEDED, "MTU_OVERLAY")
    assert "1500 bytes with the tunnel's headers" in said.reason
    assert walk(world(1450), QUESTION).ok


def test_no_tunnel_back() -> None:
    back = world().machines["two"].state.get(OvsPort, "vxlan-to-1")
    assert back is not None
    said = walk(less(world(), back, host="two"), QUESTION).forward
    assert not said.ok
    assert said.disposition is Disposition.NEIGHBOUR_UNKNOWN


def test_an_arp_responder_flow_answers() -> None:
    mac = int(MACS["b"].replace(":", ""), 16)
    responder = flow(
        "br-int",
        0,
        "arp,arp_op=1,arp_tpa=10.0.0.2",
        "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:fa:16:3e:00:00:0b->eth_src,load:0x2->NXM_OF_ARP_OP[],"
        "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],"
        f"load:{mac:#x}->NXM_NX_ARP_SHA[],load:0xa000002->NXM_OF_ARP_SPA[],IN_PORT",
        priority=9,
    )
    said = walk(put(world(), responder, host="one"), QUESTION)
    assert said.ok
    assert any("a flow answers" in step.text for step in said.forward.hops[0].steps)
