"""From an agent's report to the store: statuses first, then the word that the host stands where it says.

    POST …/reports ─▶ engine.write(reports.take) ─▶ durable ─▶ Hub.heard ─▶ who waits for the revision goes on

So whoever waited for a revision finds its statuses. A report that changes nothing is not written; heartbeats are kept in memory
and written together, now and then.
"""

import asyncio
import contextlib
import functools
from typing import Final

from floatway.api.agents.hub import REPORTED, Hub
from floatway.api.engine import Engine
from floatway.control.decide import reports
from floatway.control.draft import Draft
from floatway.control.errors import ApiError
from floatway.control.scope import Key
from floatway.model.stream import Report

__all__ = ["Reports"]

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
        if report.agents or report.fresh or any(getattr(report, table) for table in REPORTED):
            hub = self._hub
            hub.parts.follow(host)

            def decide(draft: Draft) -> None:
                presence = hub.presences.get(host)
                due = presence.due if presence is not None else {}

                def believed(table: str, id_: str) -> bool:
                    return due.get((table, id_), 0) <= report.applied and hub.parts.concerns(host, Key(table, id_))

                reports.take(draft, host, report, believed)

            await self._engine.write(decide)
        self._hub.heard(host, report)

    async def beat(self) -> None:
        """Write the heartbeats of all connected hosts, again and again, until cancelled."""
        pause = self._engine.settings.agent_down_seconds / _PARTS_OF_SILENCE
        while True:
            await asyncio.sleep(pause)
            hosts = [host for host, presence in self._hub.presences.items() if presence.connected]
            if hosts:
                with contextlib.suppress(ApiError):  # the store is away; so is everybody's next write
                    await self._engine.write(functools.partial(reports.seen, hosts=hosts))
