"""Forget connections over netlink (ctnetlink): the table is read once for all that is to be forgotten, not once for each.

/proc/net/nf_conntrack ─▶ those that a step means ─▶ one batch of deletions      0.3 ms, may miss one in a table that changes
ctnetlink dump         ─▶ the rest                ─▶ another                     10 ms, exact

A rule removed from a group of 200 ports means 400 pairs of address and zone; conntrack(8) -D takes 20 ms for each. A dump takes the
kernel 10 ms, empty or not, since it locks each of 262,144 buckets (with 16 GiB of memory); the file in /proc is written without a lock
(net/netfilter/nf_conntrack_standalone.c). So what is there is forgotten from the file, at once, and the dump makes sure. A long table is
not read that way: up to Linux 6.17 each page of the file begins by counting from the table's start. There a dump may begin while
the rules still change, and what it saw is forgotten as soon as they have.
"""

import errno
import re
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

from floatway.host.steps import ConntrackDelete
from floatway.linux import netns, spawn
from floatway.linux.connection import HostConnection, NetnsHandle
from floatway.linux.netlink import Request, Socket, attr, attributes, nest, u8

__all__ = ["Seen", "forget", "look"]

_GET, _DELETE = (1 << 8) | 1, (1 << 8) | 2
_NFGENMSG = bytes((socket.AF_INET, 0, 0, 0))
_ORIGINAL, _REPLY, _ID, _ZONE = 1, 2, 12, 18
_IP, _SRC, _DST = 1, 1, 2
_PROTO, _NUMBER, _SPORT, _DPORT, _ICMP_ID, _ICMP_TYPE, _ICMP_CODE = 2, 1, 2, 3, 4, 5, 6
_U16 = struct.Struct("=H")
_BIG_U16 = struct.Struct(">H")
# the kernel writes a tuple's addresses first: nest | nest | attribute source | attribute destination
_TUPLE: Final = struct.Struct("=HH HH HH4s HH4s")
_NESTED = 0x8000
_PLACES: Final = {"orig-src": 0, "orig-dst": 1, "reply-src": 2, "reply-dst": 3}

_FILE, _COUNT = Path("/proc/thread-self/net/nf_conntrack"), Path("/proc/sys/net/netfilter/nf_conntrack_count")
_SHORT: Final = 500
"""Connections in a table that is read as a file first."""
_LINE: Final = re.compile(
    r"ipv4 +2 (?:tcp|udp|icmp) +(?P<proto>\d+) .*?"
    r"src=(?P<src>\S+) dst=(?P<dst>\S+) (?:sport=(?P<sport>\d+) dport=(?P<dport>\d+)|type=(?P<type>\d+) code=(?P<code>\d+) id=(?P<id>\d+)) "
    r".*?src=(?P<reply_src>\S+) dst=(?P<reply_dst>\S+) .*?(?: zone=(?P<zone>\d+))? use=\d+"
)

Wanted = dict[bytes, set[tuple[int, int | None]]]
"""Address -> (its place among a connection's four, zone or None for any)."""


Seen = Future[list[tuple[int, bytes]]]
"""The connections of a namespace, as the kernel tells them."""


def look(conn: HostConnection, space: str) -> Seen | None:
    """Begin to walk a long table of a namespace; a short one is walked in no time when it is asked for. The result must be waited for
    before :func:`forget` is called for that namespace."""
    handle = conn.handle(space)
    if _is_short(handle):
        return None
    return spawn.pool().submit(handle.conntrack.dump, _GET, _NFGENMSG)


def forget(conn: HostConnection, steps: Sequence[ConntrackDelete], seen: Seen | None = None) -> None:
    """Forget what these steps of one namespace mean, of what was ``seen`` first; what is not there need not be. Raises NetlinkError."""
    handle = conn.handle(steps[0].netns)
    wanted: Wanted = {}
    for step in steps:
        wanted.setdefault(socket.inet_aton(step.address), set()).add((_PLACES[step.direction], step.zone))
    if seen is not None:
        _delete(handle.conntrack, _deletions(seen.result(), wanted))
    elif _is_short(handle):
        _delete(handle.conntrack, _of_lines(_lines(handle), wanted))
    _delete(handle.conntrack, _deletions(handle.conntrack.dump(_GET, _NFGENMSG), wanted))


def _is_short(handle: NetnsHandle) -> bool:
    try:
        with netns.inside(handle.fd):
            return int(_COUNT.read_text()) <= _SHORT and _FILE.exists()
    except (OSError, ValueError):
        return False  # no module yet, or a kernel without CONFIG_NF_CONNTRACK_PROCFS


def _lines(handle: NetnsHandle) -> list[str]:
    try:
        with netns.inside(handle.fd):
            return _FILE.read_text().splitlines()
    except OSError:
        return []


def _of_lines(lines: Iterable[str], wanted: Wanted) -> Iterator[Request]:
    """The deletions among TCP, UDP and ICMP as the file shows them; the dump finds what else there is."""
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        src, dst = socket.inet_aton(found["src"]), socket.inet_aton(found["dst"])
        ends = (src, dst, socket.inet_aton(found["reply_src"]), socket.inet_aton(found["reply_dst"]))
        zone = int(found["zone"] or 0)
        if not _is_meant(ends, zone, wanted):
            continue
        proto = u8(_NUMBER, int(found["proto"]))
        if found["sport"]:
            proto += _port(_SPORT, found["sport"]) + _port(_DPORT, found["dport"])
        else:
            proto += (
                u8(_ICMP_TYPE, int(found["type"])) + u8(_ICMP_CODE, int(found["code"])) + _port(_ICMP_ID, found["id"])
            )
        original = nest(_ORIGINAL, nest(_IP, attr(_SRC, src), attr(_DST, dst)), nest(_PROTO, proto))
        yield Request(_DELETE, _NFGENMSG + original + (attr(_ZONE, _BIG_U16.pack(zone)) if zone else b""))


def _port(kind: int, number: str) -> bytes:
    return attr(kind, _BIG_U16.pack(int(number)))


def _delete(sock: Socket, requests: Iterable[Request]) -> None:
    for error in sock.execute(list(requests)):
        if error is not None and error.errno != errno.ENOENT:  # it ended by itself meanwhile
            raise error


def _deletions(found: Iterable[tuple[int, bytes]], wanted: Wanted) -> Iterator[Request]:
    for _, body in found:
        ends = _ends(body)
        if not any(end in wanted for end in ends):
            continue
        fields = attributes(body, 4)
        (zone,) = _BIG_U16.unpack(fields[_ZONE][:2]) if _ZONE in fields else (0,)
        if _is_meant(ends, zone, wanted):
            parts = [attr(_ORIGINAL | _NESTED, fields[_ORIGINAL])]
            parts += [attr(kind, fields[kind]) for kind in (_ZONE, _ID) if kind in fields]
            yield Request(_DELETE, _NFGENMSG + b"".join(parts))


def _is_meant(ends: tuple[bytes, ...], zone: int, wanted: Wanted) -> bool:
    """Does a step name one of a connection's four addresses at its place, in its zone?"""
    return any(
        asked is None or asked == zone
        for place, end in enumerate(ends)
        for where, asked in wanted.get(end, ())
        if where == place
    )


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
