"""Open vSwitch's database over its socket: JSON-RPC with the methods of RFC 7047, and the schema of ovs-vswitchd.conf.db(5).

    snapshot()             one transact of selects                     -> OvsBridge and OvsPort records
    commit(ops)            one transact: rows, mutations, next_cfg + 1 -> all of it or nothing
                           then wait until vswitchd says cur_cfg = next_cfg: what was written is now real

One raw transaction of 500 ports takes 58 ms, ovs-vsctl per port 18 ms each, python-ovs 1.34 s (docs, benchmarks).
"""

import json
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from floatway.host.records import OvsBridge, OvsPort, Pairs
from floatway.linux.errors import OvsdbError

Row = dict[str, Any]
_TIMEOUT = 30.0  # seconds; vswitchd realises hundreds of ports in less than one
_COLUMNS: dict[str, list[str]] = {
    "Bridge": [
        "_uuid",
        "name",
        "ports",
        "controller",
        "datapath_type",
        "fail_mode",
        "protocols",
        "other_config",
        "external_ids",
    ],
    "Port": ["_uuid", "name", "interfaces", "tag", "other_config"],
    "Interface": ["_uuid", "name", "type", "options", "external_ids", "error", "ofport"],
    "Controller": ["_uuid", "target"],
    "Open_vSwitch": ["_uuid", "bridges", "cur_cfg", "next_cfg"],
}


_DECODER = json.JSONDecoder()


class JsonRpc:
    """JSON-RPC 1.0 over a unix socket, as ovsdb-server and the daemons' control sockets speak it: values follow each other unframed."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(_TIMEOUT)
        self._path = path
        self._buffer = b""
        self._id = 0
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise OvsdbError(f"{path}: {error.strerror}; is Open vSwitch running here? see: ovs-vsctl show") from error

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def call(self, method: str, params: Sequence[Any], notices: list[Row] | None = None) -> Any:
        """The result of one call. Messages that are no answer to it (updates) are appended to ``notices``. Raises OvsdbError."""
        self._id += 1
        try:
            self._socket.sendall(msgspec.json.encode({"method": method, "params": params, "id": self._id}))
        except OSError as error:
            raise OvsdbError(f"{self._path}: {error}") from error
        while True:
            message = self.receive()
            if message.get("id") == self._id and "method" not in message:
                if message.get("error"):
                    raise OvsdbError(f"{self._path}: {method}: {message['error']}")
                return message.get("result")
            if notices is not None:
                notices.append(message)

    def receive(self) -> Row:
        """The next message; keep-alive questions are answered on the way."""
        while True:
            message = self._next()
            if message.get("method") != "echo":
                return message
            self._socket.sendall(msgspec.json.encode({"result": message["params"], "error": None, "id": message["id"]}))

    def _next(self) -> Row:
        while True:
            if self._buffer.endswith(
                b"}"
            ):  # else the last message cannot be whole: no quadratic rescans of a long answer
                text = self._buffer.decode(errors="replace")
                try:
                    message, end = _DECODER.raw_decode(text)
                except json.JSONDecodeError:
                    pass
                else:
                    self._buffer = text[end:].strip().encode()
                    return dict(message)
            self._buffer += self._read()

    def _read(self) -> bytes:
        try:
            data = self._socket.recv(1 << 20)
        except TimeoutError as error:
            raise OvsdbError(f"{self._path}: no answer within {_TIMEOUT:.0f} seconds") from error
        except OSError as error:
            raise OvsdbError(f"{self._path}: {error}") from error
        if not data:
            raise OvsdbError(f"{self._path}: the server closed the connection")
        return data.rstrip() if data.endswith(b"\n") else data


class Tables(msgspec.Struct, frozen=True):
    """The rows as they are, by table and row UUID."""

    rows: dict[str, dict[str, Row]]

    def by_name(self, table: str) -> dict[str, str]:
        """Row UUIDs by name."""
        return {row["name"]: uuid for uuid, row in self.rows[table].items()}

    @property
    def root(self) -> Row:
        """The one row of Open_vSwitch."""
        for row in self.rows["Open_vSwitch"].values():
            return row
        raise OvsdbError("the Open_vSwitch table is empty; initialise it with: ovs-vsctl --no-wait init")


class Ovsdb:
    """A connection to ovsdb-server."""

    def __init__(self, rundir: Path) -> None:
        self._rpc = JsonRpc(rundir / "db.sock")
        self._cur_cfg = -1
        answer = self._rpc.call("monitor", ["Open_vSwitch", "cfg", {"Open_vSwitch": {"columns": ["cur_cfg"]}}])
        self._note(answer)

    def close(self) -> None:
        """End the connection."""
        self._rpc.close()

    def tables(self) -> Tables:
        """Everything we read, at one moment."""
        ops = [{"op": "select", "table": table, "where": [], "columns": columns} for table, columns in _COLUMNS.items()]
        results = self.transact(ops)
        return Tables(
            {
                table: {row["_uuid"][1]: row for row in result["rows"]}
                for table, result in zip(_COLUMNS, results, strict=True)
            }
        )

    def transact(self, ops: list[Row]) -> list[Row]:
        """One transaction. Raises OvsdbError with the database's own words and the operation they are about."""
        notices: list[Row] = []
        results = self._rpc.call("transact", ["Open_vSwitch", *ops], notices)
        for notice in notices:
            self._note_update(notice)
        for number, result in enumerate(results):
            if result and result.get("error"):
                what = f"{ops[number].get('op')} {ops[number].get('table', '')}" if number < len(ops) else "commit"
                raise OvsdbError(f"{what.strip()}: {result['error']}: {result.get('details', '')}")
        return list(results)

    def commit(self, ops: list[Row], root: str) -> None:
        """One transaction that also asks vswitchd to follow (``root`` is the Open_vSwitch row); returns when it has. Raises OvsdbError."""
        where = [["_uuid", "==", ["uuid", root]]]
        follow: list[Row] = [
            {"op": "mutate", "table": "Open_vSwitch", "where": where, "mutations": [["next_cfg", "+=", 1]]},
            {"op": "select", "table": "Open_vSwitch", "where": where, "columns": ["next_cfg"]},
        ]
        self._wait(int(self.transact([*ops, *follow])[-1]["rows"][0]["next_cfg"]))

    def check(self, names: Iterable[str]) -> None:
        """Raises OvsdbError when vswitchd could not realise one of these interfaces."""
        wanted = set(names)
        failed = [["error", "!=", ["set", []]]]
        select = {"op": "select", "table": "Interface", "where": failed, "columns": ["name", "error"]}
        for row in self.transact([select])[0]["rows"]:
            if row["name"] in wanted:
                raise OvsdbError(
                    f"port {row['name']}: {row['error']}; see: ovs-vsctl get Interface {row['name']} error"
                )

    def port_numbers(self, names: Iterable[str]) -> dict[str, int]:
        """The OpenFlow port numbers of those of these ports that have one. Raises OvsdbError."""
        asked = [["name", "==", name] for name in names]
        ops: list[Row] = [
            {"op": "select", "table": "Interface", "where": [one], "columns": ["name", "ofport"]} for one in asked
        ]
        rows = [row for result in (self.transact(ops) if ops else ()) for row in result["rows"]]
        return {row["name"]: row["ofport"] for row in rows if isinstance(row["ofport"], int) and row["ofport"] > 0}

    def _wait(self, wanted: int) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while self._cur_cfg < wanted:
            if time.monotonic() > deadline:
                raise OvsdbError("ovs-vswitchd does not follow the database; see: ovs-appctl -t ovs-vswitchd version")
            self._note_update(self._rpc.receive())

    def _note_update(self, notice: Row) -> None:
        if notice.get("method") == "update":
            self._note(notice["params"][1])

    def _note(self, update: Row) -> None:
        for change in update.get("Open_vSwitch", {}).values():
            if "new" in change:
                self._cur_cfg = int(change["new"]["cur_cfg"])


def pairs(value: Any) -> Pairs:
    """An OVSDB map as sorted pairs."""
    return tuple(sorted((str(key), str(item)) for key, item in value[1]))


def atoms(value: Any) -> list[Any]:
    """An OVSDB set as a list: the wire writes a set of one as the bare atom."""
    if isinstance(value, list) and value and value[0] == "set":
        return list(value[1])
    return [value]


def uuids(value: Any) -> list[str]:
    """The row UUIDs of a set of references."""
    return [atom[1] for atom in atoms(value)]


def records(tables: Tables) -> Iterator[OvsBridge | OvsPort]:
    """The bridges and their ports. A bridge's own LOCAL port is part of the bridge, not a record."""
    ports, interfaces, controllers = tables.rows["Port"], tables.rows["Interface"], tables.rows["Controller"]
    for bridge in tables.rows["Bridge"].values():
        targets = (controllers[uuid]["target"] for uuid in uuids(bridge["controller"]) if uuid in controllers)
        yield OvsBridge(
            name=bridge["name"],
            datapath_type=bridge["datapath_type"],
            fail_mode=_optional(bridge["fail_mode"]) or "",
            controller=tuple(sorted(targets)),
            protocols=tuple(sorted(atoms(bridge["protocols"]))),
            other_config=pairs(bridge["other_config"]),
            external_ids=pairs(bridge["external_ids"]),
        )
        for uuid in uuids(bridge["ports"]):
            port = ports[uuid]
            if port["name"] == bridge["name"]:
                continue
            interface = interfaces[uuids(port["interfaces"])[0]]
            tag = _optional(port["tag"])
            yield OvsPort(
                bridge=bridge["name"],
                name=port["name"],
                type=interface["type"],
                tag=None if tag is None else int(tag),
                options=pairs(interface["options"]),
                external_ids=pairs(interface["external_ids"]),
                port_other_config=pairs(port["other_config"]),
            )


def internal_names(tables: Tables) -> frozenset[str]:
    """The devices that are Open vSwitch's internal ports, the bridges' own included."""
    return frozenset(row["name"] for row in tables.rows["Interface"].values() if row["type"] == "internal")


def _optional(value: Any) -> Any:
    got = atoms(value)
    return got[0] if got else None
