"""L8 under damage: break the reference host as an operator might, and ask walk and packets whether anything still passes.

ip rule del …  ──▶  walk: FIP_RULE_MISSING     ping: no answer      they must agree, for every damage and question
"""

import os
from collections.abc import Iterator

import msgspec
import pytest

from floatway.lab import enter, lab, served
from floatway.lab.world import observe_world
from floatway.model.load import load_cloud
from floatway.trace.question import Question
from floatway.trace.result import Walk
from floatway.trace.walk import walk
from lab.support import REFERENCE

pytestmark = pytest.mark.lab

NAME = f"damage-{os.getpid()}"
HOST, INSTANCE, OUTSIDE = "cy2-compute02", "test", "outside"
FIXED, FLOATING, GATEWAY = "172.12.10.4", "192.168.10.106", "192.168.0.1"
QROUTER = "qrouter-d3218b9c-73bb-4788-87e4-5828625fe586"
FIP = "fip-eddc07d8-7544-4f3a-b9f4-27f005fb114f"
QR, FG, RFP, FPR = "qr-56718ce4-c6", "fg-38f32d91-3d", "rfp-d3218b9c-7", "fpr-d3218b9c-7"
R, F = f"ip netns exec {QROUTER}", f"ip netns exec {FIP}"
O_CHAIN, I_CHAIN, S_CHAIN = (f"neutron-openvswi-{way}8aa5e3b4-6" for way in "ois")
DAMAGES = {
    "FIP_RULE_MISSING": f"{R} ip rule del from {FIXED} lookup 16",
    "FIP_T16_NODEFAULT": f"{R} ip route flush table 16",
    "FIP_DNAT_MISSING": f"{R} iptables -t nat -F neutron-l3-agent-PREROUTING",
    "FIP_SNAT_MISSING": f"{R} iptables -t nat -F neutron-l3-agent-float-snat",
    "FIP_ROUTE_MISSING": f"{F} ip route del {FLOATING}",
    "PROXY_ARP_OFF": f"{F} sysctl -qw net.ipv4.conf.{FG}.proxy_arp=0",
    "FG_MISSING": f"{F} ip link set {FG} down",
    "FG_DEAD_VLAN": f"ovs-vsctl set port {FG} tag=4095",
    "PORT_DEAD_VLAN": "ovs-vsctl set port qvo8aa5e3b4-6c tag=4095",
    "PHYSBR_MAPPING": "ovs-vsctl del-port br-ex phy-br-ex",
    "FIP_VETH_GONE": f"{R} ip link del {RFP}",
    "FIP_VETH_NOIP": f"{F} ip addr flush dev {FPR}",
    "L2_IFACE_DOWN tap": "ip link set tap8aa5e3b4-6c down",
    "L2_IFACE_DOWN qvb": "ip link set qvb8aa5e3b4-6c down",
    "L2_IFACE_DOWN qvo": "ip link set qvo8aa5e3b4-6c down",
    "L2_IFACE_DOWN qbr": "ip link set qbr8aa5e3b4-6c down",
    "L2_IFACE_DOWN eth4": "ip link set eth4 down",
    "L2_IFACE_DOWN qr": f"{R} ip link set {QR} down",
    "L2 unplugged": "ip link set tap8aa5e3b4-6c nomaster",
    "IP_FORWARD_OFF qrouter": f"{R} sysctl -qw net.ipv4.ip_forward=0",
    "IP_FORWARD_OFF fip": f"{F} sysctl -qw net.ipv4.ip_forward=0",
    "RP_FILTER strict": f"{R} sysctl -qw net.ipv4.conf.all.rp_filter=1",
    "RP_FILTER strict fip": f"{F} sysctl -qw net.ipv4.conf.all.rp_filter=1",
    "DVR_ARP_MISSING": f"{R} ip neigh del {FIXED} dev {QR}",
    "DVR_ARP_STALE": f"{R} ip neigh replace {FIXED} lladdr fa:16:3e:00:00:01 dev {QR} nud permanent",
    "ADDR_SCOPE_MARK": f"{R} iptables -t mangle -F neutron-l3-agent-scope",
    "OVS_RESTART_FLOWS_LOST": "ovs-ofctl -O OpenFlow14 del-flows br-int",
    "br-ex flows": "ovs-ofctl -O OpenFlow14 del-flows br-ex table=2",
    "BR_NF_OFF": "sysctl -qw net.bridge.bridge-nf-call-iptables=0",
    "SG_CHAIN_MISSING": "iptables -F neutron-openvswi-FORWARD",
    "spoof chain": f"iptables -R {S_CHAIN} 1 -s 172.12.10.9/32 -j RETURN",
    "no in rules": f"iptables -F {I_CHAIN}; iptables -A {I_CHAIN} -j DROP",
    "no out rules": f"iptables -I {O_CHAIN} 1 -p icmp -j DROP",
    "blackhole": f"{R} ip route add blackhole 192.168.0.0/16",
    "unreachable": f"{F} ip route add unreachable {GATEWAY}/32",
    "policy": f"{R} iptables -P FORWARD DROP",
    "small mtu": f"{F} ip link set {FG} mtu 1000",
    "arp spoof table": "ovs-ofctl -O OpenFlow14 del-flows br-int table=24,arp",
    "drop flow": 'ovs-ofctl -O OpenFlow14 --names add-flow br-int "table=60,priority=99,ip,nw_dst=192.168.0.0/16,actions=drop"',
    "no zone": "iptables -t raw -F neutron-openvswi-PREROUTING",
    "second default": f"{R} ip route add default via 172.12.10.16 dev {QR}",
    "wrong ext gateway": f"{F} ip route replace 192.168.0.0/24 via 169.254.106.114 dev {FPR}",
}
QUESTIONS = {
    "out": (Question(source=INSTANCE, target=GATEWAY), INSTANCE, f"ping -n -c1 -W1 {GATEWAY}"),
    "in": (Question(source=OUTSIDE, target=FLOATING), OUTSIDE, f"ping -n -c1 -W1 {FLOATING}"),
    "long": (
        Question(source=OUTSIDE, target=FLOATING, size=1428),
        OUTSIDE,
        f"ping -n -c1 -W1 -M do -s 1400 {FLOATING}",
    ),
}


QUICK = (
    "FIP_RULE_MISSING",
    "FIP_ROUTE_MISSING",
    "PROXY_ARP_OFF",
    "PORT_DEAD_VLAN",
    "L2_IFACE_DOWN tap",
    "RP_FILTER strict",
)
CHOSEN = DAMAGES if os.environ.get("FLOATWAY_TEST_PROFILE") == "long" else QUICK


@pytest.fixture(params=CHOSEN)
def broken(request: pytest.FixtureRequest) -> Iterator[lab.Lab]:
    raised = lab.up(load_cloud(REFERENCE), name=NAME, with_server=True)
    try:
        assert served.pause(raised.nodes[HOST], stop=True), "there is no agent, who would mend it"
        sh(raised, HOST, DAMAGES[request.param], must=True)
        yield raised
    finally:
        lab.down(NAME)


def sh(raised: lab.Lab, node: str, command: str, *, must: bool = False) -> bool:
    done = enter.run(raised.nodes[node], ["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert not must or done.returncode == 0, done.stdout + done.stderr
    return done.returncode == 0


def forget(raised: lab.Lab) -> None:
    """Both ends ask anew, and no connection is remembered."""
    for node in (INSTANCE, OUTSIDE):
        sh(raised, node, "ip neigh flush all")
    sh(
        raised,
        HOST,
        f"conntrack -F; {R} conntrack -F; {F} conntrack -F; {F} ip neigh flush all nud reachable nud stale",
    )


def test_l8_walk_and_packets_agree_on_a_broken_host(broken: lab.Lab) -> None:
    for name, (question, node, command) in QUESTIONS.items():
        forget(broken)
        said = walk(observe_world(broken), question)
        really = sh(broken, node, command)
        assert said.ok == really, f"{name}: ping {'is' if really else 'is not'} answered; {summary(said)}"
        assert said.ok or (said.forward.reason and (said.forward.ok or said.forward.disposition))


def summary(said: Walk) -> str:
    parts = [
        f"{trace.disposition} {trace.code} {trace.reason}" for trace in (said.forward, said.reply) if trace is not None
    ]
    return "; the answer: ".join(parts) + f"; {msgspec.json.encode([hop.node for hop in said.forward.hops]).decode()}"
