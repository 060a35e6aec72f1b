"""From an agent's report to the store: statuses first, then the word that the host stands where it says.

    POST …/reports ─▶ engine.write(reports.take) ─▶ durable ─▶ Hub.heard ─▶ who waits for the revision goes on

So whoever waited for a revision finds its statuses. A report that changes nothing is not written; heartbeats are kept in memory
and written together, now and then.
"""

import asyncio
import contextlib
import functools
from typing import Final

import msgspec

from floatway.api.agents.hub import REPORTED, Hub, Presence
from floatway.api.engine import Engine
from floatway.control import entities as e
from floatway.control.decide import reports
from floatway.control.draft import Draft
from floatway.control.errors import ApiError
from floatway.control.scope import Key, resource
from floatway.control.snapshot import Readable
from floatway.model.stream import Report, State

__all__ = ["Reports"]

_KINDS: Final[dict[str, type[e.Entity]]] = {"ports": e.Port, "floating_ips": e.FloatingIp, "routers": e.Router}
_AT_ONCE: Final = 20
_AGAIN: Final = 1.0
_PARTS_OF_SILENCE: Final = 3
"""Heartbeats are written so many times in the silence after which an agent counts as down."""


class Reports:
    """What is done with reports."""

    def __init__(self, engine: Engine, hub: Hub) -> None:
        """``hub`` follows ``engine``."""
        self._engine = engine
        self._hub = hub

    async def take(self, host: str, report: Report) -> None:
        """Store it.

        Raises:
            ApiError: 503, the store failed; the agent says it again.
        """
        hub = self._hub
        if report.applied > hub.revision:  # of another store, or of one that was restored: it stands nowhere here
            report = msgspec.structs.replace(report, applied=0)
        presence = hub.present(host)
        news = report.agents or report.fresh or any(getattr(report, table) for table in REPORTED)
        if news or self._is_owed(self._engine.model, presence, report.applied):

            def decide(draft: Draft) -> None:
                def believed(table: str, id_: str, state: State) -> bool:
                    key = Key(table, id_)
                    if not hub.parts.concerns(host, key):
                        # of a floating IP that is not here the rules have said all; of routers and interfaces others speak too
                        return state == "DOWN" and table != "floating_ips"
                    return (
                        presence.followed
                        and presence.due.get((table, id_), 0) <= report.applied
                        and _is_known(draft, hub, key, host)
                    )

                reports.take(draft, host, report, believed)
                if self._is_owed(draft, presence, report.applied):
                    reports.stands(draft, host, hub.server, report.applied)

            await self._engine.write(decide)
        self._hub.heard(host, report)

    def _is_owed(self, model: Readable, presence: Presence, applied: int) -> bool:
        """Whether other servers want to know that the host is here, or that it has applied what concerned it. Nothing else is
        worth a revision."""
        if not self._hub.server or not presence.connected:
            return False
        known = model.get(e.HostStand, presence.host)
        if known is None or known.server != self._hub.server:
            return True
        return known.applied < min(applied, max(presence.concerned, known.asked))

    async def ask(self) -> None:
        """Whenever the hub is in doubt, have other servers say where their hosts stand; until cancelled."""
        hub = self._hub
        while True:
            await hub.in_doubt.wait()
            hub.in_doubt.clear()
            try:
                await self._engine.write(functools.partial(reports.ask, server=hub.server, revision=hub.revision))
            except ApiError:  # the store is away
                hub.in_doubt.set()
                await asyncio.sleep(_AGAIN)

    async def left(self, host: str) -> None:
        """Tell other servers that the host is not here any more."""
        hub = self._hub

        def decide(draft: Draft) -> None:
            known = draft.get(e.HostStand, host)
            presence = hub.presences.get(host)
            if known is not None and known.server == hub.server and (presence is None or not presence.connected):
                reports.stands(draft, host, "", known.applied)

        if hub.server:
            with contextlib.suppress(ApiError):
                await self._engine.write(decide)

    async def beat(self, every: float | None = None) -> None:
        """Write the heartbeats of all connected hosts each ``every`` seconds (None: as often as needed), until cancelled."""
        down = self._engine.settings.agent_down_seconds
        pause = down / _PARTS_OF_SILENCE if every is None else every
        while True:
            self._hub.silent(down)
            hosts = [host for host, presence in self._hub.presences.items() if presence.connected]
            groups = [hosts[at : at + _AT_ONCE] for at in range(0, len(hosts), _AT_ONCE)]
            for group in groups or [[]]:  # a thousand in one go would hold up everybody else
                await asyncio.sleep(pause / max(1, len(groups)))
                if group:
                    with contextlib.suppress(ApiError):  # the store is away; so is everybody's next write
                        await self._engine.write(functools.partial(reports.seen, hosts=group))


def _is_known(draft: Draft, hub: Hub, key: Key, host: str) -> bool:
    """Whether the host can know the resource's newest form: what is decided and not yet durable no host was told."""
    kind, known = _KINDS[key.table], hub.parts.model
    if draft.get(kind, key.id) is known.get(kind, key.id):
        return True
    return resource(draft.model, key, host) == resource(known, key, host)
