"""Time that passes only when nobody has anything to do: an asyncio loop whose clock jumps to the next timer.

Everything that runs in it and draws its chances from one seeded source runs the same way every time, and a minute of silence
costs nothing.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["DeadlockError", "VirtualLoop", "run"]

T = TypeVar("T")


class DeadlockError(Exception):
    """Everybody waits, and for nothing that will come."""


class _Selector(selectors.SelectSelector):
    """Never waits: what the loop would have slept is added to its clock."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if not found:
            if timeout is None:
                raise DeadlockError("everybody waits, and no timer runs")
            self.loop.now += max(0.0, timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop at ``now`` seconds."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run it on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
