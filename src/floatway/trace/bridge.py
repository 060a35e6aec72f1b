"""A Linux bridge, and br_netfilter on it: bridged IPv4 frames go through the host's iptables as if they were routed.

tap ──▶ qbr: PREROUTING · FORWARD (security group, by physdev) · POSTROUTING ──▶ qvb
"""

from typing import TYPE_CHECKING

import msgspec

from floatway.host.records import Link
from floatway.net.address import is_multicast_mac
from floatway.trace import conntrack, evidence, faults, netfilter
from floatway.trace.course import Arrived, Branch, Branches, Course, Place, Stopped
from floatway.trace.index import Index
from floatway.trace.matches import Sight
from floatway.trace.netfilter import Passed
from floatway.trace.result import Disposition, Step, StepKind

if TYPE_CHECKING:
    from floatway.trace.layer2 import Switching

BRIDGE_NF = "net.bridge.bridge-nf-call-iptables"


def forward(switching: "Switching", course: Course, place: Place, master: Link | None, entry: Link | None) -> Branches:
    """A frame in a Linux bridge: come in by the port ``entry``, or sent by the host itself on the bridge device."""
    ctx = switching.ctx
    known = ctx.index(place.host)
    if master is None or not master.up:
        name = master.name if master is not None else (entry.master if entry is not None else place.device)
        text = f"{place.host}: the bridge {name} is {'down' if master is not None else 'missing'}"
        stop = Stopped(
            Disposition.DROPPED_BY_FLOW, text, (), "L2_IFACE_DOWN", place, faults.repair("L2_IFACE_DOWN", None, name)
        )
        yield Branch(course, stop)
        return
    ingress = entry.name if entry is not None else master.name
    crumb = (
        place.host,
        place.netns,
        master.name,
        ingress,
        course.packet.src_mac,
        course.packet.dst_mac,
        str(course.packet.arp),
    )
    if crumb in course.crumbs:
        yield Branch(
            course, Stopped(Disposition.LOOP, f"{master.name}: the same frame came to {ingress} before", heading=place)
        )
        return
    course = msgspec.structs.replace(course, crumbs=course.crumbs | {crumb})
    steps: tuple[Step, ...] = (
        Step(
            StepKind.BRIDGE,
            f"comes in by {ingress} on the Linux bridge {master.name}",
            (evidence.brctl(known, master),),
        ),
    )
    sight = Sight(
        index=known, host=place.host, netns=place.netns, packet=course.packet, in_device=master.name, physdev_in=ingress,
        bridged=entry is not None,
    )  # fmt: skip
    filtered = course.packet.arp is None and entry is not None
    if filtered and not _on(known, master):
        steps = (*steps, _unfiltered(known, place.netns, master))
        filtered = False
    tracked = conntrack.UNTRACKED
    if filtered:
        passed = netfilter.hook(ctx, "PREROUTING", course, place, sight)
        course, steps, tracked = passed.course, (*steps, *passed.steps), passed.tracked
        if passed.stopped is not None:
            yield Branch(_ended(course, place, master.name, ingress, steps), passed.stopped)
            return
    mac = course.packet.dst_mac
    if entry is not None and (mac == master.mac or is_multicast_mac(mac)):
        yield Branch(
            _hop(course, place, master.name, ingress, master.name, steps),
            Arrived(Place(place.host, place.netns, master.name)),
        )
        if mac == master.mac and not is_multicast_mac(mac):
            return
    members = [one for one in known.members.get((place.netns, master.name), ()) if one.name != ingress]
    learned = known.bridge_fdb.get((place.netns, master.name, mac))
    if (
        learned is not None
        and not learned.local
        and any(one.name == learned.port for one in (*members, *([entry] if entry else [])))
    ):
        members = [one for one in members if one.name == learned.port]
        text = f"{mac} is behind {learned.port}"
        proof = (evidence.showmacs(place.netns, master.name, mac, _number(known, master, learned.port)),)
        choice = Step(StepKind.LEARNED_MAC, text, proof)
    else:
        choice = Step(
            StepKind.LEARNED_MAC,
            f"for {'everybody' if is_multicast_mac(mac) else f'{mac}, not learned yet'}: to every port",
        )
    if not members:
        text = f"{master.name} has no other port for {mac}"
        stop = Stopped(
            Disposition.DROPPED_BY_FLOW, text, (evidence.brctl(known, master),), "L2_IFACE_DOWN", place,
            faults.repair("L2_IFACE_DOWN", None, master.name),
        )  # fmt: skip
        yield Branch(_ended(course, place, master.name, ingress, (*steps, Step(StepKind.DROP, text))), stop)
    for member in members:
        out = Place(place.host, place.netns, member.name)
        after, way, stopped = course, (*steps, choice), None
        if filtered:
            there = msgspec.structs.replace(sight, out_device=master.name, physdev_out=member.name, tracked=tracked)
            passed = _leaving(switching, course, out, there)
            after, way, stopped = passed.course, (*way, *passed.steps), passed.stopped
        if stopped is not None:
            yield Branch(_ended(after, place, master.name, ingress, way), stopped)
            continue
        after = _hop(after, place, master.name, ingress, member.name, way)
        yield from switching.leave(after, out)


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


def _on(known: Index, master: Link) -> bool:
    return known.sysctl(master.netns, BRIDGE_NF) == "1"


def _unfiltered(known: Index, netns: str, master: Link) -> Step:
    value = known.sysctl(netns, BRIDGE_NF, "")
    text = f"{master.name} does not show its frames to iptables: no security group is applied"
    proof = evidence.sysctl(netns, BRIDGE_NF, value) if value else evidence.absent(netns, f"sysctl {BRIDGE_NF}")
    return Step(StepKind.FILTER, text, (proof,), code="BR_NF_OFF")


def _number(known: Index, master: Link, port: str) -> str:
    names = [one.name for one in known.members.get((master.netns, master.name), ())]
    return str(names.index(port) + 1) if port in names else "?"


def _hop(course: Course, place: Place, node: str, ingress: str, egress: str, steps: tuple[Step, ...]) -> Course:
    return course.through(place.host, place.netns, node, ingress, egress, steps, course.packet)


def _ended(course: Course, place: Place, node: str, ingress: str, steps: tuple[Step, ...]) -> Course:
    return course.through(place.host, place.netns, node, ingress, "", steps, course.packet)
