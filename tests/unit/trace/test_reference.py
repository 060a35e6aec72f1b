"""The reference's two journeys: every station of R7 and R8 in order, with the lines that its author quotes (R9)."""

from pathlib import Path

import msgspec
import pytest

from floatway.host.records import OvsFdb
from floatway.trace import render
from floatway.trace.question import Question
from floatway.trace.result import Disposition, StepKind, Trace
from floatway.trace.walk import walk
from unit.trace import worlds
from unit.trace.worlds import FIP, FIXED, FLOATING, GATEWAY, HOST, INSTANCE, OUTSIDE, QBR, QROUTER

OUT = Question(source=INSTANCE, target=GATEWAY)
IN = Question(source=OUTSIDE, target=FLOATING)
OUTWARDS = [
    ("test", "", "eth0"),
    (QBR, worlds.TAP, worlds.QVB),
    ("br-int", worlds.QVO, worlds.QR),
    (QROUTER, worlds.QR, worlds.RFP),
    (FIP, worlds.FPR, worlds.FG),
    ("br-int", worlds.FG, "int-br-ex"),
    ("br-ex", "phy-br-ex", "eth4"),
    ("outside", "eth1", ""),
]


def stations(trace: Trace) -> list[tuple[str, str, str]]:
    return [(hop.node, hop.ingress, hop.egress) for hop in trace.hops]


def backwards(way: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return [(node, egress, ingress) for node, ingress, egress in reversed(way)]


@pytest.mark.parametrize("learned", [True, False], ids=["learned", "cold"])
def test_outwards_and_back_station_by_station(learned: bool) -> None:
    said = walk(worlds.reference_world(learned), OUT)
    assert said.ok
    assert stations(said.forward) == OUTWARDS
    assert said.reply is not None
    assert stations(said.reply) == backwards(OUTWARDS)


@pytest.mark.parametrize("learned", [True, False], ids=["learned", "cold"])
def test_inwards_and_back_station_by_station(learned: bool) -> None:
    said = walk(worlds.reference_world(learned), IN)
    assert said.ok
    assert stations(said.forward) == backwards(OUTWARDS)
    assert said.reply is not None
    assert stations(said.reply) == OUTWARDS


def shown(trace: Trace, host: str = "") -> dict[str, str]:
    """Command -> everything it shows on this trace, blanks squeezed."""
    found: dict[str, str] = {}
    for hop in trace.hops:
        if host and hop.host != host:
            continue
        for step in hop.steps:
            for proof in step.evidence:
                found[proof.command] = found.get(proof.command, "") + " ".join(proof.line.split()) + "\n"
    return found


def anywhere(trace: Trace) -> str:
    return "\n".join(shown(trace).values())


QUOTED_OUTWARDS = [
    "inet 172.12.10.4/24 brd 172.12.10.255 scope global eth0",
    "0.0.0.0 172.12.10.1 0.0.0.0 UG 0 0 0 eth0",
    "(172.12.10.1) at fa:16:3e:78:d6:60 [ether] on eth0",
    "qbr8aa5e3b4-6c 8000.fa596f2d2f32 no qvb8aa5e3b4-6c",
    "-A neutron-openvswi-o8aa5e3b4-6 -j RETURN",
    "-A neutron-openvswi-s8aa5e3b4-6 -s 172.12.10.4/32 -m mac --mac-source fa:16:3e:ae:b3:e7",
    "Port qvo8aa5e3b4-6c tag: 1",
    "4 1 fa:16:3e:78:d6:60 0",
    "4(qr-56718ce4-c6): addr:",
    "qrouter-d3218b9c-73bb-4788-87e4-5828625fe586",
    "inet 172.12.10.1/24 brd 172.12.10.255 scope global qr-56718ce4-c6",
    "-A neutron-l3-agent-float-snat -s 172.12.10.4/32 -j SNAT --to-source 192.168.10.106",
    "-A neutron-postrouting-bottom -m comment",
    "172.12.10.0 0.0.0.0 255.255.255.0 U 0 0 0 qr-56718ce4-c6",
    "57481: from 172.12.10.4 lookup 16",
    "default via 169.254.106.115 dev rfp-d3218b9c-7",
    "fip-eddc07d8-7544-4f3a-b9f4-27f005fb114f",
    "inet 169.254.106.115/31 scope global fpr-d3218b9c-7",
    "2852022899: from all iif fpr-d3218b9c-7 lookup 2852022899",
    "default via 192.168.0.1 dev fg-38f32d91-3d",
    "Port fg-38f32d91-3d tag: 2",
    "(192.168.0.1) at 90:9f:33:65:47:02 [ether] on fg-38f32d91-3d",
    "1 2 90:9f:33:65:47:02 2",
    "1(int-br-ex): addr:",
    "Interface int-br-ex type: patch options: {peer=phy-br-ex}",
    "Interface phy-br-ex type: patch options: {peer=int-br-ex}",
    "Port eth4",
]
QUOTED_INWARDS = [
    "(192.168.10.106) at fa:16:3e:30:c9:5b [ether] on eth1",
    "(192.168.10.103) at fa:16:3e:30:c9:5b [ether] on eth1",
    "inet 192.168.10.103/16 brd 192.168.255.255 scope global fg-38f32d91-3d",
    "192.168.10.106 169.254.106.114 255.255.255.255 UGH 0 0 0 fpr-d3218b9c-7",
    "-A neutron-l3-agent-PREROUTING -d 192.168.10.106/32 -i rfp-d3218b9c-7 -j DNAT --to-destination 172.12.10.4",
    "172.12.10.0 0.0.0.0 255.255.255.0 U 0 0 0 qr-56718ce4-c6",
    "(172.12.10.4) at fa:16:3e:ae:b3:e7 [ether] PERM on qr-56718ce4-c6",
    "8 1 fa:16:3e:ae:b3:e7 0",
    "8(qvo8aa5e3b4-6c): addr:",
    "-A neutron-openvswi-i8aa5e3b4-6 -p icmp -j RETURN",
]


@pytest.mark.parametrize("line", QUOTED_OUTWARDS)
def test_the_authors_lines_outwards(line: str) -> None:
    assert line in anywhere(walk(worlds.reference_world(), OUT).forward)


@pytest.mark.parametrize("line", QUOTED_INWARDS)
def test_the_authors_lines_inwards(line: str) -> None:
    assert line in anywhere(walk(worlds.reference_world(), IN).forward)


def test_commands_are_typed_in_the_right_namespace() -> None:
    commands = shown(walk(worlds.reference_world(), OUT).forward, HOST)
    assert f"ip netns exec {QROUTER} ip rule" in commands
    assert f"ip netns exec {QROUTER} ip route ls table 16" in commands
    assert f"ip netns exec {QROUTER} iptables -t nat -S" in commands
    assert "iptables -S neutron-openvswi-o8aa5e3b4-6" in commands
    assert {"brctl show", "ovs-vsctl show", "ovs-appctl fdb/show br-int", "ovs-ofctl show br-int", "ip netns"} <= set(
        commands
    )


def test_the_packet_changes_where_it_should() -> None:
    forward = walk(worlds.reference_world(), OUT).forward
    router = forward.hops[3]
    nat = [step for step in router.steps if step.kind is StepKind.NAT]
    assert [(c.field, c.before, c.after) for step in nat for c in step.changes] == [("src", FIXED, FLOATING)]
    assert [hop.packet.vlan for hop in forward.hops] == [None, None, None, None, None, 2, None, None]
    assert [hop.packet.ttl for hop in forward.hops] == [64, 64, 64, 63, 62, 62, 62, 62]
    assert forward.hops[-1].packet.src_mac == worlds.FG_MAC


def test_proxy_arp_is_told() -> None:
    steps = walk(worlds.reference_world(False), IN).forward.hops[0].steps
    proxy = [step for step in steps if step.kind is StepKind.PROXY_ARP]
    assert len(proxy) == 1
    assert "fg-38f32d91-3d" in proxy[0].text


@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_other_protocols_outwards_keep_their_ports(proto: str) -> None:
    said = walk(
        worlds.reference_world(), Question(source=INSTANCE, target=GATEWAY, proto=proto, sport=4000, dport=5000)
    )
    assert said.ok
    assert said.reply is not None
    last = said.reply.hops[-1].packet
    assert (last.src, last.sport, last.dst, last.dport) == (GATEWAY, 5000, FIXED, 4000)


def test_tcp_inwards_by_the_port_range() -> None:
    assert walk(worlds.reference_world(), Question(source=OUTSIDE, target=FLOATING, proto="tcp", dport=22)).ok


def test_what_the_host_itself_answers() -> None:
    said = walk(worlds.reference_world(), Question(source=INSTANCE, target="172.12.10.1"))
    assert said.ok
    assert said.forward.disposition is Disposition.ACCEPTED_BY_HOST


def test_nobody_is_there() -> None:
    said = walk(worlds.reference_world(), Question(source=INSTANCE, target="192.168.77.77"))
    assert said.forward.disposition is Disposition.NEIGHBOUR_UNKNOWN
    assert said.forward.hops[-1].node == FIP


def test_the_fixed_address_is_not_reached_from_outside() -> None:
    assert (
        walk(worlds.reference_world(), Question(source=OUTSIDE, target=FIXED)).forward.disposition
        is Disposition.NO_ROUTE
    )


@pytest.mark.parametrize(("size", "ok"), [(1450, True), (1451, False)])
def test_1450_bytes_fit_and_no_more(size: int, ok: bool) -> None:
    for question in (IN, OUT):
        said = walk(worlds.reference_world(), msgspec.structs.replace(question, size=size))
        assert said.ok is ok
        assert ok or said.forward.disposition is Disposition.MTU_EXCEEDED
        assert ok or "MTU is 1450" in said.forward.reason


def test_without_df_it_is_cut() -> None:
    assert walk(worlds.reference_world(), Question(source=OUTSIDE, target=FLOATING, size=1451, df=False)).ok


def test_a_stale_mac_leads_astray() -> None:
    world = worlds.put(worlds.reference_world(), OvsFdb(bridge="br-int", vlan=1, mac=worlds.VM_MAC, port="patch-tun"))
    said = walk(world, IN).forward
    assert not said.ok
    assert [hop.node for hop in said.hops[-2:]] == ["br-int", "br-tun"]
    assert (said.disposition, said.code) == (Disposition.DROPPED_BY_FLOW, "FDB_STALE")


def test_text_and_json_tell_the_same() -> None:
    said = walk(worlds.reference_world(), OUT)
    plain, coloured = render.text(said), render.text(said, colour=True)
    assert "\x1b" not in plain
    assert "\x1b[" in coloured
    assert all(hop.node in plain for hop in said.forward.hops)
    built = render.to_json(said)
    assert built["ok"] is True
    assert [hop["node"] for hop in built["forward"]["hops"]] == [hop.node for hop in said.forward.hops]


GOLDEN = Path(__file__).parents[2] / "golden" / "reference"


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("instance.route-n", "route -n"),
        ("qrouter.route-n", f"ip netns exec {QROUTER} route -n"),
        ("fip.route-n", f"ip netns exec {FIP} route -n"),
        ("qrouter.ip-rule", f"ip netns exec {QROUTER} ip rule"),
        ("fip.ip-rule", f"ip netns exec {FIP} ip rule"),
        ("qrouter.arp-a", f"ip netns exec {QROUTER} arp -an"),
    ],
)
def test_lines_are_the_tools_own(file: str, command: str) -> None:
    golden = [line.rstrip().expandtabs() for line in (GOLDEN / f"{file}.txt").read_text().splitlines()]
    world = worlds.reference_world()
    shown = [
        line.rstrip().expandtabs()
        for trace in (walk(world, OUT).forward, walk(world, IN).forward)
        for hop in trace.hops
        if hop.host == (INSTANCE if file.startswith("instance") else HOST)
        for step in hop.steps
        for proof in step.evidence
        if proof.command == command
        for line in proof.line.splitlines()
    ]
    wanted = [line for line in shown if "169.254.106.11" not in line or "PERM" not in line]
    assert wanted
    assert set(wanted) <= set(golden), set(wanted) - set(golden)
