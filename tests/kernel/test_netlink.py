"""The netlink codec against iproute2: what one writes the other reads, for every record type."""

import errno
from pathlib import Path

import msgspec
import pytest

from floatway.host.records import Address, Link, Neighbour, Opaque, Route, Rule
from floatway.linux import ethtool, netns, rtread, rtwrite
from floatway.linux.netlink import Request, Socket
from kernel.support import ip, sh, until

pytestmark = pytest.mark.kernel
DIRECTORY = Path("/run/netns")


def run(sock: Socket, *requests: Request) -> None:
    outcomes = sock.execute(requests)
    assert outcomes == [None] * len(requests), outcomes


def namespace(name: str) -> tuple[int, Socket]:
    netns.create(DIRECTORY, name)
    fd = netns.open_fd(DIRECTORY, name)
    with netns.inside(fd):
        return fd, Socket()


def router() -> Socket:
    """A namespace with a veth pair to another one, up and addressed."""
    fd, sock = namespace("qrouter-1")
    peer_fd, peer = namespace("fip-1")
    rfp = Link(netns="qrouter-1", name="rfp-1", kind="veth", mac="96:80:29:54:59:f6", mtu=1450)
    fpr = Link(netns="fip-1", name="fpr-1", kind="veth", mac="f2:d4:ad:59:11:7d", mtu=1450)
    run(sock, rtwrite.link_add(rfp, fpr, peer_fd), rtwrite.link_set("rfp-1", up=True))
    run(peer, rtwrite.link_set("fpr-1", up=True))
    index = ethtool.index(sock, "rfp-1")
    run(sock, rtwrite.address(Address(netns="", link="rfp-1", cidr="169.254.106.114/31"), index))
    assert fd >= 0
    return sock


def names(sock: Socket) -> dict[int, str]:
    return {row.index: row.name for row in rtread.links(sock)}


def test_namespaces_are_those_of_ip_netns() -> None:
    sh("ip netns add foreign")
    namespace("qrouter-1")
    assert {row["name"] for row in ip("netns")} == {"foreign", "qrouter-1"} == set(netns.names(DIRECTORY))
    netns.delete(DIRECTORY, "qrouter-1")
    assert netns.names(DIRECTORY) == ["foreign"]
    assert list(DIRECTORY.iterdir()) == [DIRECTORY / "foreign"]


def test_the_thread_is_back_after_an_exception() -> None:
    fd, _ = namespace("qrouter-1")
    before = Path(netns.OWN).readlink()
    with pytest.raises(ZeroDivisionError), netns.inside(fd):
        assert Path(netns.OWN).readlink() != before
        raise ZeroDivisionError
    assert Path(netns.OWN).readlink() == before


def test_a_dead_name_is_no_namespace_and_can_be_made() -> None:
    DIRECTORY.mkdir(exist_ok=True)
    (DIRECTORY / "qrouter-1").touch()
    assert netns.names(DIRECTORY) == []
    namespace("qrouter-1")
    assert netns.names(DIRECTORY) == ["qrouter-1"]


def test_links() -> None:
    sock = router()
    run(sock, rtwrite.link_set("rfp-1", alias="floatway"))
    rows = {row.name: row for row in rtread.links(sock)}
    shown = {row["ifname"]: row for row in ip("-d link", "qrouter-1")}
    assert rows.keys() == shown.keys()
    for name, row in rows.items():
        assert row.mac == shown[name]["address"]
        assert row.mtu == shown[name]["mtu"]
        assert row.up == ("UP" in shown[name]["flags"])
        assert row.carrier == ("LOWER_UP" in shown[name]["flags"])
        assert row.alias == shown[name].get("ifalias", "")
    assert rows["rfp-1"].kind == "veth"
    assert shown["rfp-1"]["link_netnsid"] == rows["rfp-1"].peer_nsid


def test_bridge_and_its_fdb() -> None:
    root = Socket()
    qbr = Link(netns="", name="qbr1", kind="bridge", mac="02:00:00:00:00:0a", mtu=1450)
    qvb = Link(netns="", name="qvb1", kind="veth", mac="02:00:00:00:00:01", mtu=1450)
    qvo = Link(netns="", name="qvo1", kind="veth", mac="02:00:00:00:00:02", mtu=1450)
    run(root, rtwrite.link_add(qbr, None, None), rtwrite.link_add(qvb, qvo, None))
    index = ethtool.index(root, "qbr1")
    run(root, rtwrite.link_set("qbr1", up=True), rtwrite.link_set("qvb1", up=True, master_index=index))
    run(root, rtwrite.link_set("qvo1", up=True))
    data = next(row for row in ip("-d link") if row["ifname"] == "qbr1")["linkinfo"]["info_data"]
    assert (data["forward_delay"], data["stp_state"], data["mcast_snooping"]) == (0, 0, 0)
    sh("bridge fdb add fa:16:3e:ae:b3:e7 dev qvb1 master static")
    found = {(r.bridge, r.mac, r.port, r.local) for r in rtread.bridge_fdb(root, "", names(root))}
    assert found >= {("qbr1", "02:00:00:00:00:01", "qvb1", True), ("qbr1", "fa:16:3e:ae:b3:e7", "qvb1", False)}
    assert {bridge for bridge, *_ in found} == {"qbr1"}
    run(root, rtwrite.link_set("qvb1", master_index=0))
    assert "master" not in next(row for row in ip("link") if row["ifname"] == "qvb1")


def test_checksum_offload() -> None:
    sock = router()
    assert ethtool.tx_checksum(sock, "rfp-1")
    ethtool.set_tx_checksum(sock, "rfp-1", on=False)
    assert not ethtool.tx_checksum(sock, "rfp-1")
    assert "tx-checksumming: off" in sh("ethtool -k rfp-1 || echo tx-checksumming: off", "qrouter-1")


def test_addresses() -> None:
    sock = router()
    index = ethtool.index(sock, "rfp-1")
    wanted = Address(netns="", link="rfp-1", cidr="172.12.10.1/24", broadcast="172.12.10.255")
    run(sock, rtwrite.address(wanted, index))
    sh("ip addr add 10.1.0.1/8 scope link dev rfp-1", "qrouter-1")
    read = {(a.link, a.cidr, a.broadcast, a.scope) for a in rtread.addresses(sock, "", names(sock))}
    shown = {
        (row["ifname"], f"{a['local']}/{a['prefixlen']}", a.get("broadcast", ""), a["scope"])
        for row in ip("-4 addr", "qrouter-1")
        for a in row["addr_info"]
    }
    assert read == shown
    assert ("rfp-1", "172.12.10.1/24", "172.12.10.255", "global") in read
    run(sock, rtwrite.address(wanted, index, delete=True))
    assert wanted not in rtread.addresses(sock, "", names(sock))


def test_routes_of_every_table() -> None:
    sock = router()
    index = ethtool.index(sock, "rfp-1")
    wanted = [
        Route(netns="", prefix="default", table=16, via="169.254.106.115", dev="rfp-1"),
        Route(netns="", prefix="192.168.10.106", via="169.254.106.115", dev="rfp-1"),
        Route(netns="", prefix="10.0.0.0/8", table=2886470145, type="unreachable"),
        Route(netns="", prefix="10.1.0.0/16", dev="rfp-1", scope="link", metric=7, src="169.254.106.114"),
    ]
    run(sock, *(rtwrite.route(route, index if route.dev else None) for route in wanted))
    sh(
        "ip route add blackhole 10.3.0.0/16; ip route add 10.4.0.0/16 nexthop via 169.254.106.115 nexthop dev rfp-1",
        "qrouter-1",
    )
    read = rtread.routes(sock, "", names(sock))
    assert not [route for route in wanted if route not in read]
    assert [r.line for r in read if isinstance(r, Opaque)] == ["10.4.0.0/16 table 254 nexthop"]
    tables = {"local": 255, "main": 254}
    shown = {
        (
            row["dst"], int(tables.get(row.get("table", "main"), row.get("table", 0))), row.get("type", "unicast"), row.get("gateway", ""),
            row.get("dev", ""), row.get("prefsrc", ""), row.get("protocol", "boot"), row.get("metric", 0),
        )
        for row in ip("-4 route show table all", "qrouter-1")
        if "nexthops" not in row
    }  # fmt: skip
    got = {(r.prefix, r.table, r.type, r.via, r.dev, r.src, r.proto, r.metric) for r in read if isinstance(r, Route)}
    assert got == shown
    run(sock, *(rtwrite.route(route, index if route.dev else None, delete=True) for route in wanted))
    assert not [route for route in wanted if route in rtread.routes(sock, "", names(sock))]


def test_a_locked_mtu_of_a_route() -> None:
    sock = router()
    index = ethtool.index(sock, "rfp-1")
    way = Route(netns="", prefix="192.168.10.106", via="169.254.106.115", dev="rfp-1", mtu_lock=1400)

    def shown() -> dict[str, object]:
        [row] = ip("-4 route show 192.168.10.106", "qrouter-1")
        return {key: row[key] for key in ("gateway", "dev", "metrics") if key in row}

    def read() -> list[Route | Opaque]:
        return [one for one in rtread.routes(sock, "", names(sock)) if getattr(one, "prefix", "") == way.prefix]

    run(sock, rtwrite.route(way, index))
    written = shown()
    assert written == {"gateway": way.via, "dev": "rfp-1", "metrics": [{"mtu": 1400}]}
    assert "mtu lock 1400" in sh("ip route show 192.168.10.106", "qrouter-1")  # JSON leaves the lock out
    assert read() == [way]

    sh("ip route replace 192.168.10.106 via 169.254.106.115 dev rfp-1 proto static mtu lock 1400", "qrouter-1")
    assert (shown(), read()) == (written, [way])

    bare = msgspec.structs.replace(way, mtu_lock=0)
    run(sock, rtwrite.route(bare, index))
    assert "mtu" not in sh("ip route show 192.168.10.106", "qrouter-1") and read() == [bare]

    # an MTU that is not locked gives way to path MTU discovery: it is not what is wanted
    sh("ip route replace 192.168.10.106 via 169.254.106.115 dev rfp-1 proto static mtu 1400", "qrouter-1")
    assert read() == [bare]


def test_rules_keep_host_bits() -> None:
    sock = router()
    wanted = [
        Rule(netns="", priority=57481, table=16, src="172.12.10.4"),
        Rule(netns="", priority=2886470145, table=2886470145, src="172.12.10.1/24"),
        Rule(netns="", priority=2852022899, table=2852022899, iif="rfp-1"),
    ]
    run(sock, *(rtwrite.rule(rule) for rule in wanted))
    sh("ip rule add fwmark 1 lookup 99 prio 5", "qrouter-1")
    read = rtread.rules(sock, "")
    assert [rule for rule in read if isinstance(rule, Rule) and rule.priority not in {0, 32766, 32767}] == sorted(
        wanted, key=lambda rule: rule.priority
    )
    assert [r.line for r in read if isinstance(r, Opaque)] == ["5: table 99 action 1 attributes 10,16"]
    assert sh("ip rule | tail -n +5", "qrouter-1").splitlines() == [
        "57481:\tfrom 172.12.10.4 lookup 16",
        "2852022899:\tfrom all iif rfp-1 lookup 2852022899",
        "2886470145:\tfrom 172.12.10.1/24 lookup 2886470145",
    ]
    assert sock.execute([rtwrite.rule(wanted[0])])[0].errno == errno.EEXIST
    run(sock, *(rtwrite.rule(rule, delete=True) for rule in wanted))
    assert len(ip("rule", "qrouter-1")) == 4


def test_neighbours() -> None:
    sock = router()
    index = ethtool.index(sock, "rfp-1")
    wanted = Neighbour(netns="", link="rfp-1", address="169.254.106.115", mac="f2:d4:ad:59:11:7d")
    run(sock, rtwrite.neighbour(wanted, index))
    sh("ip neigh add 169.254.106.200 lladdr 02:00:00:00:00:09 nud stale dev rfp-1", "qrouter-1")
    read = {(n.link, n.address, n.mac, n.state) for n in rtread.neighbours(sock, "", names(sock))}
    shown = {(n["dev"], n["dst"], n.get("lladdr", ""), n["state"][0]) for n in ip("-4 neigh", "qrouter-1")}
    assert read == shown
    assert ("rfp-1", wanted.address, wanted.mac, "PERMANENT") in read
    run(sock, rtwrite.neighbour(wanted, index, delete=True))
    until(lambda: wanted.address not in sh("ip neigh", "qrouter-1"), "the neighbour goes")


def test_errors_carry_errno_and_the_kernels_words() -> None:
    sock = router()
    index = ethtool.index(sock, "rfp-1")
    bad = Route(netns="", prefix="default", table=17, via="1.2.3.4", dev="rfp-1")
    good = Route(netns="", prefix="default", table=16, via="169.254.106.115", dev="rfp-1")
    refused, accepted = sock.execute([rtwrite.route(bad, index), rtwrite.route(good, index)])
    assert refused is not None
    assert refused.errno == errno.ENETUNREACH
    assert "gateway" in refused.text
    assert accepted is None


def test_a_large_batch_is_split_and_all_of_it_answered() -> None:
    sock = router()
    index = ethtool.index(sock, "rfp-1")
    many = [
        Route(netns="", prefix=f"10.{i >> 8}.{i & 255}.0/24", table=99, dev="rfp-1", scope="link") for i in range(3000)
    ]
    run(sock, *(rtwrite.route(route, index) for route in many))
    assert set(many) <= set(rtread.routes(sock, "", names(sock)))
