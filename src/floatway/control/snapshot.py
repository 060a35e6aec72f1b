"""The cloud as of one revision: immutable tables with indexes.

A new model shares all but the changed paths with the old one (hash array mapped tries), so that a revision costs
microseconds, and whoever holds a model holds a consistent snapshot for as long as they like.

    Model N ──put(port)──▶ Model N'        both readable, tables and indexes shared but for one port
"""

from collections.abc import Hashable, Iterable, Iterator, Sized
from typing import Any, Protocol, TypeVar, cast

import msgspec
from immutables import Map

from floatway.control.entities import KINDS, Entity
from floatway.control.errors import not_found
from floatway.control.indexes import INDEXES

__all__ = ["EMPTY", "Model", "Readable", "built"]

E = TypeVar("E", bound=Entity)
Table = Map[str, Entity]
Bucket = Map[str, None]
_NO_BUCKET: Bucket = Map()


class Model(msgspec.Struct, frozen=True):
    """All entities at ``revision``. Found by id or through an index of ``control.indexes``."""

    tables: Map[str, Table]
    indexes: Map[tuple[str, str], Map[Hashable, Bucket]]
    revision: int = 0

    def get(self, kind: type[E], id_: str) -> E | None:
        """The entity, or None."""
        return cast("E | None", self.tables[kind.KIND].get(id_))

    def need(self, kind: type[E], id_: str) -> E:
        """The entity.

        Raises:
            ApiError: 404, in the noun's own words.
        """
        entity = self.tables[kind.KIND].get(id_)
        if entity is None:
            raise not_found(kind.KIND, id_)
        return cast("E", entity)

    def all(self, kind: type[E]) -> Iterator[E]:
        """Every entity of a kind, in no order."""
        return cast("Iterator[E]", iter(self.tables[kind.KIND].values()))

    def count(self, kind: type[Entity]) -> int:
        """How many there are of a kind."""
        return len(self.tables[kind.KIND])

    def bucket(self, kind: type[Entity], index: str, key: Hashable) -> Bucket:
        """The ids found under ``key``: the same object for as long as nothing was added or taken away."""
        return self.indexes[kind.KIND, index].get(key, _NO_BUCKET)

    def find(self, kind: type[E], index: str, key: Hashable) -> list[E]:
        """The entities under ``key``, oldest first."""
        table = self.tables[kind.KIND]
        found = cast("list[E]", [table[id_] for id_ in self.bucket(kind, index, key)])
        if len(found) > 1:
            found.sort(key=_sequence)
        return found

    def has(self, kind: type[Entity], index: str, key: Hashable) -> bool:
        """Whether anything is under ``key``."""
        return key in self.indexes[kind.KIND, index]

    def put(self, entity: Entity) -> "Model":
        """With ``entity`` in place of what had its id."""
        kind = entity.KIND
        table = self.tables[kind]
        old = table.get(entity.id)
        return Model(
            self.tables.set(kind, table.set(entity.id, entity)),
            _reindex(self.indexes, type(entity), old, entity),
            self.revision,
        )

    def remove(self, entity: Entity) -> "Model":
        """Without the entity of that id."""
        kind = entity.KIND
        table = self.tables[kind]
        old = table[entity.id]
        return Model(
            self.tables.set(kind, table.delete(entity.id)),
            _reindex(self.indexes, type(entity), old, None),
            self.revision,
        )

    def at(self, revision: int) -> "Model":
        """The same entities under another revision."""
        return Model(self.tables, self.indexes, revision)


class Readable(Protocol):
    """What a rule may ask: a model, or a draft over one."""

    def get(self, kind: type[E], id_: str) -> E | None:
        """See ``Model.get``."""

    def need(self, kind: type[E], id_: str) -> E:
        """See ``Model.need``."""

    def all(self, kind: type[E]) -> Iterator[E]:
        """See ``Model.all``."""

    def find(self, kind: type[E], index: str, key: Hashable) -> list[E]:
        """See ``Model.find``."""

    def has(self, kind: type[Entity], index: str, key: Hashable) -> bool:
        """See ``Model.has``."""

    def bucket(self, kind: type[Entity], index: str, key: Hashable) -> Sized:
        """See ``Model.bucket``."""


def _sequence(entity: Entity) -> int:
    return entity.sequence


def _reindex(
    indexes: Map[tuple[str, str], Map[Hashable, Bucket]], kind: type[Entity], old: Entity | None, new: Entity | None
) -> Map[tuple[str, str], Map[Hashable, Bucket]]:
    for name, keys_of in INDEXES[kind].items():
        before: Iterable[Hashable] = keys_of(old) if old is not None else ()
        after: Iterable[Hashable] = keys_of(new) if new is not None else ()
        if before == after:
            continue
        where = (kind.KIND, name)
        index = indexes[where]
        id_ = cast("Any", new or old).id
        for key in before:
            if key not in after:
                bucket = index[key].delete(id_)
                index = index.set(key, bucket) if bucket else index.delete(key)
        for key in after:
            if key not in before:
                index = index.set(key, index.get(key, _NO_BUCKET).set(id_, None))
        indexes = indexes.set(where, index)
    return indexes


EMPTY = Model(
    Map({kind: Map() for kind in KINDS}),
    Map({(kind.KIND, name): Map() for kind, names in INDEXES.items() for name in names}),
)


def built(entities: Iterable[Entity], revision: int) -> Model:
    """A model of all these entities at once: what putting them one by one gives, sooner."""
    tables: dict[str, dict[str, Entity]] = {kind: {} for kind in KINDS}
    indexes: dict[tuple[str, str], dict[Hashable, dict[str, None]]] = {
        (kind.KIND, name): {} for kind, names in INDEXES.items() for name in names
    }
    for entity in entities:
        tables[entity.KIND][entity.id] = entity
    for kind, names in INDEXES.items():
        for name, keys_of in names.items():
            index = indexes[kind.KIND, name]
            for id_, entity in tables[kind.KIND].items():
                for key in keys_of(entity):
                    index.setdefault(key, {})[id_] = None
    return Model(
        Map({kind: Map(table) for kind, table in tables.items()}),
        Map({where: Map({key: Map(ids) for key, ids in index.items()}) for where, index in indexes.items()}),
        revision,
    )
