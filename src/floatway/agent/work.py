"""The agent's life: follow a server, make the host be what it says, tell what has become of it. All three at their own pace.

follow  ── lines ──▶ Known ── newest part ──▶ work: make, mend ── Truth ──▶ tell ── Report ──▶ server
                                               ▲
hands.damaged() ── somebody touched the host ──┘

Work always takes the newest part, so a burst of changes is one pass. A server that goes away changes nothing here: the last view
stays, is repaired against damage, and is told anew to the next server. What fails is tried again, later and later.
"""

import asyncio
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
import structlog

from floatway.agent.follow import Known
from floatway.agent.link import Link, LinkError
from floatway.agent.status import Truth, difference, truth
from floatway.compile.host import Origin
from floatway.model.cloud import Cloud
from floatway.model.resources import Host
from floatway.model.stream import Event, Report

__all__ = ["Done", "Hands", "Worker"]

_LOG: Final = structlog.get_logger("floatway.agent")
SILENCE: Final = 20.0
"""Seconds without a word from a server, which sends a heartbeat every 5, after which another one is looked for."""
RETRY: Final = (0.2, 30.0)
"""Seconds before the first new try, and the most there are between two."""
RECONNECT: Final = (0.05, 5.0)


class Done(msgspec.Struct, frozen=True):
    """What hands did: devices that are ``waiting`` for somebody to plug them, what is ``blocked`` and why, what was ``repaired``."""

    waiting: tuple[str, ...] = ()
    blocked: Mapping[Origin, str] = {}
    repaired: tuple[str, ...] = ()


class Hands(Protocol):
    """What touches the host."""

    async def make(self, part: Cloud, *, look: bool) -> Done:
        """Make the host be as ``part`` says; ``look`` at all of it first, trusting nothing that was known. Raises Exception: it
        could not even be tried (Open vSwitch does not answer, …)."""

    async def mend(self) -> Done:
        """Look again at what was touched since the last call, and make it be as it was made. Raises as ``make``."""

    async def damaged(self) -> None:
        """Return when something was touched: by others, or by a device that was waited for."""


class Worker:
    """One host's agent."""

    def __init__(
        self,
        host: Host,
        hands: Hands,
        links: Sequence[Callable[[], Link]],
        describe: Callable[[], tuple[dict[str, Any], ...]],
        *,
        chance: random.Random | None = None,
        clock: Callable[[], float],
    ) -> None:
        """``links`` make the ways to the servers; ``describe`` says what runs here; ``clock`` gives seconds since the epoch."""
        self.known = Known(host)
        self.truth: Truth | None = None
        self._hands = hands
        self._links = links
        self._describe = describe
        self._chance = chance or random.Random()  # noqa: S311 - spreads reconnects, guards nothing
        self._clock = clock
        self._link: Link | None = None
        self._told: Truth | None = None
        self._described: tuple[dict[str, Any], ...] = ()
        self._look = True
        self._mend = False
        self._busy = False
        self._made: Cloud | None = None
        self._events: list[Event] = []
        self._due: set[tuple[str, str]] = set()
        self._news = asyncio.Event()
        self._to_tell = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="follow")
            group.create_task(self._work(), name="work")
            group.create_task(self._tell(), name="tell")
            group.create_task(self._watch(), name="watch")

    # --- follow -----------------------------------------------------------------------------------

    async def _follow(self) -> None:
        tries = 0
        for make in itertools.cycle(self._links):
            link = make()
            try:
                async for delta in link.stream(self.known.revision, SILENCE):
                    if self._link is not link:
                        self._connected(link)
                        tries = 0
                    if self.known.take(delta):
                        self._news.set()
                    elif self.truth is not None and not self._busy and not self._news.is_set():
                        self.truth = msgspec.structs.replace(self.truth, applied=delta.revision)
                        self._to_tell.set()
            except LinkError as error:
                _LOG.warning("server lost", server=link.address.text, error=str(error))
            finally:
                self._link = None
                link.close()
            await self._pause(tries, RECONNECT)
            tries += 1

    def _connected(self, link: Link) -> None:
        _LOG.info("following", server=link.address.text, revision=self.known.revision)
        self._link, self._told, self._described = link, None, ()
        self._to_tell.set()

    async def _pause(self, tries: int, limits: tuple[float, float]) -> None:
        first, most = limits
        await asyncio.sleep(min(most, first * 2 ** min(tries, 16)) * self._chance.uniform(0.5, 1.0))

    # --- work -------------------------------------------------------------------------------------

    async def _work(self) -> None:
        failures = 0
        while True:
            self._busy = False
            await self._news.wait()
            self._news.clear()
            part, revision = self.known.part, self.known.revision
            if part is None or revision is None:
                continue
            look, self._look = self._look, False
            touched, self.known.touched = self.known.touched, set()
            self._busy = True  # a heartbeat that comes now says nothing of what is under way
            mend, self._mend = self._mend, False
            again = part is self._made and not look
            try:
                done = await (self._hands.mend() if again else self._hands.make(part, look=look))
            except Exception as error:
                _LOG.warning("host not made", error=str(error), tries=failures + 1)
                self._look = True
                self.known.touched |= touched
                self._again(failures)
                failures += 1
                continue
            self._made = part
            self._due |= touched
            if mend and not again:
                self._mend = True
                self._news.set()
            failures = failures + 1 if done.blocked else 0
            if done.blocked:
                self._again(failures)
            self._take(part, revision, done)

    def _again(self, failures: int) -> None:
        first, most = RETRY
        asyncio.get_running_loop().call_later(min(most, first * 2 ** min(failures, 16)), self._retry)

    def _retry(self) -> None:
        self._look = True
        self._news.set()

    def _take(self, part: Cloud, revision: int, done: Done) -> None:
        for what in done.repaired:
            _LOG.warning("repaired", what=what)
            self._events.append(Event("repaired", what, self._clock()))
        before = self.truth
        if not self._news.is_set():  # heartbeats that came meanwhile say that the part is still the same
            revision = self.known.revision or revision
        self.truth = truth(part, self.known.host.name, revision, waiting=done.waiting, blocked=done.blocked)
        for origin, reason in done.blocked.items():
            _LOG.error("cannot be made", what=f"{origin[0]} {origin[1]}", reason=reason)
        if before != self.truth or self._events or self._due:
            self._to_tell.set()

    async def _watch(self) -> None:
        while True:
            await self._hands.damaged()
            self._mend = True
            self._news.set()

    # --- tell -------------------------------------------------------------------------------------

    async def _tell(self) -> None:
        tries = 0
        while True:
            await self._to_tell.wait()
            self._to_tell.clear()
            link, now = self._link, self.truth
            if link is None:
                continue  # a new connection begins by telling
            agents = self._describe()
            described = () if agents == self._described else agents
            events: list[Event] = []
            if now is None:
                report = Report(applied=0, agents=described)
            else:
                due, self._due = self._due, set()
                events, self._events = self._events, []
                report = difference(self._told, now, due)
                report = msgspec.structs.replace(report, agents=described, events=tuple(events))
            try:
                await link.report(report)
            except LinkError as error:
                _LOG.warning("report not taken", server=link.address.text, error=str(error))
                self._told = None  # all of it again
                self._events = events + self._events
                self._to_tell.set()
                await self._pause(tries, RECONNECT)
                tries += 1
                continue
            tries = 0
            if self._link is link:
                self._described = agents
                if now is not None:
                    self._told = now
