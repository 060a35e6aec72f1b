r"""A store as text, to keep, to look at, to move from one kind of store to another: JSON lines.

    {"floatway":"store","format":1,"revision":117}
    {"kind":"network","id":"8e1…","value":{"name":"test",…}}          one line per object, sorted by kind and id
    {"end":true,"objects":1}                                          so that a cut file is noticed

Values are the stored msgpack as JSON. Bytes inside them, which JSON does not have, become {"$bytes":"base64"}.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from floatway.store.base import Snapshot, StoreError

__all__ = ["dumped", "loaded"]

T = TypeVar("T")
_FORMAT = 1
_BYTES = "$bytes"


class _Header(msgspec.Struct):
    floatway: str
    format: int
    revision: int


class _Line(msgspec.Struct):
    kind: str = ""
    id: str = ""
    value: Any = None
    end: bool = False
    objects: int = 0


def dumped(snapshot: Snapshot) -> Iterator[bytes]:
    """The lines."""
    yield _line({"floatway": "store", "format": _FORMAT, "revision": snapshot.revision})
    count = 0
    for kind, id_, body in sorted(snapshot.objects):
        count += 1
        yield _line({"kind": kind, "id": id_, "value": _to_json(msgspec.msgpack.decode(body))})
    yield _line({"end": True, "objects": count})


def loaded(lines: Iterable[bytes], where: str) -> Snapshot:
    """The snapshot that the lines tell; ``where`` names them in errors. All of it is read and checked before anything is given.

    Raises:
        StoreError: it is no dump, a later format, cut short, or damaged.
    """
    numbered = enumerate(lines, 1)
    _, first = next(numbered, (1, b""))
    header = _decoded(first, _Header, f"{where}:1")
    if header.floatway != "store" or header.format != _FORMAT:
        raise StoreError(f"{where}:1: not a dump that this floatway reads (format {header.format}, known: {_FORMAT})")
    objects: dict[tuple[str, str], bytes] = {}
    end: _Line | None = None
    for number, text in numbered:
        line = _decoded(text, _Line, f"{where}:{number}")
        if end is not None:
            raise StoreError(f"{where}:{number}: there is more after the end")
        if line.end:
            end = line
        elif not line.kind or not line.id or (line.kind, line.id) in objects:
            raise StoreError(f"{where}:{number}: not an object, or one that was there before")
        else:
            objects[line.kind, line.id] = msgspec.msgpack.encode(_from_json(line.value, f"{where}:{number}"))
    if end is None or end.objects != len(objects):
        raise StoreError(f"{where}: cut short: its last line must count the {len(objects)} objects before it")
    return Snapshot(header.revision, [(kind, id_, body) for (kind, id_), body in objects.items()])


def _decoded(text: bytes, kind: type[T], where: str) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise StoreError(f"{where}: not a line of a dump: {error}") from error


def _line(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _to_json(value: Any) -> Any:
    match value:
        case bytes():
            return {_BYTES: base64.b64encode(value).decode()}
        case dict():
            return {key: _to_json(inner) for key, inner in value.items()}
        case list():
            return [_to_json(inner) for inner in value]
    return value


def _from_json(value: Any, where: str) -> Any:
    match value:
        case {"$bytes": str(text)} if len(value) == 1:
            try:
                return base64.b64decode(text, validate=True)
            except binascii.Error as error:
                raise StoreError(f"{where}: {error}") from error
        case dict():
            return {key: _from_json(inner, where) for key, inner in value.items()}
        case list():
            return [_from_json(inner, where) for inner in value]
    return value
