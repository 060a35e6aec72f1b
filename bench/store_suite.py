"""The store alone: what a durable commit costs, on SQLite and on three etcd members, one at a time and several at once.

On uvloop, as the server runs it.
"""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import api_server
import uvloop
from measure import Figure, figure

from floatway.store.base import Change, Store
from floatway.store.open import open_store

BODY = 800
"""Bytes of an object: a port."""
MANY = 20_000
BULK = 1000
AT_ONCE = 8
RUNS = 400


def bench_store() -> Iterator[Figure]:
    """SQLite; etcd where it is installed."""
    with api_server.scratch() as directory:
        yield from uvloop.run(gathered(f"sqlite://{directory}/floatway.db", "SQLite"))
    if shutil.which("etcd"):
        with api_server.scratch() as directory, api_server.etcd(directory) as url:
            yield from uvloop.run(gathered(url, "etcd"))


async def gathered(url: str, name: str) -> list[Figure]:
    """All figures of one store."""
    return [one async for one in measured(url, name)]


async def measured(url: str, name: str) -> AsyncIterator[Figure]:
    """One commit after the other, beside others, beside a busy loop; bulk; loading; what a second server adds."""
    store = await open_store(url)
    head = await store.commit(await store.head(), [[port(n)] for n in range(BULK)])
    writer = Writer(store, head)
    yield figure("store", f"{name}: commit of one object", await times(writer.commit, RUNS))
    yield figure("store", f"{name}: the same beside a busy event loop", await beside_work(writer.commit, RUNS // 4))
    taken = await times(lambda: writer.commit(AT_ONCE), RUNS // 4)
    yield figure("store", f"{name}: {AT_ONCE} commits that came in meanwhile, as one", taken)
    yield figure("store", f"{name}: commit of {BULK} objects", await times(lambda: writer.bulk(BULK), 10), objects=BULK)
    if not store.exclusive:
        yield figure("store", f"{name}: head", await times(store.head, RUNS))
        together = await times(lambda: asyncio.gather(*(store.head() for _ in range(AT_ONCE))), RUNS // 4)
        yield figure("store", f"{name}: head, asked by {AT_ONCE} at once", together)
        other = await open_store(url)
        yield figure("store", f"{name}: from a commit to another server's watch", await seen(writer, other, 100))
        await other.close()
    while writer.number < MANY:
        await writer.bulk(BULK)

    async def load() -> None:
        for _ in (await store.snapshot()).objects:
            pass

    yield figure("store", f"{name}: load {MANY} objects", await times(load, 5), objects=MANY)
    yield figure(
        "store", f"{name}: compact the log of {MANY} objects", await times(lambda: store.compact(writer.head), 1)
    )
    await store.close()


class Writer:
    """Commits new objects, one after the other."""

    def __init__(self, store: Store, head: int) -> None:
        self.store = store
        self.head = head
        self.number = head

    async def commit(self, count: int = 1) -> None:
        """So many revisions of one object each, in one transaction."""
        self.number += count
        self.head = await self.store.commit(self.head, [[port(self.number + n)] for n in range(count)])

    async def bulk(self, count: int) -> None:
        """One revision of so many objects."""
        self.number += count
        self.head = await self.store.commit(self.head, [[port(self.number + n) for n in range(count)]])


def port(number: int) -> Change:
    """Half of it repeats in each, half is its own, as in a port."""
    return Change(
        "port", f"{number:036}", b"name and so on, as every port has them. " * (BODY // 80) + os.urandom(BODY // 2)
    )


async def times(function: Callable[[], Awaitable[object]], runs: int) -> list[float]:
    """Milliseconds of each call."""
    taken = []
    for _ in range(runs):
        begin = time.perf_counter()
        await function()
        taken.append(1000 * (time.perf_counter() - begin))
    return taken


async def beside_work(function: Callable[[], Awaitable[object]], runs: int) -> list[float]:
    """The same while the event loop computes, 0.3 ms at a time."""

    async def work() -> None:
        while True:
            end = time.perf_counter() + 0.0003
            while time.perf_counter() < end:
                pass
            await asyncio.sleep(0)

    busy = asyncio.create_task(work())
    try:
        return await times(function, runs)
    finally:
        busy.cancel()


async def seen(writer: Writer, other: Store, runs: int) -> list[float]:
    """Milliseconds from the begin of a commit until another server's watch has it."""
    watch = other.watch(writer.head)
    following = asyncio.ensure_future(anext(watch))
    taken = []
    for _ in range(runs):
        begin = time.perf_counter()
        committing = asyncio.create_task(writer.commit())
        await following
        taken.append(1000 * (time.perf_counter() - begin))
        await committing
        following = asyncio.ensure_future(anext(watch))
    following.cancel()
    await asyncio.wait({following})
    return taken
