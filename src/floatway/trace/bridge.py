"""A Linux bridge, and br_netfilter on it: bridged IPv4 frames go through the host's iptables as if they were routed.

tap ──▶ qbr: PREROUTING · FORWARD (security group, by physdev) · POSTROUTING ──▶ qvb
"""

from typing import TYPE_CHECKING

import msgspec

from floatway.host.records import Link
from floatway.net.address import is_multicast_mac
from floatway.trace import evidence, faults, netfilter
from floatway.trace.course import Arrived, Branch, Branches, Course, Node, Place, Stopped
from floatway.trace.index import Index
from floatway.trace.matches import Sight
from floatway.trace.netfilter import Passed
from floatway.trace.result import Disposition, Evidence, Step, StepKind

if TYPE_CHECKING:
    from floatway.trace.layer2 import Switching

VLAN_TAG = 4
"""Bytes by which bridges and veth pairs let a frame exceed the MTU: room for a tag (is_skb_forwardable)."""
BRIDGE_NF = "net.bridge.bridge-nf-call-iptables"


def forward(switching: "Switching", course: Course, place: Place, master: Link | None, entry: Link | None) -> Branches:
    """A frame in a Linux bridge: come in by the port ``entry``, or sent by the host itself on the bridge device."""
    known = switching.ctx.index(place.host)
    if master is None or not master.up:
        name = master.name if master is not None else (entry.master if entry is not None else place.device)
        text = f"{place.host}: the bridge {name} is {'down' if master is not None else 'missing'}"
        yield Branch(course, _lost(text, (), "L2_IFACE_DOWN", place, name))
        return
    ingress = entry.name if entry is not None else master.name
    node = Node(place.host, place.netns, master.name, ingress)
    crumb = (node, course.packet.src_mac, course.packet.dst_mac, course.packet.arp)
    if crumb in course.crumbs:
        text = f"{master.name}: the same frame came to {ingress} before"
        yield Branch(course, Stopped(Disposition.LOOP, text, heading=place))
        return
    course = msgspec.structs.replace(course, crumbs=course.crumbs | {crumb})
    text = f"comes in by {ingress} on the Linux bridge {master.name}"
    steps: tuple[Step, ...] = (Step(StepKind.BRIDGE, text, (evidence.brctl(known, master),)),)
    sight: Sight | None = None
    if course.packet.arp is None and entry is not None:
        if known.sysctl(place.netns, BRIDGE_NF) == "1":
            sight = Sight(
                index=known, host=place.host, netns=place.netns, packet=course.packet, in_device=master.name,
                physdev_in=ingress, bridged=True,
            )  # fmt: skip
            passed = netfilter.hook(switching.ctx, "PREROUTING", course, place, sight)
            course, steps, sight.tracked = passed.course, (*steps, *passed.steps), passed.tracked
            if passed.stopped is not None:
                yield Branch(course.through(node, "", steps, course.packet), passed.stopped)
                return
        else:
            steps = (*steps, _unfiltered(known, place.netns, master))
    yield from _choose(switching, course, node, steps, sight)


def _choose(
    switching: "Switching", course: Course, node: Node, steps: tuple[Step, ...], sight: Sight | None
) -> Branches:
    """Find the ports for the destination MAC, and send a copy to each; ``sight`` None: iptables does not see it."""
    known = switching.ctx.index(node.host)
    master = known.link(node.netns, node.name)
    mac = course.packet.dst_mac
    everybody = is_multicast_mac(mac)
    own = Place(node.host, node.netns, node.name)
    if master is None:
        return
    if node.ingress != node.name and (mac == master.mac or everybody):
        yield Branch(course.through(node, node.name, steps, course.packet), Arrived(own))
        if not everybody:
            return
    ports = known.members.get((node.netns, node.name), ())
    learned = known.bridge_fdb.get((node.netns, node.name, mac))
    if learned is not None and not learned.local and any(one.name == learned.port for one in ports):
        ports = [one for one in ports if one.name == learned.port]
        number = _number(known, master, learned.port)
        proof = (evidence.showmacs(node.netns, node.name, mac, number),)
        choice = Step(StepKind.LEARNED_MAC, f"{mac} is behind {learned.port}", proof)
    else:
        learned = None
        whom = "everybody" if everybody else f"{mac}, not learned yet"
        choice = Step(StepKind.LEARNED_MAC, f"for {whom}: to every port")
    ports = [one for one in ports if one.name != node.ingress]
    if not ports:
        text = f"{node.name} has no other port for {mac}"
        code = "FDB_STALE" if learned is not None else "L2_IFACE_DOWN"
        shown = choice.evidence or (evidence.brctl(known, master),)
        after = course.through(node, "", (*steps, Step(StepKind.DROP, text, shown, code=code)), course.packet)
        yield Branch(after, _lost(text, shown, code, own, node.name))
    for port in ports:
        out = Place(node.host, node.netns, port.name)
        after, way = course, (*steps, choice)
        if sight is not None:
            there = msgspec.structs.replace(sight, out_device=node.name, physdev_out=port.name)
            passed = _leaving(switching, course, out, there)
            after, way = passed.course, (*way, *passed.steps)
            if passed.stopped is not None:
                yield Branch(after.through(node, "", way, after.packet), passed.stopped)
                continue
        yield from switching.leave(after.through(node, port.name, way, after.packet), out, VLAN_TAG)


def _lost(text: str, proof: tuple[Evidence, ...], code: str, place: Place, device: str) -> Stopped:
    return Stopped(Disposition.DROPPED_BY_FLOW, text, proof, code, place, faults.repair(code, None, device))


def _leaving(switching: "Switching", course: Course, out: Place, sight: Sight) -> Passed:
    """FORWARD and POSTROUTING."""
    first = netfilter.hook(switching.ctx, "FORWARD", course, out, sight)
    if first.stopped is not None:
        return first
    if not any(step.kind is StepKind.FILTER for step in first.steps) and _guest(sight):
        text = f"no rule of a security group looks at {_guest(sight)}"
        proof = evidence.absent(sight.netns, f"iptables -S neutron-openvswi-FORWARD | grep {_guest(sight)}")
        step = Step(StepKind.FILTER, text, (proof,), code="SG_CHAIN_MISSING")
        first = msgspec.structs.replace(first, steps=(*first.steps, step))
    there = msgspec.structs.replace(sight, tracked=first.tracked)
    second = netfilter.hook(switching.ctx, "POSTROUTING", first.course, out, there)
    return msgspec.structs.replace(second, steps=(*first.steps, *second.steps))


def _guest(sight: Sight) -> str:
    return next((name for name in (sight.physdev_in, sight.physdev_out) if name.startswith("tap")), "")


def _unfiltered(known: Index, netns: str, master: Link) -> Step:
    value = known.sysctl(netns, BRIDGE_NF, "")
    text = f"{master.name} does not show its frames to iptables: no security group is applied"
    proof = evidence.sysctl(netns, BRIDGE_NF, value) if value else evidence.absent(netns, f"sysctl {BRIDGE_NF}")
    return Step(StepKind.FILTER, text, (proof,), code="BR_NF_OFF")


def _number(known: Index, master: Link, port: str) -> str:
    names = [one.name for one in known.members.get((master.netns, master.name), ())]
    return str(names.index(port) + 1) if port in names else "?"
