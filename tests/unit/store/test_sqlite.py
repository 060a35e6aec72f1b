"""The SQLite store keeps its contract: conflicts change nothing, watchers see each revision once in order, damage is found and named."""

import asyncio
import os
import re
import sqlite3
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from floatway.store import sqlite, sqlite_file
from floatway.store.base import Change, Commit, Compacted, Conflict, Damaged, StoreError
from floatway.store.open import open_store
from floatway.store.sqlite import SqliteStore
from storing import changes, committed, expected, held, watched


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "floatway.db"


def test_a_conflict_changes_nothing(path: Path) -> None:
    async def story() -> None:
        store = await SqliteStore.open(path)
        await committed(store, 5)
        for wrong in (0, 4, 6):
            with pytest.raises(Conflict) as refused:
                await store.commit(wrong, [[Change("port", "x", b"x")]])
            assert refused.value.head == 5
        assert held(await store.snapshot()) == expected(5)
        await store.close()

    run(story())


def test_racing_commits_share_a_transaction_and_one_of_each_pair_wins(path: Path) -> None:
    async def story() -> None:
        store = await SqliteStore.open(path)
        racing = [store.commit(revision, [changes(revision + 1)]) for revision in range(20) for _ in range(2)]
        outcomes = await asyncio.gather(*racing, return_exceptions=True)
        assert [done for done in outcomes if isinstance(done, int)] == list(range(1, 21))
        assert sum(isinstance(done, Conflict) for done in outcomes) == 20
        assert held(await store.snapshot()) == expected(20)
        await store.close()

    run(story())


def test_the_loop_makes_way_for_the_thread_for_as_long_as_somebody_waits(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy loop kept the thread from Python's lock for seconds. Here the thread comes on only when the loop sleeps."""
    slept: list[float] = []
    let_on = threading.Event()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            let_on.set()

    monkeypatch.setattr(sqlite.time, "sleep", sleep)

    async def story() -> None:
        store = await SqliteStore.open(path)
        waiting = asyncio.ensure_future(store._call(lambda _: let_on.wait()))
        assert await waiting
        await committed(store, 1)
        while store._turn is not None:  # it ends by itself
            await asyncio.sleep(0)
        before = len(slept)
        await store.head()
        assert store._turn is None and len(slept) == before
        await store.close()

    run(story())


def test_everything_is_there_after_reopening(path: Path) -> None:
    async def story() -> None:
        for rounds in range(1, 4):
            store = await open_store(f"sqlite://{path}")
            await committed(store, 110, at_once=7)
            assert held(await store.snapshot()) == expected(110 * rounds)
            await store.close()

    run(story())


def test_a_snapshot_is_of_one_moment(path: Path) -> None:
    async def story() -> None:
        store = await SqliteStore.open(path)
        await committed(store, 10)
        snapshot = await store.snapshot()
        await committed(store, 30)
        assert snapshot.revision == 10
        assert held(snapshot) == expected(10)
        await store.close()

    run(story())


def test_watchers_see_each_revision_once_in_order_wherever_they_begin(path: Path) -> None:
    async def story() -> None:
        store = await SqliteStore.open(path)
        await committed(store, 300, at_once=100)
        watchers = [asyncio.create_task(watched(store, after, 700)) for after in (0, 1, 299, 300, 650)]
        await committed(store, 400, at_once=3)
        for after, seen in zip((0, 1, 299, 300, 650), await asyncio.gather(*watchers), strict=True):
            assert seen == [Commit(revision, changes(revision)) for revision in range(after + 1, 701)]
        await store.close()

    run(story())


def test_a_watcher_learns_that_the_store_was_closed(path: Path) -> None:
    async def story() -> None:
        store = await SqliteStore.open(path)
        watcher = asyncio.create_task(watched(store, 0, 1))
        await asyncio.sleep(0)
        await store.close()
        with pytest.raises(StoreError, match="is closed"):
            await watcher

    run(story())


def test_compaction_forgets_the_log_and_keeps_the_objects(path: Path) -> None:
    async def story() -> None:
        store = await SqliteStore.open(path)
        await committed(store, 50)
        await store.compact(31)
        await store.compact(20)  # already gone: nothing to do
        assert held(await store.snapshot()) == expected(50)
        assert [commit.revision for commit in await watched(store, 30, 50)] == list(range(31, 51))
        with pytest.raises(Compacted) as refused:
            await watched(store, 29, 50)
        assert refused.value.first == 31
        await store.compact(1000)
        await store.close()
        store = await SqliteStore.open(path)
        assert await store.head() == 50
        assert held(await store.snapshot()) == expected(50)
        await committed(store, 1)
        assert [commit.revision for commit in await watched(store, 50, 51)] == [51]
        await store.close()

    run(story())


def test_the_log_trims_itself(path: Path) -> None:
    async def story() -> None:
        store = await SqliteStore.open(path, keep=5)
        await committed(store, 5000, at_once=250)
        with pytest.raises(Compacted) as refused:
            while True:  # trimmed when there is time
                await watched(store, 0, 1)
        assert 5000 - 5 - sqlite._SLACK - sqlite._TIDY <= refused.value.first <= 5000 - 5
        await store.close()

    run(story())


def test_big_revisions_leave_the_log_sooner(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_BIG", 2_000_000)
    monkeypatch.setattr(sqlite, "_TIDY", 1)

    async def story() -> None:
        store = await SqliteStore.open(path, keep=100)
        for revision in range(40):
            await store.commit(revision, [[Change("port", "x", bytes(100_000))]])
        with pytest.raises(Compacted) as refused:
            await watched(store, 0, 1)
        assert refused.value.first >= 20
        assert (await store.snapshot()).revision == 40
        await store.close()
        assert path.stat().st_size < 4_000_000

    run(story())


def test_a_second_process_is_refused(path: Path) -> None:
    async def story() -> None:
        store = await SqliteStore.open(path)
        with pytest.raises(StoreError, match=rf"in use by another process \(process {os.getpid()}\)"):
            await SqliteStore.open(path)
        await committed(store, 1)
        await store.close()
        await (await SqliteStore.open(path)).close()

    run(story())


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda path: path.write_bytes(b"not SQLite at all" * 100), "not a SQLite file"),
        (lambda path: sqlite3.connect(path).execute("CREATE TABLE mine(a)"), "not one of floatway's"),
        (lambda path: path.mkdir(), "Is a directory"),
    ],
)
def test_what_is_not_ours_is_refused_and_left_alone(path: Path, prepare: Any, said: str) -> None:
    prepare(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StoreError, match=said):
        asyncio.run(SqliteStore.open(path))
    assert not path.is_file() or path.read_bytes() == before


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no directory .*/nowhere; make it: install -d"):
        asyncio.run(SqliteStore.open(tmp_path / "nowhere" / "floatway.db"))


@pytest.mark.parametrize(
    "url", ["sqlite://relative/x.db", "sqlite:", "mysql://x", "sqlite:///x.db?keep=many", "sqlite:///x.db?kep=1"]
)
def test_a_url_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(StoreError):
        asyncio.run(open_store(url))


def filled(path: Path, revisions: int = 30) -> None:
    async def story() -> None:
        store = await SqliteStore.open(path)
        await committed(store, revisions)
        await store.close()

    run(story())


def problems(path: Path) -> list[str]:
    file = sqlite_file.File(path, writable=False)
    file.view()
    found = list(file.problems())
    file.close()
    return found


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            "UPDATE objects SET body = CAST(substr(body, 1, 9) || x'00' || substr(body, 11) AS BLOB) WHERE length(body) > 290",
            "damaged",
        ),
        ("UPDATE objects SET body = (SELECT body FROM objects LIMIT 1)", "not what the log says"),
        ("DELETE FROM objects WHERE rowid = (SELECT max(rowid) FROM objects)", "missing, though"),
        ("DELETE FROM log WHERE revision = 17", "revision 17 is missing, the next one is 18"),
        ("UPDATE log SET body = x'' WHERE revision = 5", "log entry 5: not in a format"),
        ("UPDATE log SET body = x'0300' WHERE revision = 5", r"log entry 5: not in a format .*first byte 03"),
    ],
)
def test_check_finds_the_damage(path: Path, damage: str, said: str) -> None:
    filled(path)
    assert problems(path) == []
    with sqlite3.connect(path) as db:
        db.execute(damage)
    db.close()
    found = problems(path)
    assert found
    assert re.search(said, "\n".join(found))


def test_a_flipped_bit_stops_loading_with_the_record_s_name(path: Path) -> None:
    filled(path)
    with sqlite3.connect(path) as db:
        ((kind, id_),) = db.execute("SELECT kind, id FROM objects WHERE length(body) > 290 LIMIT 1")
        db.execute("UPDATE objects SET body = CAST(body || x'00' AS BLOB) WHERE kind = ? AND id = ?", (kind, id_))
    db.close()

    async def story() -> None:
        store = await SqliteStore.open(path)
        with pytest.raises(Damaged, match=f"{kind} {id_}: damaged"):
            held(await store.snapshot())
        await store.close()

    run(story())


def test_a_torn_file_is_reported_not_believed(path: Path) -> None:
    filled(path, 100)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match="damaged"):

        async def story() -> None:
            store = await SqliteStore.open(path)
            try:
                held(await store.snapshot())
            finally:
                await store.close()

        run(story())


def test_a_full_disk_fails_the_commit_and_only_it(path: Path) -> None:
    file = sqlite_file.File(path)
    file.apply([changes(1)])
    pages = file._value("PRAGMA page_count")
    file._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreError, match="disk is full"):
        file.apply([[Change("port", "big", bytes(1_000_000))]])
    assert file.head == 1
    file._db.execute("PRAGMA max_page_count = 100000")
    file.apply([changes(2)])
    file.view()
    assert {(kind, id_): body for kind, id_, body in file.objects()} == expected(2)
    file.close()


def test_an_older_format_is_upgraded_after_a_copy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(path)
    monkeypatch.setattr(sqlite_file, "FORMAT", 3)
    steps = {1: "ALTER TABLE objects ADD COLUMN shape INTEGER DEFAULT 7", 2: "INSERT INTO meta VALUES ('era', 2)"}
    upgrades = {start: lambda db, sql=sql: db.execute(sql) for start, sql in steps.items()}
    monkeypatch.setattr(sqlite_file, "UPGRADES", {1: upgrades[1], 2: lambda db: db.execute("nonsense")})
    before = expected(30)
    with pytest.raises(StoreError, match="this floatway reads 3: floatway db upgrade"):
        sqlite_file.File(path, writable=False)
    with pytest.raises(StoreError, match="nonsense"):  # all of it or nothing
        sqlite_file.File(path)
    monkeypatch.setattr(sqlite_file, "UPGRADES", upgrades)

    async def story() -> None:
        store = await SqliteStore.open(path)
        assert held(await store.snapshot()) == before
        await committed(store, 3)
        await store.close()

    run(story())
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (3,)
        assert db.execute("SELECT min(shape) FROM objects").fetchone() == (7,)
    db.close()
    monkeypatch.undo()
    copy = sqlite_file.File(path.with_name("floatway.db.format-1"), writable=False)
    copy.view()
    assert {(kind, id_): body for kind, id_, body in copy.objects()} == before
    copy.close()
    with pytest.raises(StoreError, match="of format 3, written by a newer floatway; this one reads 1"):
        sqlite_file.File(path)
