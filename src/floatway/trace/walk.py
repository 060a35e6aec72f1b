"""Follow a packet from its sender until it arrives or is lost, and its answer back.

send ──▶ [layer 2: carry] ──▶ receive ──▶ [carry] ──▶ receive … ──▶ delivered ══ answer, with the same connections ══▶
"""

import msgspec

from floatway.net.packet import ICMP_ECHO_REPLY, Packet, TcpFlags
from floatway.trace import faults, ip, layer2, repairs
from floatway.trace.course import Arrived, Branch, Context, Course, Place, Sent, Session, Stopped
from floatway.trace.question import TTL, Question, packet_of
from floatway.trace.result import ARRIVED, Disposition, Trace, Walk
from floatway.trace.world import World

HOPS = 128
HARMLESS = frozenset({"BR_NF_OFF", "DVR_ARP_MISSING", "SG_CHAIN_MISSING"})
"""Faults that let the packet through: noticed, but no reason for a loss."""


def walk(world: World, question: Question) -> Walk:
    """The packet's way there and, when it arrived, the answer's way back. Raises TraceError for names it does not know."""
    ctx = Context(world)
    sender, packet = packet_of(ctx, question)
    forward, course, place = _follow(ctx, sender.host, sender.netns, Course(packet))
    reply: Trace | None = None
    if forward.disposition in ARRIVED and place is not None:
        answer = Course(answer_to(course.packet, forward.packet.length), sessions=_settled(course.sessions))
        reply, _, _ = _follow(ctx, place.host, place.netns, answer)
        if not reply.code and reply.disposition not in ARRIVED:
            code, lost = noted(course)
            mend = repairs.filled(faults.repair(code, lost), ctx, forward.hops)
            reply = msgspec.structs.replace(reply, code=code, repair=mend)
        back = reply.hops[-1].host if reply.hops else ""
        if reply.disposition in ARRIVED and back != sender.host:
            reason = f"the answer went to {back}, not to {sender.host}"
            reply = msgspec.structs.replace(
                reply, disposition=Disposition.NO_ROUTE, reason=reason, code="ASYM_ROUTING_CT"
            )
    return Walk(source=question.source, target=question.target, forward=forward, reply=reply)


def answer_to(packet: Packet, length: int) -> Packet:
    """What the receiver sends back: the echo reply, the SYN-ACK, a datagram as long."""
    ports = (packet.sport, packet.sport) if packet.proto == "icmp" else (packet.dport, packet.sport)
    return Packet(
        src_mac="", dst_mac="", src=packet.dst, dst=packet.src, proto=packet.proto, sport=ports[0], dport=ports[1],
        icmp_type=ICMP_ECHO_REPLY, tcp_flags=TcpFlags.SYN_ACK, ttl=TTL, length=length, df=packet.df and packet.proto != "icmp",
    )  # fmt: skip


def _settled(sessions: tuple[Session, ...]) -> tuple[Session, ...]:
    return tuple(msgspec.structs.replace(session, new=False) for session in sessions)


def _follow(ctx: Context, host: str, netns: str, course: Course) -> tuple[Trace, Course, Place | None]:
    state: Sent | Branch = ip.send(ctx, host, netns, course)
    for _ in range(HOPS):
        if isinstance(state, Sent):
            state = layer2.carry(ctx, state)
        if isinstance(state.end, Arrived):
            state = ip.receive(ctx, state.course, state.end.place)
            continue
        break
    if isinstance(state, Sent) or not isinstance(state.end, Stopped):
        stopped = Stopped(Disposition.LOOP, f"no end after {HOPS} hops")
    else:
        stopped = state.end
    course = state.course
    first = course.hops[0].packet if course.hops else course.packet
    ok = stopped.disposition in ARRIVED
    code, packet = (stopped.code, course.packet) if stopped.code or ok else noted(course)
    mend = stopped.repair or ("" if ok else faults.repair(code, packet))
    trace = Trace(
        packet=first, hops=course.hops, disposition=stopped.disposition, reason=stopped.reason, evidence=stopped.evidence,
        code=code, repair=repairs.filled(mend, ctx, course.hops),
    )  # fmt: skip
    return trace, course, stopped.heading


def noted(course: Course) -> tuple[str, Packet]:
    """The first fault that a step noticed on the way, and the packet as it came there."""
    before = course.packet
    for hop in course.hops:
        for step in hop.steps:
            if step.code and step.code not in HARMLESS:
                return step.code, before
        before = hop.packet
    return "", course.packet
