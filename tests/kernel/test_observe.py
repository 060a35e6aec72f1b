"""What observe says about a host: whose ends are whose, what was learned, and that it asks again only when it must."""

from pathlib import Path

import pytest

from floatway.host.records import (
    BridgeFdb,
    Chain,
    Connection,
    Ipset,
    Link,
    Netns,
    OfPort,
    OvsBridge,
    OvsFdb,
    Sysctl,
)
from floatway.linux import iptables, spawn
from floatway.linux.connection import HostConnection
from floatway.linux.errors import LinuxError, ObserveError
from floatway.linux.observe import observe
from kernel.reference_host import far_end
from kernel.support import kill_vswitchd, sh, start_ovs, until

pytestmark = pytest.mark.kernel


def test_ends_of_veth_pairs_find_each_other_across_namespaces() -> None:
    """Every namespace counts from the same small numbers: ends must not be matched by index alone."""
    for name in ("a", "b", "c", "d"):
        sh(f"ip netns add {name}")
    for one, other in (("a", "b"), ("c", "d"), ("a", "d")):
        sh(f"ip -n {one} link add to-{other} type veth peer name to-{one} netns {other}")
    sh("ip link add here type veth peer name there netns a; ip link add qvb1 type veth peer name qvo1")
    sh(f"ip link add tap1 type veth peer name eth0 netns {far_end()}")
    with HostConnection() as conn:
        links = observe(conn).table(Link)
    ends = {(link.netns, link.name): (link.peer_netns, link.peer) for link in links.values() if link.kind == "veth"}
    assert ends == {
        ("a", "to-b"): ("b", "to-a"), ("b", "to-a"): ("a", "to-b"),
        ("c", "to-d"): ("d", "to-c"), ("d", "to-c"): ("c", "to-d"),
        ("a", "to-d"): ("d", "to-a"), ("d", "to-a"): ("a", "to-d"),
        ("", "here"): ("a", "there"), ("a", "there"): ("", "here"),
        ("", "qvb1"): ("", "qvo1"), ("", "qvo1"): ("", "qvb1"),
    }  # fmt: skip
    assert links["", "tap1"].kind == "foreign"
    assert (links["", "tap1"].peer_netns, links["", "tap1"].peer) == ("", "")


def test_kinds() -> None:
    start_ovs()
    sh(
        "ovs-vsctl add-br br-int -- set bridge br-int datapath_type=netdev"
        " -- add-port br-int qr-1 -- set interface qr-1 type=internal;"
        "ip link add qbr1 type bridge; ip tuntap add tap1 mode tap; ip netns add q; ip link set qr-1 netns q"
    )
    with HostConnection() as conn:
        kinds = {key: link.kind for key, link in observe(conn).table(Link).items()}
    assert kinds == {
        ("", "lo"): "loopback", ("q", "lo"): "loopback", ("", "qbr1"): "bridge", ("", "tap1"): "foreign",
        ("", "br-int"): "internal", ("", "ovs-netdev"): "foreign", ("q", "qr-1"): "internal",
    }  # fmt: skip


def test_settings_are_read_where_they_are() -> None:
    sh("ip netns add q; ip netns exec q sysctl -qw net.ipv4.ip_forward=1; sysctl -qw net.ipv4.ip_forward=0")
    wanted = [
        ("", "net.ipv4.ip_forward"),
        ("q", "net.ipv4.ip_forward"),
        ("gone", "net.ipv4.ip_forward"),
        ("q", "net.ipv4.nonsense"),
    ]
    with HostConnection() as conn:
        found = observe(conn, sysctls=wanted).records(Sysctl)
    assert {(s.netns, s.value) for s in found} == {("", "0"), ("q", "1")}


@pytest.mark.parametrize("value", [1, 2, 3, 5, 80])
def test_proxy_delay_reads_as_written(value: int) -> None:
    sh(f"sysctl -qw net.ipv4.neigh.lo.proxy_delay={value}")
    with HostConnection() as conn:
        (found,) = observe(conn, sysctls=[("", "net.ipv4.neigh.lo.proxy_delay")]).records(Sysctl)
    assert found.value == str(value)


def test_rules_and_sets_are_read_again_only_when_they_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    if not iptables.nf_tables():
        pytest.skip("the legacy iptables gives its rulesets no number")
    sh("ip netns add q; ip netns exec q iptables -N ours; ipset create foreign hash:ip; ipset add foreign 10.0.0.1")
    started: list[str] = []
    start = spawn.start
    monkeypatch.setattr(spawn, "start", lambda argv, **where: started.append(argv[0]) or start(argv, **where))
    with HostConnection() as conn:
        first = observe(conn)
        assert started == ["iptables-save", "ipset"]
        assert observe(conn) == first
        assert started == ["iptables-save", "ipset", "ipset"]
        sh("iptables -A ours -j ACCEPT", "q")
        second = observe(conn)
        assert started.count("iptables-save") == 2
    assert first.get(Chain, "q", "filter", "ours").rules == ()
    assert second.get(Chain, "q", "filter", "ours").rules == ("-j ACCEPT",)
    assert second.get(Ipset, "", "foreign").members == ("10.0.0.1",)


def test_a_namespace_made_anew_is_not_taken_for_the_old_one() -> None:
    sh("ip netns add q; ip -n q link add left type bridge; ip netns exec q iptables -N left")
    with HostConnection() as conn:
        assert observe(conn).get(Link, "q", "left")
        sh("ip netns del q; ip netns add q")
        state = observe(conn)
        assert state.get(Netns, "q")
        assert state.get(Link, "q", "left") is None
        assert not state.records(Chain)
        sh("ip netns del q")
        assert not observe(conn).records(Netns)


def test_witnesses() -> None:
    start_ovs()
    sh(
        "ovs-vsctl add-br br0 -- set bridge br0 datapath_type=netdev; ip addr add 10.0.0.1/24 dev br0; ip link set br0 up;"
        "ip netns add vm; ip link add p0 type veth peer name eth0 netns vm; ip link set p0 up;"
        "ip -n vm link set eth0 address 02:00:00:00:00:05 up; ip -n vm addr add 10.0.0.2/24 dev eth0; ovs-vsctl add-port br0 p0;"
        "ip link add qbr1 type bridge; ip link add q0 type veth peer name q1; ip link set q0 master qbr1; ip link set q0 up;"
        "iptables -A INPUT -m conntrack --ctstate NEW -j ACCEPT; ping -c 1 -W 5 10.0.0.2"
    )
    with HostConnection() as conn:
        state = observe(conn, witnesses=True)
        learned = state.get(OvsFdb, "br0", 0, "02:00:00:00:00:05")
        assert learned is not None
        assert learned.port == "p0"
        assert {port.name for port in state.records(OfPort)} >= {"p0", "br0"}
        assert [entry.port for entry in state.records(BridgeFdb, lambda e: e.local)] == ["q0"]
        assert {(c.original.proto, c.original.dst) for c in state.records(Connection)} == {("icmp", "10.0.0.2")}
        assert not observe(conn).records(OvsFdb)


def test_a_host_without_open_vswitch_is_a_host_too() -> None:
    with HostConnection() as conn:
        state = observe(conn, witnesses=True)
    assert not state.records(OvsBridge)
    assert state.get(Link, "", "lo")


def test_what_cannot_be_read_is_said() -> None:
    start_ovs()
    sh("ovs-vsctl add-br br0 -- set bridge br0 datapath_type=netdev")
    with HostConnection() as conn:
        kill_vswitchd()
        with pytest.raises(ObserveError, match="br0"):
            observe(conn)
        with pytest.raises(LinuxError, match="ip netns"):
            conn.handle("nowhere")


def test_handles_do_not_keep_a_namespace_alive() -> None:
    sh("ip netns add q; ip link add here type veth peer name there netns q")
    with HostConnection() as conn:
        observe(conn)
        sh("ip netns del q")
        observe(conn)
        until(lambda: not Path("/sys/class/net/here").exists(), "the pair goes with its namespace")
