"""Each step on a real kernel, seen with the tool that a person would use."""

import errno
import socket

import pytest

from floatway.host.records import Address, Flow, Link, Neighbour, OvsBridge, OvsPort, Route, Rule
from floatway.host.steps import (
    AddressAdd,
    Announce,
    BridgeSet,
    ConntrackDelete,
    Ip,
    IpOp,
    IpsetRestore,
    LinkAdd,
    LinkDelete,
    LinkMove,
    LinkSet,
    NeighbourReplace,
    NetnsAdd,
    NetnsDelete,
    OfBundle,
    OvsTransaction,
    Plan,
    PortSet,
    Restore,
    RouteDelete,
    RouteReplace,
    RuleAdd,
    Step,
    SysctlWrite,
)
from floatway.linux.connection import HostConnection
from floatway.linux.errors import StepFailed
from floatway.linux.execute import execute
from kernel.support import ip, kill_vswitchd, sh, start_ovs, start_vswitchd, until

pytestmark = pytest.mark.kernel
ROUTER, FIP = "qrouter-d3218b9c-73bb-4788-87e4-5828625fe586", "fip-eddc07d8-7544-4f3a-b9f4-27f005fb114f"
RFP = Link(
    netns=ROUTER, name="rfp-d3218b9c-7", kind="veth", mac="96:80:29:54:59:f6", peer_netns=FIP, peer="fpr-d3218b9c-7"
)
FPR = Link(
    netns=FIP, name="fpr-d3218b9c-7", kind="veth", mac="f2:d4:ad:59:11:7d", peer_netns=ROUTER, peer="rfp-d3218b9c-7"
)
QR = Link(netns=ROUTER, name="qr-56718ce4-c6", kind="internal", mac="fa:16:3e:78:d6:60", mtu=1450)
LINK_LOCAL = Address(netns=ROUTER, link=RFP.name, cidr="169.254.106.114/31")
BR_INT = OvsBridge(name="br-int", datapath_type="netdev", protocols=("OpenFlow10", "OpenFlow13", "OpenFlow14"))
QR_PORT = OvsPort(bridge="br-int", name=QR.name, type="internal", tag=1)


def do(conn: HostConnection, *steps: Step) -> None:
    execute(conn, Plan(steps=steps))


def pair(conn: HostConnection) -> None:
    ops: tuple[IpOp, ...] = (
        LinkAdd(link=RFP, peer=FPR),
        AddressAdd(address=Address(netns=ROUTER, link=RFP.name, cidr="169.254.106.114/31")),
    )
    do(conn, NetnsAdd(name=ROUTER), NetnsAdd(name=FIP), Ip(netns=ROUTER, ops=ops))


def test_namespaces_and_a_veth_pair_between_them() -> None:
    with HostConnection() as conn:
        pair(conn)
        assert {row["name"] for row in ip("netns")} == {ROUTER, FIP}
        for name, netns in ((RFP, ROUTER), (FPR, FIP)):
            (row,) = [row for row in ip("link", netns) if row["ifname"] == name.name]
            assert (row["address"], row["mtu"], "UP" in row["flags"]) == (name.mac, 1500, True)
            assert "UP" in ip("link show lo", netns)[0]["flags"]
        do(conn, NetnsDelete(name=FIP))
        until(lambda: len(ip("link", ROUTER)) == 1, "the peer goes with the namespace")


def test_plumbing_of_an_instance() -> None:
    qbr = Link(netns="", name="qbr8aa5e3b4-6c", kind="bridge", mac="fa:59:6f:2d:2f:32", mtu=1450, alias="floatway")
    qvb = Link(
        netns="",
        name="qvb8aa5e3b4-6c",
        kind="veth",
        mac="fa:59:6f:2d:2f:32",
        mtu=1450,
        master=qbr.name,
        peer="qvo8aa5e3b4-6c",
        alias="floatway",
        tx_checksum=False,
    )
    qvo = Link(
        netns="",
        name="qvo8aa5e3b4-6c",
        kind="veth",
        mac="ce:a3:0f:17:54:f8",
        mtu=1450,
        peer=qvb.name,
        alias="floatway",
        tx_checksum=False,
    )
    tap = Link(netns="", name="tap8aa5e3b4-6c", kind="foreign", mac="", mtu=1450, master=qbr.name)
    sh("ip tuntap add tap8aa5e3b4-6c mode tap; ip link set tap8aa5e3b4-6c address fe:16:3e:ae:b3:e7")
    with HostConnection() as conn:
        do(conn, Ip(netns="", ops=(LinkAdd(link=qbr), LinkAdd(link=qvb, peer=qvo), LinkSet(link=tap))))
        rows = {row["ifname"]: row for row in ip("-d link")}
        assert rows[qvb.name]["master"] == rows[tap.name]["master"] == qbr.name
        assert {rows[link.name]["ifalias"] for link in (qbr, qvb, qvo)} == {"floatway"}
        assert "ifalias" not in rows[tap.name]
        assert (rows[tap.name]["address"], rows[tap.name]["mtu"], "UP" in rows[tap.name]["flags"]) == (
            "fe:16:3e:ae:b3:e7",
            1450,
            True,
        )
        do(conn, Ip(netns="", ops=(LinkDelete(link=qvo), LinkDelete(link=qvb), LinkDelete(link=qbr))))
        assert {row["ifname"] for row in ip("link")} == {"lo", tap.name}


def test_routing() -> None:
    with HostConnection() as conn:
        pair(conn)
        gateway = Route(netns=ROUTER, prefix="default", table=16, via="169.254.106.115", dev=RFP.name)
        ops: tuple[IpOp, ...] = (
            RouteReplace(route=gateway),
            RuleAdd(rule=Rule(netns=ROUTER, priority=57481, table=16, src="172.12.10.4")),
            RuleAdd(rule=Rule(netns=ROUTER, priority=57481, table=16, src="172.12.10.4")),
            NeighbourReplace(neighbour=Neighbour(netns=ROUTER, link=RFP.name, address="169.254.106.115", mac=FPR.mac)),
        )
        do(conn, Ip(netns=ROUTER, ops=ops))
        assert (
            sh("ip route show table 16", ROUTER).split()
            == f"default via 169.254.106.115 dev {RFP.name} proto static".split()
        )
        assert "57481:\tfrom 172.12.10.4 lookup 16" in sh("ip rule", ROUTER)
        assert "PERMANENT" in sh("ip neigh", ROUTER)
        do(conn, Ip(netns=ROUTER, ops=(RouteDelete(route=gateway), RouteDelete(route=gateway))))
        assert not sh("ip route show table 16", ROUTER)


def test_an_internal_port_moves_into_its_namespace() -> None:
    start_ovs()
    with HostConnection() as conn:
        into = Ip(netns=ROUTER, ops=(LinkMove(link=QR), LinkSet(link=QR)))
        do(conn, NetnsAdd(name=ROUTER), OvsTransaction(ops=(BridgeSet(bridge=BR_INT), PortSet(port=QR_PORT))), into)

        def arrived() -> bool:
            rows = {row["ifname"]: row for row in ip("link", ROUTER)}
            row = rows[QR.name]
            return (row["address"], row["mtu"], {"UP", "LOWER_UP"} <= set(row["flags"])) == (QR.mac, 1450, True)

        assert arrived()
        do(conn, NetnsDelete(name=ROUTER), NetnsAdd(name=ROUTER), into)
        assert arrived(), "destroyed with its namespace, made anew"
        kill_vswitchd()
        start_vswitchd()
        do(conn, into)
        assert arrived(), "the new vswitchd's device took the place of the dead one"


def test_settings_restores_and_sets() -> None:
    with HostConnection() as conn:
        do(
            conn,
            NetnsAdd(name=ROUTER),
            SysctlWrite(netns=ROUTER, settings=(("net.ipv4.ip_forward", "1"), ("net.ipv4.conf.lo.proxy_arp", "1"))),
            IpsetRestore(netns=ROUTER, text="create NIPv4a hash:net family inet\nadd NIPv4a 10.0.0.0/24\n", sets=()),
            Restore(
                netns=ROUTER,
                text="*filter\n:ours - [0:0]\n-A ours -m set --match-set NIPv4a src -j DROP\nCOMMIT\n",
                chains=(),
            ),
        )
        assert sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/lo/proxy_arp", ROUTER).split() == [
            "1",
            "1",
        ]
        assert sh("cat /proc/sys/net/ipv4/conf/lo/proxy_arp").split() == ["0"]
        assert "-A ours -m set --match-set NIPv4a src -j DROP" in sh("iptables -S", ROUTER)
        assert "10.0.0.0/24" in sh("ipset list NIPv4a", ROUTER)
        assert "ours" not in sh("iptables -S")


def test_a_bundle_deletes_strictly_and_adds() -> None:
    start_ovs()

    def flow(priority: int, match: str, actions: str, cookie: int = 0xF10A7) -> Flow:
        return Flow(bridge="br-int", table=60, priority=priority, match=match, actions=actions, cookie=cookie)

    def shown() -> set[str]:
        return set(sh("ovs-ofctl -O OpenFlow14 --names --no-stats dump-flows br-int table=60").splitlines())

    sent = flow(20, "dl_vlan=1,dl_dst=fa:16:3e:ae:b3:e7", f'pop_vlan,output:"{QR.name}"')
    with HostConnection() as conn:
        do(conn, OvsTransaction(ops=(BridgeSet(bridge=BR_INT), PortSet(port=QR_PORT))))
        sh("ovs-ofctl -O OpenFlow14 add-flow br-int table=60,priority=7,tcp,actions=drop")
        do(conn, OfBundle(bridge="br-int", add=(sent, flow(1, "", "NORMAL"))))
        lines = {
            f' cookie=0xf10a7, table=60, priority=20,dl_vlan=1,dl_dst=fa:16:3e:ae:b3:e7 actions=pop_vlan,output:"{QR.name}"',
            " cookie=0xf10a7, table=60, priority=1 actions=NORMAL",
            " table=60, priority=7,tcp actions=drop",
        }
        assert shown() == lines
        do(conn, OfBundle(bridge="br-int", delete=(sent, flow(7, "tcp", "")), add=(flow(2, "udp", "drop"),)))
        assert " table=60, priority=7,tcp actions=drop" in shown(), "another cookie's flow stays"
        assert not any("dl_vlan=1" in line for line in shown())
        with pytest.raises(StepFailed, match="br-int"):
            do(conn, OfBundle(bridge="br-int", delete=(flow(2, "udp", ""),), add=(flow(3, "udp", "nonsense"),)))
        assert any("udp" in line for line in shown()), "a refused bundle changes nothing"


def test_a_bundle_speaks_of_ports_by_name() -> None:
    """Few names become numbers on the way; many, or one that is not there, are left to ovs-ofctl."""
    start_ovs()

    def flow(port: str) -> Flow:
        match = f'in_port="{port}"'
        return Flow(bridge="br-int", table=25, priority=2, match=match, actions=f'output:"{port}"', cookie=0xF10A7)

    many = [OvsPort(bridge="br-int", name=f"qr-{number:02}", type="internal", tag=1) for number in range(70)]
    with HostConnection() as conn:
        do(conn, OvsTransaction(ops=(BridgeSet(bridge=BR_INT), *(PortSet(port=port) for port in many))))
        for flows in ([flow(many[0].name)], [flow(port.name) for port in many]):
            do(conn, OfBundle(bridge="br-int", add=tuple(flows)))
            shown = sh("ovs-ofctl -O OpenFlow14 --names --no-stats dump-flows br-int table=25").splitlines()
            assert {line.strip() for line in shown} == {
                f"cookie=0xf10a7, table=25, priority=2,{one.match} actions={one.actions}" for one in flows
            }
        do(conn, OfBundle(bridge="br-int", delete=(flow("qr-00"), flow("qr-07"))))
        assert "qr-00" not in (left := sh("ovs-ofctl -O OpenFlow14 --names dump-flows br-int")) and "qr-01" in left
        with pytest.raises(StepFailed, match="qr-99"):
            do(conn, OfBundle(bridge="br-int", add=(flow("qr-99"),)))


def test_forgetting_a_connection() -> None:
    with HostConnection() as conn:
        do(conn, NetnsAdd(name=ROUTER))
        entry = "--timeout 100 -s 10.0.0.1 -d 10.0.0.2"
        sh(f"conntrack -I -p udp {entry} --sport 1 --dport 2", ROUTER)
        assert "10.0.0.1" in sh("conntrack -L", ROUTER)
        do(conn, ConntrackDelete(netns=ROUTER, direction="orig-src", address="10.0.0.1"))
        assert "10.0.0.1" not in sh("conntrack -L", ROUTER)
        do(conn, ConntrackDelete(netns=ROUTER, direction="orig-src", address="10.0.0.1"))


def test_an_announcement_reaches_the_other_end() -> None:
    with HostConnection() as conn:
        pair(conn)
        with conn.inside(FIP), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as listener:
            listener.bind((FPR.name, 0x0806))
            listener.settimeout(5)
            do(conn, Announce(netns=ROUTER, dev=RFP.name, address="192.168.10.106"))
            frames = [listener.recv(100)[:42] for _ in range(2)]
    for frame, operation in zip(frames, (1, 2), strict=True):
        assert frame[:6] == b"\xff" * 6
        assert frame[6:12] == bytes.fromhex(RFP.mac.replace(":", ""))
        assert frame[20:22] == bytes((0, operation))
        assert frame[28:32] == frame[38:42] == bytes((192, 168, 10, 106))


def test_a_failure_names_the_command_and_errno() -> None:
    with HostConnection() as conn:
        pair(conn)
        bad = Route(netns=ROUTER, prefix="default", table=16, via="10.9.9.9", dev=RFP.name)
        with pytest.raises(StepFailed) as caught:
            do(conn, Ip(netns=ROUTER, ops=(RouteReplace(route=bad),)))
        assert caught.value.errno == errno.ENETUNREACH
        assert "route replace default via 10.9.9.9" in caught.value.command
        with pytest.raises(StepFailed, match="nowhere0") as caught:
            do(
                conn,
                Ip(netns=ROUTER, ops=(AddressAdd(address=Address(netns=ROUTER, link="nowhere0", cidr="10.0.0.1/8")),)),
            )
        assert caught.value.errno == errno.ENODEV
        with pytest.raises(StepFailed, match=r"net\.ipv4\.nonsense"):
            do(conn, SysctlWrite(netns=ROUTER, settings=(("net.ipv4.nonsense", "1"),)))
        with pytest.raises(StepFailed, match="iptables-restore"):
            do(conn, Restore(netns=ROUTER, text="*filter\n-A nowhere -j ACCEPT\nCOMMIT\n", chains=()))
