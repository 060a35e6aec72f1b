"""Forget connections over netlink (ctnetlink): the table is read once for all that is to be forgotten, not once for each.

dump ─▶ those that a step means ─▶ one batch of deletions       as conntrack(8) -D does, which takes 20 ms a call

A rule removed from a group of 200 ports means 400 pairs of address and zone. To walk its table takes the kernel 10 ms, empty or not
(262,144 buckets with 16 GiB of memory): a look may begin while the rules still change, and what it saw is forgotten as soon as they
have. The walk after that is for the few that began meanwhile.
"""

import errno
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Final

from floatway.host.steps import ConntrackDelete
from floatway.linux import spawn
from floatway.linux.connection import HostConnection
from floatway.linux.netlink import Request, Socket, attr, attributes

__all__ = ["Seen", "forget", "look"]

_GET, _DELETE = (1 << 8) | 1, (1 << 8) | 2
_NFGENMSG = bytes((socket.AF_INET, 0, 0, 0))
_ORIGINAL, _REPLY, _ID, _ZONE = 1, 2, 12, 18
_IP, _SRC, _DST = 1, 1, 2
_U16 = struct.Struct("=H")
_BIG_U16 = struct.Struct(">H")
# the kernel writes a tuple's addresses first: nest | nest | attribute source | attribute destination
_TUPLE: Final = struct.Struct("=HH HH HH4s HH4s")
_NESTED = 0x8000
_PLACES: Final = {"orig-src": 0, "orig-dst": 1, "reply-src": 2, "reply-dst": 3}

Wanted = dict[bytes, set[tuple[int, int | None]]]
"""Address -> (its place among a connection's four, zone or None for any)."""


Seen = Future[list[tuple[int, bytes]]]
"""The connections of a namespace, as the kernel tells them."""


def look(conn: HostConnection, netns: str) -> Seen:
    """Begin to walk the table of a namespace. Its result must be waited for before :func:`forget` is called for that namespace."""
    return spawn.pool().submit(conn.handle(netns).conntrack.dump, _GET, _NFGENMSG)


def forget(conn: HostConnection, steps: Sequence[ConntrackDelete], seen: Seen | None = None) -> None:
    """Forget what these steps of one namespace mean, of what was ``seen`` first; what is not there need not be. Raises NetlinkError."""
    sock = conn.handle(steps[0].netns).conntrack
    wanted: Wanted = {}
    for step in steps:
        wanted.setdefault(socket.inet_aton(step.address), set()).add((_PLACES[step.direction], step.zone))
    if seen is not None:
        _delete(sock, _deletions(seen.result(), wanted))
    _delete(sock, _deletions(sock.dump(_GET, _NFGENMSG), wanted))


def _delete(sock: Socket, requests: Iterable[Request]) -> None:
    for error in sock.execute(list(requests)):
        if error is not None and error.errno != errno.ENOENT:  # it ended by itself meanwhile
            raise error


def _deletions(found: Iterable[tuple[int, bytes]], wanted: Wanted) -> Iterator[Request]:
    for _, body in found:
        ends = _ends(body)
        meant = [pair for place, end in enumerate(ends) for pair in wanted.get(end, ()) if pair[0] == place]
        if not meant:
            continue
        fields = attributes(body, 4)
        (zone,) = _BIG_U16.unpack(fields[_ZONE][:2]) if _ZONE in fields else (0,)
        if any(asked is None or asked == zone for _, asked in meant):
            parts = [attr(_ORIGINAL | _NESTED, fields[_ORIGINAL])]
            parts += [attr(kind, fields[kind]) for kind in (_ZONE, _ID) if kind in fields]
            yield Request(_DELETE, _NFGENMSG + b"".join(parts))


def _ends(body: bytes) -> tuple[bytes, ...]:
    """Source and destination of the original direction and of the reply's. Read where the kernel writes them, or else looked for."""
    try:
        kind, first, second = _pair(body, 4)
        if kind == _ORIGINAL:
            (length,) = _U16.unpack_from(body, 4)
            other, third, fourth = _pair(body, 4 + ((length + 3) & ~3))
            if other == _REPLY:
                return first, second, third, fourth
    except struct.error:
        pass
    fields = attributes(body, 4)
    tuples = (attributes(fields.get(kind, b"")) for kind in (_ORIGINAL, _REPLY))
    addresses = [attributes(one.get(_IP, b"")) for one in tuples]
    return tuple(one.get(end, b"") for one in addresses for end in (_SRC, _DST))


def _pair(body: bytes, at: int) -> tuple[int, bytes, bytes]:
    """The kind of the tuple there and its two addresses; kind 0 when it is written otherwise."""
    _, kind, _, inner, length, source_kind, source, _, destination_kind, destination = _TUPLE.unpack_from(body, at)
    regular = (inner & ~_NESTED, length, source_kind, destination_kind) == (_IP, 8, _SRC, _DST)
    return (kind & ~_NESTED if regular else 0), source, destination
