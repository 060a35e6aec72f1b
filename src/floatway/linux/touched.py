"""What of a host somebody touched, and a second look at just that.

    watch ──▶ Touched(links={"tap6f…"}, chains={"qrouter-…"}, bridges={"br-int"})
                        │
    last view ──observe_touched──▶ the same view but for what was touched: 1 ms instead of a look at everything

Names only say where to look, never what happened there: what was heard may be long past, and much is heard twice. What could not
be heard (a setting, a member of a set that took another's place) is found by a look at ``everything`` now and then.
"""

import socket
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from floatway.host.losses import setting_device
from floatway.host.records import (
    WANTED,
    Address,
    Chain,
    Flow,
    Ipset,
    Link,
    Neighbour,
    Netns,
    OvsBridge,
    OvsPort,
    Record,
    Route,
    Rule,
    Sysctl,
)
from floatway.host.state import HostState, Key
from floatway.linux import ipset, iptables, openflow, ovsdb, rtread, sysctl
from floatway.linux.connection import HostConnection
from floatway.linux.errors import LinuxError, ObserveError, ToolError
from floatway.linux.observe import link_record, observe, orphan
from floatway.linux.rtread import LinkRow
from floatway.linux.spawn import Later

__all__ = ["EVERYTHING", "NOTHING", "Touched", "observe_touched"]

_ADDRESSING: tuple[type[Record], ...] = (Link, Address, Route, Rule, Neighbour)
_IN_NAMESPACE: tuple[type[Record], ...] = (*_ADDRESSING, Sysctl, Ipset, Chain)
Belongs = Callable[[Any], bool]


class Touched(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where to look. ``namespaces`` came, went or were made anew; ``links`` are devices of the host's own namespace; ``addressing``,
    ``chains``, ``sets`` and ``settings`` name namespaces ("" the host's own); ``bridges`` those whose flows changed; ``database`` is
    Open vSwitch's."""

    namespaces: frozenset[str] = frozenset()
    links: frozenset[str] = frozenset()
    addressing: frozenset[str] = frozenset()
    chains: frozenset[str] = frozenset()
    sets: frozenset[str] = frozenset()
    settings: frozenset[str] = frozenset()
    bridges: frozenset[str] = frozenset()
    database: bool = False
    everything: bool = False

    def __bool__(self) -> bool:
        return self != NOTHING

    def __or__(self, other: "Touched") -> "Touched":
        return Touched(**{name: getattr(self, name) | getattr(other, name) for name in self.__struct_fields__})


NOTHING = Touched()
EVERYTHING = Touched(everything=True)


def observe_touched(
    conn: HostConnection, last: HostState, touched: Touched, settings: Iterable[tuple[str, str]] | None = None
) -> HostState:
    """The last view with what was touched looked at again; ``last`` itself when nothing of it differs. ``settings`` are the
    (namespace, name) pairs that are wanted (None: those in ``last``). Raises ObserveError, which says what could not be read."""
    wanted = [(one.netns, one.name) for one in last.records(Sysctl)] if settings is None else list(settings)
    if touched.everything:
        return observe(conn, sysctls=wanted)
    try:
        return _Look(conn, last, touched, wanted).state()
    except (LinuxError, OSError) as error:
        raise ObserveError(f"cannot read what changed on the host: {error}") from error


class _Look:
    """One second look. Collects what is there now and, for each type of record, which of the earlier ones it stands for."""

    def __init__(self, conn: HostConnection, last: HostState, touched: Touched, wanted: list[tuple[str, str]]) -> None:
        self.conn = conn
        self.last = last
        self.touched = touched
        self.wanted = wanted
        self.found: list[Record] = []
        self.scopes: dict[type[Record], list[Belongs]] = {}
        self.earlier: list[Record] = []
        """Earlier records that are looked at again one by one."""
        self._bridges: frozenset[str] | None = None
        """All bridges, where the database was asked."""
        self._numbers: dict[str, dict[int, str]] = {}

    @cached_property
    def present(self) -> frozenset[str]:
        """The named namespaces."""
        return frozenset(self.conn.namespaces())

    def state(self) -> HostState:
        """The new view."""
        touched = self.touched
        here = touched.namespaces and touched.namespaces & self.present
        gone = touched.namespaces - here
        if touched.namespaces:
            self._replace(Netns, lambda record: record.name in touched.namespaces)
            self.found += (Netns(name=name) for name in here)
        for kind in _IN_NAMESPACE if gone else ():
            self._replace(kind, lambda record: record.netns in gone)
        internal = self._database() if touched.database else self._known_internal()
        # The tools start first and work while this thread talks to the kernel.
        later: list[Later[Any]] = [
            self._chains(self._reachable(touched.chains | here)),
            self._sets(self._reachable(touched.sets | here)),
            self._flows(self._flow_bridges()),
        ]
        spaces = self._reachable(touched.addressing | here | self._around(gone, touched.links & internal))
        self._addressing(spaces, internal)
        if "" not in spaces:
            self._links(touched.links, internal)
        self._settings(self._reachable(touched.settings | here | set(spaces)))
        for finish in later:
            self.found += finish()
        return self._merged()

    def _replace(self, kind: type[Record], belongs: Belongs) -> None:
        self.scopes.setdefault(kind, []).append(belongs)

    def _reachable(self, names: Iterable[str]) -> list[str]:
        return sorted(name for name in names if not name or name in self.present)

    def _around(self, gone: frozenset[str], internal: frozenset[str]) -> set[str]:
        """Where else to look: a namespace takes the far ends of its devices with it, and a device of Open vSwitch that turns up
        among the host's own is missing where it belongs."""
        if not gone and not internal:
            return set()
        links = self.last.records(Link, lambda link: link.netns != "")
        return {link.netns for link in links if link.peer_netns in gone or link.name in internal}

    def _database(self) -> frozenset[str]:
        if not self.conn.has_ovs:
            return self._known_internal()
        tables = self.conn.ovs_tables()
        self._replace(OvsBridge, lambda _: True)
        self._replace(OvsPort, lambda _: True)
        self.found += ovsdb.records(tables)
        self._bridges = frozenset(tables.by_name("Bridge"))
        return ovsdb.internal_names(tables)

    def _known_internal(self) -> frozenset[str]:
        ports = self.last.records(OvsPort, lambda port: port.type == "internal")
        return frozenset([*(port.name for port in ports), *(bridge.name for bridge in self.last.records(OvsBridge))])

    def _flow_bridges(self) -> list[str]:
        known = {bridge.name for bridge in self.last.records(OvsBridge)}
        present = known if self._bridges is None else self._bridges
        if lost := known - present:
            self._replace(Flow, lambda flow: flow.bridge in lost)
        wanted = (self.touched.bridges & present) | (present - known)
        # Without vswitchd there is nobody to ask; the watch says when there is again.
        return sorted(name for name in wanted if _answers(self.conn.ovs_rundir / f"{name}.mgmt"))

    def _flows(self, bridges: list[str]) -> Callable[[], list[Flow]]:
        dumps = [(bridge, openflow.flows(self.conn, [bridge])) for bridge in bridges]

        def finish() -> list[Flow]:
            found: list[Flow] = []
            seen: set[str] = set()
            for bridge, dump in dumps:
                try:
                    found += dump()
                except ToolError:
                    if _answers(self.conn.ovs_rundir / f"{bridge}.mgmt"):
                        raise
                    continue  # vswitchd died meanwhile
                seen.add(bridge)
            if seen:
                self._replace(Flow, lambda flow: flow.bridge in seen)
            return found

        return finish

    def _chains(self, spaces: list[str]) -> Callable[[], list[Record]]:
        if spaces:
            self._replace(Chain, lambda chain: chain.netns in spaces)
        return iptables.chains(self.conn, spaces)

    def _sets(self, spaces: list[str]) -> Callable[[], list[Ipset]]:
        if spaces:
            self._replace(Ipset, lambda one: one.netns in spaces)
        return ipset.sets(self.conn, spaces)

    def _addressing(self, spaces: list[str], internal: frozenset[str]) -> None:
        if not spaces:
            return
        for kind in _ADDRESSING:
            self._replace(kind, lambda record: record.netns in spaces)
        root = self.conn.handle("").route
        for space in spaces:
            sock = self.conn.handle(space).route
            rows = {row.index: row for row in rtread.links(sock)}
            names = {index: row.name for index, row in rows.items()}
            silent = {row.name for row in rows.values() if not row.carrier and row.name in internal}
            in_root = {name for name in silent if rtread.link_named(root, name) is not None}
            for row in rows.values():
                if not orphan(space, row, in_root, internal):
                    self._link(space, row, rows, internal)
            self.found += rtread.addresses(sock, space, names)
            self.found += rtread.routes(sock, space, names)
            self.found += rtread.rules(sock, space)
            self.found += rtread.neighbours(sock, space, names)

    def _links(self, names: frozenset[str], internal: frozenset[str]) -> None:
        self.earlier += (link for name in names if (link := self.last.get(Link, "", name)) is not None)
        sock = self.conn.handle("").route
        for name in sorted(names):
            if (row := rtread.link_named(sock, name)) is not None:
                self._link("", row, {}, internal)
        if names:
            self._read_settings([one for one in self.wanted if not one[0] and setting_device(one[1]) in names])

    def _link(self, space: str, row: LinkRow, rows: dict[int, LinkRow], internal: frozenset[str]) -> None:
        def named(index: int, where: str = space) -> str:
            known = rows.get(index) if where == space else None
            known = known or rtread.link_at(self.conn.handle(where).route, index)
            return known.name if known else ""

        peer_space, peer = "", ""
        if row.kind == "veth" and row.peer_index:
            far = space if row.peer_nsid < 0 else self._space(space, row.peer_nsid)
            if far is not None and (peer := named(row.peer_index, far)):
                peer_space = far
        master = named(row.master_index) if row.master_index else ""
        sock = self.conn.handle(space).route
        self.found.append(link_record(sock, space, row, master=master, peer=(peer_space, peer), internal=internal))

    def _space(self, space: str, number: int) -> str | None:
        """The named namespace that ``space`` knows by this number."""
        known = self._numbers.get(space)
        if known is None:
            known = self._numbers[space] = {}
            sock = self.conn.handle(space).route
            for other in {"", *self.present} - {space}:
                try:
                    known[rtread.nsid(sock, self.conn.netns_fd(other))] = other
                except LinuxError:  # it went meanwhile
                    continue
        return known.get(number)

    def _settings(self, spaces: list[str]) -> None:
        if spaces:
            self._read_settings([one for one in self.wanted if one[0] in spaces])

    def _read_settings(self, pairs: list[tuple[str, str]]) -> None:
        if pairs:
            self.earlier += (one for pair in pairs if (one := self.last.get(Sysctl, *pair)) is not None)
            self.found += sysctl.read(self.conn, pairs)

    def _merged(self) -> HostState:
        fresh: dict[type[Record], dict[Key, Record]] = {}
        for record in self.found:
            fresh.setdefault(type(record), {}).setdefault(record.key, record)
        removed = [record for record in self.earlier if record.key not in fresh.get(type(record), {})]
        for kind, scopes in self.scopes.items():
            new = fresh.get(kind, {})
            for key, record in self.last.table(kind).items():
                if key not in new and any(belongs(record) for belongs in scopes):
                    removed.append(record)
        changed = [
            record
            for kind, new in fresh.items()
            if kind in WANTED
            for key, record in new.items()
            if self.last.table(kind).get(key) != record
        ]
        state = self.last.without(*removed) if removed else self.last
        return state.replaced(*changed) if changed else state


def _answers(path: Path) -> bool:
    """Does somebody listen there? A killed daemon leaves its socket's name behind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        return sock.connect_ex(str(path)) == 0
