"""An agent's hands on a real host: one thread that alone touches kernel and Open vSwitch, and an ear for what others do there."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from floatway.agent.agent import Agent
from floatway.agent.work import Done
from floatway.host.commands import commands
from floatway.linux.plugged import Plugged
from floatway.model.cloud import Cloud

__all__ = ["HostHands"]

_TOLD = 20
"""Commands of a repair that are told, at most."""


class HostHands:
    """See ``agent.work.Hands``. Give it back with ``close``."""

    def __init__(self, host: str) -> None:
        """``host`` is this one's name."""
        self._host = host
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hands")
        self._agent: Agent | None = None
        self._made: Cloud | None = None
        self._plugged = Plugged()

    async def make(self, part: Cloud, *, look: bool) -> Done:
        """Make the host be as ``part`` says. Raises as ``Agent.reconcile``."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._make, part, look)

    async def damaged(self) -> None:
        """Return when a device came or went that was not of our making alone."""
        await self._plugged.next()

    def close(self) -> None:
        """Let go of the host; everything on it stays."""
        self._plugged.close()
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._agent is not None:
            self._agent.close()

    def _make(self, part: Cloud, look: bool) -> Done:
        if self._agent is None:
            self._agent = Agent(self._host)
        outcome = self._agent.reconcile(part) if look else self._agent.apply(part)
        repaired: tuple[str, ...] = ()
        if self._made is part:
            repaired = tuple(line for step in outcome.plan.steps for line in commands(step))[:_TOLD]
        self._made = part
        return Done(waiting=outcome.waiting, repaired=repaired)
