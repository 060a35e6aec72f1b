"""One host's records, arranged the way a packet asks for them: routes by length, flows by table, ports by bridge.

HostState ── of(state) ──▶ Index: each view is made when it is first asked for and kept as long as the state is in use
"""

from collections import OrderedDict
from functools import cached_property
from typing import TypeVar

from floatway.host.records import (
    Address,
    BridgeFdb,
    Chain,
    Connection,
    Flow,
    Ipset,
    Link,
    Neighbour,
    OfPort,
    OvsPort,
    Record,
    Route,
    Rule,
    Sysctl,
    Tuple5,
)
from floatway.host.state import HostState
from floatway.net.address import interface, ip_int, network

KEPT = 512
R = TypeVar("R", bound=Record)
Routes = dict[int, dict[int, list[Route]]]
"""prefix length -> network as integer -> routes by metric"""


class Index:
    """Lazy views of one HostState."""

    def __init__(self, state: HostState) -> None:
        self.state = state
        self._routes: dict[tuple[str, int], Routes] = {}
        self._flows: dict[tuple[str, int], tuple[Flow, ...]] = {}

    def link(self, netns: str, name: str) -> Link | None:
        """The device, or None."""
        return self.state.get(Link, netns, name)

    def port(self, name: str) -> OvsPort | None:
        """The Open vSwitch port, or None."""
        return self.state.get(OvsPort, name)

    def chain(self, netns: str, table: str, name: str) -> Chain | None:
        """The iptables chain, or None."""
        return self.state.get(Chain, netns, table, name)

    def sysctl(self, netns: str, name: str, default: str = "0") -> str:
        """The setting, or what the kernel starts with."""
        record = self.state.get(Sysctl, netns, name)
        return default if record is None else record.value

    def conf(self, netns: str, device: str, name: str) -> int:
        """``net.ipv4.conf``: the larger of ``all`` and the device's own (ip-sysctl: "the max value from conf/{all,interface}")."""
        values = (self.sysctl(netns, f"net.ipv4.conf.{one.replace('.', '/')}.{name}") for one in ("all", device))
        return max(int(value) if value.isdigit() else 0 for value in values)

    def forwards(self, netns: str, device: str) -> bool:
        """Does the namespace route what comes in by the device?"""
        own = self.state.get(Sysctl, netns, f"net.ipv4.conf.{device.replace('.', '/')}.forwarding")
        if own is not None:
            return own.value != "0"
        return self.sysctl(netns, "net.ipv4.ip_forward") != "0"

    def neighbour(self, netns: str, link: str, address: str) -> Neighbour | None:
        """The neighbour entry, or None."""
        return self.state.get(Neighbour, netns, link, address)

    def ipset(self, netns: str, name: str) -> Ipset | None:
        """The IP set, or None."""
        return self.state.get(Ipset, netns, name)

    @cached_property
    def members(self) -> dict[tuple[str, str], list[Link]]:
        """(namespace, Linux bridge) -> the devices on it."""
        found: dict[tuple[str, str], list[Link]] = {}
        for link in self.state.table(Link).values():
            if link.master:
                found.setdefault((link.netns, link.master), []).append(link)
        return found

    @cached_property
    def ports(self) -> dict[str, list[OvsPort]]:
        """Open vSwitch bridge -> its ports."""
        found: dict[str, list[OvsPort]] = {}
        for port in self.state.table(OvsPort).values():
            found.setdefault(port.bridge, []).append(port)
        return found

    @cached_property
    def internal(self) -> dict[str, Link]:
        """Name -> the device of an internal port; the one in a namespace wins over a leftover in the root."""
        found: dict[str, Link] = {}
        for link in self.state.table(Link).values():
            if link.name not in found or not found[link.name].netns:
                found[link.name] = link
        return found

    @cached_property
    def addresses(self) -> dict[str, list[Address]]:
        """Namespace -> its addresses."""
        found: dict[str, list[Address]] = {}
        for address in self.state.table(Address).values():
            found.setdefault(address.netns, []).append(address)
        return found

    @cached_property
    def local(self) -> dict[tuple[str, str], Address]:
        """(namespace, bare address) -> the record that makes it local."""
        return {(a.netns, a.cidr.partition("/")[0]): a for a in self.state.table(Address).values()}

    @cached_property
    def by_address(self) -> dict[str, list[Address]]:
        """Bare address -> where it is carried."""
        found: dict[str, list[Address]] = {}
        for address in self.state.table(Address).values():
            found.setdefault(address.cidr.partition("/")[0], []).append(address)
        return found

    @cached_property
    def by_mac(self) -> dict[str, list[Link]]:
        """MAC -> the devices with it that are no bridge's port."""
        found: dict[str, list[Link]] = {}
        for link in self.state.table(Link).values():
            if link.mac and not link.master and not (link.netns == "" and link.name in self._system_ports):
                found.setdefault(link.mac, []).append(link)
        return found

    @cached_property
    def _system_ports(self) -> frozenset[str]:
        return frozenset(port.name for port in self.state.table(OvsPort).values() if not port.type)

    def on_device(self, netns: str, device: str) -> list[Address]:
        """The device's addresses, the primary first."""
        return [address for address in self.addresses.get(netns, ()) if address.link == device]

    @cached_property
    def rules(self) -> dict[str, list[Rule]]:
        """Namespace -> its policy rules by priority; the kernel's three where none of them was read."""
        found: dict[str, list[Rule]] = {}
        for rule in self.state.table(Rule).values():
            found.setdefault(rule.netns, []).append(rule)
        for rules in found.values():
            rules.sort(key=lambda rule: rule.priority)
        return found

    def rules_of(self, netns: str) -> list[Rule]:
        """The rules a lookup goes through, in order."""
        rules = self.rules.get(netns, [])
        if any(rule.table in (254, 255) and rule.src == "all" and not rule.iif for rule in rules):
            return rules
        made = [Rule(netns=netns, priority=p, table=t) for p, t in ((0, 255), (32766, 254), (32767, 253))]
        self.rules[netns] = sorted((*rules, *made), key=lambda rule: rule.priority)
        return self.rules[netns]

    @cached_property
    def _routes_by_table(self) -> dict[tuple[str, int], list[Route]]:
        found: dict[tuple[str, int], list[Route]] = {}
        for route in self.state.table(Route).values():
            found.setdefault((route.netns, route.table), []).append(route)
        return found

    def routes(self, netns: str, table: int) -> Routes:
        """A route table, ready for the longest match."""
        key = (netns, table)
        if key not in self._routes:
            lengths: Routes = {}
            for route in sorted(self._routes_by_table.get(key, ()), key=lambda route: route.metric):
                net = network("0.0.0.0/0" if route.prefix == "default" else route.prefix)
                lengths.setdefault(net.prefixlen, {}).setdefault(int(net.network_address), []).append(route)
            self._routes[key] = dict(sorted(lengths.items(), reverse=True))
        return self._routes[key]

    @cached_property
    def _flows_by_table(self) -> dict[tuple[str, int], list[Flow]]:
        found: dict[tuple[str, int], list[Flow]] = {}
        for flow in self.state.table(Flow).values():
            found.setdefault((flow.bridge, flow.table), []).append(flow)
        return found

    def flows(self, bridge: str, table: int) -> tuple[Flow, ...]:
        """The flows of a table, the highest priority first."""
        key = (bridge, table)
        if key not in self._flows:
            self._flows[key] = tuple(sorted(self._flows_by_table.get(key, ()), key=lambda flow: -flow.priority))
        return self._flows[key]

    def has_flows(self, bridge: str) -> bool:
        """Does the bridge have any flow?"""
        return any(owner == bridge for owner, _ in self._flows_by_table)

    @cached_property
    def of_numbers(self) -> dict[tuple[str, str], str]:
        """(bridge, port number as text) -> port name."""
        return {(port.bridge, str(port.ofport)): port.name for port in self.state.table(OfPort).values()}

    @cached_property
    def neighbours_by_mac(self) -> dict[tuple[str, str, str], list[Neighbour]]:
        """(namespace, device, MAC) -> the entries with it."""
        found: dict[tuple[str, str, str], list[Neighbour]] = {}
        for entry in self.state.table(Neighbour).values():
            found.setdefault((entry.netns, entry.link, entry.mac), []).append(entry)
        return found

    @cached_property
    def bridge_fdb(self) -> dict[tuple[str, str, str], BridgeFdb]:
        """(namespace, Linux bridge, MAC) -> the entry; a port's own address wins."""
        found: dict[tuple[str, str, str], BridgeFdb] = {}
        for entry in self.state.table(BridgeFdb).values():
            key = (entry.netns, entry.bridge, entry.mac)
            if key not in found or entry.local:
                found[key] = entry
        return found

    @cached_property
    def connections(self) -> dict[tuple[str, int, Tuple5], tuple[Connection, bool]]:
        """(namespace, zone, tuple) -> the tracked connection and whether the tuple is its reply direction."""
        found: dict[tuple[str, int, Tuple5], tuple[Connection, bool]] = {}
        for one in self.state.table(Connection).values():
            found[one.netns, one.zone, one.original] = (one, False)
            found.setdefault((one.netns, one.zone, one.reply), (one, True))
        return found

    @cached_property
    def tables(self) -> frozenset[tuple[str, str]]:
        """The (namespace, iptables table) pairs that hold a chain."""
        return frozenset((chain.netns, chain.table) for chain in self.state.table(Chain).values())

    @cached_property
    def filtered(self) -> frozenset[str]:
        """The namespaces with any iptables chain: only there does the kernel track connections."""
        return frozenset(netns for netns, _ in self.tables)

    def connected(self, netns: str, device: str, address: str) -> Address | None:
        """The device's address whose subnet holds ``address``."""
        wanted = ip_int(address)
        for one in self.on_device(netns, device):
            net = interface(one.cidr).network
            if int(net.network_address) == wanted & int(net.netmask):
                return one
        return None


_indexes: OrderedDict[int, Index] = OrderedDict()


def of(state: HostState) -> Index:
    """The index of this very state object (states are immutable, so identity is enough)."""
    found = _indexes.get(id(state))
    if found is None or found.state is not state:
        found = _indexes[id(state)] = Index(state)
        while len(_indexes) > KEPT:
            _indexes.popitem(last=False)
    return found
