"""An agent's hands on a real host: one thread that alone touches kernel and Open vSwitch, and ears for what others do there.

make(part)    the fast way, or with a look at everything          agent.agent.Agent
mend()        a look at what was touched, and its repair          linux.watch.Watch hears it
"""

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from floatway.agent.agent import Agent
from floatway.agent.reconcile import Outcome
from floatway.agent.work import Done
from floatway.host.commands import commands
from floatway.linux.connection import HostConnection
from floatway.linux.touched import NOTHING, Touched
from floatway.linux.watch import Watch
from floatway.model.cloud import Cloud

__all__ = ["HostHands"]

_GENERATIONS: Final = (50_000, 50, 100)
"""New objects, and passes over younger generations, before the garbage collector looks at each generation."""
_TOLD: Final = 20
"""Commands of a repair that are told, at most."""


class HostHands:
    """See ``agent.work.Hands``. Use as an asynchronous context manager; at its end everything on the host stays."""

    def __init__(self, host: str) -> None:
        """``host`` is this one's name."""
        self._conn = HostConnection()
        self._agent = Agent(host, self._conn)
        self._watch = Watch(self._conn)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hands")
        self._touched: Touched = NOTHING
        self._waiting: tuple[str, ...] = ()
        self._stack = AsyncExitStack()
        self._settled = False

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._watch)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._agent.close()

    async def make(self, part: Cloud, *, look: bool) -> Done:
        """Make the host be as ``part`` says. Raises as ``Agent.reconcile``."""
        act = self._agent.reconcile if look else self._agent.apply
        return self._done(await self._run(lambda: act(part)), repaired=False)

    async def mend(self) -> Done:
        """Look again at what was touched, and mend it. Raises as ``Agent.verify``."""
        touched, self._touched = self._touched, NOTHING
        before = self._waiting
        outcome = await self._run(lambda: self._agent.verify(touched))
        return self._done(outcome, repaired=set(before) <= set(outcome.waiting))

    async def damaged(self) -> None:
        """Return when something was touched."""
        heard = await self._watch.next()
        self._touched |= heard  # two lines: "x |= await" reads x before it waits, and mend() comes meanwhile

    async def _run(self, act: Callable[[], Outcome]) -> Outcome:
        with self._watch.ours() as did:
            outcome = await asyncio.get_running_loop().run_in_executor(self._thread, act)
            did(outcome.plan)
        if not self._settled:
            self._settled = True
            _settle()
        return outcome

    def _done(self, outcome: Outcome, *, repaired: bool) -> Done:
        self._waiting = outcome.waiting
        self._watch.expect(outcome.waiting)
        lines = (line for step in outcome.plan.steps for line in commands(step)) if repaired else ()
        return Done(waiting=outcome.waiting, blocked=outcome.blocked, repaired=tuple(lines)[:_TOLD])


def _settle() -> None:
    """What is known of the host stays, and holds no cycles: the collector need not walk through 100,000 records in the middle of a
    change, which takes it longer than the change."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GENERATIONS)
