"""What a server and a host's agent say to each other: one JSON object a line, each with the revision it stands for.

    server ─▶ agent    Delta(revision, fresh, networks, …, removed)     the host's part of the cloud, then what changes in it
    agent ─▶ server    Report(applied, ports, …)                        what has become of it

A part that comes whole is ``fresh``: what was known before is void. A delta without content is a heartbeat: the part is the
same at that revision.
"""

from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from floatway.model.cloud import Cloud, heir
from floatway.model.resources import (
    FloatingIp,
    Host,
    Network,
    Port,
    Router,
    SecurityGroup,
    Server,
    Subnet,
)

__all__ = ["TABLES", "Delta", "Event", "Report", "State", "Status", "applied", "failing", "merged"]

TABLES: Final = (
    "networks", "subnets", "ports", "routers", "floating_ips", "security_groups", "servers", "hosts",
)  # fmt: skip
"""The tables of a cloud, and the fields of a delta that hold what is put into them."""


class Delta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """From one revision of a host's part to the next: what is put in place, and the ids (hosts: names) of what is taken away."""

    revision: int
    fresh: bool = False
    networks: tuple[Network, ...] = ()
    subnets: tuple[Subnet, ...] = ()
    ports: tuple[Port, ...] = ()
    routers: tuple[Router, ...] = ()
    floating_ips: tuple[FloatingIp, ...] = ()
    security_groups: tuple[SecurityGroup, ...] = ()
    servers: tuple[Server, ...] = ()
    hosts: tuple[Host, ...] = ()
    removed: dict[str, tuple[str, ...]] = {}

    @property
    def empty(self) -> bool:
        """Whether it changes nothing."""
        return not (self.fresh or self.removed or any(getattr(self, table) for table in TABLES))


State = Literal["ACTIVE", "DOWN", "ERROR", "BUILD"]


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a host says of one resource; ``reason`` is the failed command and the kernel's word for it, empty when well."""

    state: State
    reason: str = ""


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that an operator wants to know: ``kind`` is ``repaired``, ``failed`` or ``recovered``; ``seconds`` since the epoch."""

    kind: str
    what: str
    seconds: float


def failing(events: Iterable[Event]) -> dict[str, str]:
    """What a host said that failed and not that it recovered, and why."""
    found: dict[str, str] = {}
    for event in events:
        what, _, reason = event.what.partition(": ")
        if event.kind == "failed":
            found[what] = reason
        elif event.kind == "recovered":
            found.pop(what, None)
    return found


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What has become of a host's part.

    ``applied`` is the revision that the host stands at: all of it is installed but for what is named with ERROR. ``fresh``: the
    statuses are all there are, and what is not named is gone; otherwise only those that changed. ``agents`` describe what runs
    there (agent_type, binary, configurations, …) and need be sent only when they change. A report without content is a heartbeat.
    """

    applied: int
    fresh: bool = False
    ports: dict[str, Status] = {}
    floating_ips: dict[str, Status] = {}
    routers: dict[str, Status] = {}
    agents: tuple[dict[str, Any], ...] = ()
    events: tuple[Event, ...] = ()


def applied(cloud: Cloud, delta: Delta) -> Cloud:
    """The part after a delta. The caller sees to ``fresh``. What is to be removed and is not there is no error."""
    changed: dict[str, dict[str, Any]] = {}
    for table in TABLES:
        new, gone = getattr(delta, table), delta.removed.get(table, ())
        if new or gone:
            entries = changed[table] = dict(getattr(cloud, table))
            for key in gone:
                entries.pop(key, None)
            for one in new:
                entries[_key(table, one)] = one
    return heir(cloud, changed)


def merged(first: Delta, second: Delta) -> Delta:
    """What both do, one after the other. ``applied(applied(c, first), second) == applied(c, merged(first, second))``."""
    if second.fresh or first.empty:
        return second
    puts: dict[str, Any] = {}
    removed: dict[str, tuple[str, ...]] = {}
    for table in TABLES:
        early, late = getattr(first, table), getattr(second, table)
        gone, gone_late = first.removed.get(table, ()), second.removed.get(table, ())
        if not (late or gone_late):
            puts[table] = early
            if gone:
                removed[table] = gone
            continue
        new = {_key(table, one): one for one in early}
        for key in gone_late:
            new.pop(key, None)
        new |= {_key(table, one): one for one in late}
        puts[table] = tuple(new.values())
        if left := tuple(key for key in dict.fromkeys((*gone, *gone_late)) if key not in new):
            removed[table] = left
    return Delta(revision=second.revision, fresh=first.fresh, removed=removed, **puts)


def _key(table: str, one: Any) -> str:
    return str(one.name if table == "hosts" else one.id)
