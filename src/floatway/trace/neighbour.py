"""Whose MAC the next hop is: the neighbour table, or a question over the wire (ARP, RFC 826; proxy ARP, RFC 1027).

entry in `arp -a` ──▶ its MAC
none ──▶ who has 192.168.10.106? ══ every copy of the broadcast ══▶ fg-…: "not mine, but I route it": fg's MAC
"""

import msgspec

from floatway.net.packet import Arp, Packet, arp_request
from floatway.trace import evidence, faults, routing
from floatway.trace.course import Arrived, Context, Course, Place, Sent, Stopped
from floatway.trace.layer2 import Switching
from floatway.trace.result import Disposition, Step, StepKind

USABLE = frozenset({"PERMANENT", "REACHABLE", "STALE", "DELAY", "PROBE", "NOARP"})


class Resolved(msgspec.Struct, frozen=True):
    """The next hop's MAC, and how it is known."""

    mac: str
    steps: tuple[Step, ...]


class Answer(msgspec.Struct, frozen=True):
    """Who answered an ARP request."""

    mac: str
    place: Place | None = None
    proxy: bool = False


def resolve(ctx: Context, place: Place, address: str, source: str) -> Resolved | Stopped:
    """The MAC for ``address`` on the device; ``source`` is what the question would carry as its sender's address."""
    known = ctx.index(place.host)
    entry = known.neighbour(place.netns, place.device, address)
    if entry is not None and entry.mac and entry.state in USABLE:
        proof = [evidence.neighbour(entry)]
        twins = [
            other
            for other in known.neighbours_by_mac.get((place.netns, place.device, entry.mac), ())
            if other.address != address
        ]
        proof += [evidence.neighbour(other) for other in twins[:1]]
        step = Step(StepKind.NEIGHBOUR, f"{address} is at {entry.mac}", tuple(proof))
        return Resolved(entry.mac, (step, *_behind_proxy(ctx, entry.mac, address)))
    answer = ask(ctx, place, address, source)
    if answer is None:
        code, text, proof_of = faults.of_unanswered(ctx, place, address)
        reason = f"nobody answers for {address} on {place.device}" + (f": {text}" if text else "")
        shown = (evidence.neighbour(entry),) if entry is not None else ()
        packet = Packet(src_mac="", dst_mac="", src=source, dst=address)
        return Stopped(
            Disposition.NEIGHBOUR_UNKNOWN, reason, (*proof_of, *shown), code, place,
            faults.repair(code, packet, _fg(ctx, address) if code.startswith(("PROXY", "FG")) else place.device),
        )  # fmt: skip
    return Resolved(answer.mac, _told(ctx, place, address, answer))


def _told(ctx: Context, place: Place, address: str, answer: Answer) -> tuple[Step, ...]:
    if answer.place is None:
        return (Step(StepKind.NEIGHBOUR, f"asks who has {address}; a flow answers: {answer.mac}"),)
    who = _name(answer.place)
    code = "DVR_ARP_MISSING" if place.netns.startswith("qrouter-") and place.device.startswith("qr-") else ""
    own = ctx.index(answer.place.host).local.get((answer.place.netns, address))
    proof = (evidence.address(ctx.index(answer.place.host), own),) if own is not None else ()
    step = Step(StepKind.NEIGHBOUR, f"asks who has {address}; {who} answers: {answer.mac}", proof, code=code)
    return (step, *(_behind_proxy(ctx, answer.mac, address) if answer.proxy else ()))


def _name(place: Place) -> str:
    return f"{place.device} of {place.netns or place.host}"


def _fg(ctx: Context, address: str) -> str:
    for host, _, _ in faults.routers(ctx, address):
        for link in ctx.index(host).internal.values():
            if link.name.startswith("fg-"):
                return link.name
    return "DEVICE"


def _behind_proxy(ctx: Context, mac: str, address: str) -> tuple[Step, ...]:
    """A step of its own where the MAC's owner answers for an address that is not its."""
    for owner in ctx.owners(mac):
        known = ctx.index(owner.host)
        if known.local.get((owner.netns, address)) is not None or not known.conf(
            owner.netns, owner.device, "proxy_arp"
        ):
            continue
        name = f"net.ipv4.conf.{owner.device}.proxy_arp"
        found = routing.lookup(known, owner.netns, address, "", owner.device)
        proof = (evidence.sysctl(owner.netns, name, known.sysctl(owner.netns, name)), *found.evidence)
        text = f"proxy ARP: {_name(owner)} answers for {address}, which it routes to {found.route.dev if found.route else 'nowhere'}"
        return (Step(StepKind.PROXY_ARP, text, proof),)
    return ()


def ask(ctx: Context, place: Place, address: str, source: str) -> Answer | None:
    """Walk an ARP request over the wire and each answer back; the first that arrives counts."""
    link = ctx.index(place.host).link(place.netns, place.device)
    if link is None:
        return None
    question = Sent(Course(arp_request(link.mac, source, address)), place)
    for branch in Switching(ctx).transmit(question.course, question.place):
        end, arp = branch.end, branch.course.packet.arp
        if not isinstance(end, Arrived) or arp is None:
            continue
        if arp.op == 2:
            if end.place == place and arp.spa == address:
                return Answer(arp.sha)
            continue
        answer = answers(ctx, end.place, arp)
        if answer is not None and _comes_back(ctx, answer, end.place, place, arp):
            return answer
    return None


def answers(ctx: Context, place: Place, arp: Arp) -> Answer | None:
    """Does this device answer the question (arp_ignore, proxy_arp: ip-sysctl)?"""
    known = ctx.index(place.host)
    link = known.link(place.netns, place.device)
    if link is None or not link.mac:
        return None
    own = known.local.get((place.netns, arp.tpa))
    if own is not None:
        ignore = known.conf(place.netns, place.device, "arp_ignore")
        here = own.link == place.device
        if ignore == 0 or (ignore == 1 and here):
            return Answer(link.mac, place)
        near = bool(arp.spa) and known.connected(place.netns, place.device, arp.spa) is not None
        return Answer(link.mac, place) if ignore == 2 and here and near else None
    if not known.conf(place.netns, place.device, "proxy_arp") or not known.forwards(place.netns, place.device):
        return None
    found = routing.lookup(known, place.netns, arp.tpa, arp.spa, place.device)
    if found.route is None or found.route.type != "unicast" or found.route.dev == place.device:
        return None
    return Answer(link.mac, place, proxy=True)


def _comes_back(ctx: Context, answer: Answer, answering: Place, asking: Place, arp: Arp) -> bool:
    reply = Packet(
        src_mac=answer.mac,
        dst_mac=arp.sha,
        arp=Arp(op=2, spa=arp.tpa, tpa=arp.spa, sha=answer.mac, tha=arp.sha),
    )
    return any(
        isinstance(branch.end, Arrived) and branch.end.place == asking
        for branch in Switching(ctx).transmit(Course(reply), answering)
    )
