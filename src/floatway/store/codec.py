"""How bytes lie in a store: framed, so that a later format is told apart and a flipped bit is found.

    01 | crc32 of the rest, big-endian | payload

The payload of a log entry is msgpack of its changes, [[kind, id, body or nil], …]; of an object, the entity's own msgpack.
"""

import zlib
from collections.abc import Sequence

import msgspec

from floatway.store.base import Change, Damaged

__all__ = ["frame", "pack", "unframe", "unpack"]

_FORMAT = b"\x01"
_HEADER = 5
_ENCODER = msgspec.msgpack.Encoder()
_CHANGES = msgspec.msgpack.Decoder(tuple[Change, ...])


def frame(payload: bytes) -> bytes:
    """The payload with its format and checksum in front."""
    return _FORMAT + zlib.crc32(payload).to_bytes(4, "big") + payload


def unframe(framed: bytes, where: str) -> bytes:
    """The payload again. ``where`` names the record in the error.

    Raises:
        Damaged: it is not what was stored.
    """
    payload = framed[_HEADER:]
    if framed[:1] != _FORMAT:
        raise Damaged(f"{where}: not in a format that this floatway reads (first byte {framed[:1].hex() or 'missing'})")
    if framed[1:_HEADER] != zlib.crc32(payload).to_bytes(4, "big"):
        raise Damaged(f"{where}: damaged, its checksum does not fit")
    return payload


def pack(changes: Sequence[Change]) -> bytes:
    """A log entry."""
    return frame(_ENCODER.encode(changes))


def unpack(framed: bytes, where: str) -> tuple[Change, ...]:
    """The changes of a log entry.

    Raises:
        Damaged: it is not what was stored.
    """
    try:
        return _CHANGES.decode(unframe(framed, where))
    except msgspec.MsgspecError as error:
        raise Damaged(f"{where}: {error}") from error
