"""Entities as the bytes of their API documents, each encoded once for as long as it reads the same.

    (kind, id) ──▶ entity, what its document depends on ──▶ {hidden fields, fields asked for, shared: bytes}

An entry is good while the entity and everything in ``depends`` are the very same objects: the model is immutable, so
identity is equality, and no write has to think of what to forget.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from floatway.api.noun import Noun
from floatway.control.entities import Entity
from floatway.control.snapshot import Readable

__all__ = ["Documents", "Shape"]

_LIMIT: Final = 60_000
_ENCODER: Final = msgspec.json.Encoder(
    enc_hook=lambda value: sorted(value) if isinstance(value, set | frozenset) else str(value)
)


class Shape(msgspec.Struct, frozen=True):
    """Which attributes of a document a caller gets. ``fields`` empty means all that are not ``hidden``."""

    hidden: frozenset[str] = frozenset()
    fields: tuple[str, ...] = ()


class _Entry:
    __slots__ = ("depends", "entity", "texts")

    def __init__(self, entity: Entity, depends: tuple[object, ...]) -> None:
        self.entity = entity
        self.depends = depends
        self.texts: dict[tuple[Shape, bool | None], bytes] = {}


class Documents:
    """The documents of one server process."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], _Entry] = {}

    def text(self, noun: Noun, model: Readable, entity: Entity, shape: Shape, *, shared: bool | None = None) -> bytes:
        """The JSON of one entity. ``shared`` is the attribute of that name as the caller sees it; None: has none."""
        key = (entity.KIND, entity.id)
        now = noun.depends(model, entity) if noun.depends is not None else ()
        entry = self._entries.get(key)
        if entry is None or entry.entity is not entity or not _same(entry.depends, now):
            if len(self._entries) >= _LIMIT:
                self._entries.clear()
            entry = self._entries[key] = _Entry(entity, now)
        variant = (shape, shared)
        text = entry.texts.get(variant)
        if text is None:
            document = noun.present(model, entity)
            if shared is not None:
                document["shared"] = shared
            text = entry.texts[variant] = _ENCODER.encode(shaped(document, shape))
        return text


def _same(before: tuple[object, ...], now: tuple[object, ...]) -> bool:
    return len(before) == len(now) and all(a is b for a, b in zip(before, now, strict=True))


def shaped(document: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """Without what is hidden, and only the fields asked for."""
    names: Iterable[str] = shape.fields or document
    return {name: document[name] for name in names if name in document and name not in shape.hidden}


def encode(document: object) -> bytes:
    """Any document as JSON."""
    return _ENCODER.encode(document)
