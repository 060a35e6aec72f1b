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
Ref = tuple[type[Record], Key]
"""A record by its type and natural key."""

Trail = tuple[tuple[object, Mapping[Ref, None]], ...]
_GENERATIONS = 8
_MANY = 20_000
"""Records in which a state and a forebear differ, above which a look at everything is as good."""

_EMPTY: Mapping[Key, Record] = MappingProxyType({})
_NOTHING: Mapping[Ref, None] = MappingProxyType({})
_BY_NAME: dict[str, type[Record]] = {kind.__name__: kind for kind in (*WANTED, *WITNESS)}


class ConflictError(ValueError):
    """Two different records claim one key: a programming error in whoever made the second."""


class HostState:
    """An immutable set of records. Build with :meth:`of`; read with :meth:`table`, :meth:`get`.

    A state made from another one by a few changes remembers where they differ, for a few generations (``_trail``: the marks of
    its forebears, each with the names of all records that may be others there): :func:`apart` answers without a look at the rest.
    """

    __slots__ = ("_mark", "_tables", "_trail")

    def __init__(self, tables: Mapping[type[Record], Mapping[Key, Record]], trail: Trail = ()) -> None:
        self._tables = tables
        self._mark = object()
        self._trail = trail

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
        refs = apart(self, other)
        if refs is not None:
            return all(self.get(kind, *key) == other.get(kind, *key) for kind, key in refs)
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
        """This state with these records put in place of those under the same keys."""
        return self.changed({(type(record), record.key): record for record in records})

    def without(self, *records: Record) -> "HostState":
        """This state less whatever stands under the keys of these records."""
        return self.changed({(type(record), record.key): None for record in records})

    def changed(self, put: Mapping[Ref, Record | None]) -> "HostState":
        """This state with what is named put in place (None: taken away)."""
        if not put:
            return self
        tables: dict[type[Record], Mapping[Key, Record]] = dict(self._tables)
        new: dict[type[Record], dict[Key, Record]] = {}
        for (kind, key), record in put.items():
            table = new.get(kind)
            if table is None:
                old = tables.get(kind, _EMPTY)
                tables[kind] = table = new[kind] = old.copy() if isinstance(old, dict) else dict(old)
            if record is None:
                table.pop(key, None)
            else:
                table[key] = record
        moved = dict.fromkeys(put)
        trail = [(self._mark, moved)]
        for mark, earlier in self._trail[: _GENERATIONS - 1]:
            if len(earlier) + len(moved) > _MANY:
                break
            trail.append((mark, {**earlier, **moved}))
        return HostState(tables, tuple(trail))


def apart(one: HostState, other: HostState) -> Mapping[Ref, None] | None:
    """The names of the records in which these can differ, if they are known to descend from one state not long ago, else None. Under
    all other names both have the same."""
    if one is other:
        return {}
    forebears = {one._mark: _NOTHING, **dict(one._trail)}
    for mark, moved in ((other._mark, _NOTHING), *other._trail):
        known = forebears.get(mark)
        if known is not None:
            return {**known, **moved} if known else moved
    return None


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
    refs = apart(before, after)
    if refs is not None:
        return tuple(_diff_of(before, after, kinds, refs))
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


def _diff_of(
    before: HostState, after: HostState, kinds: Iterable[type[Record]], refs: Iterable[Ref]
) -> Iterator[Delta]:
    """The same, where only these can differ."""
    keys: dict[type[Record], list[Key]] = {}
    for kind, key in refs:
        keys.setdefault(kind, []).append(key)
    for kind in kinds:
        old, new = before.table(kind), after.table(kind)
        pairs = [(old.get(key), new.get(key)) for key in keys.get(kind, ())]
        added = tuple(now for was, now in pairs if was is None and now is not None)
        removed = tuple(was for was, now in pairs if was is not None and now is None)
        changed = tuple((was, now) for was, now in pairs if was is not None and now is not None and was != now)
        if added or removed or changed:
            yield Delta(kind=kind, added=added, removed=removed, changed=changed)


def differing(kind: type[R], one: HostState, other: HostState) -> list[R]:
    """The records of ``one`` that can be others in ``other``, or missing there; all of them when nothing better is known."""
    refs = apart(one, other)
    table = one.table(kind)
    if refs is None:
        return list(table.values())
    return [record for named, key in refs if named is kind and (record := table.get(key)) is not None]


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
