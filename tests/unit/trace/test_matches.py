"""iptables matches, targets and chains one by one."""

import pytest

from floatway.host.records import Chain, Ipset, Record
from floatway.host.state import HostState
from floatway.net.packet import Packet, TcpFlags
from floatway.text.iptables import parse_rule
from floatway.trace.conntrack import Tracked
from floatway.trace.index import Index
from floatway.trace.matches import Sight, holds
from floatway.trace.netfilter import evaluate

SSH = Packet(
    src_mac="fa:16:3e:00:00:01", dst_mac="fa:16:3e:00:00:02", src="10.0.0.5", dst="192.168.1.9", proto="tcp", sport=40000, dport=22
)  # fmt: skip
PING = Packet(src_mac="fa:16:3e:00:00:01", dst_mac="fa:16:3e:00:00:02", src="10.0.0.5", dst="192.168.1.9")
SETS = Ipset(netns="", name="NIPv4x", members=("10.0.0.0/24", "10.0.0.9 nomatch"))


def sight(packet: Packet = SSH, *records: Record, **fields: object) -> Sight:
    known = Index(HostState.of([SETS, *records]))
    return Sight(
        index=known, host="h", netns="", packet=packet, in_device="qr-1", out_device="rfp-1", physdev_in="tap1",
        physdev_out="qvb1", bridged=True, mark=0x4000001, **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "packet", "answer"),
    [
        ("-j DROP", SSH, True),
        ("-s 10.0.0.0/24 -j DROP", SSH, True),
        ("! -s 10.0.0.0/24 -j DROP", SSH, False),
        ("-d 192.168.1.9/32 -j DROP", SSH, True),
        ("-i qr-+ -j DROP", SSH, True),
        ("-i qr-2 -j DROP", SSH, False),
        ("! -o rfp-1 -j DROP", SSH, False),
        ("-p tcp -m tcp --dport 22 -j DROP", SSH, True),
        ("-p tcp -m tcp --dport 20:25 -j DROP", SSH, True),
        ("-p tcp -m tcp ! --dport 22 -j DROP", SSH, False),
        ("-p udp -m udp --dport 22 -j DROP", SSH, False),
        ("-p tcp -m tcp -m multiport --dports 1,20:30 -j DROP", SSH, True),
        ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP", SSH, True),
        ("-p icmp -m icmp --icmp-type 8 -j DROP", PING, True),
        ("-p icmp -m icmp --icmp-type 8/0 -j DROP", PING, True),
        ("-p icmp -m icmp --icmp-type 3/4 -j DROP", PING, False),
        ("-m state --state NEW -j DROP", SSH, True),
        ("-m conntrack ! --ctstate DNAT -j DROP", SSH, True),
        ("-m conntrack --ctstate RELATED,ESTABLISHED -j DROP", SSH, False),
        ("-m mac --mac-source FA:16:3E:00:00:01 -j DROP", SSH, True),
        ("-m physdev --physdev-in tap1 --physdev-is-bridged -j DROP", SSH, True),
        ("-m physdev --physdev-out tap1 -j DROP", SSH, False),
        ("-m set --match-set NIPv4x src -j DROP", SSH, True),
        ("-m set --match-set NIPv4x dst -j DROP", SSH, False),
        ("-m set --match-set absent src -j DROP", SSH, None),
        ("-m mark --mark 0x1/0xffff -j DROP", SSH, True),
        ("-m mark ! --mark 0x4000000/0xffff0000 -j DROP", SSH, False),
        ('-m comment --comment "-s 1.2.3.4" -j DROP', SSH, True),
        ("-m u32 --u32 6&0xFF=1 -j DROP", SSH, None),
        ("-p udp -m u32 --u32 6&0xFF=1 -j DROP", SSH, False),
        ("-p tcp -m tcp --dport ssh -j DROP", SSH, None),
    ],
)
def test_match(rule: str, packet: Packet, answer: bool | None) -> None:
    assert holds(parse_rule(rule), sight(packet, tracked=Tracked("NEW"))) is answer


def test_a_nomatch_member_is_left_out() -> None:
    packet = Packet(src_mac="", dst_mac="", src="10.0.0.9", dst="10.1.1.1", tcp_flags=TcpFlags.ACK)
    assert holds(parse_rule("-m set --match-set NIPv4x src"), sight(packet)) is False


def chain(name: str, *rules: str, policy: str = "") -> Chain:
    return Chain(netns="", table="filter", name=name, policy=policy, rules=rules)


@pytest.mark.parametrize(
    ("chains", "verdict"),
    [
        ((chain("FORWARD", policy="DROP"),), "DROP"),
        ((chain("FORWARD", "-j a", "-j DROP", policy="ACCEPT"), chain("a", "-j RETURN", "-j ACCEPT")), "DROP"),
        ((chain("FORWARD", "-j a", policy="DROP"), chain("a", "-j b"), chain("b", "-j ACCEPT")), "ACCEPT"),
        ((chain("FORWARD", "-g a", "-j ACCEPT", policy="DROP"), chain("a")), "DROP"),
        ((chain("FORWARD", "-m u32 --u32 x -j LOG", policy="ACCEPT"),), "ACCEPT"),
        ((chain("FORWARD", "-m u32 --u32 x -j DROP", policy="ACCEPT"),), "UNKNOWN"),
        ((chain("FORWARD", "-j gone", policy="ACCEPT"),), "UNKNOWN"),
        ((chain("FORWARD", "-j a", policy="ACCEPT"), chain("a", "-j a")), "UNKNOWN"),
        (
            (chain("FORWARD", "-j MARK --set-xmark 0x0/0xffffffff", "-m mark --mark 0x0 -j DROP", policy="ACCEPT"),),
            "DROP",
        ),
        ((chain("FORWARD", "-j REJECT --reject-with icmp-port-unreachable", policy="ACCEPT"),), "REJECT"),
    ],
)
def test_verdict(chains: tuple[Chain, ...], verdict: str) -> None:
    assert evaluate(sight(SSH, *chains), "filter", "FORWARD").name == verdict
