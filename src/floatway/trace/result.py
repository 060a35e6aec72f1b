"""What a trace says: hops of typed steps, ending in one disposition from a closed list (after Batfish).

The command line, JSON, reports and web pages all render these values.
"""

from enum import StrEnum

import msgspec

from floatway.net.packet import Packet


class Disposition(StrEnum):
    """How a walk ends; the list is closed."""

    DELIVERED = "DELIVERED"
    """reached the device that owns the destination address, an instance or a machine outside"""
    EXITS_NETWORK = "EXITS_NETWORK"
    """left through a device beyond which nothing is known"""
    ACCEPTED_BY_HOST = "ACCEPTED_BY_HOST"
    """a namespace of the host itself took it (a router interface answering a ping)"""
    DROPPED_BY_RULE = "DROPPED_BY_RULE"
    """an iptables rule, or the policy of a chain, dropped it"""
    DROPPED_BY_FLOW = "DROPPED_BY_FLOW"
    """a flow of an Open vSwitch bridge dropped it, or none matched; or its way ends at a port that is down or gone"""
    NO_ROUTE = "NO_ROUTE"
    """no table that the rules allow has a route to the destination"""
    UNREACHABLE_ROUTE = "UNREACHABLE_ROUTE"
    """the route that matches is of type unreachable, prohibit or blackhole"""
    NEIGHBOUR_UNKNOWN = "NEIGHBOUR_UNKNOWN"
    """nobody answers for the next hop's address: no entry, and no ARP reply can come"""
    TTL_EXCEEDED = "TTL_EXCEEDED"
    """a router counted its time to live down to 0"""
    MTU_EXCEEDED = "MTU_EXCEEDED"
    """it is longer than the device's MTU and must not be fragmented"""
    LOOP = "LOOP"
    """it came a second time, unchanged, to a place where it had been"""
    UNKNOWN_STATE = "UNKNOWN_STATE"
    """the state needed for the decision is missing or was not understood"""


ARRIVED = frozenset({Disposition.DELIVERED, Disposition.ACCEPTED_BY_HOST})
"""What an answer needs: one that leaves for somewhere unknown has not come back."""

SUCCESS = frozenset({Disposition.DELIVERED, Disposition.EXITS_NETWORK, Disposition.ACCEPTED_BY_HOST})


class StepKind(StrEnum):
    """What a step is about."""

    SEND = "send"
    RECEIVE = "receive"
    ROUTE = "route"
    POLICY = "policy"
    NEIGHBOUR = "neighbour"
    PROXY_ARP = "proxy-arp"
    FILTER = "filter"
    NAT = "nat"
    CONNTRACK = "conntrack"
    BRIDGE = "bridge"
    FLOW = "flow"
    LEARNED_MAC = "fdb"
    PATCH = "patch"
    VLAN = "vlan"
    VETH = "veth"
    DELIVER = "deliver"
    DROP = "drop"


class Evidence(msgspec.Struct, frozen=True):
    """The line that decides, and the command that prints it as an operator would type it on ``host``."""

    command: str
    line: str


class Change(msgspec.Struct, frozen=True):
    """One field of the packet, before and after."""

    field: str
    before: str
    after: str


class Step(msgspec.Struct, frozen=True):
    """One decision or action at a hop. ``code`` names a fault of the catalogue where one is seen."""

    kind: StepKind
    text: str
    evidence: tuple[Evidence, ...] = ()
    changes: tuple[Change, ...] = ()
    code: str = ""


class Hop(msgspec.Struct, frozen=True):
    """A place on the way: a namespace or bridge of a host, entered by one device and left by another."""

    host: str
    netns: str
    node: str
    """what decides here: ``qbr8aa5e3b4-6c``, ``br-int``, ``qrouter-…``, an instance's name"""
    ingress: str
    egress: str
    steps: tuple[Step, ...]
    packet: Packet
    """as it leaves the hop"""


class Trace(msgspec.Struct, frozen=True):
    """One direction: the packet as sent, the hops, how it ended and why; ``repair`` says what to do about a failure."""

    packet: Packet
    hops: tuple[Hop, ...]
    disposition: Disposition
    reason: str
    evidence: tuple[Evidence, ...] = ()
    code: str = ""
    repair: str = ""

    @property
    def ok(self) -> bool:
        """Did the packet get where it was going?"""
        return self.disposition in SUCCESS


class Walk(msgspec.Struct, frozen=True):
    """A packet's way there and, when it arrived, the answer's way back."""

    source: str
    target: str
    forward: Trace
    reply: Trace | None = None

    @property
    def ok(self) -> bool:
        """Both directions arrived."""
        return self.forward.ok and self.reply is not None and self.reply.disposition in ARRIVED
