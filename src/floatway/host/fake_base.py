"""What the parts of the in-memory host share: its tables while they change, and the refusal."""

import re
from typing import TypeVar, cast

import msgspec

from floatway.host.flow_ports import flow_ports
from floatway.host.ownership import LEARN_COOKIE
from floatway.host.records import Flow, OvsPort, Record
from floatway.host.state import HostState, Key

R = TypeVar("R", bound=Record)


class FakeError(Exception):
    """The in-memory host refuses what a kernel or Open vSwitch would refuse. Names the command and the reason."""

    def __init__(self, command: str, reason: str) -> None:
        super().__init__(f"{command}: {reason}")
        self.command = command
        self.reason = reason


class Tables:
    """A host while a step changes it. ``command`` is what is being run; ``strict`` refuses to leave references to nothing."""

    def __init__(self, state: HostState, command: str, *, strict: bool) -> None:
        kinds = {type(record) for record in state}
        self._tables: dict[type[Record], dict[Key, Record]] = {kind: dict(state.table(kind)) for kind in kinds}
        self.command = command
        self.strict = strict

    def of(self, kind: type[R]) -> dict[Key, R]:
        """The live table of one record type."""
        return cast(dict[Key, R], self._tables.setdefault(kind, {}))

    def get(self, kind: type[R], *key: object) -> R | None:
        """The record with this key, or None."""
        return self.of(kind).get(key)

    def put(self, record: Record) -> None:
        """Add the record, or put it in place of the one under its key."""
        self.of(type(record))[record.key] = record

    def drop(self, record: Record) -> None:
        """Remove whatever stands under the record's key."""
        self.of(type(record)).pop(record.key, None)

    def state(self) -> HostState:
        """The host as it is now."""
        return HostState({kind: dict(table) for kind, table in self._tables.items() if table})

    def need(self, truth: object, reason: str) -> None:
        """Refuse unless it is so."""
        if not truth:
            raise FakeError(self.command, reason)


def unname(tables: Tables, port: OvsPort) -> None:
    """The port loses its number: the flows that name it keep a bare one. Strict: no flow but learned ones may name it."""
    for flow in [f for f in tables.of(Flow).values() if f.bridge == port.bridge and port.name in flow_ports(f)]:
        tables.need(not tables.strict or flow.cookie == LEARN_COOKIE, f"flow {flow.match!r} names port {port.name}")
        tables.drop(flow)
        number = str(1000 + sum(port.name.encode()))
        match, actions = (_numbered(text, port.name, number) for text in (flow.match, flow.actions))
        tables.put(msgspec.structs.replace(flow, match=match, actions=actions))


def _numbered(text: str, name: str, number: str) -> str:
    return re.sub(
        rf'"{re.escape(name)}"|(?<=in_port=){re.escape(name)}\b|(?<=output:){re.escape(name)}\b', number, text
    )
