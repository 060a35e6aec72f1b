"""What Open vSwitch says by itself: its database (RFC 7047, monitor) and each of our bridges' flows (OpenFlow 1.4, 7.3.5.18).

    ovs-vsctl del-port qvo…      ─▶ update                       ─▶ heard("database", "")
    ovs-ofctl del-flows br-int   ─▶ OFPMP_FLOW_MONITOR, REMOVED  ─▶ heard("bridges", "br-int")
    vswitchd killed              ─▶ end of stream                ─▶ heard("bridges", "br-int"), and again when it is back

A switch that learns changes flows all day. Those carry a cookie of their own, by which they are told apart and dropped.
"""

import json
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from floatway.host.ownership import ALIAS, LEARN_COOKIE
from floatway.linux.watch_ears import Ears
from floatway.linux.watch_netlink import Heard

_COLUMNS = {
    "Open_vSwitch": ["bridges"],
    "Bridge": [
        "name",
        "ports",
        "controller",
        "datapath_type",
        "fail_mode",
        "protocols",
        "other_config",
        "external_ids",
    ],
    "Port": ["name", "interfaces", "tag", "other_config"],
    "Interface": ["name", "type", "options", "external_ids", "error", "ofport"],
    "Controller": ["target"],
}
_JSON = json.JSONDecoder()
_RECEIVE = 1 << 18


class EndOfStreamError(Exception):
    """The daemon has gone."""


class _Stream:
    """A unix socket that is read when it has something."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise

    def fileno(self) -> int:
        """The file descriptor."""
        return self.socket.fileno()

    def close(self) -> None:
        """Give the socket back."""
        self.socket.close()

    def chunks(self) -> Iterator[bytes]:
        """What waits to be read. Raises EndOfStreamError."""
        while True:
            try:
                data = self.socket.recv(_RECEIVE)
            except BlockingIOError:
                return
            except OSError as error:
                raise EndOfStreamError from error
            if not data:
                raise EndOfStreamError
            yield data

    def send(self, data: bytes) -> None:
        """Small messages only. Raises EndOfStreamError; a peer that does not take them is as good as gone."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise EndOfStreamError from error


class Database(_Stream):
    """The database's own word on each change. ``ours`` are the names of our bridges."""

    def __init__(self, rundir: Path) -> None:
        super().__init__(rundir / "db.sock")
        self._bridges: dict[str, str] = {}
        self._buffer = b""
        request = {table: {"columns": columns} for table, columns in _COLUMNS.items()}
        self._say({"method": "monitor", "params": ["Open_vSwitch", "watch", request], "id": "watch"})

    @property
    def ours(self) -> frozenset[str]:
        """The bridges marked as ours."""
        return frozenset(self._bridges.values())

    def hear(self, heard: Heard) -> None:
        """Read all that was said. Raises EndOfStreamError."""
        for data in self.chunks():
            self._buffer += data
        for message in self._messages():
            match message:
                case {"method": "echo", "params": params, "id": number}:
                    self._say({"result": params, "error": None, "id": number})
                case {"method": "update", "params": [_, dict(update)]}:
                    self._note(update)
                    heard("database", "")
                    if any(_unplugged(change) for change in update.get("Interface", {}).values()):
                        for bridge in self.ours:
                            heard("bridges", bridge)
                case {"id": "watch", "result": dict(tables)}:
                    self._note(tables)
                case _:
                    pass

    def _say(self, message: dict[str, Any]) -> None:
        self.send(msgspec.json.encode(message))

    def _messages(self) -> Iterator[dict[str, Any]]:
        """The whole messages in the buffer: they follow each other unframed."""
        while self._buffer.rstrip().endswith(b"}"):  # else the last cannot be whole: no quadratic rescans of a long one
            text = self._buffer.decode(errors="replace").lstrip()
            try:
                message, end = _JSON.raw_decode(text)
            except json.JSONDecodeError:
                return
            self._buffer = text[end:].lstrip().encode()
            yield message

    def _note(self, tables: dict[str, Any]) -> None:
        for uuid, change in tables.get("Bridge", {}).items():
            row = change.get("new")
            if row is None:
                self._bridges.pop(uuid, None)
            elif ["owner", ALIAS] in row["external_ids"][1]:
                self._bridges[uuid] = row["name"]
            elif "old" not in change or "external_ids" in change["old"]:
                self._bridges.pop(uuid, None)


def _unplugged(change: dict[str, Any]) -> bool:
    """Has an interface lost its number? Flows that name it tell of a number then, without a change of their own."""
    old = change.get("old", {})
    return "new" not in change or isinstance(old.get("ofport"), int)


_OFP = struct.Struct("!BBHI")
_MULTIPART = struct.Struct("!HH4x")
_MONITOR = struct.Struct("!IIIHBB")
_VERSION = 5  # OpenFlow 1.4
_HELLO, _ERROR, _ECHO, _ECHO_REPLY, _MULTIPART_REQUEST, _MULTIPART_REPLY = 0, 1, 2, 3, 18, 19
_FLOW_MONITOR = 16
_ANY = 0xFFFFFFFF  # OFPP_ANY, OFPG_ANY
_WHEN = 2 | 4 | 8  # OFPFMF_ADD, REMOVED, MODIFY
_ALL_TABLES, _ADD = 0xFF, 0
_MATCH_ALL = struct.pack("!HH4x", 1, 4)
_ABBREVIATED, _PAUSED, _RESUMED = 4, 5, 6
_UPDATE = struct.Struct("!HH")


class Flows(_Stream):
    """One bridge's own word on each change of its flows."""

    def __init__(self, rundir: Path, bridge: str) -> None:
        super().__init__(rundir / f"{bridge}.mgmt")
        self.bridge = bridge
        self._buffer = b""
        body = _MULTIPART.pack(_FLOW_MONITOR, 0)
        body += _MONITOR.pack(1, _ANY, _ANY, _WHEN, _ALL_TABLES, _ADD) + _MATCH_ALL
        self._say(_HELLO, b"", 1)
        self._say(_MULTIPART_REQUEST, body, 2)

    def hear(self, heard: Heard) -> None:
        """Read all that was said. Raises EndOfStreamError, also when the bridge cannot be watched like this."""
        for data in self.chunks():
            self._buffer += data
        for kind, number, body in self._messages():
            if kind == _ECHO:
                self._say(_ECHO_REPLY, body, number)
            elif kind == _ERROR:
                raise EndOfStreamError(f"{self.bridge}: no flow monitor: {body[:4].hex()}")
            elif kind == _MULTIPART_REPLY and body[:2] == b"\0\x10" and (count := changes(body[_MULTIPART.size :])):
                heard("bridges", self.bridge, count)

    def _say(self, kind: int, body: bytes, number: int) -> None:
        self.send(_OFP.pack(_VERSION, kind, _OFP.size + len(body), number) + body)

    def _messages(self) -> Iterator[tuple[int, int, bytes]]:
        offset, data = 0, self._buffer
        while offset + _OFP.size <= len(data):
            _, kind, length, number = _OFP.unpack_from(data, offset)
            if length < _OFP.size or offset + length > len(data):
                break
            yield kind, number, data[offset + _OFP.size : offset + length]
            offset += length
        self._buffer = data[offset:]


def changes(updates: bytes) -> int:
    """How many of these updates are about flows that were not learned? A full update has its cookie at 16."""
    offset = count = 0
    while offset + _UPDATE.size <= len(updates):
        length, event = _UPDATE.unpack_from(updates, offset)
        if length < _UPDATE.size:
            break
        full = event < _ABBREVIATED and length >= 24
        learned = full and int.from_bytes(updates[offset + 16 : offset + 24], "big") == LEARN_COOKIE
        count += not learned and event not in (_PAUSED, _RESUMED)
        offset += length
    return count


class OpenVSwitch:
    """The database and the bridges that are listened to, and those that come back."""

    def __init__(self, rundir: Path, ears: Ears, heard: Heard, lost: Callable[[], None]) -> None:
        """``lost`` is called when something wants to be found again: :meth:`find` it a moment later."""
        self._rundir, self._ears, self._heard, self._lost = rundir, ears, heard, lost
        self._database: Database | None = None
        self._flows: dict[str, Flows] = {}

    @property
    def ours(self) -> frozenset[str]:
        """The bridges that are listened to."""
        return frozenset(self._flows)

    def close(self) -> None:
        """End all connections."""
        for name in list(self._flows):
            self._lose(name)
        if self._database is not None:
            self._end(self._database)

    def find(self) -> None:
        """Connect to what should be there and is not listened to yet."""
        if self._database is None:
            if not (self._rundir / "db.sock").exists():
                return
            try:
                database = self._database = Database(self._rundir)
            except (OSError, EndOfStreamError):
                self._lost()
                return
            self._ears.read(database, lambda: self._hear_database(database))
            self._heard("database", "")
        self._find_bridges(self._database)

    def _find_bridges(self, database: Database) -> None:
        for name in self._flows.keys() - database.ours:
            self._lose(name)
        for name in database.ours - self._flows.keys():
            try:
                self._listen(Flows(self._rundir, name))
            except (OSError, EndOfStreamError):
                self._lost()

    def _listen(self, flows: Flows) -> None:
        self._flows[flows.bridge] = flows
        self._ears.read(flows, lambda: self._hear_flows(flows))
        self._heard("bridges", flows.bridge)

    def _hear_database(self, database: Database) -> None:
        try:
            database.hear(self._heard)
        except EndOfStreamError:
            self._end(database)
            self._heard("database", "")
            self._lost()
        else:
            self._find_bridges(database)

    def _hear_flows(self, flows: Flows) -> None:
        try:
            flows.hear(self._heard)
        except EndOfStreamError:
            self._lose(flows.bridge)
            self._heard("bridges", flows.bridge)
            self._lost()

    def _end(self, database: Database) -> None:
        self._ears.forget(database)
        database.close()
        self._database = None

    def _lose(self, name: str) -> None:
        flows = self._flows.pop(name)
        self._ears.forget(flows)
        flows.close()
