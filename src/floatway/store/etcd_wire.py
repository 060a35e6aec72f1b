"""The part of etcd's v3 API that the store speaks, as the JSON of its gRPC gateway: bytes are base64, 64-bit numbers strings.

Names and meanings are etcd's (api/v3 rpc.proto). What is at its default is left out, on both sides.
"""

from collections.abc import Sequence

import msgspec

__all__ = ["Compare", "KeyValue", "Op", "RangeAnswer", "TxnAnswer", "Watched", "after", "txn"]


class _Message(msgspec.Struct, frozen=True, omit_defaults=True):
    pass


class Header(_Message, frozen=True):
    """Of every answer: the revision of all of etcd, which grows with every transaction of anybody."""

    revision: int = 0


class KeyValue(_Message, frozen=True):
    """A key and what it has."""

    key: bytes = b""
    value: bytes = b""
    mod_revision: int = 0


class Range(_Message, frozen=True):
    """Read a key, or those from ``key`` up to ``range_end``."""

    key: bytes
    range_end: bytes = b""
    limit: int = 0
    keys_only: bool = False


class RangeAnswer(_Message, frozen=True):
    """What was read; ``more`` when the limit cut it."""

    header: Header = Header()
    kvs: tuple[KeyValue, ...] = ()
    more: bool = False

    @property
    def value(self) -> bytes | None:
        """The only one's."""
        return self.kvs[0].value if self.kvs else None


class Put(_Message, frozen=True):
    """Write a key."""

    key: bytes
    value: bytes
    lease: int = 0


class Delete(_Message, frozen=True):
    """Remove a key, or those from ``key`` up to ``range_end``."""

    key: bytes
    range_end: bytes = b""


class Op(_Message, frozen=True):
    """One step of a transaction: one of these."""

    request_range: Range | None = None
    request_put: Put | None = None
    request_delete_range: Delete | None = None

    @classmethod
    def get(cls, key: bytes, range_end: bytes = b"", *, limit: int = 0) -> "Op":
        """A read."""
        return cls(request_range=Range(key, range_end, limit))

    @classmethod
    def put(cls, key: bytes, value: bytes, *, lease: int = 0) -> "Op":
        """A write."""
        return cls(request_put=Put(key, value, lease))

    @classmethod
    def delete(cls, key: bytes, range_end: bytes = b"") -> "Op":
        """A removal."""
        return cls(request_delete_range=Delete(key, range_end))


class Compare(_Message, frozen=True):
    """A condition of a transaction."""

    key: bytes
    target: str = "VERSION"
    value: bytes | None = None
    result: str = "EQUAL"

    @classmethod
    def absent(cls, key: bytes) -> "Compare":
        """There is no such key."""
        return cls(key)

    @classmethod
    def same(cls, key: bytes, value: bytes | None) -> "Compare":
        """It has this value, or is absent for None."""
        return cls(key) if value is None else cls(key, "VALUE", value)


class Txn(_Message, frozen=True):
    """If all of ``compare`` hold then all of ``success``, else all of ``failure``; at one moment."""

    compare: Sequence[Compare] = ()
    success: Sequence[Op] = ()
    failure: Sequence[Op] = ()


class OpAnswer(_Message, frozen=True):
    """What a step gave; only reads matter."""

    response_range: RangeAnswer = RangeAnswer()


class TxnAnswer(_Message, frozen=True):
    """``responses`` has an entry for each step of the branch that was taken."""

    header: Header = Header()
    succeeded: bool = False
    responses: tuple[OpAnswer, ...] = ()

    def read(self, step: int) -> RangeAnswer:
        """What a step of the branch read."""
        return self.responses[step].response_range


class WatchCreate(_Message, frozen=True):
    """Tell of each change from ``start_revision`` on."""

    key: bytes
    range_end: bytes
    start_revision: int
    filters: tuple[str, ...]
    fragment: bool


class Watch(_Message, frozen=True):
    """The first and only request of a watch."""

    create_request: WatchCreate


class Event(_Message, frozen=True):
    """A key was written, or with type DELETE removed."""

    type: str = "PUT"
    kv: KeyValue = KeyValue()


class WatchAnswer(_Message, frozen=True):
    """Some events, or the end: cancelled because the history is compacted, or for another reason."""

    canceled: bool = False
    events: tuple[Event, ...] = ()


class Watched(_Message, frozen=True):
    """A line of a watch's stream."""

    result: WatchAnswer | None = None


class Lease(_Message, frozen=True):
    """A lease: asked for with its TTL in seconds, named by its ID. A TTL of 0 in an answer: it has ended."""

    ID: int = 0
    TTL: int = 0


class LeaseKept(_Message, frozen=True):
    """The answer to a keep-alive."""

    result: Lease = Lease()


class Compaction(_Message, frozen=True):
    """Forget etcd's own history before a revision."""

    revision: int


class Credentials(_Message, frozen=True):
    """For authentication with a name and a password."""

    name: str
    password: str


class Token(_Message, frozen=True):
    """Goes with every later request."""

    token: str = ""


class Fault(_Message, frozen=True):
    """An error: gRPC's code and etcd's words."""

    code: int = 0
    message: str = ""
    error: str = ""


def txn(*compare: Compare, then: Sequence[Op] = (), otherwise: Sequence[Op] = ()) -> Txn:
    """A transaction."""
    return Txn(compare, then, otherwise)


def after(prefix: bytes) -> bytes:
    """The end of the range of all keys that begin with ``prefix`` (whose last byte is below 255)."""
    return prefix[:-1] + bytes([prefix[-1] + 1])
