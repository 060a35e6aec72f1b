"""The etcd store keeps its contract between several servers, and when answers are lost."""

import asyncio
import contextlib
import json
import os
import uuid
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given

from effort import examples
from etcds import Cluster, Wire
from floatway.cli.main import cli
from floatway.store import etcd, etcd_leases
from floatway.store.base import Change, Commit, Compacted, Conflict, Damaged, StoreError
from floatway.store.etcd import EtcdStore
from floatway.store.etcd_client import Client, Member
from floatway.store.etcd_layout import Keys
from floatway.store.etcd_wire import Op, Range, RangeAnswer, TxnAnswer, after, txn
from floatway.store.open import open_store
from interleaving import STEPS, history_of
from storing import changes, committed, expected, held, watched


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


@contextlib.asynccontextmanager
async def servers(cluster: Cluster, prefix: str, count: int, *, options: str = "") -> AsyncIterator[list[EtcdStore]]:
    """The store as opened by several servers, each with another member first."""
    stores = []
    try:
        for number in range(count):
            store = await open_store(cluster.url(prefix, first=number % cluster.size) + options)
            assert isinstance(store, EtcdStore)
            stores.append(store)
        yield stores
    finally:
        for store in stores:
            await store.close()


async def keys_below(cluster: Cluster, prefix: bytes) -> list[bytes]:
    client = Client([Member("127.0.0.1", cluster.ports[0])])
    answer = await client.call("kv/range", Range(prefix, after(prefix), keys_only=True), RangeAnswer)
    await client.close()
    return [kv.key for kv in answer.kvs]


def test_what_one_commits_the_others_see(cluster: Cluster, prefix: str) -> None:
    async def story() -> None:
        async with servers(cluster, prefix, 3) as (a, b, c):
            watcher = asyncio.create_task(watched(c, 0, 120))
            await committed(a, 60)
            assert await b.head() == 60
            await committed(b, 60, at_once=7)
            assert await watcher == [Commit(revision, changes(revision)) for revision in range(1, 121)]
            assert held(await a.snapshot()) == expected(120)
            for wrong in (0, 119, 121):
                with pytest.raises(Conflict) as refused:
                    await c.commit(wrong, [[Change("port", "x", b"x")]])
                assert refused.value.head == 120
            assert await a.commit(120, []) == 120
            assert held(await b.snapshot()) == expected(120)
        async with servers(cluster, prefix, 1) as (again,):
            assert held(await again.snapshot()) == expected(120)
            assert [commit.revision for commit in await watched(again, 118, 120)] == [119, 120]

    run(story())


def test_racing_servers_one_of_each_race_wins(cluster: Cluster, prefix: str) -> None:
    async def story() -> None:
        async with servers(cluster, prefix, 3) as stores:
            for revision in range(20):
                racing = [store.commit(revision, [changes(revision + 1)]) for store in stores]
                outcomes = await asyncio.gather(*racing, return_exceptions=True)
                assert sorted(map(str, outcomes)) == sorted(
                    [str(revision + 1), *[f"the store is at revision {revision + 1}"] * 2]
                )
            assert held(await stores[0].snapshot()) == expected(20)

    run(story())


@examples(25)
@given(steps=STEPS)
def test_l10_any_interleaving_of_servers_is_one_history(members: Cluster, steps: list[tuple[int, int, str]]) -> None:
    async def story() -> None:
        async with servers(members, f"interleaving-{uuid.uuid4().hex}", 4) as stores:
            await history_of(list(stores), steps)

    run(story())


def test_compaction_moves_the_log_into_the_snapshot(cluster: Cluster, prefix: str) -> None:
    async def story() -> None:
        async with servers(cluster, prefix, 2) as (a, b):
            await committed(a, 200, at_once=3)
            slow = b.watch(20)
            assert (await anext(slow)).revision == 21
            for keep_from in (100, 50, 195):
                await a.compact(keep_from)
                assert held(await b.snapshot()) == expected(200)
            with pytest.raises(Compacted) as refused:
                await watched(b, 193, 200)
            assert refused.value.first == 195
            assert [commit.revision for commit in await watched(b, 194, 200)] == list(range(195, 201))
            with pytest.raises(Compacted):  # it fell behind too far
                while True:
                    await anext(slow)
            await committed(b, 10)
            await asyncio.gather(a.compact(205), b.compact(206))  # at once: one of them counts
            assert held(await a.snapshot()) == expected(210)
            await a.compact(10_000)
            assert await keys_below(cluster, Keys(f"/{prefix}").log_begin) == []
            assert len(await keys_below(cluster, b"/%s/objects/" % prefix.encode())) == 1
            await committed(a, 1)
            assert (await b.checked())[2] == []

    run(story())


def test_the_log_trims_itself(cluster: Cluster, prefix: str) -> None:
    async def story() -> None:
        async with servers(cluster, prefix, 1, options="?keep=10") as (store,):
            await committed(store, 21)
            with pytest.raises(Compacted) as refused:
                while True:  # it is done beside the commits
                    await watched(store, 0, 1)
            assert refused.value.first == 12
            assert held(await store.snapshot()) == expected(21)

    run(story())


def test_big_revisions_leave_the_log_sooner(cluster: Cluster, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd, "_MUCH", 1_000_000)

    async def story() -> None:
        async with servers(cluster, prefix, 1, options="?keep=100") as (store,):
            for revision in range(40):
                await store.commit(revision, [[Change("port", "x", os.urandom(100_000))]])
            with pytest.raises(Compacted):
                while True:
                    await watched(store, 0, 1)
            assert [commit.revision for commit in await watched(store, 39, 40)] == [40]

    run(story())


def test_a_commit_bigger_than_a_request_is_one_revision_all_the_same(cluster: Cluster, prefix: str) -> None:
    big = [Change("port", f"{n:05}", bytes([n % 256]) * 10 + n.to_bytes(8, "big") * 300) for n in range(3000)]
    noisy = [Change("blob", f"{n}", changes(97)[0].kind.encode() + os.urandom(90_000)) for n in range(40)]

    async def story() -> None:
        async with servers(cluster, prefix, 2) as (a, b):
            watcher = asyncio.create_task(watched(b, 0, 3))
            await a.commit(0, [big, noisy, [Change("port", "00000", None)]])
            seen = await watcher
            assert [list(commit.changes) for commit in seen] == [big, noisy, [Change("port", "00000", None)]]
            snapshot = held(await b.snapshot())
            assert len(snapshot) == 3039
            with pytest.raises(Conflict):
                await b.commit(0, [noisy])
            staged = await keys_below(cluster, Keys(f"/{prefix}").stage_begin)
            assert len(staged) > 3  # a's; what b had staged is gone
            await b.compact(3)
            assert [commit.revision for commit in await watched(a, 2, 3)] == [3]
            assert await keys_below(cluster, Keys(f"/{prefix}").stage_begin) == staged
            await b.compact(4)
            assert await keys_below(cluster, Keys(f"/{prefix}").stage_begin) == []
            assert held(await a.snapshot()) == snapshot

    run(story())


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_answer_is_found_out_not_guessed(cluster: Cluster, prefix: str, when: str) -> None:
    async def story() -> None:
        async with Wire(cluster.ports[0]).up() as wire, servers(cluster, prefix, 1) as (other,):
            client = Client([Member("127.0.0.1", wire.port), Member("127.0.0.1", cluster.ports[1])])
            store = await EtcdStore.open(client, f"/{prefix}", register=False)
            await committed(store, 3)
            cut = iter([True])
            setattr(wire, when, lambda request: b"kv/txn" in request and next(cut, False))
            assert await store.commit(3, [changes(4), changes(5)]) == 5  # once, whether it had been done or not
            assert wire.cuts == 1
            assert held(await other.snapshot()) == expected(5)
            assert [commit.revision for commit in await watched(other, 0, 5)] == [1, 2, 3, 4, 5]
            client._current = 0
            cut = iter([True])
            with pytest.raises(Conflict) as refused:
                await store.commit(4, [[Change("port", "never", b"")]])
            assert refused.value.head == 5
            assert wire.cuts == 2
            assert held(await other.snapshot()) == expected(5)
            await store.close()

    run(story())


@pytest.mark.parametrize("how", ["held", "after"])
def test_a_watch_that_dies_or_falls_silent_is_replaced(cluster: Cluster, prefix: str, how: str) -> None:
    async def story() -> None:
        async with Wire(cluster.ports[0]).up() as wire, servers(cluster, prefix, 1) as (other,):
            client = Client([Member("127.0.0.1", wire.port), Member("127.0.0.1", cluster.ports[1])])
            store = await EtcdStore.open(client, f"/{prefix}", register=False)
            setattr(wire, how, lambda request: b"/v3/watch" in request)
            watcher = asyncio.create_task(watched(store, 0, 20))
            while not wire.cuts:
                await asyncio.sleep(0.01)
            await committed(other, 20)
            assert await store.head() == 20
            assert await watcher == [Commit(revision, changes(revision)) for revision in range(1, 21)]
            await store.close()

    run(story())


def test_everybody_who_asks_meanwhile_shares_a_read_of_the_head(cluster: Cluster, prefix: str) -> None:
    async def story() -> None:
        async with Wire(cluster.ports[0]).up() as wire, servers(cluster, prefix, 1) as (other,):
            client = Client([Member("127.0.0.1", wire.port)])
            store = await EtcdStore.open(client, f"/{prefix}", register=False)
            reads = 0

            def count(request: bytes) -> bool:
                nonlocal reads
                reads += b"kv/range" in request
                return False

            wire.before = count
            await committed(other, 5)
            assert await asyncio.gather(*(store.head() for _ in range(100))) == [5] * 100
            assert reads == 1
            first = asyncio.create_task(store.head())
            while reads < 2:
                await asyncio.sleep(0)
            await committed(other, 1)  # the read on its way may be too old for whoever asks now
            assert await store.head() == 6
            await first
            first = asyncio.create_task(store.head())
            await asyncio.sleep(0)
            first.cancel()
            assert await store.head() == 6
            await store.close()

    run(story())


def test_servers_are_known_while_they_live(cluster: Cluster, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_leases, "_TTL", 1)
    monkeypatch.setattr(etcd_leases, "_KEEP", 0.2)

    async def story() -> None:
        async with servers(cluster, prefix, 2) as (a, b):
            two = {server.id for server in await a.servers()}
            assert len(two) == 2
            assert b._registration._keeper
            b._registration._keeper.cancel()  # it hangs
            while len(known := await a.servers()) == 2:
                await asyncio.sleep(0.05)
            assert [server.id for server in known] == [a._registration.server.id]
            b._registration._keeper = asyncio.create_task(b._registration._keep())  # and goes on
            while {server.id for server in await a.servers()} != two:
                await asyncio.sleep(0.05)
        async with servers(cluster, prefix, 1) as (c,):
            assert len(await c.servers()) == 1  # the others said goodbye

    run(story())


def test_what_somebody_overwrote_is_reported(cluster: Cluster, prefix: str) -> None:
    async def story() -> None:
        async with servers(cluster, prefix, 1) as (store,):
            await committed(store, 9)
            await store.compact(3)
            keys = Keys(f"/{prefix}")
            client = Client([Member("127.0.0.1", cluster.ports[0])])

            async def spoil(*ops: Op) -> None:
                await client.call("kv/txn", txn(then=ops), TxnAnswer)

            entry = (await client.call("kv/range", Range(keys.log(8)), RangeAnswer)).value
            assert entry
            await spoil(Op.put(keys.log(8), entry[:-1] + bytes([entry[-1] ^ 1])))
            with pytest.raises(Damaged, match="log/0000000000000008: damaged"):
                await watched(store, 2, 9)
            assert "damaged" in (await store.checked())[2][0]
            await spoil(Op.delete(keys.log(8)))
            with pytest.raises(StoreError, match="gap: revision 8 is missing"):
                await watched(store, 2, 9)
            await spoil(Op.put(keys.log(8), entry))
            assert await watched(store, 2, 9)
            await spoil(Op.delete(b"/%s/objects/" % prefix.encode(), b"/%s/objects0" % prefix.encode()))
            with pytest.raises(StoreError, match="is missing"):
                await store.snapshot()
            await spoil(Op.put(keys.head, b"many"))
            with pytest.raises(StoreError, match="not a revision"):
                await store.head()
            await spoil(Op.put(keys.format, b"2"))
            with pytest.raises(StoreError, match="is of format b'2'; this floatway reads b'1'"):
                await open_store(cluster.url(prefix))
            await client.close()

    run(story())


def test_a_dump_goes_from_one_kind_of_store_to_the_other(cluster: Cluster, prefix: str, tmp_path: Any) -> None:
    import msgspec

    first, second, third = cluster.url(prefix), f"sqlite://{tmp_path}/x.db", cluster.url(f"{prefix}-2")

    async def fill() -> None:
        async with servers(cluster, prefix, 1) as (store,):
            for revision in range(5):
                value = {"name": f"port {revision}", "raw": bytes([revision])}
                await store.commit(revision, [[Change("port", f"{revision}", msgspec.msgpack.encode(value))]])

    run(fill())

    def db(*arguments: str, text: bytes | None = None) -> Any:
        return CliRunner().invoke(cli, ["db", *arguments], input=text)

    dump = db("dump", first).stdout_bytes
    assert len(dump.splitlines()) == 7
    for url in (second, third):
        assert db("restore", url, "-", text=dump).exit_code == 0
        assert db("dump", url).stdout_bytes == dump
        assert "is not empty (revision 5)" in db("restore", url, "-", text=dump).stderr
    assert json.loads(db("check", "--json", third).stdout) == {
        "store": third,
        "sound": True,
        "revision": 5,
        "objects": 5,
        "problems": [],
    }
    assert db("dump", first).stdout_bytes == dump


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("etcd://127.0.0.1:1/x", "no etcd member answers: 127.0.0.1:1: "),
        ("etcd://127.0.0.1:2379", "etcd://HOST:PORT,HOST:PORT,…/PREFIX"),
        ("etcd://127.0.0.1:2379/", "etcd://HOST:PORT,HOST:PORT,…/PREFIX"),
        ("etcd://me:secret@h:port/x", "etcd://me@h:port/x: 'h:port' is not HOST:PORT"),
        ("etcd://h/x?reads=often", "reads is quorum or local"),
        ("etcd://h:port/x", "'h:port' is not HOST:PORT"),
        ("etcd://h,/x", "'' is not HOST:PORT"),
        ("etcd://h/x?ca=1", "unknown option ca; there are: cacert, cert, keep, key, reads"),
        ("etcd://h/x?keep=all", "keep is a number"),
        ("etcd://h/x?cacert=/nowhere", "TLS files /nowhere cannot be used"),
    ],
)
def test_a_url_that_leads_nowhere_is_explained(url: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("floatway.store.etcd_client._PATIENCE", 0.1)
    with pytest.raises(StoreError, match=said.replace("…", ".").replace("?", r"\?")):
        run(open_store(url))  # type: ignore[arg-type]
