"""The real packet beside the simulated one: send it, watch every device of every machine, compare.

    walk      test ──▶ qbr… ──▶ br-int ──▶ qrouter-… ──▶ …        said by the tracer
    probe     eth0     tap…     qvo…       qr-…  rfp-…    …        seen by packet sockets, with the kernel's time stamps

One packet socket in each network namespace sees every device in it (packet(7)). NAT may change addresses, ports and the ICMP
identifier on the way, so the packet is known by what NAT leaves alone: its payload, or a TCP segment's sequence number.
"""

import errno
import os
import secrets
import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from floatway.host.records import Link, Netns
from floatway.lab.lab import Lab
from floatway.lab.node import Node
from floatway.linux.netns import inside
from floatway.net.packet import ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, Packet
from floatway.trace.result import Hop, Trace, Walk
from floatway.trace.world import World

ETH_P_ALL = 3
SO_TIMESTAMPNS = 35
IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_PROBE = 10, 0, 3
PACKET_HOST, PACKET_OUTGOING = 0, 4
IP_HEADER, ICMP_HEADER, UDP_HEADER = 20, 8, 8
ICMP_PORT_UNREACHABLE = (3, 3)
PATIENCE = 3.5
"""Seconds to wait for an answer: longer than three ARP requests, one a second."""
QUIET = 1.2
"""Seconds to wait where the walk says that none will come: one ARP retry and a margin."""


class Sighting(msgspec.Struct, frozen=True):
    """The packet (or its answer) on a device, ``at`` seconds after it was sent."""

    host: str
    netns: str
    device: str
    outgoing: bool
    answer: bool
    at: float
    addressed: bool = False
    """The frame's destination is this very device (packet(7), PACKET_HOST): not flooded, not overheard."""


class Mark(msgspec.Struct, frozen=True):
    """What reality says of one hop: when the packet came in and went out. None: not seen there. ``…_watched`` is false for what
    has no device to watch (a patch port)."""

    ingress: float | None
    egress: float | None
    ingress_watched: bool
    egress_watched: bool

    @property
    def seen(self) -> bool:
        """Was it seen at every device of the hop that can be watched?"""
        return (self.ingress is not None or not self.ingress_watched) and (
            self.egress is not None or not self.egress_watched
        )


class Probe(msgspec.Struct, frozen=True):
    """What became of the real packet. ``refused`` is the sender's own kernel's word when it would not even send."""

    sightings: tuple[Sighting, ...]
    forward: tuple[Mark, ...]
    reply: tuple[Mark, ...]
    answered: bool
    refused: str = ""
    disagreement: str = ""
    """"" when simulation and reality agree."""

    @property
    def agrees(self) -> bool:
        """Does reality say what the walk says?"""
        return not self.disagreement


class Marker(msgspec.Struct, frozen=True):
    """How to know the packet and its answer again."""

    proto: str
    sequence: int
    payload: bytes

    def direction(self, frame: bytes) -> bool | None:
        """False for the packet, True for its answer, None for any other frame."""
        start = 18 if frame[12:14] == b"\x81\x00" else 14
        if frame[start - 2 : start] != b"\x08\x00" or len(frame) < start + IP_HEADER:
            return None
        body = start + 4 * (frame[start] & 0x0F)
        proto = frame[start + 9]
        if proto == socket.IPPROTO_TCP and self.proto == "tcp" and len(frame) >= body + 12:
            sequence, acknowledged = struct.unpack_from("!II", frame, body + 4)
            if sequence == self.sequence:
                return False
            return True if acknowledged == (self.sequence + 1) % (1 << 32) else None
        if self.payload and self.payload not in frame[body:]:
            return None
        if proto == socket.IPPROTO_ICMP and len(frame) >= body + ICMP_HEADER:
            kind, code, _, _, sequence = struct.unpack_from("!BBHHH", frame, body)
            if self.proto == "icmp" and kind in {ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY}:
                return kind == ICMP_ECHO_REPLY if sequence == self.sequence & 0xFFFF else None
            # "port unreachable" quotes the datagram: proof that it arrived (RFC 1122, 3.2.2). Other errors come from the way.
            unreachable = (kind, code) == ICMP_PORT_UNREACHABLE
            return True if self.proto == "udp" and self.payload and unreachable else None
        return False if proto == socket.IPPROTO_UDP and self.proto == "udp" else None


def probe(lab: Lab, world: World, walk: Walk) -> Probe:
    """Send the walk's packet from where the walk begins, and say what reality made of it. Raises OSError without root."""
    packet = walk.forward.packet
    size = max(0, packet.length - IP_HEADER - {"icmp": ICMP_HEADER, "udp": UDP_HEADER, "tcp": 20}[packet.proto])
    marker = Marker(
        proto=packet.proto,
        sequence=secrets.randbits(32),
        payload=b"" if packet.proto == "tcp" else secrets.token_bytes(min(size, 16)),
    )
    begins = walk.forward.hops[0]
    with ExitStack() as stack:
        watchers = {
            stack.enter_context(_watch(node, netns)): (node.name, netns)
            for node in lab.nodes.values()
            for netns in ("", *_named(world, node.name))
        }
        with inside_of(lab.nodes[begins.host], begins.netns):
            sent = time.time()
            refused = _send(packet, marker, size)
        deadline = time.monotonic() + (PATIENCE if walk.ok else QUIET)
        sightings: list[Sighting] = []
        while (left := deadline - time.monotonic()) > 0 and not refused:
            for ready in select.select(list(watchers), [], [], left)[0]:
                sightings += _read(ready, watchers[ready], marker, sent)
            if any(s.answer and s.host == begins.host and not s.outgoing for s in sightings):
                # Every earlier sighting is queued already: one look more without waiting.
                for ready in select.select(list(watchers), [], [], 0)[0]:
                    sightings += _read(ready, watchers[ready], marker, sent)
                break
    sightings.sort(key=lambda sighting: sighting.at)
    answered = any(s.answer and s.host == begins.host and not s.outgoing for s in sightings)
    forward = marks(walk.forward, world, sightings, answer=False)
    reply = marks(walk.reply, world, sightings, answer=True) if walk.reply else ()
    return Probe(
        sightings=tuple(sightings),
        forward=forward,
        reply=reply,
        answered=answered,
        refused=refused,
        disagreement=disagreement(walk, forward, reply, answered) or beyond(walk, world, sightings),
    )


def marks(trace: Trace, world: World, sightings: Iterable[Sighting], *, answer: bool) -> tuple[Mark, ...]:
    """One mark for each hop of the trace."""
    first: dict[tuple[str, str, str], float] = {}
    for seen in sightings:
        if seen.answer == answer:
            first.setdefault((seen.host, seen.netns, seen.device), seen.at)
    found = []
    for hop in trace.hops:
        ingress, egress = (where(world, hop, device) for device in (hop.ingress, hop.egress))
        found.append(
            Mark(
                ingress=first.get(ingress) if ingress else None,
                egress=first.get(egress) if egress else None,
                ingress_watched=ingress is not None,
                egress_watched=egress is not None,
            )
        )
    return tuple(found)


def where(world: World, hop: Hop, device: str) -> tuple[str, str, str] | None:
    """Host, namespace and name of a hop's device; None for what is no device of the kernel (a patch port). A port of a bridge
    may be in another namespace than the bridge."""
    machine = world.machines.get(hop.host)
    if machine is None or not device:
        return None
    if machine.state.get(Link, hop.netns, device) is not None:
        return hop.host, hop.netns, device
    places = [link.netns for link in machine.state.table(Link).values() if link.name == device]
    return (hop.host, places[0], device) if len(places) == 1 else None


def disagreement(walk: Walk, forward: tuple[Mark, ...], reply: tuple[Mark, ...], answered: bool) -> str:
    """Where simulation and reality part, in a sentence; "" where they agree."""
    if walk.ok and not answered:
        return "the walk says delivered and answered; no answer came"
    if answered and not walk.ok:
        return f"the walk says {walk.forward.disposition if not walk.forward.ok else walk.reply and walk.reply.disposition}; an answer came"
    for trace, seen in ((walk.forward, forward), (walk.reply, reply)):
        if trace is None or not trace.ok:
            continue
        for hop, mark in zip(trace.hops, seen, strict=True):
            if not mark.seen:
                return f"the walk goes by {hop.host} {hop.node} ({hop.ingress} to {hop.egress}); the packet was not seen there"
    return ""


def beyond(walk: Walk, world: World, sightings: Iterable[Sighting]) -> str:
    """A packet that the walk says is lost, and that came to a machine (other than a router) all the same."""
    if walk.forward.ok:
        return ""
    passed = {hop.host for hop in walk.forward.hops}
    for seen in sightings:
        machine = world.machines.get(seen.host)
        if machine and machine.role != "compute" and seen.host not in passed and seen.addressed and not seen.answer:
            return f"the walk says {walk.forward.disposition}; the packet came to {seen.device} of {seen.host}"
    return ""


@contextmanager
def inside_of(node: Node, netns: str) -> Iterator[None]:
    """Run the block in a machine's network namespace; only this thread moves."""
    path = Path(f"/proc/{node.pid}") / (f"root/run/netns/{netns}" if netns else "ns/net")
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with inside(fd):
            yield
    finally:
        os.close(fd)


@contextmanager
def _watch(node: Node, netns: str) -> Iterator[socket.socket]:
    with inside_of(node, netns):
        watcher = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    with watcher:
        watcher.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        watcher.setblocking(False)
        yield watcher


def _read(watcher: socket.socket, place: tuple[str, str], marker: Marker, sent: float) -> Iterator[Sighting]:
    host, netns = place
    while True:
        try:
            frame, ancillary, _, address = watcher.recvmsg(2048, 256)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            if error.errno in {errno.ENETDOWN, errno.ENXIO}:  # a device went away while we watch
                continue
            raise
        answer = marker.direction(frame)
        if answer is None:
            continue
        stamp = time.time()
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = struct.unpack("@qq", data[:16])
                stamp = seconds + nanoseconds / 1e9
        yield Sighting(
            host=host,
            netns=netns,
            device=address[0],
            outgoing=address[2] == PACKET_OUTGOING,
            answer=answer,
            at=max(0.0, stamp - sent),
            addressed=address[2] == PACKET_HOST,
        )


def _named(world: World, host: str) -> list[str]:
    machine = world.machines.get(host)
    return [] if machine is None else [netns.name for netns in machine.state.records(Netns)]


def _send(packet: Packet, marker: Marker, size: int) -> str:
    """Send it; the kernel's word when it refuses (too long for the device, no route)."""
    payload = (marker.payload + bytes(size))[:size]
    match packet.proto:
        case "icmp":
            kind, protocol = socket.SOCK_RAW, socket.IPPROTO_ICMP
            data = _echo(packet.sport or secrets.randbits(16), marker.sequence & 0xFFFF, payload)
        case "tcp":
            kind, protocol = socket.SOCK_RAW, socket.IPPROTO_TCP
            data = _syn(packet, marker.sequence)
        case "udp":
            kind, protocol = socket.SOCK_DGRAM, socket.IPPROTO_UDP
            data = payload
    with socket.socket(socket.AF_INET, kind, protocol) as sender:
        sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE if packet.df else IP_PMTUDISC_DONT)
        try:
            sender.bind((packet.src, packet.sport if packet.proto == "udp" else 0))
            sender.sendto(data, (packet.dst, packet.dport if packet.proto == "udp" else 0))
        except OSError as error:
            return os.strerror(error.errno or 0)
    return ""


def _echo(identifier: int, sequence: int, payload: bytes) -> bytes:
    bare = struct.pack("!BBHHH", ICMP_ECHO_REQUEST, 0, 0, identifier, sequence) + payload
    return bare[:2] + struct.pack("!H", checksum(bare)) + bare[4:]


def _syn(packet: Packet, sequence: int) -> bytes:
    bare = struct.pack("!HHIIBBHHH", packet.sport, packet.dport, sequence, 0, 5 << 4, 0x02, 64240, 0, 0)
    pseudo = socket.inet_aton(packet.src) + socket.inet_aton(packet.dst) + struct.pack("!BBH", 0, 6, len(bare))
    return bare[:16] + struct.pack("!H", checksum(pseudo + bare)) + bare[18:]


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
