"""The flow tables and NORMAL, one rule at a time."""

import pytest

from floatway.host.records import Flow, OfPort, OvsBridge, OvsFdb, OvsPort, Record
from floatway.host.state import HostState
from floatway.net.packet import Packet, arp_request
from floatway.trace.index import Index
from floatway.trace.openflow import Decision, decide

IP = Packet(
    src_mac="fa:16:3e:00:00:01", dst_mac="fa:16:3e:00:00:02", src="10.0.0.5", dst="192.168.1.9", proto="udp", dport=53
)
ARP = arp_request("fa:16:3e:00:00:01", "10.0.0.5", "10.0.0.1")
PORTS = [
    OvsPort(bridge="br", name="a", tag=1),
    OvsPort(bridge="br", name="b", tag=1),
    OvsPort(bridge="br", name="c", tag=2),
    OvsPort(bridge="br", name="trunk"),
    OfPort(bridge="br", name="b", ofport=7),
]


def flow(match: str, actions: str, table: int = 0, priority: int = 1) -> Flow:
    return Flow(bridge="br", table=table, priority=priority, match=match, actions=actions)


def run(*records: Record, packet: Packet = IP, port: str = "a", fail_mode: str = "secure") -> Decision:
    state = HostState.of([OvsBridge(name="br", fail_mode=fail_mode), *PORTS, *records])
    return decide(Index(state), "br", port, packet)


def sent(decision: Decision) -> list[tuple[str, int | None]]:
    return [(output.port, output.packet.vlan) for output in decision.outputs]


@pytest.mark.parametrize(
    ("match", "packet", "hits"),
    [
        ("", IP, True),
        ("ip", IP, True),
        ("arp", IP, False),
        ("udp,tp_dst=53", IP, True),
        ("udp,nw_src=10.0.0.0/24", IP, True),
        ("ip,nw_dst=192.168.0.0/255.255.0.0", IP, True),
        ('in_port="a"', IP, True),
        ("in_port=7", IP, False),
        ("dl_dst=fa:16:3e:00:00:02", IP, True),
        ("dl_dst=01:00:00:00:00:00/01:00:00:00:00:00", IP, False),
        ("dl_dst=01:00:00:00:00:00/01:00:00:00:00:00", ARP, True),
        ("arp,arp_tpa=10.0.0.1,arp_op=1", ARP, True),
        ("arp,arp_spa=10.0.0.6", ARP, False),
        ("vlan_tci=0x0000/0x1fff", IP, True),
        ("dl_vlan=1", IP, False),
        ("icmp6,icmp_type=136", IP, False),
        ("tun_id=0x0", IP, True),
    ],
)
def test_match(match: str, packet: Packet, hits: bool) -> None:
    assert bool(run(flow(match, 'output:"b"'), packet=packet).outputs) is hits


@pytest.mark.parametrize(
    ("flows", "out"),
    [
        ([flow("", "drop")], []),
        ([flow("", "output:7")], [("b", None)]),
        ([flow("", 'output:"a"')], []),
        ([flow("", "IN_PORT")], [("a", None)]),
        ([flow("", "goto_table:5"), flow("", 'output:"b"', table=5)], [("b", None)]),
        ([flow("", 'resubmit(,5),output:"c"'), flow("", 'output:"b"', table=5)], [("b", None), ("c", None)]),
        ([flow("", 'push_vlan:0x8100,set_field:4098->vlan_vid,output:"trunk"')], [("trunk", 2)]),
        ([flow("", 'mod_vlan_vid:3,output:"trunk"')], [("trunk", 3)]),
        ([flow("", 'output:"b"', priority=1), flow("", "drop", priority=2), flow("ip", "drop", priority=1)], []),
        ([flow("", "NORMAL")], [("b", None), ("trunk", 1), ("br", 1)]),
        ([flow("", "NORMAL"), OvsFdb(bridge="br", vlan=1, mac="fa:16:3e:00:00:02", port="b")], [("b", None)]),
        ([flow("", "NORMAL"), OvsFdb(bridge="br", vlan=1, mac="fa:16:3e:00:00:02", port="a")], []),
        ([], []),
    ],
)
def test_actions(flows: list[Record], out: list[tuple[str, int | None]]) -> None:
    assert sent(run(*flows)) == out


def test_a_standalone_bridge_without_flows_is_a_switch() -> None:
    assert sent(run(fail_mode="")) == [("b", None), ("trunk", 1), ("br", 1)]


def test_a_tagged_frame_is_not_for_an_access_port() -> None:
    tagged = Packet(src_mac="02:00:00:00:00:01", dst_mac="02:00:00:00:00:02", vlan=9)
    said = run(flow("", "NORMAL"), packet=tagged)
    assert not said.outputs
    assert "access port" in said.reason


@pytest.mark.parametrize(
    "actions", ["ct(table=1)", "group:3", "move:NXM_OF_ODD[]->NXM_OF_ETH_DST[]", "goto_table:x", "output:gone"]
)
def test_what_is_not_understood_is_said(actions: str) -> None:
    said = run(flow("", actions))
    assert said.unknown or all(output.port == "gone" for output in said.outputs)


def test_a_field_that_is_not_understood_matters_only_when_the_rest_holds() -> None:
    assert run(flow("ct_state=+trk,ip", "drop", priority=9), flow("", 'output:"b"')).unknown
    assert sent(run(flow("ct_state=+trk,arp", "drop", priority=9), flow("", 'output:"b"'))) == [("b", None)]


def test_tables_that_jump_in_a_circle_end() -> None:
    assert run(flow("", "resubmit(,0)")).unknown
