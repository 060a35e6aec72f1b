"""Reads without asking etcd: as new as any acknowledged commit, whatever happens to the reader."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from etcds import Cluster, Wire
from floatway.store import etcd_reads
from floatway.store.etcd import EtcdStore
from floatway.store.etcd_client import Client, Member
from floatway.store.etcd_layout import Keys
from floatway.store.etcd_reads import LocalReads, clock
from floatway.store.etcd_wire import Range, RangeAnswer, after
from storing import changes, committed


@contextlib.asynccontextmanager
async def reading(port: int, prefix: str) -> AsyncIterator[EtcdStore]:
    """A server that reads locally and follows."""
    store = await EtcdStore.open(Client([Member("127.0.0.1", port)]), f"/{prefix}", local_reads=True)

    async def follow() -> None:
        async for _ in store.watch(await store.head()):
            pass

    following = asyncio.create_task(follow())
    try:
        while local(store)._until < clock():  # it is there once somebody has read
            await store.head()
        yield store
    finally:
        following.cancel()
        await asyncio.wait({following})
        await store.close()


def local(store: EtcdStore) -> LocalReads:
    assert store._local
    return store._local


async def readers(store: EtcdStore) -> int:
    begin = Keys(store.name.removeprefix("etcd ")).readers
    return len((await store._client.call("kv/range", Range(begin, after(begin), keys_only=True), RangeAnswer)).kvs)


def test_a_read_asks_nobody_and_is_as_new_as_the_last_acknowledged_commit(cluster: Cluster, prefix: str) -> None:
    async def story() -> None:
        async with (
            Wire(cluster.ports[0]).up() as wire,
            reading(wire.port, prefix) as reader,
            reading(cluster.ports[1], prefix) as writer,
        ):
            asked = 0

            def count(request: bytes) -> bool:
                nonlocal asked
                asked += b"kv/range" in request
                return False

            wire.before = count
            renewals = local(reader)._until
            for revision in range(100):
                assert await writer.commit(revision, [changes(revision + 1)]) == revision + 1
                assert await reader.head() == revision + 1
            seconds = (local(reader)._until - renewals) / etcd_reads._RENEW
            assert asked <= seconds + 2  # those of the renewals

    asyncio.run(story())


def test_no_commit_is_acknowledged_while_a_reader_might_not_show_it(cluster: Cluster, prefix: str) -> None:
    async def story() -> None:
        async with (
            reading(cluster.ports[0], prefix) as reader,
            reading(cluster.ports[1], prefix) as writer,
        ):
            await committed(writer, 3)
            holder = local(reader)._holder
            assert holder
            reader._log.heard.clear()  # it hears, and is too slow to say so
            commit = asyncio.create_task(writer.commit(3, [changes(4)]))
            await asyncio.wait({commit}, timeout=3 * etcd_reads._POLL)
            assert not commit.done()
            reader._log.heard.append(local(reader)._heard)
            reader._log._tell()
            assert await commit == 4

    asyncio.run(story())


def test_a_reader_that_is_killed_holds_commits_up_until_its_lease_ends(cluster: Cluster, prefix: str) -> None:
    async def story() -> None:
        async with reading(cluster.ports[1], prefix) as writer, reading(cluster.ports[0], prefix) as reader:
            await committed(writer, 3)
            reads = local(reader)
            assert reads._holder
            reader._log.heard.clear()
            reads._lease = 0  # nobody renews it, nobody gives it back
            reads._holder.cancel()
            believed = reads._until
            assert await writer.commit(3, [changes(4)]) == 4
            assert clock() > believed
            assert await reader.head() == 4

    asyncio.run(story())


def test_a_reader_that_says_goodbye_does_not(cluster: Cluster, prefix: str) -> None:
    async def story() -> None:
        async with reading(cluster.ports[1], prefix) as writer, reading(cluster.ports[0], prefix) as reader:
            await committed(writer, 3)
            believed = local(reader)._until
            reader._log.heard.clear()
            await local(reader).close()
            assert await readers(reader) == 1  # the writer itself
            assert await writer.commit(3, [changes(4)]) == 4
            assert await reader.head() == 4
            assert believed

    asyncio.run(story())


def test_who_does_not_read_holds_nobody_up(cluster: Cluster, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_reads, "_WANTED", 0.1)
    monkeypatch.setattr(etcd_reads, "_RENEW", 0.05)

    async def story() -> None:
        async with reading(cluster.ports[0], prefix) as reader:
            assert await readers(reader) == 1
            while await readers(reader):
                await asyncio.sleep(0.01)
            assert local(reader)._until < clock()
            while not await readers(reader):  # and again
                await reader.head()

    asyncio.run(story())
