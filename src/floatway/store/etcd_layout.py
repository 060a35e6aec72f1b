"""What lies where in etcd, and how a log entry reads. No entry and no transaction grows with the number of servers or objects.

PREFIX/format              1
PREFIX/head                the newest revision; every commit's guard
PREFIX/first               the oldest revision that the log still gives
PREFIX/log/<last>          one commit: its id, first revision and changes; <last> is its last revision, 16 hex digits
PREFIX/stage/<last>/<id>/<n>      the changes of a commit too big for one request, written before it
PREFIX/snapshot            which revision the objects below are of, their id and how many pieces
PREFIX/objects/<id>/<n>    pieces of a snapshot: (kind, id, body), sorted
PREFIX/servers/<id>        one per running server, with its lease
PREFIX/readers/<id>        one per server that reads without asking: the newest revision that it has heard of
PREFIX/tidying             held, with a lease, by the server that rewrites the snapshot
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from floatway.store.base import Change, Commit, Damaged
from floatway.store.codec import frame, squeeze, unframe

__all__ = ["FORMAT", "Cutter", "Entry", "Keys", "Object", "Pointer", "decoded", "encoded", "merged", "objects_in"]
__all__ += ["pointer", "pointing"]

FORMAT = b"1"
PIECE = 1_000_000
"""Bytes of one value at most: etcd takes 1.5 MiB per request, keys and framing included."""

Object = tuple[str, str, bytes]
_ENCODER = msgspec.msgpack.Encoder()


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One commit. ``changes`` has an item for each revision; when staged, it is empty and in ``stage`` pieces elsewhere."""

    id: str
    first: int
    count: int
    stage: int
    changes: tuple[tuple[Change, ...], ...]

    @property
    def last(self) -> int:
        """Its last revision."""
        return self.first + self.count - 1

    def commits(self, after: int) -> Iterator[Commit]:
        """Its revisions after this one."""
        for revision, changes in enumerate(self.changes, self.first):
            if revision > after:
                yield Commit(revision, changes)


class Pointer(msgspec.Struct, frozen=True, array_like=True):
    """Which snapshot counts."""

    revision: int
    id: str
    pieces: int


_ENTRY = msgspec.msgpack.Decoder(Entry)
_CHANGES = msgspec.msgpack.Decoder(tuple[tuple[Change, ...], ...])
_POINTER = msgspec.msgpack.Decoder(Pointer)
_OBJECTS = msgspec.msgpack.Decoder(list[Object])


class Keys:
    """The names, below one prefix."""

    def __init__(self, prefix: str) -> None:
        """``prefix`` without a slash at its end."""
        self.prefix = prefix.encode()
        self.format = self.prefix + b"/format"
        self.head = self.prefix + b"/head"
        self.first = self.prefix + b"/first"
        self.snapshot = self.prefix + b"/snapshot"
        self.tidying = self.prefix + b"/tidying"
        self.log_begin = self.prefix + b"/log/"
        self.log_end = self.prefix + b"/log0"  # the character after the slash
        self.stage_begin = self.prefix + b"/stage/"
        self.servers = self.prefix + b"/servers/"
        self.readers = self.prefix + b"/readers/"

    def log(self, revision: int) -> bytes:
        """The entry that ends with this revision; entries that end before it are before this key."""
        return self.log_begin + b"%016x" % revision

    def stage(self, last: int, id_: str = "", piece: int | None = None) -> bytes:
        """A piece; without a number, where all pieces of the commit begin; without an id, of all commits that end there."""
        key = self.stage_begin + b"%016x/" % last
        if id_:
            key += b"%s/" % id_.encode()
        return key if piece is None else key + b"%06d" % piece

    def objects(self, id_: str, piece: int | None = None) -> bytes:
        """A piece of a snapshot; without a number, where all of it begins."""
        begin = self.prefix + b"/objects/%s/" % id_.encode()
        return begin if piece is None else begin + b"%06d" % piece


def encoded(entry: Entry) -> tuple[bytes, list[bytes]]:
    """What goes into the log, and into the stage when it is too much for the log."""
    whole = squeeze(_ENCODER.encode(entry))
    if len(whole) <= PIECE:
        return whole, []
    changes = squeeze(_ENCODER.encode(entry.changes))
    staged = [changes[at : at + PIECE] for at in range(0, len(changes), PIECE)]
    return frame(_ENCODER.encode(Entry(entry.id, entry.first, entry.count, len(staged), ()))), staged


def decoded(value: bytes, where: str, staged: bytes = b"") -> Entry:
    """An entry; when it has ``stage`` pieces, again with all of them together.

    Raises:
        Damaged: it is not what was stored.
    """
    try:
        entry = _ENTRY.decode(unframe(value, where))
        if entry.stage and staged:
            changes = _CHANGES.decode(unframe(staged, where))
            entry = Entry(entry.id, entry.first, entry.count, 0, changes)
    except msgspec.MsgspecError as error:
        raise Damaged(f"{where}: {error}") from error
    if not entry.stage and len(entry.changes) != entry.count:
        raise Damaged(f"{where}: {len(entry.changes)} revisions, not the {entry.count} that it tells")
    return entry


def pointer(value: bytes | None, where: str) -> Pointer:
    """Which snapshot counts; none yet is the empty one of revision 0."""
    if value is None:
        return Pointer(0, "", 0)
    try:
        return _POINTER.decode(unframe(value, where))
    except msgspec.MsgspecError as error:
        raise Damaged(f"{where}: {error}") from error


def pointing(to: Pointer) -> bytes:
    """The pointer as it is stored."""
    return frame(_ENCODER.encode(to))


def objects_in(piece: bytes, where: str) -> list[Object]:
    """The objects of a piece of a snapshot."""
    try:
        return _OBJECTS.decode(unframe(piece, where))
    except msgspec.MsgspecError as error:
        raise Damaged(f"{where}: {error}") from error


def merged(objects: Sequence[Object], changes: dict[tuple[str, str], bytes | None]) -> list[Object]:
    """The objects after the changes, sorted."""
    after: dict[tuple[str, str], bytes | None] = {(kind, id_): body for kind, id_, body in objects}
    after |= changes
    return [(kind, id_, body) for (kind, id_), body in sorted(after.items()) if body is not None]


def piece_of(objects: Sequence[Object]) -> bytes:
    """A piece of a snapshot."""
    return squeeze(_ENCODER.encode(objects))


class Cutter:
    """Cuts a stream of objects into pieces of PIECE bytes at most (before deflating; a single bigger object is a piece)."""

    def __init__(self) -> None:
        self._objects: list[Object] = []
        self._size = 0

    def add(self, objects: Iterable[Object]) -> Iterator[bytes]:
        """Take more; each piece that is full."""
        for one in objects:
            size = len(one[0]) + len(one[1]) + len(one[2]) + 16
            if self._objects and self._size + size > PIECE:
                yield piece_of(self._objects)
                self._objects, self._size = [], 0
            self._objects.append(one)
            self._size += size

    def rest(self) -> Iterator[bytes]:
        """What is left."""
        if self._objects:
            yield piece_of(self._objects)
            self._objects, self._size = [], 0
