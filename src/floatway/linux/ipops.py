"""The operations of one Ip step over netlink: batched per namespace, each outcome checked, the failed one named.

A batch goes out when the namespace changes, when a device's index must be known that an earlier operation makes, or when
something follows that is not netlink (ethtool, waiting for a device). So order is what the plan says.
"""

import errno
import time

from floatway.host.commands import commands
from floatway.host.records import Link
from floatway.host.steps import (
    AddressAdd,
    AddressDelete,
    Ip,
    IpOp,
    LinkAdd,
    LinkDelete,
    LinkMove,
    LinkSet,
    NeighbourDelete,
    NeighbourReplace,
    RouteDelete,
    RouteReplace,
    RuleAdd,
    RuleDelete,
)  # fmt: skip
from floatway.linux import ethtool, ovsdb_ops, rtwrite
from floatway.linux.connection import HostConnection
from floatway.linux.errors import LinuxError, StepFailed
from floatway.linux.netlink import Request

_APPEAR = 5.0  # seconds for vswitchd to make a device that the database wants
_REPLUG_AFTER = 0.2  # seconds after which a device that should be there is taken for destroyed
_POLL = 0.002
_GONE = frozenset({errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL})
_DELETIONS = (LinkDelete, AddressDelete, RouteDelete, RuleDelete, NeighbourDelete)


def run(conn: HostConnection, step: Ip) -> None:
    """Run all operations in order. Raises StepFailed for the first that fails; those after it have not been started, except
    the rest of its batch. Deleting what is gone already is success."""
    _Runner(conn, step).run()


class _Runner:
    def __init__(self, conn: HostConnection, step: Ip) -> None:
        self._conn = conn
        self._step = step
        self._netns = step.netns
        self._queue: list[tuple[IpOp, Request]] = []
        self._indexes: dict[tuple[str, str], int] = {}
        self._remade: list[str] = []

    def run(self) -> None:
        for op in self._step.ops:
            try:
                self._do(op)
            except StepFailed:
                raise  # of an earlier operation, which went out with what this one needs
            except OSError as error:
                raise self._failed(op, error.strerror or str(error), error.errno or 0) from error
            except (KeyError, ValueError, LinuxError) as error:
                raise self._failed(op, str(error), getattr(error, "errno", 0)) from error
        self._flush()
        self._replug_remade()

    def _replug_remade(self) -> None:
        """A device that Open vSwitch had before it was destroyed: the userspace datapath still listens to the old one, for ever."""
        if not self._remade or not self._conn.has_ovs:
            return
        ports = self._conn.ovs_tables().by_name("Port")
        for name in self._remade:
            if name in ports:
                ovsdb_ops.replug(self._conn.ovsdb, name)

    def _do(self, op: IpOp) -> None:
        match op:
            case LinkAdd(link=link, peer=peer):
                self._add(op, link, peer)
            case LinkSet(link=link, before=before):
                self._set(op, link, before)
            case LinkMove(link=link):
                self._move(op, link)
            case LinkDelete(link=link):
                self._indexes.pop((link.netns, link.name), None)
                self._send(op, link.netns, rtwrite.link_delete(link.name))
            case AddressAdd(address=record):
                self._send(op, record.netns, rtwrite.address(record, self._index(record.netns, record.link)))
            case AddressDelete(address=record):
                if (index := self._index_or_none(record.netns, record.link)) is not None:
                    self._send(op, record.netns, rtwrite.address(record, index, delete=True))
            case RouteReplace(route=route):
                index = self._index(route.netns, route.dev) if route.dev else None
                self._send(op, route.netns, rtwrite.route(route, index))
            case RouteDelete(route=route):
                index = self._index_or_none(route.netns, route.dev) if route.dev else None
                if index is not None or not route.dev:
                    self._send(op, route.netns, rtwrite.route(route, index, delete=True))
            case RuleAdd(rule=rule):
                self._send(op, rule.netns, rtwrite.rule(rule))
            case RuleDelete(rule=rule):
                self._send(op, rule.netns, rtwrite.rule(rule, delete=True))
            case NeighbourReplace(neighbour=entry):
                self._send(op, entry.netns, rtwrite.neighbour(entry, self._index(entry.netns, entry.link)))
            case NeighbourDelete(neighbour=entry):
                if (index := self._index_or_none(entry.netns, entry.link)) is not None:
                    self._send(op, entry.netns, rtwrite.neighbour(entry, index, delete=True))

    def _add(self, op: IpOp, link: Link, peer: Link | None) -> None:
        fd = self._conn.netns_fd(peer.netns) if peer and peer.netns != link.netns else None
        self._send(op, link.netns, rtwrite.link_add(link, peer, fd))
        if not link.netns:
            self._flush()  # somebody else's device of that name must not be marked as ours, and be deleted next
        for end in (link, peer) if peer else (link,):
            if not end.netns:
                self._remade.append(end.name)
            # alias and master are not taken at creation; up comes last, when the end is all it shall be
            self._set(op, end, None)

    def _set(self, op: IpOp, link: Link, before: Link | None) -> None:
        old = before or Link(netns=link.netns, name=link.name, kind=link.kind, mac="", mtu=0, up=not link.up)
        ours = link.kind != "foreign"
        mac = link.mac if link.mac != old.mac else ""
        mtu = link.mtu if link.mtu != old.mtu else 0
        up = link.up if link.up != old.up else None
        master = None
        if link.master != old.master:
            master = self._index(link.netns, link.master) if link.master else 0
        alias = link.alias if ours and link.alias != old.alias else None
        if mac or mtu or up is not None or master is not None or alias is not None:
            request = rtwrite.link_set(link.name, mac=mac, mtu=mtu, up=up, master_index=master, alias=alias)
            self._send(op, link.netns, request)
        if ours and not link.tx_checksum and old.tx_checksum:
            self._flush()
            ethtool.set_tx_checksum(self._conn.handle(link.netns).route, link.name, on=False)

    def _move(self, op: IpOp, link: Link) -> None:
        self._flush()
        if not self._appears(link.name, _REPLUG_AFTER):
            if self._index_or_none(link.netns, link.name) is not None:
                return  # it is there already
            # The database still has the port, but its device went with a deleted namespace: let vswitchd make a new one.
            self._conn.ovs_tables()
            ovsdb_ops.replug(self._conn.ovsdb, link.name)
            if not self._appears(link.name, _APPEAR):
                raise LinuxError(
                    f"Open vSwitch made no device {link.name} within {_APPEAR:.0f} seconds; see: ovs-vsctl show"
                )
        if self._index_or_none(link.netns, link.name) is not None:
            # A tap left by an earlier vswitchd holds the name; without its process it is dead.
            self._send(op, link.netns, rtwrite.link_delete(link.name))
        self._send(op, "", rtwrite.link_set(link.name, netns_fd=self._conn.netns_fd(link.netns)))
        self._flush()
        self._indexes.clear()

    def _appears(self, name: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        sock = self._conn.handle("").route
        while True:
            try:
                ethtool.index(sock, name)
            except OSError:
                if time.monotonic() > deadline:
                    return False
                time.sleep(_POLL)
            else:
                return True

    def _send(self, op: IpOp, netns: str, request: Request) -> None:
        if netns != self._netns:
            self._flush()
            self._netns = netns
        self._queue.append((op, request))

    def _flush(self) -> None:
        if not self._queue:
            return
        queue, self._queue = self._queue, []
        outcomes = self._conn.handle(self._netns).route.execute([request for _, request in queue])
        for (op, _), error in zip(queue, outcomes, strict=True):
            if error is None or (isinstance(op, _DELETIONS) and error.errno in _GONE):
                continue
            if isinstance(op, RuleAdd) and error.errno == errno.EEXIST:
                continue
            raise self._failed(op, error.text, error.errno)

    def _index(self, netns: str, device: str) -> int:
        index = self._index_or_none(netns, device)
        if index is None:
            raise OSError(errno.ENODEV, f"there is no device {device}" + (f" in namespace {netns}" if netns else ""))
        return index

    def _index_or_none(self, netns: str, device: str) -> int | None:
        key = (netns, device)
        if key not in self._indexes:
            sock = self._conn.handle(netns).route
            try:
                self._indexes[key] = ethtool.index(sock, device)
            except OSError:
                self._flush()  # perhaps one of the waiting requests makes it
                try:
                    self._indexes[key] = ethtool.index(sock, device)
                except OSError:
                    return None
        return self._indexes[key]

    def _failed(self, op: IpOp, text: str, number: int) -> StepFailed:
        failed = Ip(netns=self._step.netns, ops=(op,))
        return StepFailed(failed, "; ".join(commands(failed)), text, number)
