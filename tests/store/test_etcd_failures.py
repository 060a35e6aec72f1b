"""Any member killed, paused or started at any time, while three servers commit: no acknowledged revision is lost or moved.

What is checked of the recorded history:
- the log is one sequence without gaps; each acknowledged commit is there, at the revision it was told, with its content;
- a commit that failed is there once or not at all;
- every watcher saw that sequence, each revision once;
- a head that was read is not older than any commit acknowledged before the question, and never goes back for one who asks.
"""

import asyncio
import random
import uuid
from dataclasses import dataclass, field

import pytest

from effort import FACTOR
from etcds import Cluster
from floatway.store.base import Change, Commit, Conflict, Store, StoreError
from floatway.store.open import open_store

SERVERS = 3
BETWEEN = 25  # commits between two blows


@dataclass
class History:
    """What the servers were told."""

    acknowledged: dict[int, str] = field(default_factory=dict)
    attempted: set[str] = field(default_factory=set)
    newest: int = 0
    seen: list[list[str]] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    failed: int = 0
    progress: asyncio.Condition = field(default_factory=asyncio.Condition)


class Server:
    """Commits as fast as it can, and watches."""

    def __init__(self, name: str, store: Store, history: History) -> None:
        self.name = name
        self.store = store
        self.history = history
        self.revision = 0
        self.seen: list[str] = []
        self.moved = asyncio.Event()
        history.seen.append(self.seen)

    async def follow(self) -> None:
        async for commit in self.store.watch(0):
            assert commit.revision == len(self.seen) + 1
            self.seen.append(commit.changes[0].id)
            self.revision = commit.revision
            self.moved.set()

    async def reached(self, revision: int) -> None:
        while self.revision < revision:
            self.moved.clear()
            await self.moved.wait()

    async def write(self) -> None:
        chance = random.Random(self.name)
        while True:
            expected = self.revision
            values = [f"{self.name}-{uuid.uuid4().hex}" for _ in range(chance.randrange(1, 4))]
            self.history.attempted |= set(values)
            padding = chance.choice([0, 200, 20_000])
            try:
                head = await self.store.commit(
                    expected, [[Change("value", value, chance.randbytes(padding))] for value in values]
                )
            except Conflict as moved:
                await self.reached(moved.head)
                continue
            except StoreError:
                self.history.failed += 1
                continue
            for revision, value in enumerate(values, expected + 1):
                assert self.history.acknowledged.setdefault(revision, value) == value
            self.history.newest = max(self.history.newest, head)
            await self.reached(head)
            async with self.history.progress:
                self.history.progress.notify_all()

    async def read(self) -> None:
        last = 0
        while True:
            await asyncio.sleep(0)  # a local read asks nobody: the others must have their turn
            told_before = self.history.newest
            try:
                head = await self.store.head()
            except StoreError:
                continue
            if head < max(told_before, last):
                self.history.stale.append(f"{self.name}: {head} after {told_before} was acknowledged and {last} read")
            last = head
            await self.reached(head)


async def mended(cluster: Cluster) -> None:
    cluster.revive()
    await asyncio.to_thread(cluster.wait)


async def blows(cluster: Cluster, history: History, count: int) -> None:
    """Kill, pause, resume, start; a majority mostly lives, now and then none does."""
    chance = random.Random()
    for _ in range(count):
        async with history.progress:
            enough = len(history.acknowledged) + BETWEEN
            await history.progress.wait_for(lambda enough=enough: len(history.acknowledged) >= enough)
        alive = sorted(cluster.alive())
        if len(alive) == cluster.size:
            victims = chance.sample(alive, chance.choice([1, 1, 1, 2, 3]))
            blow = chance.choice([cluster.kill, cluster.kill, cluster.pause])
            for victim in victims:
                blow(victim)
            if len(victims) > 1:
                await mended(cluster)
        else:
            await mended(cluster)


async def told(cluster: Cluster, prefix: str, count: int, options: str) -> tuple[History, list[Commit]]:
    history = History()
    stores = [await open_store(cluster.url(prefix, first=number) + options) for number in range(SERVERS)]
    servers = [Server(f"server-{number}", store, history) for number, store in enumerate(stores)]
    load = [asyncio.create_task(run()) for server in servers for run in (server.follow, server.write, server.read)]
    strikes = asyncio.create_task(blows(cluster, history, count))
    done, _ = await asyncio.wait([strikes, *load], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()  # load never ends but by a failed check
    await mended(cluster)
    for task in load:
        task.cancel()
    await asyncio.gather(*load, return_exceptions=True)
    for store in stores:
        await store.close()
    # asks a majority: a server that reads locally need not know yet what another has seen and nobody was told
    judge, log = await open_store(cluster.url(prefix)), []
    head = await judge.head()
    async for commit in judge.watch(0):
        log.append(commit)
        if commit.revision >= head:
            break
    await judge.close()
    return history, log


@pytest.mark.parametrize("reads", ["quorum", "local"])
@pytest.mark.parametrize("round_", range(FACTOR))
def test_no_acknowledged_commit_is_lost(
    cluster: Cluster, prefix: str, round_: int, reads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("floatway.store.etcd_client._ATTEMPT", 1.0)  # our members elect in half a second
    history, log = asyncio.run(told(cluster, prefix, 8, f"?reads={reads}"))
    assert [commit.revision for commit in log] == list(range(1, len(log) + 1))
    values = [commit.changes[0].id for commit in log]
    assert len(set(values)) == len(values)
    assert set(values) <= history.attempted
    assert {revision: values[revision - 1] for revision in history.acknowledged} == history.acknowledged
    assert history.stale == []
    for seen in history.seen:
        assert seen == values[: len(seen)]
        assert len(seen) > BETWEEN
