"""What a host consists of, record by record.

Every kind of object the kernel or Open vSwitch holds is one frozen record type with a natural key:
names, never ifindex, ofport, counter or age. ``netns`` is the name of the network namespace, "" the
host's own. Order lives inside a value (a chain with its rules is one record). Texts are canonical: what
the usual tool prints for the object (``iptables-save``, ``ovs-ofctl --names dump-flows``), so that equality
of text is equality of meaning.

Two families: *wanted* records, which compile makes and plan compares, and *witness* records (learned MACs,
connections, port numbers), which only an observer makes and the tracer reads.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import ClassVar, Literal

import msgspec

Pairs = tuple[tuple[str, str], ...]
"""A string map as sorted pairs: hashable and comparable."""

LinkKind = Literal["loopback", "bridge", "veth", "internal", "foreign"]
"""``internal`` is an Open vSwitch internal port (a tap with the netdev datapath); ``foreign`` a device that
somebody else makes (NIC, instance tap): it is configured when present and never created or deleted."""


# Keys are asked for tens of thousands of times in one reconcile: one C call each instead of a generator.
_KEY_OF: dict[type["Record"], Callable[["Record"], tuple[object, ...]]] = {}


def _key_of(kind: type["Record"]) -> Callable[["Record"], tuple[object, ...]]:
    get = attrgetter(*kind.KEY)
    _KEY_OF[kind] = get if len(kind.KEY) > 1 else lambda record: (get(record),)
    return _KEY_OF[kind]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The root of all record types. ``KEY`` names the fields of the natural key."""

    KEY: ClassVar[tuple[str, ...]] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """The values of the natural key, unique in the record's table."""
        kind = type(self)
        return (_KEY_OF.get(kind) or _key_of(kind))(self)


# --- Linux ----------------------------------------------------------------------------------------


class Netns(Record, frozen=True):
    """A named network namespace (``ip netns``)."""

    KEY: ClassVar = ("name",)
    name: str


class Link(Record, frozen=True):
    """A network device (``ip link``). ``peer`` is the other end of a veth (``peer_netns`` its namespace; both
    "" when the other end is out of sight). ``alias`` is the ifalias: "floatway" marks ours in the root namespace.
    ``tx_checksum`` is ``ethtool -k`` tx-checksumming, compared only where wanted off."""

    KEY: ClassVar = ("netns", "name")
    netns: str
    name: str
    kind: LinkKind
    mac: str = ""
    mtu: int = 1500
    up: bool = True
    master: str = ""
    peer_netns: str = ""
    peer: str = ""
    alias: str = ""
    tx_checksum: bool = True


class Address(Record, frozen=True):
    """An IPv4 address on a device (``ip address``): ``cidr`` is ``172.12.10.1/24``; ``broadcast`` "" when none."""

    KEY: ClassVar = ("netns", "link", "cidr")
    netns: str
    link: str
    cidr: str
    broadcast: str = ""
    scope: str = "global"


class Route(Record, frozen=True):
    """An IPv4 route (``ip route show table all``). ``table`` is the number (254 main, 255 local); ``prefix`` is
    ``default`` or CIDR (/32 written as a bare address, as iproute2 does); ``type`` unicast, local, broadcast,
    unreachable, blackhole, prohibit. ``mtu_lock`` in bytes (0 none) is ``mtu lock``: what this route forwards at most."""

    KEY: ClassVar = ("netns", "table", "prefix", "metric", "type")
    netns: str
    prefix: str
    table: int = 254
    type: str = "unicast"
    via: str = ""
    dev: str = ""
    src: str = ""
    scope: str = "global"
    proto: str = "static"
    metric: int = 0
    mtu_lock: int = 0


class Rule(Record, frozen=True):
    """A policy routing rule (``ip rule``). ``src`` is ``all`` or an address/prefix as given (host bits kept, as the
    reference shows ``172.12.10.1/24``); ``table`` the number."""

    KEY: ClassVar = ("netns", "priority", "src", "iif", "table")
    netns: str
    priority: int
    table: int
    src: str = "all"
    iif: str = ""


class Neighbour(Record, frozen=True):
    """A neighbour entry (``ip neigh``). ``state`` PERMANENT, REACHABLE, STALE, DELAY, FAILED, INCOMPLETE, …; only
    PERMANENT ones are ever wanted. ``mac`` is "" when unresolved."""

    KEY: ClassVar = ("netns", "link", "address")
    netns: str
    link: str
    address: str
    mac: str
    state: str = "PERMANENT"


class Sysctl(Record, frozen=True):
    """A kernel setting by its dotted name with ``/`` for dots in device names (``net.ipv4.conf.fg-1.proxy_arp``)."""

    KEY: ClassVar = ("netns", "name")
    netns: str
    name: str
    value: str


class Chain(Record, frozen=True):
    """One iptables chain with its rules in order. ``policy`` is ACCEPT/DROP for a built-in chain, "" for a user's. A rule
    is the text that ``iptables-save`` prints after ``-A CHAIN``."""

    KEY: ClassVar = ("netns", "table", "name")
    netns: str
    table: str
    name: str
    policy: str = ""
    rules: tuple[str, ...] = ()


class Ipset(Record, frozen=True):
    """An IP set (``ipset save``) with its members sorted as text."""

    KEY: ClassVar = ("netns", "name")
    netns: str
    name: str
    type: str = "hash:net"
    family: str = "inet"
    members: tuple[str, ...] = ()


# --- Open vSwitch ---------------------------------------------------------------------------------


class OvsBridge(Record, frozen=True):
    """A bridge (ovs-vswitchd.conf.db(5), table Bridge). ``controller`` are the targets."""

    KEY: ClassVar = ("name",)
    name: str
    datapath_type: str = ""
    fail_mode: str = "secure"
    controller: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    other_config: Pairs = ()
    external_ids: Pairs = ()


class OvsPort(Record, frozen=True):
    """A port with its one interface (tables Port and Interface). ``type`` "" is a system device. ``tag`` None is a
    trunk. ``external_ids`` are the interface's; ``port_other_config`` the port's."""

    KEY: ClassVar = ("name",)
    bridge: str
    name: str
    type: str = ""
    tag: int | None = None
    options: Pairs = ()
    external_ids: Pairs = ()
    port_other_config: Pairs = ()


class Flow(Record, frozen=True):
    """An OpenFlow flow, as ``ovs-ofctl --names --no-stats dump-flows`` prints it: ``match`` without priority and table
    (``in_port="qvo…",dl_vlan=1``, "" for all), ``actions`` after ``actions=``."""

    KEY: ClassVar = ("bridge", "table", "priority", "match")
    bridge: str
    table: int
    priority: int
    match: str
    actions: str
    cookie: int = 0
    idle_timeout: int = 0
    hard_timeout: int = 0


# --- Witnesses: observed, never wanted ------------------------------------------------------------


class BridgeFdb(Record, frozen=True):
    """A MAC known to a Linux bridge (``brctl showmacs``). ``local`` marks the port's own address."""

    KEY: ClassVar = ("netns", "bridge", "mac", "port")
    netns: str
    bridge: str
    mac: str
    port: str
    local: bool = False


class OvsFdb(Record, frozen=True):
    """A MAC that NORMAL has learned (``ovs-appctl fdb/show``). ``age`` is in seconds, as evidence only."""

    KEY: ClassVar = ("bridge", "vlan", "mac")
    bridge: str
    vlan: int
    mac: str
    port: str
    age: int = 0


class OfPort(Record, frozen=True):
    """The number of a port on its bridge (``ovs-ofctl show``), for the evidence lines that print numbers. LOCAL is 65534."""

    KEY: ClassVar = ("bridge", "name")
    bridge: str
    name: str
    ofport: int
    mac: str = ""
    down: bool = False


class Tuple5(msgspec.Struct, frozen=True):
    """One direction of a connection. For ICMP ``sport`` is the identifier and ``dport`` is type * 256 + code."""

    proto: str
    src: str
    dst: str
    sport: int
    dport: int


class Connection(Record, frozen=True):
    """A conntrack entry (``conntrack -L``). ``state`` is the TCP state or ""; ``flags`` hold UNREPLIED, ASSURED."""

    KEY: ClassVar = ("netns", "zone", "original")
    netns: str
    original: Tuple5
    reply: Tuple5
    zone: int = 0
    state: str = ""
    flags: tuple[str, ...] = ()
    mark: int = 0


class Opaque(Record, frozen=True):
    """A line that a parser did not understand. The tracer answers "unknown" where it could matter, and never guesses."""

    KEY: ClassVar = ("source", "line")
    source: str
    line: str


WANTED: tuple[type[Record], ...] = (
    Netns, OvsBridge, OvsPort, Link, Address, Neighbour, Route, Rule, Sysctl, Ipset, Chain, Flow,
)  # fmt: skip
WITNESS: tuple[type[Record], ...] = (BridgeFdb, OvsFdb, OfPort, Connection, Opaque)
