"""Every step as a person would type it: the exact text, and a shell that accepts it."""

import subprocess

import pytest

from floatway.host.commands import commands
from floatway.host.plan import plan
from floatway.host.records import Address, Flow, Link, Neighbour, OvsBridge, OvsPort, Route, Rule
from floatway.host.state import HostState
from floatway.host.steps import (
    AddressAdd,
    AddressDelete,
    Announce,
    BridgeDelete,
    BridgeSet,
    ConntrackDelete,
    Ip,
    IpOp,
    IpsetRestore,
    LinkAdd,
    LinkDelete,
    LinkMove,
    LinkSet,
    NeighbourDelete,
    NeighbourReplace,
    NetnsAdd,
    NetnsDelete,
    OfBundle,
    OvsOp,
    OvsTransaction,
    PortDelete,
    PortSet,
    Restore,
    RouteDelete,
    RouteReplace,
    RuleAdd,
    RuleDelete,
    Step,
    SysctlWrite,
)
from unit.host.worlds import compiled, small_cloud

QR = Link(netns="qr1", name="qr-1", kind="internal", mac="fa:16:3e:00:00:01", mtu=1450)
RFP = Link(netns="qr1", name="rfp-1", kind="veth", mac="02:00:00:00:00:01", peer_netns="fip1", peer="fpr-1")
FPR = Link(netns="fip1", name="fpr-1", kind="veth", mac="02:00:00:00:00:02", peer_netns="qr1", peer="rfp-1")
QBR = Link(netns="", name="qbr1", kind="bridge", mac="02:00:00:00:00:03", mtu=1450, alias="floatway", up=False)
QVB = Link(
    netns="",
    name="qvb1",
    kind="veth",
    mac="02:00:00:00:00:04",
    master="qbr1",
    peer="qvo1",
    alias="floatway",
    tx_checksum=False,
)
TAP = Link(netns="", name="tap1", kind="foreign", mtu=1450, master="qbr1")
ADDRESS = Address(netns="qr1", link="qr-1", cidr="10.0.0.1/24", broadcast="10.0.0.255")
DEFAULT = Route(netns="qr1", prefix="default", table=16, via="169.254.64.1", dev="rfp-1")
DEAD = Route(netns="qr1", prefix="10.9.0.0/16", type="unreachable", metric=7)
FIP_RULE = Rule(netns="qr1", priority=40000, table=16, src="10.0.0.5")
IN_RULE = Rule(netns="fip1", priority=5, table=254, iif="fpr-1")
ENTRY = Neighbour(netns="qr1", link="qr-1", address="10.0.0.5", mac="fa:16:3e:00:00:05")


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (
            LinkAdd(link=RFP, peer=FPR),
            [
                "ip -n qr1 link add rfp-1 address 02:00:00:00:00:01 mtu 1500"
                " type veth peer name fpr-1 address 02:00:00:00:00:02 mtu 1500 netns fip1",
                "ip -n qr1 link set rfp-1 up",
                "ip -n fip1 link set fpr-1 up",
            ],
        ),
        (
            LinkAdd(link=QBR),
            [
                "ip link add qbr1 address 02:00:00:00:00:03 mtu 1450 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                "ip link set qbr1 alias floatway",
            ],
        ),
        (LinkSet(link=TAP, before=Link(netns="", name="tap1", kind="foreign", mtu=1500)), ["ip link set tap1 mtu 1450 master qbr1"]),
        (LinkSet(link=QVB, before=None), [
            "ip link set qvb1 address 02:00:00:00:00:04 mtu 1500 alias floatway master qbr1 up",
            "ethtool -K qvb1 tx off",
        ]),
        (LinkMove(link=QR), ["ip link set qr-1 netns qr1"]),
        (LinkDelete(link=RFP), ["ip -n qr1 link delete rfp-1"]),
        (AddressAdd(address=ADDRESS), ["ip -n qr1 address replace 10.0.0.1/24 broadcast 10.0.0.255 dev qr-1"]),
        (AddressDelete(address=ADDRESS), ["ip -n qr1 address delete 10.0.0.1/24 dev qr-1"]),
        (RouteReplace(route=DEFAULT), ["ip -n qr1 route replace default via 169.254.64.1 dev rfp-1 table 16 proto static"]),
        (RouteDelete(route=DEAD), ["ip -n qr1 route delete unreachable 10.9.0.0/16 metric 7 proto static"]),
        (RuleAdd(rule=FIP_RULE), ["ip -n qr1 rule add priority 40000 from 10.0.0.5 lookup 16"]),
        (RuleDelete(rule=IN_RULE), ["ip -n fip1 rule delete priority 5 from all iif fpr-1 lookup main"]),
        (NeighbourReplace(neighbour=ENTRY), ["ip -n qr1 neighbour replace 10.0.0.5 lladdr fa:16:3e:00:00:05 dev qr-1 nud permanent"]),
        (NeighbourDelete(neighbour=ENTRY), ["ip -n qr1 neighbour delete 10.0.0.5 dev qr-1"]),
    ],
)  # fmt: skip
def test_ip(op: IpOp, expected: list[str]) -> None:
    assert list(commands(Ip(netns="qr1", ops=(op,)))) == expected


BRIDGE = OvsBridge(name="br-int", datapath_type="netdev", controller=("tcp:127.0.0.1:6633",), protocols=("OpenFlow10", "OpenFlow14"),
                   other_config=(("disable-in-band", "true"),), external_ids=(("owner", "floatway"),))  # fmt: skip
PORT = OvsPort(
    bridge="br-int", name="qvo1", tag=1, external_ids=(("owner", "floatway"),), port_other_config=(("tag", "1"),)
)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (
            BridgeSet(bridge=BRIDGE),
            "ovs-vsctl -- --may-exist add-br br-int"
            " -- set bridge br-int fail_mode=secure datapath_type=netdev protocols=OpenFlow10,OpenFlow14"
            " other_config:disable-in-band=true external_ids:owner=floatway"
            " -- set-controller br-int tcp:127.0.0.1:6633",
        ),
        (
            BridgeSet(bridge=OvsBridge(name="b", fail_mode=""), before=BRIDGE),
            "ovs-vsctl -- --may-exist add-br b -- set bridge b protocols=[]"
            " -- remove bridge b other_config disable-in-band -- remove bridge b external_ids owner -- del-fail-mode b"
            " -- del-controller b",
        ),
        (BridgeDelete(name="b"), "ovs-vsctl -- --if-exists del-br b"),
        (
            PortSet(port=PORT),
            "ovs-vsctl -- --may-exist add-port br-int qvo1 -- set port qvo1 tag=1 other_config:tag=1"
            " -- set interface qvo1 type='\"\"' external_ids:owner=floatway",
        ),
        (
            PortSet(
                port=PORT,
                before=OvsPort(bridge="br-int", name="qvo1", options=(("a", "b"),), port_other_config=(("x", "1"),)),
            ),
            "ovs-vsctl -- --may-exist add-port br-int qvo1 -- set port qvo1 tag=1 other_config:tag=1"
            " -- set interface qvo1 type='\"\"' external_ids:owner=floatway"
            " -- remove port qvo1 other_config x -- remove interface qvo1 options a",
        ),
        (PortDelete(bridge="br-int", name="qvo1"), "ovs-vsctl -- --if-exists del-port br-int qvo1"),
    ],
)
def test_ovs_vsctl(op: OvsOp, expected: str) -> None:
    assert commands(OvsTransaction(ops=(op,))) == (expected,)


OLD = Flow(bridge="br-int", table=60, priority=2, match='in_port="qvo1"', actions="drop", cookie=0xF10A7)
NEW = Flow(bridge="br-int", table=0, priority=1, match="", actions="NORMAL", cookie=0xF10A7, hard_timeout=300)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (NetnsAdd(name="n"), ["ip netns add n", "ip -n n link set lo up"]),
        (NetnsDelete(name="n"), ["ip netns delete n"]),
        (
            SysctlWrite(netns="n", settings=(("net.ipv4.ip_forward", "1"), ("net.ipv4.conf.all.rp_filter", "0"))),
            ["ip netns exec n sysctl -w net.ipv4.ip_forward=1", "ip netns exec n sysctl -w net.ipv4.conf.all.rp_filter=0"],
        ),
        (
            Restore(netns="n", text="*nat\n-F OUTPUT\nCOMMIT\n", chains=()),
            ["ip netns exec n iptables-restore --noflush <<'EOF'\n*nat\n-F OUTPUT\nCOMMIT\nEOF"],
        ),
        (IpsetRestore(netns="", text="add s 10.0.0.1\n", sets=()), ["ipset restore <<'EOF'\nadd s 10.0.0.1\nEOF"]),
        (
            OfBundle(bridge="br-int", delete=(OLD,), add=(NEW,)),
            [
                "ovs-ofctl -O OpenFlow14 --names --bundle add-flows br-int - <<'EOF'\n"
                'delete_strict table=60,priority=2,cookie=0xf10a7/-1,in_port="qvo1"\n'
                "add table=0,priority=1,cookie=0xf10a7,hard_timeout=300,actions=NORMAL\nEOF"
            ],
        ),
        (
            ConntrackDelete(netns="", direction="orig-dst", address="10.0.0.5", zone=4097),
            ["conntrack -D -f ipv4 --orig-dst 10.0.0.5 --zone 4097"],
        ),
        (
            ConntrackDelete(netns="n", direction="reply-dst", address="192.168.1.1"),
            ["ip netns exec n conntrack -D -f ipv4 --reply-dst 192.168.1.1"],
        ),
        (
            Announce(netns="n", dev="fg-1", address="192.168.1.1"),
            [
                "ip netns exec n sysctl -qw net.ipv4.ip_nonlocal_bind=1",
                "ip netns exec n arping -U -c 1 -I fg-1 192.168.1.1",
                "ip netns exec n arping -A -c 1 -I fg-1 192.168.1.1",
            ],
        ),
    ],
)  # fmt: skip
def test_steps(step: Step, expected: list[str]) -> None:
    assert list(commands(step)) == expected


def test_a_whole_plan_is_a_shell_script() -> None:
    desired = compiled(small_cloud())
    for todo in (plan(HostState({}), desired), plan(desired, HostState({}))):
        script = "\n".join(line for step in todo.steps for line in commands(step))
        checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
        assert checked.returncode == 0, checked.stderr
