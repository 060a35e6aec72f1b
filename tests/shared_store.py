"""A store that several servers share: a list. What a server hears of the others' commits can be held back, and a commit's answer lost.

Shared.log ◀── commit ── Store of server a          Shared.log ── watch ──▶ Store of server b, when it ``hears``
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from floatway.store.base import Change, Commit, Compacted, Conflict, Snapshot


class Shared:
    """The log that all servers commit to."""

    def __init__(self) -> None:
        self.log: list[Commit] = []
        self.first = 1
        self.moved = asyncio.Event()


class Store:
    """One server's way to it."""

    exclusive = False

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.hears = asyncio.Event()
        self.hears.set()
        self.hears_with_head = False
        self.fails: Exception | None = None
        self.commits: list[int] = []
        self.before: Callable[[], Awaitable[None]] | None = None

    async def snapshot(self) -> Snapshot:
        objects: dict[tuple[str, str], bytes] = {}
        for commit in self.shared.log:
            for change in commit.changes:
                objects.pop((change.kind, change.id), None)
                if change.body is not None:
                    objects[change.kind, change.id] = change.body
        return Snapshot(len(self.shared.log), [(kind, id_, body) for (kind, id_), body in objects.items()])

    async def commit(self, expected: int, batches: Sequence[Sequence[Change]]) -> int:
        await asyncio.sleep(0)
        if self.before:
            before, self.before = self.before, None
            await before()
        head = len(self.shared.log)
        self.commits.append(expected)
        if expected != head:
            raise Conflict(head)
        self.shared.log += [Commit(head + 1 + n, tuple(batch)) for n, batch in enumerate(batches)]
        moved, self.shared.moved = self.shared.moved, asyncio.Event()
        moved.set()
        if self.fails:
            fails, self.fails = self.fails, None
            raise fails
        return len(self.shared.log)

    async def watch(self, from_revision: int) -> AsyncIterator[Commit]:
        at = from_revision
        while True:
            await self.hears.wait()
            if self.fails:
                fails, self.fails = self.fails, None
                raise fails
            if at + 1 < self.shared.first:
                raise Compacted(self.shared.first)
            moved = self.shared.moved
            if at < len(self.shared.log):
                yield self.shared.log[at]
                at += 1
            else:
                await moved.wait()

    async def head(self) -> int:
        self.hears.set() if self.hears_with_head else None
        for _ in range(5):  # the news overtake the answer
            await asyncio.sleep(0)
        return len(self.shared.log)

    async def compact(self, keep_from: int) -> None:
        self.shared.first = keep_from

    async def restore(self, snapshot: Snapshot) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        pass
