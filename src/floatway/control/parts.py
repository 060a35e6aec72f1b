"""Each host's part of the cloud, and what a commit changes in it.

    commit: port P gets a floating IP ──▶ key (floating_ips, F) ──▶ hosts that need it: that of P ──▶ Delta for that host alone

The hosts that a change concerns are found through indexes, from the change: what is in whose scope is remembered the other way
round. A scope itself is found anew only where what it follows from changed: the first or last port of a network or group on a
host, an interface or gateway of a router in scope, a remote group in a rule.

Law: ``applied(part(before), delta) == part(after)``, for every host and any commits.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final, cast

from floatway.control import entities as e
from floatway.control import view
from floatway.control.decide import owners
from floatway.control.neighbours import neighbours
from floatway.control.scope import (
    NOTHING,
    Key,
    Own,
    Scope,
    counts,
    keys,
    of_members,
    of_networks,
    of_port,
    own,
    relevant,
    resource,
    scope,
)
from floatway.control.snapshot import Model
from floatway.model.cloud import Cloud, Thing
from floatway.model.stream import TABLES, Delta

__all__ = ["Changed", "Parts", "between", "part"]

Changed = Collection[tuple[str, str]]
"""(kind, id) of every entity that a commit changed, made or deleted."""

_SETS: Final = ("networks", "external", "routers", "groups", "members")


def part(model: Model, host: str) -> Cloud:
    """What of the cloud concerns the host: the same to ``compile_host`` as the whole cloud."""
    tables: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
    for key in keys(model, host, scope(model, own(model, host))):
        tables[key.table][key.id] = resource(model, key, host)
    tables["hosts"] = neighbours(model) | {host: view.host(model, host)}
    return Cloud(**tables)


def between(before: Model, after: Model, host: str) -> Delta:
    """What leads from the host's part of one model to that of another, both looked at whole."""
    old, new = part(before, host), part(after, host)
    put: dict[str, Any] = {}
    removed: dict[str, tuple[str, ...]] = {}
    for table in TABLES:
        was, is_ = getattr(old, table), getattr(new, table)
        if changed := tuple(one for key, one in is_.items() if was.get(key) != one):
            put[table] = changed
        if gone := tuple(key for key in was if key not in is_):
            removed[table] = gone
    return Delta(revision=after.revision, removed=removed, **put)


class Parts:
    """The scopes of the hosts that are followed, as of ``model``."""

    def __init__(self, model: Model) -> None:
        """Follows no host yet."""
        self.model = model
        self._own: dict[str, Own] = {}
        self._scopes: dict[str, Scope] = {}
        self._where: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in _SETS}

    @property
    def hosts(self) -> Collection[str]:
        """The hosts that are followed."""
        return self._scopes.keys()

    def concerns(self, host: str, key: Key) -> bool:
        """Whether the host needs the resource; never for a host that is not followed."""
        return host in self._scopes and relevant(self.model, host, self._scopes[host], key)

    def follow(self, host: str) -> None:
        """Say from now on what changes for this host."""
        if host not in self._scopes:
            self._own[host] = own(self.model, host)
            self._scopes[host] = NOTHING
            self._rescope(host, scope(self.model, self._own[host]))

    def forget(self, host: str) -> None:
        """Say it no longer."""
        if host in self._scopes:
            self._rescope(host, NOTHING)
            del self._scopes[host], self._own[host]

    def move(self, model: Model, changed: Changed) -> dict[str, Delta]:
        """Go on to ``model``, which differs from the last one in ``changed``. Only hosts for which something changes are in the
        answer; hosts for which the same changes share one delta."""
        return _Move(self, self.model, model, changed).deltas()

    def _rescope(self, host: str, new: Scope) -> Scope:
        old, self._scopes[host] = self._scopes[host], new
        for name in _SETS:
            was, is_ = getattr(old, name), getattr(new, name)
            if was is is_:
                continue
            where = self._where[name]
            for id_ in was - is_:
                where[id_].discard(host)
                if not where[id_]:
                    del where[id_]
            for id_ in is_ - was:
                where[id_].add(host)
        return old


class _Move:
    """One step of ``Parts`` from a model to the next."""

    def __init__(self, parts: Parts, before: Model, after: Model, changed: Changed) -> None:
        self.parts, self.before, self.after, self.changed = parts, before, after, changed
        self.keys: dict[str, set[Key]] = defaultdict(set)
        """What may have changed, for each host that may need it."""
        self.dirty: set[str] = set()
        """Hosts whose scope has to be found anew."""
        self._old: dict[Key, Thing | None] = {}
        self._new: dict[Key, Thing | None] = {}
        self._made: dict[tuple[tuple[Key, ...], tuple[Key, ...]], Delta] = {}

    def deltas(self) -> dict[str, Delta]:
        # what was in scope before needs to hear what leaves it, so hosts are looked for on both sides
        for kind, id_ in self.changed:
            self._reach(kind, id_)
        was: dict[str, Scope] = {}
        for host in self.dirty:
            was[host] = self.parts._rescope(host, scope(self.after, self.parts._own[host]))
            self.keys[host].update(self._crossing(was[host], self.parts._scopes[host]))
        self.parts.model = self.after
        found: dict[str, Delta] = {}
        for host, reached in self.keys.items():
            now = self.parts._scopes[host]
            delta = self._delta(host, was.get(host, now), now, reached)
            if delta is not None:
                found[host] = delta
        return found

    def _delta(self, host: str, was: Scope, now: Scope, reached: set[Key]) -> Delta | None:
        put: list[Key] = []
        removed: list[Key] = []
        mine: dict[Key, Thing | None] = {}
        for key in sorted(reached):
            had = relevant(self.before, host, was, key)
            if relevant(self.after, host, now, key):
                new = mine[key] = self._resource(self.after, self._new, key, host)
                if not had or self._resource(self.before, self._old, key, host) != new:
                    put.append(key)
            elif had:
                removed.append(key)
        if not put and not removed:
            return None
        shape = (tuple(put), tuple(removed))
        shared = not any(_personal(key, host) for key in put)
        delta = self._made.get(shape) if shared else None
        if delta is None:
            delta = _made(self.after.revision, put, removed, mine)
            if shared:
                self._made[shape] = delta
        return delta

    def _resource(self, model: Model, known: dict[Key, Thing | None], key: Key, host: str) -> Thing | None:
        if _personal(key, host):
            return resource(model, key, host)
        if key not in known:
            known[key] = resource(model, key)
        return known[key]

    def _add(self, hosts: Iterable[str], *keys: Key) -> None:
        for host in hosts:
            if host in self.parts._scopes:
                self.keys[host].update(keys)

    def _hosts(self, name: str, ids: Iterable[str]) -> set[str]:
        where = self.parts._where[name]
        return {host for id_ in ids for host in where.get(id_, ())}

    def _crossing(self, old: Scope, new: Scope) -> Iterator[Key]:
        """What comes into a scope or leaves it."""
        for model in (self.before, self.after):
            yield from of_networks(model, old.networks ^ new.networks)
            yield from of_networks(model, old.external ^ new.external, ports=False)
            yield from of_members(model, old.members ^ new.members)
        yield from (Key("routers", id_) for id_ in old.routers ^ new.routers)
        yield from (Key("security_groups", id_) for id_ in old.groups ^ new.groups)

    def _reach(self, kind: str, id_: str) -> None:
        """Note whom a changed entity concerns, as far as scopes go that are there; ``_crossing`` knows the rest."""
        old = self.before.get(e.KINDS[kind], id_)
        new = self.after.get(e.KINDS[kind], id_)
        both: list[Any] = [one for one in (old, new) if one is not None]
        match kind:
            case e.Network.KIND:
                self._add(self._hosts("networks", [id_]) | self._hosts("external", [id_]), Key("networks", id_))
            case e.Subnet.KIND:
                nets = [one.network_id for one in both]
                self._add(self._hosts("networks", nets) | self._hosts("external", nets), Key("subnets", id_))
            case e.Port.KIND:
                self._port(both)
                self._port_scopes(cast("e.Port | None", old), cast("e.Port | None", new))
            case e.Router.KIND:
                self._add(self._hosts("routers", [id_]), Key("routers", id_))
                if _differ(old, new, "gateway"):
                    self.dirty |= self._hosts("routers", [id_])
            case e.FloatingIp.KIND:
                self._add(self._bound([one.port_id for one in both]), Key("floating_ips", id_))
            case e.SecurityGroup.KIND:
                self._group([id_])
            case e.SecurityGroupRule.KIND:
                groups = [one.security_group_id for one in both]
                self._group(groups)
                self.dirty |= self._hosts("groups", groups)
            case e.AddressGroup.KIND:
                for model in (self.before, self.after):
                    rules = model.find(e.SecurityGroupRule, "address_group", id_)
                    self._group([rule.security_group_id for rule in rules])
            case e.Agent.KIND:
                if _differ(old, new, "configurations", "host", "agent_type"):  # heartbeats are nobody's business
                    self._add(self.parts.hosts, *(Key("hosts", one.host) for one in both))
            case _:
                pass

    def _group(self, ids: Iterable[str]) -> None:
        for id_ in ids:
            self._add(self._hosts("groups", [id_]), Key("security_groups", id_))

    def _bound(self, port_ids: Iterable[str | None]) -> set[str]:
        """Where these ports are, and were."""
        ports = [model.get(e.Port, id_) for model in (self.before, self.after) for id_ in port_ids if id_]
        return {port.binding_host_id for port in ports if port is not None}

    def _port(self, both: list[e.Port]) -> None:
        for port in both:
            if port.device_owner == owners.ROUTER_GATEWAY:
                self._add(self._hosts("routers", [port.device_id]), Key("routers", port.device_id))
        hosts = {port.binding_host_id for port in both} | self._hosts("networks", [port.network_id for port in both])
        hosts |= self._hosts("members", (group for port in both for group in port.security_groups))
        self._add(hosts, Key("ports", both[0].id))
        other = both[1] if len(both) > 1 else None
        if _differ(both[0], other, "binding_host_id", "device_id", "device_owner", "project_id"):
            # it moved, came or went: so did its instance, and the floating IPs that lead to it
            found = [key for model in (self.before, self.after) for key in of_port(model, both[0].id)]
            for port in both:
                self._add((one.binding_host_id for one in both), Key("servers", port.device_id), *found)

    def _port_scopes(self, old: e.Port | None, new: e.Port | None) -> None:
        moved = _differ(old, new, "network_id", "device_id", "device_owner")
        for port, step in ((old, -1), (new, 1)):
            if port is None:
                continue
            if port.device_owner == owners.DISTRIBUTED_INTERFACE:
                if moved:
                    self.dirty |= self._hosts("networks", [port.network_id]) | self._hosts("routers", [port.device_id])
            elif counts(port):
                mine = self.parts._own.get(port.binding_host_id)
                if mine is not None and self._count(mine, port, step):
                    self.dirty.add(port.binding_host_id)

    @staticmethod
    def _count(mine: Own, port: e.Port, step: int) -> bool:
        """Count a port in or out; whether it was the first or the last of something."""
        edge = 0 if step < 0 else 1
        turned = False
        for counter, id_ in (
            (mine.networks, port.network_id),
            *((mine.groups, group) for group in port.security_groups),
        ):
            counter[id_] += step
            turned |= counter[id_] == edge
            if not counter[id_]:
                del counter[id_]
        return turned


def _differ(old: e.Entity | None, new: e.Entity | None, *fields: str) -> bool:
    """Whether one came or went, or differs in a field."""
    return old is None or new is None or any(getattr(old, field) != getattr(new, field) for field in fields)


def _personal(key: Key, host: str) -> bool:
    """Whether this host knows the resource otherwise than others do."""
    return key.table == "servers" or (key.table == "hosts" and key.id == host)


def _made(revision: int, put: list[Key], removed: list[Key], resources: dict[Key, Thing | None]) -> Delta:
    tables: dict[str, list[Any]] = defaultdict(list)
    gone: dict[str, list[str]] = defaultdict(list)
    for key in put:
        tables[key.table].append(resources[key])
    for key in removed:
        gone[key.table].append(key.id)
    puts: dict[str, Any] = {table: tuple(things) for table, things in tables.items()}
    return Delta(revision=revision, removed={table: tuple(ids) for table, ids in gone.items()}, **puts)
