"""Knowing the real packet again, after NAT; and saying where simulation and reality part."""

import struct

import pytest

from floatway.host.records import Link
from floatway.host.state import HostState
from floatway.lab.probe import Mark, Marker, Sighting, checksum, disagreement, marks
from floatway.net.packet import Packet
from floatway.trace.result import Disposition, Hop, Trace, Walk
from floatway.trace.world import Machine, World

PAYLOAD = b"0123456789abcdef"
ETHERNET = bytes(12) + b"\x08\x00"
TAGGED = bytes(12) + b"\x81\x00\x00\x02\x08\x00"


def ip(proto: int, body: bytes) -> bytes:
    return struct.pack("!BBHHHBBH8s", 0x45, 0, 20 + len(body), 0, 0, 64, proto, 0, bytes(8)) + body


def echo(kind: int, sequence: int = 7, payload: bytes = PAYLOAD) -> bytes:
    return ip(1, struct.pack("!BBHHH", kind, 0, 0, 99, sequence) + payload)


PING = Marker(proto="icmp", sequence=7, payload=PAYLOAD)
DATAGRAM = Marker(proto="udp", sequence=0, payload=PAYLOAD)
SEGMENT = Marker(proto="tcp", sequence=0xFFFFFFFF, payload=b"")


@pytest.mark.parametrize(
    ("marker", "packet", "expected"),
    [
        (PING, echo(8), False),
        (PING, echo(0), True),
        (PING, echo(8, sequence=8), None),
        (PING, echo(8, payload=b"somebody else's!"), None),
        (PING, ip(17, bytes(8) + PAYLOAD), None),
        (DATAGRAM, ip(17, bytes(8) + PAYLOAD), False),
        (DATAGRAM, ip(1, struct.pack("!BBHI", 3, 3, 0, 0) + ip(17, bytes(8) + PAYLOAD)), True),
        (DATAGRAM, ip(17, bytes(24)), None),
        (SEGMENT, ip(6, struct.pack("!HHII", 1, 2, 0xFFFFFFFF, 0) + bytes(8)), False),
        (SEGMENT, ip(6, struct.pack("!HHII", 2, 1, 5, 0) + bytes(8)), True),
        (SEGMENT, ip(6, struct.pack("!HHII", 2, 1, 5, 9) + bytes(8)), None),
    ],
)
@pytest.mark.parametrize("header", [ETHERNET, TAGGED], ids=["untagged", "tagged"])
def test_direction(marker: Marker, packet: bytes, expected: bool | None, header: bytes) -> None:
    assert marker.direction(header + packet) is expected


def test_short_and_foreign_frames_are_nobodys() -> None:
    for frame in (b"", ETHERNET, bytes(12) + b"\x08\x06" + bytes(28), ETHERNET + echo(8)[:22]):
        assert PING.direction(frame) is None


def test_checksum_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D
    assert checksum(b"\x01") == checksum(b"\x01\x00")


HOPS = (
    Hop(host="vm", netns="", node="vm", ingress="", egress="eth0", steps=(), packet=Packet("", "")),
    Hop(host="h", netns="", node="br-int", ingress="qvo1", egress="int-br-ex", steps=(), packet=Packet("", "")),
    Hop(host="out", netns="", node="out", ingress="eth0", egress="", steps=(), packet=Packet("", "")),
)


def world() -> World:
    devices = {"vm": "eth0", "h": "qvo1", "out": "eth0"}
    states = {h: HostState.of([Link(netns="", name=d, kind="veth")]) for h, d in devices.items()}
    return World(machines={h: Machine(name=h, role="", state=s) for h, s in states.items()}, wires=())


def there(disposition: Disposition = Disposition.DELIVERED) -> Walk:
    trace = Trace(packet=Packet("", ""), hops=HOPS, disposition=disposition, reason="")
    back = Trace(packet=Packet("", ""), hops=(), disposition=Disposition.DELIVERED, reason="")
    return Walk(
        source="vm", target="out", forward=trace, reply=back if disposition in {Disposition.DELIVERED} else None
    )


def seen(*places: tuple[str, str, float]) -> list[Sighting]:
    return [Sighting(host=h, netns="", device=d, outgoing=False, answer=False, at=at) for h, d, at in places]


def test_marks_say_when_and_leave_out_what_has_no_device() -> None:
    found = marks(
        there().forward, world(), seen(("vm", "eth0", 0.1), ("h", "qvo1", 0.2), ("h", "qvo1", 0.9)), answer=False
    )
    assert found[0] == Mark(ingress=None, egress=0.1, ingress_watched=False, egress_watched=True)
    assert found[1] == Mark(ingress=0.2, egress=None, ingress_watched=True, egress_watched=False)
    assert [mark.seen for mark in found] == [True, True, False]


def test_agreement_and_the_ways_to_disagree() -> None:
    every = marks(
        there().forward, world(), seen(("vm", "eth0", 0.1), ("h", "qvo1", 0.2), ("out", "eth0", 0.3)), answer=False
    )
    assert disagreement(there(), every, (), answered=True) == ""
    assert "no answer" in disagreement(there(), every, (), answered=False)
    assert "an answer came" in disagreement(there(Disposition.NO_ROUTE), every, (), answered=True)
    assert disagreement(there(Disposition.NO_ROUTE), every, (), answered=False) == ""
    missed = marks(there().forward, world(), seen(("vm", "eth0", 0.1), ("out", "eth0", 0.3)), answer=False)
    assert "br-int" in disagreement(there(), missed, (), answered=True)
