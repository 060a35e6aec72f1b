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
from floatway.agent.reconcile import ReconcileError
from floatway.agent.status import Truth, difference, truth
from floatway.compile.allocations import AllocationError
from floatway.compile.host import Origin
from floatway.linux.errors import LinuxError
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
GROWTH: Final = 1.5
"""Of the pauses between tries to reach a server: one that was away for a moment is found again half that moment later, at most."""
EVENTS: Final = 1000
"""Events that are kept for a server, at most; older ones are in the log."""
_HOST: Final = ("host", "as a whole")
_EXPECTED: Final = (LinuxError, ReconcileError, AllocationError)


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
        self._failed: dict[Origin, str] = {}
        self._tries = 0
        self._retrying: asyncio.TimerHandle | None = None
        self._events: list[Event] = []
        self._due: set[tuple[str, str]] = set()
        self._news = asyncio.Event()
        self._to_tell = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(), name="follow")
                group.create_task(self._work(), name="work")
                group.create_task(self._tell(), name="tell")
                group.create_task(self._watch(), name="watch")
        finally:
            if self._retrying is not None:
                self._retrying.cancel()

    # --- follow -----------------------------------------------------------------------------------

    async def _follow(self) -> None:
        tries = 0
        said: set[str] = set()
        for make in itertools.cycle(self._links):
            link = make()
            try:
                async for delta in link.stream(self.known.revision, SILENCE):
                    if self._link is not link:
                        self._connected(link)
                        tries = 0
                        said.clear()
                    if self.known.take(delta):
                        self._news.set()
                    elif self.truth is not None and not self._busy and self._made is self.known.part:
                        self.truth = msgspec.structs.replace(self.truth, applied=delta.revision)
                        self._to_tell.set()
            except LinkError as error:
                tell = _LOG.debug if str(error) in said else _LOG.warning
                tell("server lost", server=link.address.text, error=str(error))
                said.add(str(error))
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
        await asyncio.sleep(min(most, first * GROWTH ** min(tries, 32)) * self._chance.uniform(0.5, 1.0))

    # --- work -------------------------------------------------------------------------------------

    async def _work(self) -> None:
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
                self._take(part, revision, done, touched)
            except Exception as error:
                _LOG.warning("host not made", error=str(error), exc_info=not isinstance(error, _EXPECTED))
                self._look = True
                self.known.touched |= touched
                self._say_failed({**self._failed, _HOST: str(error) or type(error).__name__}, self._failed)
                continue
            self._made = part
            if mend and not again:
                self._mend = True
                self._news.set()

    def _say_failed(self, failed: Mapping[Origin, str], before: Mapping[Origin, str]) -> None:
        """Tell what fails anew and what does no longer; try again while anything does, later and later while it is the same."""
        for origin in before.keys() - failed.keys():
            _LOG.info("recovered", what=" ".join(origin))
            self._events.append(Event("recovered", " ".join(origin), self._clock()))
        for origin, reason in failed.items():
            if before.get(origin) != reason:
                _LOG.error("cannot be made", what=" ".join(origin), reason=reason)
                self._events.append(Event("failed", f"{' '.join(origin)}: {reason}", self._clock()))
        if self._retrying is not None and (not failed or failed.keys() - before.keys()):
            self._retrying.cancel()
            self._retrying = None
        if not failed or failed.keys() - before.keys():
            self._tries = 0
        if failed and self._retrying is None:
            first, most = RETRY
            seconds = min(most, first * 2 ** min(self._tries, 16)) * self._chance.uniform(0.5, 1.0)
            self._tries += 1
            self._retrying = asyncio.get_running_loop().call_later(seconds, self._retry)
        self._failed = dict(failed)
        if self._events:
            self._to_tell.set()

    def _retry(self) -> None:
        self._retrying = None
        self._look = True
        self._news.set()

    def _take(self, part: Cloud, revision: int, done: Done, touched: set[tuple[str, str]]) -> None:
        if self.known.part is part:  # heartbeats that came meanwhile say that the part is still the same
            revision = self.known.revision or revision
        before = self.truth
        self.truth = truth(part, self.known.host.name, revision, waiting=done.waiting, blocked=done.blocked)
        self._due |= touched
        for what in done.repaired:
            _LOG.warning("repaired", what=what)
            self._events.append(Event("repaired", what, self._clock()))
        self._say_failed(done.blocked, self._failed)
        if before != self.truth or self._due:
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
            events, self._events = self._events, []
            report = Report(applied=0)
            if now is not None:
                due, self._due = self._due, set()
                report = difference(self._told, now, due)
            report = msgspec.structs.replace(report, agents=described, events=tuple(events))
            try:
                await link.report(report)
            except LinkError as error:
                _LOG.warning("report not taken", server=link.address.text, error=str(error))
                self._told = None  # all of it again
                self._events = (events + self._events)[-EVENTS:]
                self._to_tell.set()
                await self._pause(tries, RECONNECT)
                tries += 1
                continue
            tries = 0
            if self._link is link:
                self._described = agents
                if now is not None:
                    self._told = now
