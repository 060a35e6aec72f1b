"""The steps of a plan: each atomic as far as the kernel allows, each printable as the commands a person would type.

``linux.execute`` runs them over netlink, OVSDB and the tools' batch modes; ``host.fake`` runs them on a state in memory.
"""

import shlex
from typing import Literal

import msgspec

from floatway.host.records import Address, Flow, Link, Neighbour, OvsBridge, OvsPort, Route, Rule

# --- ip(8): what one `ip -batch` line does ---------------------------------------------------------


class LinkAdd(msgspec.Struct, frozen=True, tag=True):
    """Create a bridge, or a veth pair from its two ends (``peer`` given, each end in its own namespace)."""

    link: Link
    peer: Link | None = None


class LinkSet(msgspec.Struct, frozen=True, tag=True):
    """Make a present device be as wanted: only the fields that differ from ``before`` (None: all of them)."""

    link: Link
    before: Link | None = None


class LinkMove(msgspec.Struct, frozen=True, tag=True):
    """Move a device from the root namespace into ``link.netns`` (waits for an OVS internal port to appear)."""

    link: Link


class LinkDelete(msgspec.Struct, frozen=True, tag=True):
    """Delete a device."""

    link: Link


class AddressAdd(msgspec.Struct, frozen=True, tag=True):
    """``ip address add``."""

    address: Address


class AddressDelete(msgspec.Struct, frozen=True, tag=True):
    """``ip address del``."""

    address: Address


class RouteReplace(msgspec.Struct, frozen=True, tag=True):
    """``ip route replace``."""

    route: Route


class RouteDelete(msgspec.Struct, frozen=True, tag=True):
    """``ip route del``."""

    route: Route


class RuleAdd(msgspec.Struct, frozen=True, tag=True):
    """``ip rule add``."""

    rule: Rule


class RuleDelete(msgspec.Struct, frozen=True, tag=True):
    """``ip rule del``."""

    rule: Rule


class NeighbourReplace(msgspec.Struct, frozen=True, tag=True):
    """``ip neigh replace … nud permanent``."""

    neighbour: Neighbour


class NeighbourDelete(msgspec.Struct, frozen=True, tag=True):
    """``ip neigh del``."""

    neighbour: Neighbour


IpOp = (
    LinkAdd | LinkSet | LinkMove | LinkDelete | AddressAdd | AddressDelete | RouteReplace | RouteDelete
    | RuleAdd | RuleDelete | NeighbourReplace | NeighbourDelete
)  # fmt: skip

# --- ovs-vsctl(8): what one transaction does -------------------------------------------------------


class BridgeSet(msgspec.Struct, frozen=True, tag=True):
    """Create the bridge or make it be as wanted; ``before`` is what is there of it (None: nothing)."""

    bridge: OvsBridge
    before: OvsBridge | None = None


class BridgeDelete(msgspec.Struct, frozen=True, tag=True):
    """``ovs-vsctl del-br``."""

    name: str


class PortSet(msgspec.Struct, frozen=True, tag=True):
    """Create the port or make it be as wanted; ``before`` is what is there of it (None: nothing)."""

    port: OvsPort
    before: OvsPort | None = None


class PortDelete(msgspec.Struct, frozen=True, tag=True):
    """``ovs-vsctl del-port``."""

    bridge: str
    name: str


OvsOp = BridgeSet | BridgeDelete | PortSet | PortDelete

# --- Steps -----------------------------------------------------------------------------------------


class NetnsAdd(msgspec.Struct, frozen=True, tag=True):
    """``ip netns add``, with lo up."""

    name: str


class NetnsDelete(msgspec.Struct, frozen=True, tag=True):
    """``ip netns delete``."""

    name: str


class Ip(msgspec.Struct, frozen=True, tag=True):
    """One ``ip -n NETNS -batch``. Not atomic as a whole, each operation is."""

    netns: str
    ops: tuple[IpOp, ...]


class SysctlWrite(msgspec.Struct, frozen=True, tag=True):
    """``sysctl -w`` in a namespace: (name, value) pairs."""

    netns: str
    settings: tuple[tuple[str, str], ...]


class Restore(msgspec.Struct, frozen=True, tag=True):
    """One ``iptables-restore --noflush``: all tables of a namespace, each changing at once. ``text`` is its input; ``chains``
    what the tables named in it hold afterwards, for the in-memory executor: (table, chain, policy, rules or None for deleted)."""

    netns: str
    text: str
    chains: tuple[tuple[str, str, str, tuple[str, ...] | None], ...]


class IpsetRestore(msgspec.Struct, frozen=True, tag=True):
    """One ``ipset restore``. ``sets`` is the outcome: (name, type, family, members or None for destroyed)."""

    netns: str
    text: str
    sets: tuple[tuple[str, str, str, tuple[str, ...] | None], ...]


class OvsTransaction(msgspec.Struct, frozen=True, tag=True):
    """One OVSDB transaction: all of it or nothing."""

    ops: tuple[OvsOp, ...]


class OfBundle(msgspec.Struct, frozen=True, tag=True):
    """One OpenFlow bundle on a bridge: deletions (strict) first, then additions; atomic and ordered (OpenFlow 1.4, 6.9)."""

    bridge: str
    delete: tuple[Flow, ...] = ()
    add: tuple[Flow, ...] = ()


class ConntrackDelete(msgspec.Struct, frozen=True, tag=True):
    """Forget connections that a removed rule had let in. ``direction`` names the address matched by ``conntrack -D``."""

    netns: str
    direction: Literal["orig-src", "orig-dst", "reply-src", "reply-dst"]
    address: str
    zone: int | None = None


class Announce(msgspec.Struct, frozen=True, tag=True):
    """Gratuitous ARP (RFC 5227, 2.3 request and reply form) for an address that this namespace now answers for."""

    netns: str
    dev: str
    address: str


Step = (
    NetnsAdd | NetnsDelete | Ip | SysctlWrite | Restore | IpsetRestore | OvsTransaction | OfBundle
    | ConntrackDelete | Announce
)  # fmt: skip


class Plan(msgspec.Struct, frozen=True):
    """What to do, in order. ``waiting`` names wanted foreign devices that are not there yet (an instance's tap)."""

    steps: tuple[Step, ...] = ()
    waiting: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)


def quote(word: str) -> str:
    """A shell word, quoted only where a person would."""
    return shlex.quote(word)
