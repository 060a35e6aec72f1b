"""The IPv4 stack of one namespace: take a packet in, route it, translate it, hand it to the next device.

receive ──▶ PREROUTING ──▶ route ─┬─ local ──▶ INPUT ──▶ delivered
                                  └─ forward: TTL, MTU ──▶ FORWARD ──▶ POSTROUTING ──▶ neighbour ──▶ Sent
send    ──▶ route ──▶ OUTPUT ──▶ POSTROUTING ──▶ neighbour ──▶ Sent
"""

import msgspec

from floatway.trace import evidence, faults, neighbour, netfilter, routing
from floatway.trace.conntrack import UNTRACKED, Tracked, tuple_of
from floatway.trace.course import Branch, Context, Course, Node, Place, Sent, Stopped
from floatway.trace.index import Index
from floatway.trace.matches import Sight
from floatway.trace.result import Change, Disposition, Evidence, Step, StepKind
from floatway.trace.routing import Found

SMALLEST_MTU = 68
MAIN = 254
DEFAULT_ROUTE = "0.0.0.0"  # noqa: S104 - an address that only a default route holds


class _Visit:
    """One packet's stay in one namespace: the steps gathered until it leaves."""

    def __init__(self, ctx: Context, host: str, netns: str, ingress: str, course: Course) -> None:
        self.ctx, self.host, self.netns, self.ingress, self.course = ctx, host, netns, ingress, course
        self.known: Index = ctx.index(host)
        self.machine = ctx.machine(host)
        self.steps: list[Step] = []
        self.tracked: Tracked = UNTRACKED
        own = self.machine.role in ("instance", "outside")
        self.node = host if own or not netns else netns

    def say(self, kind: StepKind, text: str, proof: tuple[Evidence, ...] = (), code: str = "") -> None:
        self.steps.append(Step(kind, text, proof, code=code))

    def leave(self, egress: str) -> Course:
        """The course with this stay as its last hop."""
        node = Node(self.host, self.netns, self.node, self.ingress)
        return self.course.through(node, egress, tuple(self.steps), self.course.packet)

    def end(self, stopped: Stopped) -> Branch:
        """The packet goes no further."""
        if not self.steps or self.steps[-1].kind not in (StepKind.DROP, StepKind.DELIVER):
            self.steps.append(Step(StepKind.DROP, stopped.reason, stopped.evidence, code=stopped.code))
        return Branch(self.leave(""), stopped)

    def hook(self, name: str, egress: str = "") -> Stopped | None:
        """Through the iptables of a hook."""
        sight = Sight(
            index=self.known, host=self.host, netns=self.netns, packet=self.course.packet,
            in_device=self.ingress if name != "OUTPUT" else "", out_device=egress, tracked=self.tracked,
        )  # fmt: skip
        place = Place(self.host, self.netns, egress or self.ingress)
        passed = netfilter.hook(self.ctx, name, self.course, place, sight)
        self.course, self.tracked = passed.course, passed.tracked
        self.steps += passed.steps
        return passed.stopped

    def route(self, iif: str) -> Found:
        """Look the destination up and say so."""
        packet = self.course.packet
        found = routing.lookup(self.known, self.netns, packet.dst, packet.src, iif)
        if found.route is not None and not found.local:
            code = faults.of_redirect(self.known, self.netns, packet, found)
            if found.evidence and found.rule is not None and found.rule.src + found.rule.iif != "all":
                rule = f"{'iif ' + found.rule.iif if found.rule.iif else 'from ' + found.rule.src}"
                lacking = (
                    evidence.main_table(self.known, self.netns)
                    if any(one.table == MAIN for one in found.looked)
                    else None
                )
                proof = (*([lacking] if lacking else []), *found.evidence[:1])
                text = f"{'main leads nowhere; ' if lacking else ''}rule {found.rule.priority}, {rule}: table {found.rule.table}"
                self.say(StepKind.POLICY, text, proof, code)
            route = found.route
            hop = f"via {route.via} " if route.via else ""
            kind = f"{route.type} " if route.type != "unicast" else ""
            self.say(StepKind.ROUTE, f"{packet.dst} goes {kind}{hop}by {route.dev or 'nothing'}", found.evidence[-1:])
            self._otherwise(iif, found)
        return found

    def _otherwise(self, iif: str, found: Found) -> None:
        """The rule that is there for what comes in by this device, when the main table was quicker."""
        if found.rule is None or found.rule.table != MAIN:
            return
        for rule in self.known.rules_of(self.netns):
            if rule.iif == iif and rule.priority > found.rule.priority:
                rest = routing.longest(self.known, self.netns, rule.table, DEFAULT_ROUTE)
                proof = (evidence.rule(rule), *((evidence.route(rest),) if rest else ()))
                self.say(StepKind.POLICY, f"what main does not know follows rule {rule.priority}, iif {iif}", proof)

    def refused(self, found: Found) -> Stopped | None:
        """A lookup that leads nowhere."""
        packet = self.course.packet
        where = Place(self.host, self.netns, self.ingress)
        if found.local:
            return None
        if found.route is None:
            code, text = faults.of_no_route(self.known, self.netns, packet, self.ingress, found)
            reason = f"{self.node}: no route to {packet.dst}" + (f"; {text}" if text else "")
            proof = [evidence.absent(self.netns, "route -n | grep '^0.0.0.0'")]
            proof += [
                evidence.absent(self.netns, f"ip route ls table {rule.table}")
                for rule in found.looked
                if rule.table not in evidence.TABLES
            ]
            return Stopped(
                Disposition.NO_ROUTE, reason, tuple(proof), code, where, faults.repair(code, packet, self.ingress)
            )
        if found.route.type in routing.REFUSED:
            reason = f"{self.node}: the route to {packet.dst} is of type {found.route.type}"
            return Stopped(Disposition.UNREACHABLE_ROUTE, reason, found.evidence, heading=where)
        if found.route.type not in ("unicast", "local"):
            return Stopped(
                Disposition.NO_ROUTE,
                f"{self.node}: {packet.dst} is a {found.route.type} address",
                found.evidence,
                heading=where,
            )
        return None

    def fits(self, found: Found) -> Stopped | None:
        """Does the packet fit the way out? Fragmented where that is allowed (RFC 791)."""
        route = found.route
        link = self.known.link(self.netns, route.dev) if route is not None else None
        packet = self.course.packet
        if link is None or route is None:
            return None
        mtu, proof, what = link.mtu, evidence.link(link), link.name
        if 0 < route.mtu_lock < mtu:
            mtu, proof, what = route.mtu_lock, evidence.route_as_ip(route), f"the route to {route.prefix}"
        if mtu < SMALLEST_MTU or packet.length <= mtu:
            return None
        if packet.df:
            reason = (
                f"{self.node}: {packet.length} bytes do not fit {what}, whose MTU is {mtu}, and must not be fragmented"
            )
            place = Place(self.host, self.netns, link.name)
            return Stopped(
                Disposition.MTU_EXCEEDED,
                reason,
                (proof,),
                "MTU_OVERLAY",
                place,
                faults.repair("MTU_OVERLAY", packet),
            )
        self.say(StepKind.ROUTE, f"cut into fragments of at most {mtu} bytes for {what}", (proof,))
        self.course = msgspec.structs.replace(self.course, packet=msgspec.structs.replace(packet, length=mtu))
        return None

    def hand_over(self, found: Found) -> Sent | Branch:
        """Find the next hop's MAC and put the frame on the device."""
        route = found.route
        if route is None:
            return self.end(Stopped(Disposition.UNKNOWN_STATE, f"{self.node}: a route without a device"))
        place = Place(self.host, self.netns, route.dev)
        link = self.known.link(self.netns, route.dev)
        if link is None:
            return self.end(
                Stopped(Disposition.NO_ROUTE, f"{self.node}: there is no device {route.dev!r}", heading=place)
            )
        packet = self.course.packet
        via = route.via or packet.dst
        spa = (
            packet.src
            if (self.netns, packet.src) in self.known.local
            else routing.source(self.known, self.netns, found, via)
        )
        resolved = neighbour.resolve(self.ctx, place, via, spa)
        if isinstance(resolved, Stopped):
            return self.end(resolved)
        framed = msgspec.structs.replace(packet, src_mac=link.mac, dst_mac=resolved.mac, vlan=None)
        changes = () if not packet.dst_mac else (
            *([Change("src_mac", packet.src_mac, link.mac)] if packet.src_mac != link.mac else []),
            *([Change("dst_mac", packet.dst_mac, resolved.mac)] if packet.dst_mac != resolved.mac else []),
        )  # fmt: skip
        first, *others = resolved.steps
        self.steps += [msgspec.structs.replace(first, changes=changes), *others]
        self.course = msgspec.structs.replace(self.course, packet=framed)
        return Sent(self.leave(route.dev), place)

    def delivered(self, device: str) -> Branch:
        """The namespace takes the packet for itself."""
        packet = self.course.packet
        own = self.known.local.get((self.netns, packet.dst))
        proof = (evidence.address(self.known, own),) if own is not None else ()
        guest = self.machine.role in ("instance", "outside")
        kind = Disposition.DELIVERED if guest else Disposition.ACCEPTED_BY_HOST
        text = f"{packet.dst} is an address of {self.node}: delivered"
        said = {one for step in self.steps for one in step.evidence}
        self.say(StepKind.DELIVER, text, tuple(one for one in proof if one not in said))
        return Branch(self.leave(""), Stopped(kind, text, proof, heading=Place(self.host, self.netns, device)))


def send(ctx: Context, host: str, netns: str, course: Course) -> Sent | Branch:
    """A packet made in the namespace. A source address of "" is chosen as the kernel does."""
    visit = _Visit(ctx, host, netns, "", course)
    packet = course.packet
    found = routing.lookup(visit.known, netns, packet.dst, packet.src, "lo")
    source = packet.src or routing.source(visit.known, netns, found, packet.dst)
    visit.course = msgspec.structs.replace(course, packet=msgspec.structs.replace(packet, src=source))
    own = visit.known.local.get((netns, source))
    proof = (*((evidence.netns(netns),) if netns else ()), *((evidence.address(visit.known, own),) if own else ()))
    what = "answers" if _is_answer(course) else "sends"
    visit.say(StepKind.SEND, f"{what} {describe(visit.course)}", proof)
    found = visit.route("lo")
    if (stopped := visit.refused(found)) is not None:
        return visit.end(stopped)
    device = found.device or (found.route.dev if found.route else "")
    visit.tracked = UNTRACKED
    if (stopped := visit.hook("OUTPUT", device)) is not None:
        return visit.end(stopped)
    if visit.course.packet.dst != packet.dst:
        found = visit.route("lo")
        if (stopped := visit.refused(found)) is not None:
            return visit.end(stopped)
    if found.local:
        visit.ingress = "lo"
        stopped = visit.hook("POSTROUTING", "lo") or visit.hook("INPUT")
        return visit.end(stopped) if stopped is not None else visit.delivered("lo")
    if (stopped := visit.fits(found)) is not None:
        return visit.end(stopped)
    if (stopped := visit.hook("POSTROUTING", found.route.dev if found.route else "")) is not None:
        return visit.end(stopped)
    return visit.hand_over(found)


def receive(ctx: Context, course: Course, place: Place) -> Sent | Branch:
    """A packet that came in by a device of the namespace."""
    visit = _Visit(ctx, place.host, place.netns, place.device, course)
    known, netns, device = visit.known, place.netns, place.device
    crumb = (place.host, netns, device, tuple_of(course.packet))
    if crumb in course.crumbs:
        return visit.end(
            Stopped(Disposition.LOOP, f"{visit.node}: the same packet came in by {device} before", heading=place)
        )
    visit.course = msgspec.structs.replace(course, crumbs=course.crumbs | {crumb})
    addresses = known.on_device(netns, device)
    proof = (
        *((evidence.netns(netns),) if netns else ()),
        *((evidence.address(known, addresses[0]),) if addresses else ()),
    )
    visit.say(StepKind.RECEIVE, f"comes in by {device}", proof)
    if (stopped := visit.hook("PREROUTING")) is not None:
        return visit.end(stopped)
    packet = visit.course.packet
    found = visit.route(device)
    if (stopped := visit.refused(found)) is not None:
        return visit.end(stopped)
    if (stopped := _martian(visit, place)) is not None:
        return visit.end(stopped)
    if found.local:
        stopped = visit.hook("INPUT")
        return visit.end(stopped) if stopped is not None else visit.delivered(device)
    if not known.forwards(netns, device):
        name = "net.ipv4.ip_forward"
        reason = f"{visit.node}: {packet.dst} is not its own, and it does not forward"
        shown = (evidence.sysctl(netns, name, known.sysctl(netns, name)),)
        return visit.end(
            Stopped(
                Disposition.NO_ROUTE, reason, shown, "IP_FORWARD_OFF", place, faults.repair("IP_FORWARD_OFF", packet)
            )
        )
    if packet.ttl <= 1:
        return visit.end(Stopped(Disposition.TTL_EXCEEDED, f"{visit.node}: its time to live is used up", heading=place))
    if (stopped := visit.fits(found)) is not None:
        return visit.end(stopped)
    packet = visit.course.packet
    visit.course = msgspec.structs.replace(visit.course, packet=msgspec.structs.replace(packet, ttl=packet.ttl - 1))
    egress = found.route.dev if found.route else ""
    stopped = visit.hook("FORWARD", egress) or visit.hook("POSTROUTING", egress)
    if stopped is not None:
        return visit.end(stopped)
    if visit.course.packet.src == packet.src and (code := faults.of_source(known, netns, packet, egress)):
        visit.say(StepKind.NAT, f"no rule translates {packet.src}: it leaves with its fixed address", code=code)
    return visit.hand_over(found)


def _martian(visit: _Visit, place: Place) -> Stopped | None:
    """Sources that no packet on a wire may have (RFC 1812, 5.3.7), and reverse path filtering (RFC 3704)."""
    packet, known = visit.course.packet, visit.known
    if packet.src.startswith("127.") or (place.netns, packet.src) in known.local:
        reason = f"{visit.node}: {packet.src} is no source for a packet from outside (martian)"
        return Stopped(Disposition.NO_ROUTE, reason, heading=place)
    fails = routing.reverse_path_fails(known, place.netns, place.device, packet.src, packet.dst)
    if not fails:
        return None
    every, own = (f"net.ipv4.conf.{name}.rp_filter" for name in ("all", place.device))
    shown = tuple(
        evidence.sysctl(place.netns, name, known.sysctl(place.netns, name))
        for name in (every, own)
        if known.sysctl(place.netns, name) != "0"
    )
    reason = f"{visit.node}: rp_filter on {place.device} drops it: {fails}"
    return Stopped(
        Disposition.NO_ROUTE, reason, shown, "RP_FILTER", place, faults.repair("RP_FILTER", packet, place.device)
    )


def _is_answer(course: Course) -> bool:
    packet = course.packet
    return any(session.reply.src == packet.src and session.reply.dst == packet.dst for session in course.sessions) or (
        packet.proto == "icmp" and packet.icmp_type == 0
    )


def describe(course: Course) -> str:
    """The packet in a few words."""
    packet = course.packet
    if packet.proto == "icmp":
        what = {0: "an ICMP echo reply", 8: "an ICMP echo request"}.get(
            packet.icmp_type, f"ICMP type {packet.icmp_type}"
        )
        return f"{what}, {packet.length} bytes, from {packet.src} to {packet.dst}"
    return f"{packet.proto.upper()}, {packet.length} bytes, from {packet.src}:{packet.sport} to {packet.dst}:{packet.dport}"
