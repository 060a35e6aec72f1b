"""Open vSwitch's database: what our transaction writes ovs-vsctl shows, and vswitchd has done it when the call returns."""

from pathlib import Path

import pytest

from floatway.host.records import Link, OvsBridge, OvsPort, Record
from floatway.host.steps import BridgeDelete, BridgeSet, Ip, LinkAdd, OvsOp, PortDelete, PortSet
from floatway.linux import ipops, ovsdb, ovsdb_ops
from floatway.linux.connection import HostConnection
from floatway.linux.errors import OvsdbError
from floatway.linux.ovsdb import Ovsdb
from kernel.support import kill_vswitchd, sh, start_ovs, start_vswitchd

pytestmark = pytest.mark.kernel
RUNDIR = Path("/var/run/openvswitch")


def bridge(name: str, **changes: object) -> OvsBridge:
    fields: dict[str, object] = {
        "name": name,
        "datapath_type": "netdev",
        "controller": ("tcp:127.0.0.1:6633",),
        "protocols": ("OpenFlow10", "OpenFlow13", "OpenFlow14"),
        "other_config": (("disable-in-band", "true"), ("mac-table-size", "50000")),
        "external_ids": (("owner", "floatway"),),
    }
    return OvsBridge(**{**fields, **changes})  # type: ignore[arg-type]


def patch(on: str, name: str, peer: str) -> OvsPort:
    return OvsPort(bridge=on, name=name, type="patch", options=(("peer", peer),), external_ids=(("owner", "floatway"),))


def internal(name: str, tag: int = 1) -> OvsPort:
    return OvsPort(
        bridge="br-int", name=name, type="internal", tag=tag,
        external_ids=(("attached-mac", "fa:16:3e:78:d6:60"), ("owner", "floatway")), port_other_config=(("tag", str(tag)),),
    )  # fmt: skip


WHOLE: tuple[OvsOp, ...] = (
    BridgeSet(bridge("br-int")),
    BridgeSet(bridge("br-tun")),
    PortSet(patch("br-int", "patch-tun", "patch-int")),
    PortSet(patch("br-tun", "patch-int", "patch-tun")),
    PortSet(internal("qr-1")),
    PortSet(
        OvsPort(
            bridge="br-tun", name="vxlan-0a0a140b", type="vxlan",
            options=(
                ("df_default", "true"), ("in_key", "flow"), ("local_ip", "10.10.20.22"), ("out_key", "flow"),
                ("remote_ip", "10.10.20.11"),
            ),
        )
    ),
)  # fmt: skip


def records(db: Ovsdb) -> set[Record]:
    return set(ovsdb.records(db.tables()))


def wanted(ops: tuple[OvsOp, ...]) -> set[Record]:
    return {op.bridge if isinstance(op, BridgeSet) else op.port for op in ops if isinstance(op, BridgeSet | PortSet)}


def test_one_transaction_makes_everything_and_vswitchd_has_done_it() -> None:
    start_ovs()
    db = Ovsdb(RUNDIR)
    ovsdb_ops.apply(db, WHOLE)
    assert sh("ip -br link show qr-1")
    assert records(db) == wanted(WHOLE)
    assert sh("ovs-vsctl get-fail-mode br-int; ovs-vsctl get-controller br-int").split() == [
        "secure",
        "tcp:127.0.0.1:6633",
    ]
    assert sh("ovs-vsctl get port qr-1 tag").strip() == "1"
    assert sh("ovs-vsctl list-ports br-tun").split() == ["patch-int", "vxlan-0a0a140b"]
    assert sh("ovs-vsctl get interface vxlan-0a0a140b options:remote_ip").strip() == '"10.10.20.11"'


def test_applying_again_changes_no_row() -> None:
    start_ovs()
    db = Ovsdb(RUNDIR)
    ovsdb_ops.apply(db, WHOLE)
    before = sh(
        "ovs-vsctl --columns=_uuid,controller list bridge; ovs-vsctl --columns=_uuid list port; ovs-vsctl --columns=_uuid list controller"
    )
    ovsdb_ops.apply(db, WHOLE)
    after = sh(
        "ovs-vsctl --columns=_uuid,controller list bridge; ovs-vsctl --columns=_uuid list port; ovs-vsctl --columns=_uuid list controller"
    )
    assert before == after


def test_changes_move_and_delete() -> None:
    start_ovs()
    db = Ovsdb(RUNDIR)
    ovsdb_ops.apply(db, WHOLE)
    changed = bridge("br-int", controller=(), fail_mode="standalone", other_config=())
    moved = OvsPort(bridge="br-tun", name="qr-1", type="internal", tag=None)
    ovsdb_ops.apply(db, (BridgeSet(changed), PortSet(moved), PortDelete(bridge="br-int", name="patch-tun")))
    assert {changed, moved} <= records(db)
    assert sh("ovs-vsctl list-ports br-int").split() == []
    ovsdb_ops.apply(db, (BridgeDelete(name="br-tun"), PortDelete(bridge="br-int", name="never-was")))
    assert records(db) == {changed}


def test_it_is_all_or_nothing() -> None:
    start_ovs()
    db = Ovsdb(RUNDIR)
    with pytest.raises(OvsdbError, match="br-none"):
        ovsdb_ops.apply(db, (BridgeSet(bridge("br-int")), PortSet(OvsPort(bridge="br-none", name="p"))))
    with pytest.raises(OvsdbError, match="constraint"):
        ovsdb_ops.apply(db, (BridgeSet(bridge("br-int", fail_mode="sideways")),))
    assert records(db) == set()


def test_a_port_without_its_device_is_an_error_that_names_it() -> None:
    start_ovs()
    db = Ovsdb(RUNDIR)
    with pytest.raises(OvsdbError, match=r"port eth9: .*No such device"):
        ovsdb_ops.apply(db, (BridgeSet(bridge("br-ex")), PortSet(OvsPort(bridge="br-ex", name="eth9"))))


def test_foreign_rows_stay() -> None:
    start_ovs()
    sh(
        "ovs-vsctl add-br br-foreign -- set bridge br-foreign datapath_type=netdev -- set open_vswitch . external_ids:hostname=h"
    )
    db = Ovsdb(RUNDIR)
    before = sh("ovs-vsctl list bridge br-foreign")
    ovsdb_ops.apply(db, WHOLE)
    ovsdb_ops.apply(db, (BridgeDelete(name="br-int"), BridgeDelete(name="br-tun")))
    assert sh("ovs-vsctl list bridge br-foreign") == before
    assert sh("ovs-vsctl get open_vswitch . external_ids:hostname").strip() == "h"


def test_the_connection_survives_a_restarted_server() -> None:
    start_ovs()
    with HostConnection() as conn:
        ovsdb_ops.apply(conn.ovsdb, WHOLE)
        sh("ovs-appctl -t ovsdb-server exit")
        sh(
            "ovsdb-server --remote=punix:/var/run/openvswitch/db.sock --pidfile --detach --log-file /etc/openvswitch/conf.db"
        )
        assert set(ovsdb.records(conn.ovs_tables())) == wanted(WHOLE)


def test_nobody_there() -> None:
    with HostConnection() as conn:
        assert not conn.has_ovs
        with pytest.raises(OvsdbError, match="is Open vSwitch running"):
            _ = conn.ovsdb


def test_a_device_made_anew_carries_packets_again() -> None:
    """The userspace datapath keeps listening to a destroyed device; a ping through its successor shows that it was plugged in."""
    start_ovs()
    end = Link(
        netns="",
        name="qvb1",
        kind="veth",
        mac="02:00:00:00:00:01",
        mtu=1450,
        alias="floatway",
        tx_checksum=False,
        peer="qvo1",
    )
    other = Link(
        netns="",
        name="qvo1",
        kind="veth",
        mac="02:00:00:00:00:02",
        mtu=1450,
        alias="floatway",
        tx_checksum=False,
        peer="qvb1",
    )
    with HostConnection() as conn:
        ipops.run(conn, Ip(netns="", ops=(LinkAdd(link=end, peer=other),)))
        standalone = bridge("br-int", fail_mode="standalone", controller=())
        ovsdb_ops.apply(conn.ovsdb, (BridgeSet(standalone), PortSet(OvsPort(bridge="br-int", name="qvo1"))))
        sh("ip link set br-int up; ip addr add 10.0.0.1/24 dev br-int; ip netns add vm")
        into = "ip link set qvb1 netns vm; ip -n vm link set qvb1 up; ip -n vm addr add 10.0.0.2/24 dev qvb1"
        sh(f"{into}; ping -c 1 -W 5 10.0.0.2")
        sh("ip -n vm link set qvb1 netns 1; ip link del qvo1")
        ipops.run(conn, Ip(netns="", ops=(LinkAdd(link=end, peer=other),)))
        sh(f"{into}; ping -c 1 -W 5 10.0.0.2")


def test_vswitchd_killed_and_started_again() -> None:
    start_ovs()
    with HostConnection() as conn:
        ovsdb_ops.apply(conn.ovsdb, WHOLE)
        kill_vswitchd()
        start_vswitchd()
        ovsdb_ops.apply(conn.ovsdb, (PortSet(internal("qr-2")),))
        assert sh("ip -br link show qr-2")
