"""Every acknowledged revision is there: after kill -9 at any moment, and after a power cut that tore the write-ahead log anywhere."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from effort import FACTOR
from floatway.store.base import Commit
from floatway.store.sqlite import SqliteStore
from floatway.store.sqlite_file import File
from storing import changes, committed, expected, held, watched

HERE = Path(__file__).parent


def killed_writer(path: Path, acknowledgements: int) -> int:
    """Run a writer, kill it after this many acknowledgements; the newest revision that it was acknowledged."""
    ours, its = os.pipe()
    paths = os.pathsep.join([str(HERE.parents[1]), str(HERE.parents[2] / "src")])
    writer = subprocess.Popen(
        [sys.executable, HERE / "writer.py", path, str(its)], pass_fds=[its], env={**os.environ, "PYTHONPATH": paths}
    )
    os.close(its)
    newest = 0
    with os.fdopen(ours, "rb", buffering=0) as pipe:
        for _ in range(acknowledgements + 1):
            newest = max(newest, int.from_bytes(pipe.read(8), "big"))
        writer.send_signal(signal.SIGKILL)
        while said := pipe.read(8):  # acknowledged between our last look and its death
            newest = max(newest, int.from_bytes(said, "big"))
    assert writer.wait() == -signal.SIGKILL
    return newest


def test_kill_at_any_moment_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "floatway.db"
    chance = random.Random()
    for _ in range(8 * FACTOR):
        acknowledged = killed_writer(path, chance.randrange(0, 60))

        async def look(acknowledged: int = acknowledged) -> None:
            store = await SqliteStore.open(path)
            snapshot = await store.snapshot()
            assert acknowledged <= snapshot.revision == await store.head()
            assert held(snapshot) == expected(snapshot.revision)
            seen = await watched(store, max(0, snapshot.revision - 100), snapshot.revision)
            assert seen == [Commit(commit.revision, changes(commit.revision)) for commit in seen]
            await store.close()

        asyncio.run(look())


def test_power_cut_anywhere_in_the_write_ahead_log(tmp_path: Path) -> None:
    """fsync made a prefix of the log durable; of what came after it, any part may have reached the disk."""
    path, wal = tmp_path / "live.db", tmp_path / "live.db-wal"
    synced: list[tuple[int, int]] = []  # log length, revision: acknowledged, so durable

    async def write() -> None:
        store = await SqliteStore.open(path)
        head = await store.head()
        while head < 25:
            head = await store.commit(head, [changes(head + 1 + n) for n in range(head % 3 + 1)])
            synced.append((wal.stat().st_size, head))
        shutil.copy(path, tmp_path / "disk.db")
        shutil.copy(wal, tmp_path / "disk.db-wal")
        await store.close()

    asyncio.run(write())
    assert synced == sorted(synced)
    whole = (tmp_path / "disk.db-wal").read_bytes()
    chance = random.Random(1)
    cuts = [length + shift for length, _ in synced for shift in (-1, 0, 1, 2000)]
    for cut in cuts + [chance.randrange(len(whole)) for _ in range(20 * FACTOR)]:
        torn = whole[:cut] + chance.choice([b"", bytes(5000), chance.randbytes(9000), whole[cut + 4096 :]])
        shutil.copy(tmp_path / "disk.db", tmp_path / "cut.db")
        (tmp_path / "cut.db-wal").write_bytes(torn)
        (tmp_path / "cut.db-shm").unlink(missing_ok=True)

        async def look(cut: int = cut) -> None:
            store = await SqliteStore.open(tmp_path / "cut.db")
            head = await store.head()
            assert head >= max((revision for length, revision in synced if length <= cut), default=0)
            assert held(await store.snapshot()) == expected(head)
            await committed(store, 3)  # and it goes on from there
            assert held(await store.snapshot()) == expected(head + 3)
            await store.close()

        asyncio.run(look())


def test_commits_wait_for_the_disk(tmp_path: Path) -> None:
    """SQLite's own word: at FULL it syncs the write-ahead log before a commit returns."""
    file = File(tmp_path / "floatway.db")
    assert file._value("PRAGMA synchronous") == 2
    assert file._value("PRAGMA journal_mode") == "wal"
    file.close()
