"""A frame from one stack to the next: veth, cable, Linux bridge, Open vSwitch, patch, tunnel.

transmit ──▶ veth peer │ far end of the cable │ bridge ──▶ receive ──▶ stack: Arrived or Ignored
                                                    └──▶ every copy of a flood is followed, one branch each
"""

import itertools

import msgspec

from floatway.host.records import Link, OvsBridge, OvsPort, Tuple5
from floatway.net.address import is_multicast_mac
from floatway.trace import bridge, evidence, faults, openflow, routing, topology
from floatway.trace.bridge import VLAN_TAG
from floatway.trace.conntrack import tuple_of
from floatway.trace.course import Arrived, Branch, Branches, Context, Course, Ignored, Node, Place, Sent, Stopped
from floatway.trace.index import Index
from floatway.trace.openflow import Output
from floatway.trace.result import Change, Disposition, Evidence, Hop, Step, StepKind

LIMIT = 4000
"""Copies of one frame that are followed: more means a storm."""
ANY_LENGTH = 65535
"""What an internal port of the userspace datapath takes: a tap's MTU binds only what the host sends (drivers/net/tun.c)."""
ENCAPSULATION = {"vxlan": 50, "geneve": 50, "gre": 42}
"""Bytes that a tunnel over IPv4 adds to the inner IP packet: outer IP, UDP and header, inner Ethernet."""


class Switching:
    """The way of one frame through layer 2, with the places where any copy of it has been."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.copies = 0

    def transmit(self, course: Course, place: Place) -> Branches:
        """The frame leaves by a device."""
        known = self.ctx.index(place.host)
        link = known.link(place.netns, place.device)
        if link is None or not link.up:
            yield Branch(course, _dead(place, link))
            return
        if 0 < link.mtu < course.packet.length:
            yield Branch(course, too_long(place, link, course))
            return
        port = known.port(place.device)
        if port is not None and port.type == "internal":
            yield from self.switch(course, place.host, port.bridge, port.name)
        elif not place.netns and known.state.get(OvsBridge, place.device) is not None:
            yield from self.switch(course, place.host, place.device, place.device)
        elif link.kind == "bridge":
            yield from bridge.forward(self, course, place, link, None)
        else:
            yield from self.beyond(course, place, link)

    def beyond(self, course: Course, place: Place, link: Link) -> Branches:
        """What is at the other end of a veth or a cable."""
        if link.peer:
            yield from self.receive(course, Place(place.host, link.peer_netns, link.peer))
            return
        ends = self.ctx.wired(place)
        if ends is None:
            text = f"{place.host}: {place.device} leads out of what is known"
            yield Branch(course, Stopped(Disposition.EXITS_NETWORK, text, (evidence.link(link),), heading=place))
        for end in ends or ():
            yield from self.receive(course, end)

    def receive(self, course: Course, place: Place, slack: int = VLAN_TAG) -> Branches:
        """The frame comes in by a device, which takes ``slack`` bytes more than its MTU."""
        self.copies += 1
        if self.copies > LIMIT:
            yield Branch(
                course, Stopped(Disposition.LOOP, f"a storm: more than {LIMIT} copies of one frame", heading=place)
            )
            return
        known = self.ctx.index(place.host)
        link = known.link(place.netns, place.device)
        if link is None or not link.up:
            yield Branch(course, _dead(place, link))
            return
        if 0 < link.mtu < course.packet.length - slack:
            yield Branch(course, too_long(place, link, course))
            return
        port = known.port(place.device)
        if link.master:
            master = known.link(place.netns, link.master)
            yield from bridge.forward(self, course, place, master, link)
        elif port is not None and port.type in ("", "system") and not place.netns:
            yield from self.switch(course, place.host, port.bridge, port.name)
        else:
            yield Branch(course, _stack(course, place, link))

    def switch(self, course: Course, host: str, name: str, port: str) -> Branches:
        """The frame comes into an Open vSwitch bridge."""
        crumb = (host, name, port, identity(course))
        place = Place(host, "", port)
        if crumb in course.crumbs:
            yield Branch(
                course, Stopped(Disposition.LOOP, f"{name}: the same frame came to {port} before", heading=place)
            )
            return
        self.copies += 1
        if self.copies > LIMIT:
            yield Branch(
                course, Stopped(Disposition.LOOP, f"a storm: more than {LIMIT} copies of one frame", heading=place)
            )
            return
        course = msgspec.structs.replace(course, crumbs=course.crumbs | {crumb})
        known = self.ctx.index(host)
        node = Node(host, "", name, port)
        decision = openflow.decide(known, name, port, course.packet)
        record = known.port(port)
        steps = (*_enters(known, record), *decision.steps)
        if decision.unknown:
            reason = f"{name}: {decision.unknown}"
            stop = Stopped(Disposition.UNKNOWN_STATE, reason, _last(decision), heading=place)
            yield Branch(_ended(course, node, steps, reason), stop)
            return
        if not decision.outputs:
            reason = f"{name}: {decision.reason}"
            match = decision.flow.match if decision.flow is not None else None
            code = faults.of_flow(match, record.tag if record else None, port)
            stop = Stopped(
                Disposition.DROPPED_BY_FLOW,
                reason,
                _last(decision),
                code,
                place,
                faults.repair(code, course.packet, port),
            )
            yield Branch(_ended(course, node, steps, reason, code), stop)
            return
        for output in decision.outputs:
            yield from self.output(course, node, steps, output)

    def output(self, course: Course, node: Node, steps: tuple[Step, ...], output: Output) -> Branches:
        """One copy leaves an Open vSwitch bridge by a port."""
        host, name = node.host, node.name
        known = self.ctx.index(host)
        record = known.port(output.port) if output.port != name else None
        changes = openflow.frame_changes(course.packet, output.packet)
        leaving = _leaves(known, record, output, name, changes)
        packet = output.packet
        if record is None and output.port != name:
            reason = f"{name}: there is no port {output.port}"
            stop = Stopped(Disposition.DROPPED_BY_FLOW, reason, heading=Place(host, "", output.port))
            yield Branch(_ended(course, node, (*steps, *output.steps), reason), stop)
            return
        after = course.through(node, output.port, (*steps, *output.steps, *leaving), packet)
        if record is not None and record.type == "patch":
            peer = dict(record.options).get("peer", "")
            other = known.port(peer)
            if other is None:
                reason = f"{name}: the patch port {output.port} has no peer {peer}"
                yield Branch(
                    after, Stopped(Disposition.DROPPED_BY_FLOW, reason, evidence.vsctl(known, record), "PHYSBR_MAPPING",
                                   repair=faults.repair("PHYSBR_MAPPING", packet))
                )  # fmt: skip
                return
            yield from self.switch(after, host, other.bridge, other.name)
        elif record is not None and record.type in ENCAPSULATION:
            yield from self.tunnel(after, host, record)
        elif record is None or record.type == "internal":
            device = known.internal.get(output.port)
            if device is None and record is None:
                yield Branch(after, Ignored(Place(host, "", name)))  # nobody uses the bridge's own device
                return
            where = Place(host, device.netns if device else "", output.port)
            datapath = known.state.get(OvsBridge, name)
            userspace = datapath is not None and datapath.datapath_type == "netdev"
            yield from self.receive(after, where, slack=ANY_LENGTH if userspace else 0)
        else:
            yield from self.leave(after, Place(host, "", output.port))

    def leave(self, course: Course, place: Place, slack: int = 0) -> Branches:
        """A switch puts the frame on a device of the host."""
        link = self.ctx.index(place.host).link(place.netns, place.device)
        if link is None or not link.up:
            yield Branch(course, _dead(place, link))
        elif 0 < link.mtu < course.packet.length - slack:
            yield Branch(course, too_long(place, link, course))
        else:
            yield from self.beyond(course, place, link)

    def tunnel(self, course: Course, host: str, port: OvsPort) -> Branches:
        """Through a tunnel to the host that has the remote address."""
        options = dict(port.options)
        remote = options.get("remote_ip", "")
        known = self.ctx.index(host)
        place = Place(host, "", port.name)
        underlay = routing.lookup(known, "", remote, options.get("local_ip", "")) if "." in remote else routing.Found()
        device = known.link("", underlay.device)
        needed = course.packet.length + ENCAPSULATION[port.type]
        if device is not None and 0 < device.mtu < needed and options.get("df_default", "true") == "true":
            reason = f"{needed} bytes with the tunnel's headers do not fit {device.name}, whose MTU is {device.mtu}"
            yield Branch(
                course, Stopped(Disposition.MTU_EXCEEDED, reason, (evidence.link(device),), "MTU_OVERLAY", place,
                                faults.repair("MTU_OVERLAY", course.packet))
            )  # fmt: skip
            return
        for far in self.ctx.home(remote):
            if far.host == host:
                continue
            there = self.ctx.index(far.host)
            for one in there.state.table(OvsPort).values():
                back = dict(one.options)
                if one.type == port.type and back.get("remote_ip") == options.get("local_ip"):
                    yield from self.switch(course, far.host, one.bridge, one.name)
                    return
            reason = f"{far.host} has no tunnel back to {options.get('local_ip', host)}"
            yield Branch(
                course, Stopped(Disposition.DROPPED_BY_FLOW, reason, evidence.vsctl(known, port), "TUNNEL_MISSING", far,
                                faults.repair("TUNNEL_MISSING", course.packet))
            )  # fmt: skip
            return
        reason = f"through the tunnel {port.name} to {remote}, a host that is not known here"
        yield Branch(course, Stopped(Disposition.EXITS_NETWORK, reason, evidence.vsctl(known, port), heading=place))


# --- which copy counts ------------------------------------------------------------------------------


def carry(ctx: Context, sent: Sent) -> Branch:
    """Follow a frame with one receiver: the copy that is accepted, else the one that failed on the way to the MAC's owner."""
    owners = ctx.owners(sent.course.packet.dst_mac)
    branches: list[Branch] = []
    for branch in Switching(ctx).transmit(sent.course, sent.place):
        if isinstance(branch.end, Arrived):
            return branch
        branches.append(branch)
    if len(branches) == 1 and isinstance(branches[0].end, Stopped):
        astray = branches[0].end.disposition is Disposition.EXITS_NETWORK and owners
        return _nobody(ctx, sent, branches) if astray else branches[0]
    stopped = [(branch, branch.end) for branch in branches if isinstance(branch.end, Stopped)]
    for branch, end in stopped:
        if end.heading is not None and owners and topology.leads_to(ctx, end.heading, owners):
            return branch
    for branch, end in stopped:
        if end.disposition is Disposition.MTU_EXCEEDED and end.heading is not None and owners:
            known = ctx.index(end.heading.host)
            port = known.port(end.heading.device)
            if port is not None and port.type in ENCAPSULATION and all(one.host != end.heading.host for one in owners):
                return branch
    leaving = [branch for branch, end in stopped if end.disposition is Disposition.EXITS_NETWORK]
    if leaving and not owners:
        return max(leaving, key=lambda branch: branch.course.hops[-1].node == "br-ex" if branch.course.hops else False)
    worst = [branch for branch, end in stopped if end.disposition in (Disposition.UNKNOWN_STATE, Disposition.LOOP)]
    if worst:
        return worst[0]
    return _nobody(ctx, sent, branches)


def _nobody(ctx: Context, sent: Sent, branches: list[Branch]) -> Branch:
    """No copy was taken: show the way up to where the copies part."""
    mac = sent.course.packet.dst_mac
    code, text, proof = faults.of_unreached(ctx, mac)
    if not code and len(branches) == 1 and (stale := _misled(sent.course, branches[0].course)):
        code, proof = "FDB_STALE", stale
    reason = f"nobody took the frame for {mac}: {text}" if text else f"nobody took the frame for {mac}"
    stop = Stopped(Disposition.DROPPED_BY_FLOW, reason, proof, code, repair=faults.repair(code, sent.course.packet))
    if not branches:
        return Branch(sent.course, stop)
    common: list[Hop] = list(branches[0].course.hops)
    for branch in branches[1:]:
        hops = branch.course.hops
        shared = 0
        while shared < min(len(common), len(hops)) and common[shared] == hops[shared]:
            shared += 1
        if shared < len(common):
            common = common[:shared]
    longest = branches[0].course.hops
    if len(branches) > 1 and len(common) < len(longest):
        parting = longest[len(common)]
        kept = tuple(itertools.takewhile(lambda step: step.kind is not StepKind.LEARNED_MAC, parting.steps))
        steps = (*kept, Step(StepKind.DROP, reason, proof, code=code))
        common.append(msgspec.structs.replace(parting, egress="", steps=steps))
    return Branch(msgspec.structs.replace(branches[0].course, hops=tuple(common)), stop)


def _misled(before: Course, after: Course) -> tuple[Evidence, ...]:
    """What a switch had learned of the MAC, where that led the frame away from its owner."""
    for hop in after.hops[len(before.hops) :]:
        for step in hop.steps:
            if step.kind is StepKind.LEARNED_MAC and any(
                "fdb" in proof.command or "showmacs" in proof.command for proof in step.evidence
            ):
                return step.evidence
    return ()


# --- small parts ------------------------------------------------------------------------------------


def identity(course: Course) -> tuple[object, ...]:
    """What makes a frame the same frame: not its TTL."""
    packet = course.packet
    body: Tuple5 | object = packet.arp if packet.arp is not None else tuple_of(packet)
    return (packet.src_mac, packet.dst_mac, packet.vlan, packet.tun_id, body)


def _stack(course: Course, place: Place, link: Link) -> Arrived | Ignored:
    packet = course.packet
    if packet.vlan:
        return Ignored(place)
    mine = packet.dst_mac == link.mac or is_multicast_mac(packet.dst_mac)
    return Arrived(place) if mine else Ignored(place)


def _dead(place: Place, link: Link | None) -> Stopped:
    where = f" in {place.netns}" if place.netns else ""
    code = faults.of_device(place.device, present=link is not None)
    if link is None:
        text = f"{place.host}: there is no device {place.device}{where}"
        proof = (evidence.absent(place.netns, f"ip link show {place.device}"),)
    else:
        text = f"{place.host}: {place.device}{where} is down"
        proof = (evidence.link(link),)
    return Stopped(Disposition.DROPPED_BY_FLOW, text, proof, code, place, faults.repair(code, None, place.device))


def too_long(place: Place, link: Link, course: Course) -> Stopped:
    """The packet does not fit the device; layer 2 has no way to say so and drops it."""
    text = f"{place.host}: {course.packet.length} bytes do not fit {place.device}, whose MTU is {link.mtu}"
    return Stopped(
        Disposition.MTU_EXCEEDED,
        text,
        (evidence.link(link),),
        "MTU_OVERLAY",
        place,
        faults.repair("MTU_OVERLAY", course.packet),
    )


def _enters(known: Index, port: OvsPort | None) -> tuple[Step, ...]:
    if port is None:
        return ()
    proof = evidence.vsctl(known, port)
    if port.tag == openflow.DEAD_VLAN:
        code = "FG_DEAD_VLAN" if port.name.startswith("fg-") else "PORT_DEAD_VLAN"
        return (Step(StepKind.VLAN, f"{port.name} is in the dead VLAN {port.tag}", proof, code=code),)
    if port.tag is not None:
        return (Step(StepKind.VLAN, f"comes in by {port.name}, an access port of local VLAN {port.tag}", proof),)
    if port.type == "patch":
        return (Step(StepKind.PATCH, f"comes in by the patch port {port.name}", proof),)
    return ()


def _leaves(
    known: Index, port: OvsPort | None, output: Output, bridge_name: str, changes: tuple[Change, ...]
) -> tuple[Step, ...]:
    tag = f" of local VLAN {port.tag}" if port is not None and port.tag is not None else ""
    if port is not None and port.type == "patch":
        text = f"goes by the patch port {port.name} to {dict(port.options).get('peer', '?')}"
        kind = StepKind.PATCH
    else:
        kind = StepKind.VLAN
        text = f"leaves by {output.port}{tag}"
    vlan = next((change for change in changes if change.field == "vlan"), None)
    if vlan is not None:
        text += f", {'untagged' if vlan.after == 'untagged' else f'tagged with VLAN {vlan.after}'}"
    proof = evidence.vsctl(known, port) if port is not None else ()
    return (Step(kind, text, proof, changes),)


def _last(decision: openflow.Decision) -> tuple[Evidence, ...]:
    return (evidence.flow(decision.flow),) if decision.flow is not None else ()


def _ended(course: Course, node: Node, steps: tuple[Step, ...], reason: str, code: str = "") -> Course:
    return course.through(node, "", (*steps, Step(StepKind.DROP, reason, code=code)), course.packet)
