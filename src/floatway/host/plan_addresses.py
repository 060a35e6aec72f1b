"""The plan's phases for addresses, neighbours, routes and rules.

A translation that goes is cut off from both sides first (its rule and its routes), so that nothing leaves untranslated.
"""

from collections.abc import Iterator

from floatway.host.change import Change, ip_steps
from floatway.host.ownership import MAIN_TABLE
from floatway.host.records import Address, Link, Neighbour, Route, Rule
from floatway.host.steps import (
    AddressAdd,
    AddressDelete,
    Announce,
    IpOp,
    NeighbourDelete,
    NeighbourReplace,
    RouteDelete,
    RouteReplace,
    RuleAdd,
    RuleDelete,
    Step,
)


def cut_ways(change: Change) -> Iterator[Step]:
    """Rules, routes and neighbours that go and that nothing takes the place of."""
    rules, routes, entries = _early(change)
    ops: list[tuple[str, IpOp]] = [(rule.netns, RuleDelete(rule=rule)) for rule in rules]
    ops += [(route.netns, RouteDelete(route=route)) for route in routes]
    ops += [(entry.netns, NeighbourDelete(neighbour=entry)) for entry in entries]
    yield from ip_steps(ops)


def _early(change: Change) -> tuple[list[Rule], list[Route], list[Neighbour]]:
    flushed = change.losses.flushed
    added = {(rule.netns, rule.src, rule.iif) for rule in change.added(Rule)}
    removed = [rule for rule in change.removed(Rule) if change.stays(rule.netns)]
    rules = [rule for rule in removed if (rule.netns, rule.src, rule.iif) not in added]
    used = {(rule.netns, rule.table) for rule in removed if rule not in rules}
    routes = [
        route
        for route in _removed_routes(change)
        if (route.netns, route.table) not in used or (route.netns, route.dev) in flushed
    ]
    entries = [e for e in change.removed(Neighbour) if (e.netns, e.link) in flushed and change.stays(e.netns)]
    return rules, routes, entries


def _removed_routes(change: Change) -> list[Route]:
    """A route is replaced whatever its type: the old one of another type needs no deletion."""
    put = {(r.netns, r.table, r.prefix, r.metric) for r in change.put(Route)}
    return [
        route
        for route in change.removed(Route)
        if change.stays(route.netns) and (route.netns, route.table, route.prefix, route.metric) not in put
    ]


def set_addressing(change: Change) -> Iterator[Step]:
    """Addresses, then what is reached by them, then what leads there; then what is left of that which goes."""
    ops: list[tuple[str, IpOp]] = []
    going = {*change.removed(Address), *(before for before, _ in change.changed(Address))}
    # The kernel lists the primary address of a subnet before its secondaries, and deletes these with it: the last first.
    for one in reversed([*change.before.table(Address).values()] if going else []):
        if one in going and change.stays(one.netns):
            ops.append((one.netns, AddressDelete(address=one)))
    ops += [(one.netns, AddressAdd(address=one)) for one in change.put(Address)]
    ops += [(one.netns, NeighbourReplace(neighbour=one)) for one in change.put(Neighbour)]
    ops += [(one.netns, RouteReplace(route=one)) for one in _nearest_first(change.put(Route))]
    ops += [(one.netns, RuleAdd(rule=one)) for one in change.added(Rule)]
    rules, routes, entries = _early(change)
    late = (
        [RuleDelete(rule=rule) for rule in change.removed(Rule) if rule not in rules],
        [RouteDelete(route=route) for route in _removed_routes(change) if route not in routes],
        [NeighbourDelete(neighbour=entry) for entry in change.removed(Neighbour) if entry not in entries],
    )
    ops += [(op.rule.netns, op) for op in late[0] if change.stays(op.rule.netns)]
    ops += [(op.route.netns, op) for op in late[1]]
    ops += [(op.neighbour.netns, op) for op in late[2] if change.stays(op.neighbour.netns)]
    yield from ip_steps(ops)


def _nearest_first(routes: list[Route]) -> list[Route]:
    """Routes without a next hop first: the next hops of others lie behind them."""
    return sorted(routes, key=lambda route: bool(route.via))


def announce(change: Change) -> Iterator[Step]:
    """Tell the segment who answers for an address now, so that nobody goes on with a stale neighbour: what is new, and all that is
    behind a gateway device whose MAC is."""
    moved = {one.key for one in change.added(Link)}
    moved |= {after.key for before, after in change.changed(Link) if after.mac not in ("", before.mac)}
    moved = {(netns, name) for netns, name in moved if str(name).startswith(("fg-", "qr-"))}
    addresses, routes = change.added(Address), change.added(Route)
    if moved:
        spaces = {netns for netns, name in moved if str(name).startswith("fg-")}
        addresses += [one for one in change.want.table(Address).values() if (one.netns, one.link) in moved]
        routes += [one for one in change.want.table(Route).values() if one.netns in spaces]
    told: list[tuple[str, str, str]] = [
        (one.netns, one.link, one.cidr.partition("/")[0]) for one in addresses if one.link.startswith(("fg-", "qr-"))
    ]
    if any(_is_floating(route) for route in routes):
        gateways = {link.netns: link.name for link in change.want.table(Link).values() if link.name.startswith("fg-")}
        told += [
            (route.netns, gateways[route.netns], route.prefix)
            for route in routes
            if _is_floating(route) and route.netns in gateways
        ]
    yield from (Announce(netns=netns, dev=dev, address=address) for netns, dev, address in dict.fromkeys(told))


def _is_floating(route: Route) -> bool:
    """A route of one address to a router: a floating IP's."""
    return route.table == MAIN_TABLE and route.dev.startswith("fpr-") and "/" not in route.prefix
