"""What can still be wanted of a host that refuses some of it: the rest, whole, and nothing that leads nowhere.

refused        stays as it is on the host, or stays away
needs it       a device in a namespace that is not there, a port on such a bridge, …: the same
speaks of it   a chain that jumps to it does without the rule (a filter drops instead), a flood does without the port

So a plan for :func:`possible` is a plan like any other: it dangles at no step, and it does all that does not need what is refused.
"""

import re
from collections import deque
from collections.abc import Collection, Iterator

import msgspec

from floatway.host.flow_ports import flow_ports
from floatway.host.losses import setting_device
from floatway.host.records import (
    Address,
    Chain,
    Flow,
    Ipset,
    Link,
    Neighbour,
    Netns,
    OvsBridge,
    OvsPort,
    Record,
    Route,
    Rule,
    Sysctl,
)
from floatway.host.rules import jump_target, set_names
from floatway.host.state import HostState, Key
from floatway.host.steps import (
    AddressAdd,
    AddressDelete,
    BridgeDelete,
    BridgeSet,
    Ip,
    IpOp,
    IpsetRestore,
    LinkAdd,
    LinkDelete,
    LinkMove,
    LinkSet,
    NeighbourDelete,
    NeighbourReplace,
    NetnsAdd,
    NetnsDelete,
    OfBundle,
    OvsOp,
    OvsTransaction,
    PortDelete,
    PortSet,
    Restore,
    RouteDelete,
    RouteReplace,
    RuleAdd,
    RuleDelete,
    Step,
    SysctlWrite,
)
from floatway.net.address import in_prefix

__all__ = ["Possible", "Ref", "concerned", "possible", "ref"]

Ref = tuple[type[Record], Key]
"""A record by its type and natural key."""


class Possible(msgspec.Struct, frozen=True):
    """``state`` is what to plan for; ``because`` names each record that is not as wanted in it, and the refused one it is so for."""

    state: HostState
    because: dict[Ref, Ref]


def ref(record: Record) -> Ref:
    """The record's name."""
    return type(record), record.key


# --- what a step is about ---------------------------------------------------------------------------


def concerned(step: Step) -> tuple[Ref, ...]:
    """The records that a step makes, changes or removes; none for what leaves no record (announcements, connections)."""
    return tuple(dict.fromkeys(_concerned(step)))


def _concerned(step: Step) -> Iterator[Ref]:
    match step:
        case NetnsAdd(name=name) | NetnsDelete(name=name):
            yield Netns, (name,)
        case Ip(ops=ops):
            for op in ops:
                yield from map(ref, _records(op))
        case SysctlWrite(netns=netns, settings=settings):
            yield from ((Sysctl, (netns, name)) for name, _ in settings)
        case Restore(netns=netns, chains=chains):
            yield from ((Chain, (netns, table, name)) for table, name, _, _ in chains)
        case IpsetRestore(netns=netns, sets=sets):
            yield from ((Ipset, (netns, name)) for name, _, _, _ in sets)
        case OvsTransaction(ops=ovs):
            yield from map(_ovs_ref, ovs)
        case OfBundle(delete=delete, add=add):
            yield from map(ref, (*delete, *add))
        case _:
            return


def _records(op: IpOp) -> tuple[Record, ...]:
    match op:
        case LinkAdd(link=link, peer=peer):
            return (link, peer) if peer is not None else (link,)
        case LinkSet(link=link) | LinkMove(link=link) | LinkDelete(link=link):
            return (link,)
        case AddressAdd(address=address) | AddressDelete(address=address):
            return (address,)
        case RouteReplace(route=route) | RouteDelete(route=route):
            return (route,)
        case RuleAdd(rule=rule) | RuleDelete(rule=rule):
            return (rule,)
        case NeighbourReplace(neighbour=neighbour) | NeighbourDelete(neighbour=neighbour):
            return (neighbour,)


def _ovs_ref(op: OvsOp) -> Ref:
    match op:
        case BridgeSet(bridge=bridge):
            return ref(bridge)
        case BridgeDelete(name=name):
            return OvsBridge, (name,)
        case PortSet(port=port):
            return ref(port)
        case PortDelete(name=name):
            return OvsPort, (name,)


# --- what remains -----------------------------------------------------------------------------------


def possible(have: HostState, desired: HostState, refused: Collection[Ref]) -> Possible:
    """The most of ``desired`` that can be had without touching what is ``refused``; ``have`` is what of ours is there."""
    if not refused:
        return Possible(desired, {})
    rest = _Rest(have, desired)
    rest.hold(refused)
    return Possible(rest.state(), rest.because)


class _Rest:
    """Collects what has to stay as it is."""

    def __init__(self, have: HostState, desired: HostState) -> None:
        self.have, self.desired = have, desired
        self.because: dict[Ref, Ref] = {}
        self._kept: dict[Ref, Record] = {}
        self._lost: set[Ref] = set()
        self._reduced: dict[Ref, Record] = {}
        self._speaking: dict[Ref, Chain] = {}
        self._users: dict[Ref, list[Record]] | None = None
        self._routes: dict[Key, list[Ref]] = {}
        self._places = {link.name: link.netns for link in have.table(Link).values() if link.kind == "internal"}

    def hold(self, refused: Collection[Ref]) -> None:
        """Leave these as they are, and whatever needs those of them that are not there."""
        queue = deque((one, one, False) for one in refused)
        while queue:
            one, why, goes = queue.popleft()
            goes = goes and one not in refused
            wanted, there = self.desired.get(one[0], *one[1]), self.have.get(one[0], *one[1])
            if isinstance(there, OvsPort) and not goes:
                self._keep(there)
                queue.extend((device, why, False) for device in self._to_come(there))
            if one in self.because or (wanted == there and not goes):
                continue
            self.because[one] = why
            if there is not None and not goes:
                self._keep(there)
                continue
            self._lost.add(one)
            users = ((user, self._moves(user, one)) for user in self._using(one) if not self._spared(user))
            queue.extend((ref(user), why, goes or moves) for user, moves in users)

    def _to_come(self, port: OvsPort) -> Iterator[Ref]:
        """Its devices that are not where they shall be: they would come by plugging it in anew, though the port itself is as wanted."""
        named = self.desired.records(Link, lambda link: link.name == port.name and link.kind in {"internal", "veth"})
        return (ref(link) for link in named if self.have.get(Link, *link.key) is None)

    def _moves(self, user: Record, lost: Ref) -> bool:
        return lost[0] in (Netns, Link) and isinstance(user, OvsPort) and self._is_left_behind(user)

    def _is_left_behind(self, port: OvsPort) -> bool:
        """An internal port whose device is in a namespace that goes, and cannot be had where it shall be: it goes too."""
        space = self._places.get(port.name, "") if port.type == "internal" else ""
        return space != "" and self.desired.get(Netns, space) is None

    def state(self) -> HostState:
        """What can be wanted."""
        gone = [record for kind, key in self._lost if (record := self.desired.get(kind, *key)) is not None]
        fewer = {one: _without_lost(chain, self._lost) for one, chain in self._speaking.items()}
        put = {**fewer, **self._reduced, **self._kept}
        return self.desired.without(*gone).replaced(*(record for one, record in put.items() if one not in self._lost))

    def _keep(self, there: Record) -> None:
        """What is there, with all that it leads to."""
        todo = [there]
        while todo:
            record = todo.pop()
            if ref(record) in self._kept:
                continue
            self._kept[ref(record)] = record
            for kind, key in (*_needs(record, self.have), *_mentions(record), *self._beside(record)):
                needed = self.have.get(kind, *key)
                if needed is not None and self.desired.get(kind, *key) is None:
                    todo.append(needed)

    def _beside(self, record: Record) -> Iterator[Ref]:
        """An internal port's device, wherever it was moved to; a rule's routes; the addresses that a route's next hop is found by."""
        match record:
            case OvsPort(type="internal", name=name):
                yield from map(ref, self.have.records(Link, lambda link: link.name == name))
            case Rule(netns=netns, table=table) if table not in _KERNEL_TABLES:
                yield from map(ref, self.have.records(Route, lambda r: (r.netns, r.table) == (netns, table)))
            case Route():
                yield from map(ref, self.have.records(Address, lambda address: _leads(address, record)))

    def _using(self, one: Ref) -> list[Record]:
        if self._users is None:
            self._users = {}
            for record in self.desired:
                for needed in (*_needs(record, self.desired), *_mentions(record)):
                    self._users.setdefault(needed, []).append(record)
                if isinstance(record, Link) and record.kind == "internal" and record.netns:
                    port = self.desired.get(
                        OvsPort, record.name
                    )  # its device would be left in the host's own namespace
                    self._users.setdefault((Netns, (record.netns,)), []).extend([port] if port else [])
                    if port and self._is_left_behind(port):
                        self._users.setdefault(ref(record), []).append(port)
            self._add_routing(self._users)
        return self._users.get(one, [])

    def _add_routing(self, users: dict[Ref, list[Record]]) -> None:
        on_link: dict[Key, list[Route]] = {}
        for route in self.desired.table(Route).values():
            on_link.setdefault((route.netns, route.dev), []).append(route)
            self._routes.setdefault((route.netns, route.table), []).append(ref(route))
        for address in self.desired.table(Address).values():
            led = [one for one in on_link.get((address.netns, address.link), ()) if _leads(address, one)]
            users.setdefault(ref(address), []).extend(led)
        for rule in self.desired.table(Rule).values():
            for one in self._routes.get((rule.netns, rule.table), ()) if rule.table not in _KERNEL_TABLES else ():
                users.setdefault(one, []).append(rule)

    def _spared(self, user: Record) -> bool:
        """Can it do without what is lost?"""
        if not self._lost.isdisjoint(_needs(user, self.desired)):
            return False
        if isinstance(user, Rule):
            return not self._lost.issuperset(self._routes.get((user.netns, user.table), ()))
        if isinstance(user, Chain):
            self._speaking[ref(user)] = user
            return True
        if isinstance(user, Flow) and (fewer := _without_ports(user, self._lost)) is not None:
            self._reduced[ref(user)] = fewer
            return True
        return False


_KERNEL_TABLES = frozenset({253, 254, 255})


def _leads(address: Address, route: Route) -> bool:
    """Does the route need the address: for its next hop to be on a link, or as its source?"""
    if (address.netns, address.link) != (route.netns, route.dev):
        return False
    return (route.via != "" and in_prefix(route.via, address.cidr)) or route.src == address.cidr.partition("/")[0]


def _needs(record: Record, state: HostState) -> Iterator[Ref]:
    """What it cannot be without."""
    netns = getattr(record, "netns", "")
    if netns:
        yield Netns, (netns,)
    match record:
        case Link(netns=_, name=name, kind=kind, master=master, peer_netns=peer_netns, peer=peer):
            if master:
                yield Link, (netns, master)
            if peer:
                yield Link, (peer_netns, peer)
            if kind == "internal":
                yield (OvsPort, (name,)) if state.get(OvsPort, name) is not None else (OvsBridge, (name,))
        case Address(link=link) | Neighbour(link=link):
            yield Link, (netns, link)
        case Route(dev=dev) if dev:
            yield Link, (netns, dev)
        case Sysctl(name=name) if device := setting_device(name):
            yield Link, (netns, device)
        case OvsPort():
            yield from _port_needs(record, state)
        case Flow(bridge=bridge):
            yield OvsBridge, (bridge,)
            yield from ((OvsPort, (name,)) for name in flow_ports(record, match_only=True))
        case _:
            return


def _port_needs(port: OvsPort, state: HostState) -> Iterator[Ref]:
    yield OvsBridge, (port.bridge,)
    if peer := dict(port.options).get("peer"):
        yield OvsPort, (peer,)
    if port.type == "":
        yield Link, ("", port.name)


def _mentions(record: Record) -> Iterator[Ref]:
    """What it speaks of, and might do without."""
    match record:
        case Chain(netns=netns, table=table, rules=rules):
            for rule in rules:
                if target := jump_target(rule):
                    yield Chain, (netns, table, target)
                yield from ((Ipset, (netns, name)) for name in set_names(rule))
        case Flow():
            yield from ((OvsPort, (name,)) for name in flow_ports(record))
        case _:
            return


_JUMP = re.compile(r" -[jg] \S+$")


def _without_lost(chain: Chain, lost: Collection[Ref]) -> Chain:
    """Where a filter's rule led part of the packets to a chain that is not there, they are dropped: it might have refused them."""
    rules: list[str] = []
    for rule in chain.rules:
        target = jump_target(rule)
        if any((Ipset, (chain.netns, name)) in lost for name in set_names(rule)):
            continue
        if not target or (Chain, (chain.netns, chain.table, target)) not in lost:
            rules.append(rule)
        elif chain.table == "filter" and _JUMP.search(rule):
            rules.append(_JUMP.sub(" -j DROP", rule))
    return msgspec.structs.replace(chain, rules=tuple(rules))


_OUTPUT = re.compile(r'output:(?:"([^"]+)"|([A-Za-z]\w*))')


def _without_ports(flow: Flow, lost: Collection[Ref]) -> Flow | None:
    """The flow with fewer ports to send to; None when none would be left, or when it names a lost one otherwise."""
    actions = flow.actions.split(",")
    kept = [a for a in actions if not ((m := _OUTPUT.fullmatch(a)) and (OvsPort, (m[1] or m[2],)) in lost)]
    fewer = msgspec.structs.replace(flow, actions=",".join(kept))
    named = {(OvsPort, (name,)) for name in flow_ports(fewer)}
    return fewer if any(_OUTPUT.fullmatch(action) for action in kept) and named.isdisjoint(lost) else None
