"""Two states and what lies between them: what the phases of a plan are made from."""

from collections.abc import Iterable, Iterator
from typing import TypeVar, cast

import msgspec

from floatway.host.losses import Losses, foresee
from floatway.host.records import Chain, Flow, Ipset, Link, Netns, Record, Sysctl
from floatway.host.rules import set_names
from floatway.host.state import Delta, HostState, diff, differing
from floatway.host.steps import Ip, IpOp, Step

R = TypeVar("R", bound=Record)
N = TypeVar("N", Sysctl, Ipset, Chain)


class Change(msgspec.Struct, frozen=True):
    """``before`` is all of ours that is there now, ``have`` the same less what will be lost on the way; ``deltas`` lead from
    ``have`` to ``want``. ``stripped`` are chains that for a while must not ask the sets in ``retyped``."""

    before: HostState
    have: HostState
    want: HostState
    losses: Losses
    stripped: tuple[Chain, ...]
    retyped: tuple[Ipset, ...]
    deltas: dict[type[Record], Delta]

    def added(self, kind: type[R]) -> list[R]:
        """Wanted and not there."""
        delta = self.deltas.get(kind)
        return cast(list[R], list(delta.added)) if delta else []

    def removed(self, kind: type[R]) -> list[R]:
        """There and not wanted."""
        delta = self.deltas.get(kind)
        return cast(list[R], list(delta.removed)) if delta else []

    def changed(self, kind: type[R]) -> list[tuple[R, R]]:
        """(before, after) under one key."""
        delta = self.deltas.get(kind)
        return cast(list[tuple[R, R]], list(delta.changed)) if delta else []

    def put(self, kind: type[R]) -> list[R]:
        """Added and changed, as wanted."""
        return [*self.added(kind), *(after for _, after in self.changed(kind))]

    def stays(self, netns: str) -> bool:
        """Will the namespace be there afterwards? What is in one that goes needs no step of its own."""
        return netns == "" or self.want.get(Netns, netns) is not None

    def removed_links(self) -> list[Link]:
        """Devices that are there and not wanted, whether or not something else takes them along."""
        wanted = self.want.table(Link)
        there = differing(Link, self.before, self.want)
        return [one for one in there if one.key not in wanted and one.kind != "foreign"]


def change_of(observed: HostState, before: HostState, want: HostState) -> Change:
    """What lies between."""
    losses = foresee(observed, before, want)
    retyped = tuple(s for s in differing(Ipset, before, want) if _is_retyped(s, want))
    stripped = tuple(_stripped(before, retyped))
    have = before.without(*losses.records, *losses.perhaps, *retyped)
    if losses.released or stripped:
        have = have.replaced(*(msgspec.structs.replace(link, master="") for link in losses.released), *stripped)
    deltas = {delta.kind: delta for delta in diff(have, want)}
    return Change(before.replaced(*stripped), have, want, losses, stripped, retyped, deltas)


def _is_retyped(one: Ipset, want: HostState) -> bool:
    asked = want.get(Ipset, *one.key)
    return asked is not None and (asked.type, asked.family) != (one.type, one.family)


def _stripped(before: HostState, retyped: Iterable[Ipset]) -> Iterator[Chain]:
    names = {(one.netns, one.name) for one in retyped}
    for chain in before.table(Chain).values() if names else ():
        kept = tuple(r for r in chain.rules if names.isdisjoint((chain.netns, name) for name in set_names(r)))
        if kept != chain.rules:
            yield msgspec.structs.replace(chain, rules=kept)


def by_netns(records: Iterable[N]) -> list[tuple[str, list[N]]]:
    """Grouped by namespace, in order of appearance."""
    groups: dict[str, list[N]] = {}
    for record in records:
        groups.setdefault(record.netns, []).append(record)
    return list(groups.items())


def by_bridge(flows: Iterable[Flow]) -> dict[str, list[Flow]]:
    """Grouped by bridge, in order of appearance."""
    groups: dict[str, list[Flow]] = {}
    for flow in flows:
        groups.setdefault(flow.bridge, []).append(flow)
    return groups


def ip_steps(ops: Iterable[tuple[str, IpOp]]) -> Iterator[Step]:
    """One batch per namespace; within one, the order given."""
    groups: dict[str, list[IpOp]] = {}
    for netns, op in ops:
        groups.setdefault(netns, []).append(op)
    yield from (Ip(netns=netns, ops=tuple(group)) for netns, group in groups.items())
