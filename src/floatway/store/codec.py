"""How bytes lie in a store: framed, so that a later format is told apart and a flipped bit is found.

    01 | crc32 of the rest, big-endian | payload
    02 | crc32 of the rest, big-endian | payload, deflated

The payload of a log entry is msgpack of its changes, [[kind, id, body or nil], …]; of an object, the entity's own msgpack.
"""

import zlib
from collections.abc import Sequence

import msgspec

from floatway.store.base import Change, Damaged

__all__ = ["frame", "pack", "squeeze", "unframe", "unpack"]

_PLAIN, _DEFLATED = b"\x01", b"\x02"
_HEADER = 5
_WORTH_IT = 1024  # bytes; below, deflating costs more than it saves
_ENCODER = msgspec.msgpack.Encoder()
_CHANGES = msgspec.msgpack.Decoder(tuple[Change, ...])


def frame(payload: bytes) -> bytes:
    """The payload with its format and checksum in front."""
    return _PLAIN + zlib.crc32(payload).to_bytes(4, "big") + payload


def squeeze(payload: bytes) -> bytes:
    """The same, deflated when that is worth it: for what goes over a network to be kept three times."""
    if len(payload) < _WORTH_IT:
        return frame(payload)
    deflated = zlib.compress(payload, 1)
    return _DEFLATED + zlib.crc32(deflated).to_bytes(4, "big") + deflated


def unframe(framed: bytes, where: str) -> bytes:
    """The payload again. ``where`` names the record in the error.

    Raises:
        Damaged: it is not what was stored.
    """
    payload = framed[_HEADER:]
    if (way := framed[:1]) not in {_PLAIN, _DEFLATED}:
        raise Damaged(f"{where}: not in a format that this floatway reads (first byte {way.hex() or 'missing'})")
    if framed[1:_HEADER] != zlib.crc32(payload).to_bytes(4, "big"):
        raise Damaged(f"{where}: damaged, its checksum does not fit")
    return payload if way == _PLAIN else zlib.decompress(payload)


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
