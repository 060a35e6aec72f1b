"""Law L10 at any store: commits in any interleaving leave one history, and every watcher sees it once, in order.

Several writers hold what they believe is the head and give out numbers from a pool, each number once; a writer that lost a
race takes in what it missed and decides anew. Whatever the order, no number is given twice and all that were acknowledged
are in the history, at the revision that was acknowledged.
"""

import asyncio

from hypothesis import strategies as st

from floatway.store.base import Change, Conflict, Store

STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 4), st.sampled_from(["write", "follow", "watch", "compact"])),
    min_size=1,
    max_size=40,
)


class Writer:
    """One server: what it has seen of the history."""

    def __init__(self, name: str, store: Store) -> None:
        self.name = name
        self.store = store
        self.revision = 0
        self.given: set[str] = set()

    async def follow(self) -> None:
        head = await self.store.head()
        if head > self.revision:
            async for commit in self.store.watch(self.revision):
                assert commit.revision == self.revision + 1
                self.revision = commit.revision
                self.given |= {change.id for change in commit.changes}
                if commit.revision >= head:
                    break

    async def write(self, count: int) -> dict[int, str]:
        """Give out so many numbers, a revision each."""
        while True:
            free = [f"{n}" for n in range(len(self.given) + count + 1) if f"{n}" not in self.given][:count]
            try:
                head = await self.store.commit(
                    self.revision, [[Change("number", number, self.name.encode())] for number in free]
                )
            except Conflict:
                await self.follow()
                continue
            acknowledged = {head - count + 1 + n: number for n, number in enumerate(free)}
            self.revision = max(self.revision, head)
            self.given |= set(free)
            return acknowledged


async def history_of(stores: list[Store], steps: list[tuple[int, int, str]]) -> None:
    """Do it, with four writers on these stores, and check what is left."""
    writers = [Writer(f"writer-{n}", stores[n % len(stores)]) for n in range(4)]
    store = stores[-1]
    acknowledged: dict[int, str] = {}
    racing: list[asyncio.Task[dict[int, str]]] = []
    watchers: list[tuple[int, asyncio.Task[list[int]]]] = []

    async def watch(after: int) -> list[int]:
        seen: list[int] = []
        async for commit in store.watch(after):
            seen.append(commit.revision)
            if commit.changes[0].kind == "end":
                return seen
        raise AssertionError

    for who, count, what in steps:
        if what == "write":
            busy = [task for task in racing if task.get_name() == str(who)]
            await asyncio.gather(*busy)
            racing.append(asyncio.create_task(writers[who].write(count), name=str(who)))
        elif what == "watch":
            await asyncio.gather(*racing)
            watchers.append((after := await store.head(), asyncio.create_task(watch(after))))
        elif what == "compact":
            await store.compact(1)
        else:
            await asyncio.gather(*(task for task in racing if task.get_name() == str(who)))
            await writers[who].follow()
    for written in await asyncio.gather(*racing):
        assert not acknowledged.keys() & written.keys()
        acknowledged |= written
    await writers[0].follow()
    head = await store.commit(await store.head(), [[Change("end", "", b"")]])
    history = {}
    async for commit in store.watch(0):
        history[commit.revision] = commit.changes[0]
        if commit.revision == head:
            break
    assert list(history) == list(range(1, head + 1))
    numbers = [change.id for change in history.values() if change.kind == "number"]
    assert len(numbers) == len(set(numbers))
    assert {revision: history[revision].id for revision in acknowledged} == acknowledged
    for after, task in watchers:
        assert await task == list(range(after + 1, head + 1))
