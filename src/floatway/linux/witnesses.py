"""What a host has learned, as against what it was told: MAC tables, port numbers, connections. Read for the tracer only."""

from pathlib import Path

from floatway.host.records import OvsFdb, Record
from floatway.linux import openflow, spawn
from floatway.linux.connection import HostConnection
from floatway.linux.errors import OvsdbError
from floatway.linux.ovsdb import JsonRpc
from floatway.linux.spawn import Later
from floatway.text.appctl import parse_fdb
from floatway.text.conntrack import parse_conntrack


def control_socket(conn: HostConnection) -> Path:
    """ovs-vswitchd's control socket, what ``ovs-appctl`` talks to. Raises OvsdbError."""
    pidfile = conn.ovs_rundir / "ovs-vswitchd.pid"
    try:
        return conn.ovs_rundir / f"ovs-vswitchd.{pidfile.read_text().strip()}.ctl"
    except OSError as error:
        raise OvsdbError(f"{pidfile}: {error.strerror}; is ovs-vswitchd running?") from error


def ovs_fdb(conn: HostConnection, bridges: list[str], names: dict[tuple[str, int], str]) -> list[OvsFdb]:
    """What NORMAL has learned on each bridge. ``names`` turns (bridge, port number) into the port's name."""
    rpc = JsonRpc(control_socket(conn))
    try:
        return [
            record for bridge in bridges for record in parse_fdb(str(rpc.call("fdb/show", [bridge])), bridge, names)
        ]
    finally:
        rpc.close()


def connections(conn: HostConnection, names: list[str]) -> Later[Record]:
    """The tracked connections of these namespaces (``conntrack -L``)."""
    lists = [(name, spawn.start(["conntrack", "-L"], netns=name, fd=conn.handle(name).fd)) for name in names]
    return lambda: [record for name, listed in lists for record in parse_conntrack(listed.result(), name)]


def read(conn: HostConnection, namespaces: list[str], bridges: list[str]) -> Later[Record]:
    """All witnesses of the host except the Linux bridges' (``rtread.bridge_fdb``)."""
    later = connections(conn, namespaces)
    shows = openflow.ports(conn, bridges)

    def finish() -> list[Record]:
        ports = shows()
        found: list[Record] = [*ports, *later()]
        if bridges:
            found += ovs_fdb(conn, bridges, {(port.bridge, port.ofport): port.name for port in ports})
        return found

    return finish
