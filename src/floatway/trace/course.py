"""What goes along with a packet while it is followed, and how a stretch of its way may end.

Course: packet, mark, hops so far, where it has been, connections that it opened
    ──▶ Arrived at a namespace's stack │ Ignored by one │ Stopped for good │ Sent out of a device
"""

from collections.abc import Iterator

import msgspec

from floatway.host.records import Tuple5
from floatway.net.packet import Packet
from floatway.trace import index
from floatway.trace.index import Index
from floatway.trace.result import Disposition, Evidence, Hop, Step
from floatway.trace.world import Endpoint, Machine, World

Crumb = tuple[object, ...]


class Place(msgspec.Struct, frozen=True):
    """A device in a namespace of a machine."""

    host: str
    netns: str
    device: str


class Node(msgspec.Struct, frozen=True):
    """What a frame is in: a stack, a bridge; and the device by which it came."""

    host: str
    netns: str
    name: str
    ingress: str


class Session(msgspec.Struct, frozen=True):
    """A connection in one namespace and zone, made on this walk or observed. ``new``: its first packet is still on its way."""

    host: str
    netns: str
    zone: int
    original: Tuple5
    reply: Tuple5
    replied: bool = False
    mark: int = 0
    new: bool = True
    observed: bool = False


class Course(msgspec.Struct, frozen=True):
    """A packet on its way. ``crumbs`` are the places where it has been, as it was there."""

    packet: Packet
    hops: tuple[Hop, ...] = ()
    crumbs: frozenset[Crumb] = frozenset()
    sessions: tuple[Session, ...] = ()
    mark: int = 0

    def through(self, node: "Node", egress: str, steps: tuple[Step, ...], packet: Packet) -> "Course":
        """One hop further; a mark does not outlive the hop."""
        hop = Hop(
            host=node.host,
            netns=node.netns,
            node=node.name,
            ingress=node.ingress,
            egress=egress,
            steps=steps,
            packet=packet,
        )
        return msgspec.structs.replace(self, packet=packet, hops=(*self.hops, hop), mark=0)

    def with_session(self, session: Session) -> "Course":
        """The session put in place of the one with the same original direction."""
        others = tuple(s for s in self.sessions if session_key(s) != session_key(session))
        return msgspec.structs.replace(self, sessions=(*others, session))


def session_key(session: Session) -> tuple[str, str, int, Tuple5]:
    """Where the session is and what opened it."""
    return (session.host, session.netns, session.zone, session.original)


class Arrived(msgspec.Struct, frozen=True):
    """A namespace's stack takes the frame from this device."""

    place: Place


class Ignored(msgspec.Struct, frozen=True):
    """A namespace's stack saw the frame and left it: the MAC is not its own."""

    place: Place


class Stopped(msgspec.Struct, frozen=True):
    """The end. ``heading`` is the device that it was about to reach."""

    disposition: Disposition
    reason: str
    evidence: tuple[Evidence, ...] = ()
    code: str = ""
    heading: Place | None = None
    repair: str = ""


End = Arrived | Ignored | Stopped


class Branch(msgspec.Struct, frozen=True):
    """One copy of a frame and how it ended."""

    course: Course
    end: End


class Sent(msgspec.Struct, frozen=True):
    """The stack hands the frame to a device."""

    course: Course
    place: Place


Branches = Iterator[Branch]


class Context:
    """The world while one walk lasts, with its machines' indexes and cables by end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._indexes: dict[str, Index] = {}
        self._wires: dict[tuple[str, str, str], tuple[Endpoint, ...]] = {}
        for wire in world.wires:
            for end in wire.endpoints:
                others = tuple(other for other in wire.endpoints if other != end)
                key = (end.host, end.netns, end.device)
                self._wires[key] = (*self._wires.get(key, ()), *others)

    def machine(self, host: str) -> Machine:
        """The machine by name."""
        return self.world.machines[host]

    def index(self, host: str) -> Index:
        """The views of a machine's state."""
        if host not in self._indexes:
            self._indexes[host] = index.of(self.world.machines[host].state)
        return self._indexes[host]

    def wired(self, place: Place) -> tuple[Place, ...] | None:
        """The far ends of the cable in this device; None without a cable."""
        ends = self._wires.get((place.host, place.netns, place.device))
        if ends is None:
            return None
        return tuple(Place(end.host, end.netns, end.device) for end in ends if end.host in self.world.machines)

    def owners(self, mac: str) -> list[Place]:
        """The devices with this MAC that are no bridge's ports: who would take a frame for it."""
        return [
            Place(name, link.netns, link.name)
            for name in self.world.machines
            for link in self.index(name).by_mac.get(mac, ())
        ]

    def home(self, address: str) -> list[Place]:
        """The devices that carry the address."""
        return [
            Place(name, record.netns, record.link)
            for name in self.world.machines
            for record in self.index(name).by_address.get(address, ())
        ]
