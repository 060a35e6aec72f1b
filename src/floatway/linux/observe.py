"""Read a live host into a HostState: everything there is, ours or not, by name and in canonical text.

    named namespaces ─┬─ links, addresses, routes, rules, neighbours      netlink dumps, one socket per namespace
                      ├─ iptables, ipsets                                 only where the kernel says something changed
                      └─ the wanted sysctls                               /proc/sys
    Open vSwitch ─────── bridges, ports (one transact), flows (ovs-ofctl, all bridges at once)

A veth end whose other end is in no namespace that has a name here belongs to somebody else: kind ``foreign``, like a NIC.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from floatway.host.records import Link, LinkKind, Netns, Opaque, Record
from floatway.host.state import HostState, Key
from floatway.linux import ethtool, ipset, iptables, openflow, ovsdb, rtread, sysctl
from floatway.linux import witnesses as witness
from floatway.linux.connection import HostConnection
from floatway.linux.errors import LinuxError, NetlinkError, ObserveError
from floatway.linux.netlink import Socket
from floatway.linux.rtread import LinkRow
from floatway.linux.spawn import Later

MARK = "floatway"
"""The ifalias of our devices in the host's own namespace."""
Rows = Mapping[str, list[LinkRow]]


def observe(conn: HostConnection, *, sysctls: Iterable[tuple[str, str]] = (), witnesses: bool = False) -> HostState:
    """The host's state now. ``sysctls`` are the (namespace, name) pairs to read; ``witnesses`` adds what was learned.
    Raises ObserveError, which says what could not be read."""
    try:
        return _observe(conn, sysctls, witnesses)
    except (LinuxError, OSError) as error:
        raise ObserveError(f"cannot read the host's state: {error}") from error


def _observe(conn: HostConnection, sysctls: Iterable[tuple[str, str]], witnesses: bool) -> HostState:
    named = conn.namespaces()
    spaces = ["", *named]
    records: list[Record] = [Netns(name=name) for name in named]
    internal: frozenset[str] = frozenset()
    bridges: list[str] = []
    # The tools start first and work while this thread talks to the kernel.
    saved = iptables.chains(conn, spaces)
    if conn.has_ovs:
        tables = conn.ovs_tables()
        internal = ovsdb.internal_names(tables)
        bridges = sorted(row["name"] for row in tables.rows["Bridge"].values())
        records += ovsdb.records(tables)
    later: list[Later[Any]] = [saved, openflow.flows(conn, bridges), ipset.sets(conn, spaces)]
    if witnesses:
        later.append(witness.read(conn, spaces, bridges))
    rows: Rows = {space: rtread.links(conn.handle(space).route) for space in spaces}
    records += _links(conn, rows, internal)
    for space in spaces:
        sock = conn.handle(space).route
        names = {row.index: row.name for row in rows[space]}
        records += rtread.addresses(sock, space, names)
        records += rtread.routes(sock, space, names)
        records += rtread.rules(sock, space)
        records += rtread.neighbours(sock, space, names)
        if witnesses:
            records += rtread.bridge_fdb(sock, space, names)
    records += sysctl.read(conn, sysctls)
    for finish in later:
        records += finish()
    return _state(records)


def links_named(conn: HostConnection, names: Iterable[str]) -> list[Link]:
    """Those of these devices of the host's own namespace that are there, far ends out of sight."""
    sock = conn.handle("").route
    found = ((row, rtread.link_at(sock, row.master_index)) for name in names if (row := rtread.link_named(sock, name)))
    return [
        link_record(sock, "", row, master=master.name if master else "", peer=("", ""), internal=frozenset())
        for row, master in found
    ]


def _state(records: Iterable[Record]) -> HostState:
    """First come, first kept: two kernel objects can share a natural key (a broadcast route on two devices), and the kernel
    uses the first."""
    tables: dict[type[Record], dict[Key, Record]] = {}
    for record in records:
        tables.setdefault(type(record), {}).setdefault(record.key, record)
    return HostState(tables)


def _links(conn: HostConnection, rows: Rows, internal: frozenset[str]) -> Iterable[Record]:
    peers = _peers(conn, rows)
    in_root = {row.name for row in rows[""]}
    for space, devices in rows.items():
        names = {row.index: row.name for row in devices}
        sock = conn.handle(space).route
        for row in devices:
            if orphan(space, row, in_root, internal):
                yield Opaque(
                    source=f"ip -n {space} link", line=f"{row.name}: NO-CARRIER, left by an earlier ovs-vswitchd"
                )
                continue
            master = names.get(row.master_index, "") if row.master_index else ""
            peer = peers.get((space, row.index), ("", ""))
            yield link_record(sock, space, row, master=master, peer=peer, internal=internal)


def link_record(
    sock: Socket, space: str, row: LinkRow, *, master: str, peer: tuple[str, str], internal: frozenset[str]
) -> Link:
    """The record of a device. ``peer`` is the namespace and name of the far end, ``internal`` the names of Open vSwitch's devices."""
    return Link(
        netns=space,
        name=row.name,
        kind=_kind(space, row, internal, bool(peer[1])),
        mac=row.mac,
        mtu=row.mtu,
        up=row.up,
        master=master,
        peer_netns=peer[0],
        peer=peer[1],
        alias=row.alias,
        tx_checksum=ethtool.tx_checksum(sock, row.name) if row.kind == "veth" else True,
    )


def orphan(space: str, row: LinkRow, in_root: set[str], internal: frozenset[str]) -> bool:
    """With the userspace datapath an internal port is a tap that outlives a killed vswitchd; the next one makes a new tap in the
    host's own namespace. The old one, without a carrier, is no longer the port: the new one must be moved in its place."""
    return bool(space) and row.kind == "tun" and not row.carrier and row.name in internal and row.name in in_root


def _kind(space: str, row: LinkRow, internal: frozenset[str], has_peer: bool) -> LinkKind:
    if row.loopback:
        return "loopback"
    match row.kind:
        case "bridge":
            return "bridge"
        case "openvswitch":
            return "internal"
        case "tun" if row.name in internal or space:
            return "internal"
        case "veth" if has_peer or space or row.alias == MARK:
            return "veth"
    return "foreign"


def _peers(conn: HostConnection, rows: Rows) -> dict[tuple[str, int], tuple[str, str]]:
    """(namespace, index) of each veth end -> (namespace, name) of the other. An index alone is ambiguous between namespaces, so
    for a far end the kernel is asked which of the candidates its namespace number stands for."""
    found: dict[tuple[str, int], tuple[str, str]] = {}
    by_ends: dict[tuple[int, int], list[tuple[str, LinkRow]]] = {}
    for space, devices in rows.items():
        local = {row.index: row for row in devices}
        for row in devices:
            if row.kind != "veth" or not row.peer_index:
                continue
            if row.peer_nsid < 0:
                if (other := local.get(row.peer_index)) is not None:
                    found[space, row.index] = (space, other.name)
            else:
                by_ends.setdefault((row.index, row.peer_index), []).append((space, row))
    numbers: dict[tuple[str, str], int] = {}
    for (index, peer_index), ends in by_ends.items():
        for space, row in ends:
            for other_space, other in by_ends.get((peer_index, index), ()):
                pair = (space, other_space)
                if other_space == space:
                    continue
                if pair not in numbers:
                    numbers[pair] = _nsid(conn, space, other_space)
                if numbers[pair] == row.peer_nsid:
                    found[space, row.index] = (other_space, other.name)
                    break
    return found


def _nsid(conn: HostConnection, space: str, other: str) -> int:
    try:
        return rtread.nsid(conn.handle(space).route, conn.netns_fd(other))
    except NetlinkError:
        return -2
