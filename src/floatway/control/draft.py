"""A change in the making: a local builder over an immutable model.

    draft = Draft(model, settings)          reads see the draft's own writes
    port = ports.create(draft, caller, …)   rules call each other on the same draft
    draft.changes()                         what to commit; a draft that raised is thrown away

Revision numbers, ``updated_at`` and ``sequence`` are the draft's business, not the rules'.
"""

import datetime
import random
import uuid
from collections.abc import Hashable, Iterator
from typing import Final, TypeVar, cast

import msgspec

from floatway.control.entities import Entity, Standard
from floatway.control.errors import not_found
from floatway.control.settings import Settings
from floatway.control.snapshot import Bucket, Model

__all__ = ["Draft", "timestamp"]

E = TypeVar("E", bound=Entity)
_CHANCE: Final = random.Random()  # noqa: S311 - seeding one for each draft costs more than most rules


def timestamp(seconds: float) -> str:
    """As the API writes times: UTC to the second, ``2026-11-23T08:00:00Z``."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Draft:
    """Reads through to ``base`` and its own writes; ``now`` is the request's time."""

    def __init__(self, base: Model, settings: Settings, *, seconds: float = 0.0, seed: int | None = None) -> None:
        """``seconds`` since the epoch; ``seed`` makes ids, MACs and random addresses repeat (tests)."""
        self.base = base
        self.model = base
        self.settings = settings
        self.seconds = seconds
        self.now = timestamp(seconds)
        self.random = _CHANCE if seed is None else random.Random(seed)  # noqa: S311 - addresses and MACs, no secrets
        self._seeded = seed is not None
        self._changed: dict[tuple[str, str], Entity | None] = {}

    def new_id(self) -> str:
        """A fresh UUID (RFC 4122, version 4)."""
        if self._seeded:
            return str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        return str(uuid.uuid4())

    def get(self, kind: type[E], id_: str) -> E | None:
        """The entity, or None."""
        return cast("E | None", self.model.tables[kind.KIND].get(id_))

    def need(self, kind: type[E], id_: str) -> E:
        """The entity.

        Raises:
            ApiError: 404, in the noun's own words.
        """
        entity = self.model.tables[kind.KIND].get(id_)
        if entity is None:
            raise not_found(kind.KIND, id_)
        return cast("E", entity)

    def all(self, kind: type[E]) -> Iterator[E]:
        """Every entity of a kind, in no order."""
        return self.model.all(kind)

    def find(self, kind: type[E], index: str, key: Hashable) -> list[E]:
        """The entities under ``key`` of an index, oldest first."""
        return self.model.find(kind, index, key)

    def bucket(self, kind: type[Entity], index: str, key: Hashable) -> Bucket:
        """The ids under ``key`` of an index; ``len`` of it counts them."""
        return self.model.bucket(kind, index, key)

    def has(self, kind: type[Entity], index: str, key: Hashable) -> bool:
        """Whether anything is under ``key`` of an index."""
        return self.model.has(kind, index, key)

    def put(self, entity: E) -> E:
        """Store it. What existed and differs gets its next revision number, once in a draft. Returns what was stored."""
        return self._put(entity, touched=False)

    def touch(self, entity: E) -> E:
        """Give it its next revision number although nothing of its own changed: a dependent did."""
        return self._put(entity, touched=True)

    def remove(self, entity: Entity) -> None:
        """Delete it."""
        self.model = self.model.remove(entity)
        key = (entity.KIND, entity.id)
        if self.base.tables[entity.KIND].get(entity.id) is None:
            self._changed.pop(key, None)
        else:
            self._changed[key] = None

    def changes(self) -> tuple[tuple[str, str, Entity | None], ...]:
        """(kind, id, entity or None when deleted), in the order of first change."""
        return tuple((kind, id_, entity) for (kind, id_), entity in self._changed.items())

    def _put(self, entity: E, *, touched: bool) -> E:
        current = self.model.tables[entity.KIND].get(entity.id)
        if current == entity and not touched:
            return entity
        before = self.base.tables[entity.KIND].get(entity.id)
        if before is None:
            if current is None:
                entity = self._first(entity)
        elif isinstance(before, Standard):
            entity = msgspec.structs.replace(entity, revision_number=before.revision_number + 1, updated_at=self.now)
        self.model = self.model.put(entity)
        self._changed[entity.KIND, entity.id] = entity
        return entity

    def _first(self, entity: E) -> E:
        sequence = (self.base.revision + 1) << 20 | len(self._changed)
        if isinstance(entity, Standard):
            return cast(
                "E",
                msgspec.structs.replace(
                    entity,
                    sequence=sequence,
                    created_at=entity.created_at or self.now,
                    updated_at=entity.updated_at or self.now,
                ),
            )
        return msgspec.structs.replace(entity, sequence=sequence)
