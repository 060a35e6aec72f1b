"""A store in memory that outlives the servers which use it, and takes its time."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

from floatway.store.base import Change, Commit, Conflict, Snapshot

__all__ = ["MemoryStore"]


class MemoryStore:
    """See ``store.base.Store``. ``commits`` is all that was ever acknowledged, or would have been."""

    exclusive = True

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.commits: list[Commit] = []

    async def snapshot(self) -> Snapshot:
        objects: dict[tuple[str, str], bytes] = {}
        for commit in self.commits:
            for change in commit.changes:
                if change.body is None:
                    objects.pop((change.kind, change.id), None)
                else:
                    objects[change.kind, change.id] = change.body
        return Snapshot(len(self.commits), [(kind, id_, body) for (kind, id_), body in objects.items()])

    async def commit(self, expected: int, batches: Sequence[Sequence[Change]]) -> int:
        await asyncio.sleep(self.chance.uniform(0.0, 0.005))
        if expected != len(self.commits):
            raise Conflict(len(self.commits))
        for batch in batches:
            self.commits.append(Commit(len(self.commits) + 1, tuple(batch)))
        await asyncio.sleep(self.chance.uniform(0.0, 0.005))  # a server killed now has written, and told nobody
        return len(self.commits)

    async def watch(self, from_revision: int) -> AsyncIterator[Commit]:
        for commit in self.commits[from_revision:]:
            yield commit

    async def compact(self, keep_from: int) -> None:
        """Everything is kept."""

    async def head(self) -> int:
        return len(self.commits)

    async def restore(self, snapshot: Snapshot) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        """It goes on."""
