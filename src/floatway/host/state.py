"""One host's state: a set of uniform records, ``type -> key -> record``.

The common currency: what is wanted (compile), what is there (observe, a bundle), what the tracer walks through.
One diff, merge and filter serve every record type.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar, cast

import msgspec

from floatway.host.records import WANTED, WITNESS, Record

R = TypeVar("R", bound=Record)
Key = tuple[object, ...]

_EMPTY: Mapping[Key, Record] = MappingProxyType({})
_BY_NAME: dict[str, type[Record]] = {kind.__name__: kind for kind in (*WANTED, *WITNESS)}


class ConflictError(ValueError):
    """Two different records claim one key: a programming error in whoever made the second."""


class HostState:
    """An immutable set of records. Build with :meth:`of`; read with :meth:`table`, :meth:`get`."""

    __slots__ = ("_tables",)

    def __init__(self, tables: Mapping[type[Record], Mapping[Key, Record]]) -> None:
        self._tables = tables

    @classmethod
    def of(cls, records: Iterable[Record]) -> "HostState":
        """The state that holds exactly these records. Raises ConflictError when two differ under one key."""
        tables: dict[type[Record], dict[Key, Record]] = {}
        for record in records:
            table = tables.setdefault(type(record), {})
            key = record.key
            if (present := table.setdefault(key, record)) is not record and present != record:
                raise ConflictError(f"{type(record).__name__} {key}: {present} and {record}")
        return cls(tables)

    @classmethod
    def union(cls, states: "Iterable[HostState]") -> "HostState":
        """All records of all these states. Raises ConflictError when two differ under one key."""
        tables: dict[type[Record], dict[Key, Record]] = {}
        for state in states:
            for kind, part in state._tables.items():
                table = tables.get(kind)
                if table is None:
                    tables[kind] = dict(part)
                    continue
                if not table.keys().isdisjoint(part):
                    _same_or_raise(table, part)
                table.update(part)
        return cls(tables)

    @property
    def kinds(self) -> Collection[type[Record]]:
        """The types of which there may be records."""
        return self._tables.keys()

    def table(self, kind: type[R]) -> Mapping[Key, R]:
        """All records of one type by key."""
        return cast(Mapping[Key, R], self._tables.get(kind, _EMPTY))

    def records(self, kind: type[R], keep: Callable[[R], bool] | None = None) -> list[R]:
        """The records of one type, optionally only those that ``keep`` accepts."""
        values = self.table(kind).values()
        return list(values) if keep is None else [record for record in values if keep(record)]

    def get(self, kind: type[R], *key: object) -> R | None:
        """The record with this key, or None."""
        return self.table(kind).get(key)

    def __iter__(self) -> Iterator[Record]:
        for table in self._tables.values():
            yield from table.values()

    def __len__(self) -> int:
        return sum(len(table) for table in self._tables.values())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HostState):
            return NotImplemented
        kinds = {*self._tables, *other._tables}
        return all((mine := self.table(kind)) is (its := other.table(kind)) or mine == its for kind in kinds)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"HostState({', '.join(f'{kind.__name__}: {len(t)}' for kind, t in self._tables.items())})"

    def filter(self, keep: Callable[[Record], bool]) -> "HostState":
        """The records that ``keep`` accepts."""
        return HostState.of(record for record in self if keep(record))

    def merged(self, *others: "HostState") -> "HostState":
        """The union. Raises ConflictError when two states differ under one key."""
        return HostState.union((self, *others))

    def replaced(self, *records: Record) -> "HostState":
        """This state with these records put in place of those under the same keys. Other tables are the very same objects."""
        tables: dict[type[Record], dict[Key, Record]] = {}
        for record in records:
            kind = type(record)
            if kind not in tables:
                tables[kind] = dict(self._tables.get(kind, _EMPTY))
            tables[kind][record.key] = record
        return HostState({**self._tables, **tables}) if tables else self

    def without(self, *records: Record) -> "HostState":
        """This state less whatever stands under the keys of these records. Other tables are the very same objects."""
        tables: dict[type[Record], dict[Key, Record]] = {}
        for record in records:
            kind = type(record)
            if kind not in tables:
                tables[kind] = dict(self._tables.get(kind, _EMPTY))
            tables[kind].pop(record.key, None)
        return HostState({**self._tables, **tables}) if tables else self


def _same_or_raise(present: Mapping[Key, Record], more: Mapping[Key, Record]) -> None:
    for key in present.keys() & more.keys():
        if present[key] != more[key]:
            raise ConflictError(f"{type(more[key]).__name__} {key}: {present[key]} and {more[key]}")


class Delta(msgspec.Struct, frozen=True):
    """What turns one state into another, for one record type."""

    kind: type[Record]
    added: tuple[Record, ...]
    removed: tuple[Record, ...]
    changed: tuple[tuple[Record, Record], ...]


def diff(before: HostState, after: HostState, kinds: Iterable[type[Record]] = WANTED) -> tuple[Delta, ...]:
    """The differences type by type; types without any are left out. ``changed`` are (before, after) pairs under one key."""
    found: list[Delta] = []
    for kind in kinds:
        old, new = before.table(kind), after.table(kind)
        if old is new or old == new:
            continue  # equal tables, above all those of the same objects, are compared in C
        added = tuple(record for key, record in new.items() if key not in old)
        removed = tuple(record for key, record in old.items() if key not in new)
        changed = tuple((old[key], record) for key, record in new.items() if key in old and old[key] != record)
        if added or removed or changed:
            found.append(Delta(kind=kind, added=added, removed=removed, changed=changed))
    return tuple(found)


def to_builtins(state: HostState) -> dict[str, list[Any]]:
    """JSON-ready: record type name -> list of records."""
    by_name: dict[str, list[Any]] = {}
    for record in state:
        by_name.setdefault(type(record).__name__, []).append(msgspec.to_builtins(record))
    return by_name


def encode(state: HostState) -> bytes:
    """The state as MessagePack, for the way between two processes."""
    by_name: dict[str, list[Record]] = {}
    for record in state:
        by_name.setdefault(type(record).__name__, []).append(record)
    return msgspec.msgpack.encode(by_name)


_RAW = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])


def decode(data: bytes) -> HostState:
    """The inverse of :func:`encode`. Raises msgspec.DecodeError or ValidationError on foreign bytes."""
    tables: dict[type[Record], dict[Key, Record]] = {}
    for name, raw in _RAW.decode(data).items():
        kind = _BY_NAME[name]
        records: list[Record] = msgspec.msgpack.decode(raw, type=list[kind])  # type: ignore[valid-type]
        tables[kind] = {record.key: record for record in records}
    return HostState(tables)
