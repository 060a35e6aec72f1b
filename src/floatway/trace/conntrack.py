"""Connection tracking: which connection a packet belongs to, and what NAT must do to it because of that.

original  172.12.10.4 -> 192.168.0.1          what the first packet said
reply     192.168.0.1 -> 192.168.10.106       what the answer will say: the difference is the NAT
"""

from typing import Literal

import msgspec

from floatway.host.records import Connection, Tuple5
from floatway.net.packet import ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, Packet, TcpFlags
from floatway.trace.course import Course, Session
from floatway.trace.index import Index

State = Literal["NEW", "ESTABLISHED", "INVALID", "UNTRACKED"]
_ECHO = {ICMP_ECHO_REQUEST: ICMP_ECHO_REPLY, ICMP_ECHO_REPLY: ICMP_ECHO_REQUEST}


class Tracked(msgspec.Struct, frozen=True):
    """What conntrack says of a packet in one namespace: its state, its connection, and which direction it is."""

    state: State
    session: Session | None = None
    reply: bool = False

    @property
    def dnat(self) -> bool:
        """ctstate DNAT: is the connection's destination translated?"""
        one = self.session
        return one is not None and (one.original.dst, _port(one.original.dport, one)) != (
            one.reply.src, _port(one.reply.sport, one)
        )  # fmt: skip

    @property
    def snat(self) -> bool:
        """ctstate SNAT: is the connection's source translated?"""
        one = self.session
        return one is not None and (one.original.src, _port(one.original.sport, one)) != (
            one.reply.dst, _port(one.reply.dport, one)
        )  # fmt: skip

    @property
    def states(self) -> frozenset[str]:
        """All words that ``--ctstate`` would match."""
        words = {self.state, *(["DNAT"] if self.dnat else []), *(["SNAT"] if self.snat else [])}
        return frozenset(words)


def _port(port: int, session: Session) -> int:
    return 0 if session.original.proto == "icmp" else port


UNTRACKED = Tracked("UNTRACKED")


def tuple_of(packet: Packet) -> Tuple5:
    """The packet's own direction as conntrack writes it."""
    if packet.proto == "icmp":
        return Tuple5("icmp", packet.src, packet.dst, packet.sport, packet.icmp_type * 256 + packet.icmp_code)
    return Tuple5(packet.proto, packet.src, packet.dst, packet.sport, packet.dport)


def inverse(one: Tuple5) -> Tuple5:
    """The direction of the answer."""
    if one.proto == "icmp":
        kind, code = divmod(one.dport, 256)
        return Tuple5("icmp", one.dst, one.src, one.sport, _ECHO.get(kind, kind) * 256 + code)
    return Tuple5(one.proto, one.dst, one.src, one.dport, one.sport)


def look_up(course: Course, known: Index, host: str, netns: str, zone: int) -> Tracked:
    """Find the packet's connection, first among those of this walk, then among the observed."""
    packet = course.packet
    mine = tuple_of(packet)
    for session in course.sessions:
        if (session.host, session.netns, session.zone) == (host, netns, zone):
            if session.original == mine:
                return Tracked("ESTABLISHED" if session.replied else "NEW", msgspec.structs.replace(session, new=False))
            if session.reply == mine:
                return Tracked("ESTABLISHED", msgspec.structs.replace(session, replied=True, new=False), reply=True)
    if (found := known.connections.get((netns, zone, mine))) is not None:
        return _observed(found, host)
    if (packet.proto == "icmp" and packet.icmp_type != ICMP_ECHO_REQUEST) or (
        packet.proto == "tcp" and packet.tcp_flags is TcpFlags.SYN_ACK
    ):
        return Tracked("INVALID")
    return Tracked("NEW", Session(host, netns, zone, mine, inverse(mine)))


def _observed(found: tuple[Connection, bool], host: str) -> Tracked:
    one, reply = found
    replied = reply or "UNREPLIED" not in one.flags
    session = Session(
        host, one.netns, one.zone, one.original, one.reply, replied=replied, mark=one.mark, new=False, observed=True
    )
    return Tracked("ESTABLISHED" if replied else "NEW", session, reply=reply)


def remember(course: Course, tracked: Tracked) -> Course:
    """Confirm the connection: the packet has left the namespace, or been taken by it."""
    if tracked.session is None:
        return course
    return course.with_session(msgspec.structs.replace(tracked.session, new=False))


def translated(packet: Packet, tracked: Tracked, *, source: bool) -> Packet:
    """The packet after its connection's NAT at one hook: the destination half before routing, the source half after it.

    In the answer's direction each half undoes the opposite translation.
    """
    session = tracked.session
    if session is None:
        return packet
    wanted = inverse(session.original if tracked.reply else session.reply)
    changes = {"src": wanted.src, "sport": wanted.sport} if source else {"dst": wanted.dst, "dport": wanted.dport}
    if packet.proto == "icmp":
        changes = {key: value for key, value in changes.items() if key in ("src", "dst")}
    if all(getattr(packet, key) == value for key, value in changes.items()):
        return packet
    return msgspec.structs.replace(packet, **changes)


def with_nat(tracked: Tracked, *, source: bool, address: str, port: int | None) -> Tracked:
    """The connection with its answer's direction set by SNAT (``source``) or DNAT to ``address`` (and ``port``)."""
    session = tracked.session
    if session is None:
        return tracked
    reply = session.reply
    if source:
        reply = msgspec.structs.replace(reply, dst=address)
        if port is not None and reply.proto != "icmp":
            reply = msgspec.structs.replace(reply, dport=port)
    else:
        reply = msgspec.structs.replace(reply, src=address)
        if port is not None and reply.proto != "icmp":
            reply = msgspec.structs.replace(reply, sport=port)
    return msgspec.structs.replace(tracked, session=msgspec.structs.replace(session, reply=reply))
