"""The same question asked by many at once is asked once.

A ─┐
B ─┼─▶ answer(key, ask) ─▶ ask() ─▶ one answer for all three
C ─┘
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["SingleFlight"]

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Questions under way, by key. Who leaves early does not take the answer from the others."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[T]] = {}

    async def answer(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """What ``ask`` gives, or raises; asked anew only when nobody is asking for ``key`` already."""
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.ensure_future(self._ask(key, ask))
            task.add_done_callback(_seen)
        return await asyncio.shield(task)

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        try:
            return await ask()
        finally:
            del self._under_way[key]

    async def close(self) -> None:
        """End what is under way; who waits for it is cancelled."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _seen(task: asyncio.Task[T]) -> None:
    """A failure that nobody waits for any more is no matter for the log."""
    if not task.cancelled():
        task.exception()
