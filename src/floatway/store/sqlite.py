"""The store of one server: a SQLite file behind a thread of its own.

    event loop:  commit() commit() commit() ──▶ queue ──▶ thread: all that waits, one transaction, one fsync
                     ◀── ◀── ◀── ◀────────── answered ──────┘

The event loop never waits for the disk. What came in while one fsync ran shares the next one. The file's tables and their
durability are in sqlite_file.

A loop that always has something to do does not let the thread in: it gives Python's lock back at each turn, and has it again before
the thread is awake; a commit was seen to take ten seconds beside it. So while a job waits, the loop sleeps for a moment now and then.
"""

import asyncio
import contextlib
import itertools
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

from floatway.store.base import Change, Commit, Conflict, Snapshot, StoreError
from floatway.store.sqlite_file import File, Lock

__all__ = ["SqliteStore"]

R = TypeVar("R")
_PAGE = 256  # commits that a watcher takes from the file at once
_IDLE = 0.2  # seconds without work after which the write-ahead log is tidied
_TIDY = 4096  # rows after which it is tidied although there is work: some 16 MB
_SLACK = 1000  # revisions that the log may hold beyond what is kept, so that trimming is rare
_TURN = 0.001  # seconds that a job waits before the loop makes way for the thread, and from then to the next time
_WAY = 50e-6  # seconds; the kernel adds 50 µs (timer slack, prctl(2)), which is longer than it takes to wake a thread
_BIG = 512 * 2**20  # bytes of the file from which a tenth of that is kept: revisions may be big


class SqliteStore:
    """See ``Store``."""

    exclusive = True

    def __init__(self, worker: "_Worker", head: int) -> None:
        """Use ``open``."""
        self._worker = worker
        self._head = head
        self._moved = asyncio.Event()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._unanswered = 0
        self._turn: asyncio.TimerHandle | None = None

    @classmethod
    async def open(cls, path: Path, *, keep: int = 10_000) -> "SqliteStore":
        """Open the file, or make it; an older format is upgraded after a copy was put beside it.

        ``keep`` is how many of the newest revisions stay in the log for watchers without anybody calling ``compact``.

        Raises:
            StoreError: in use by another process, not ours, damaged, or of a newer format.
        """
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[int] = loop.create_future()
        worker = _Worker(path, keep, loop, ready)
        worker.start()
        return cls(worker, await ready)

    async def snapshot(self) -> Snapshot:
        """Everything; read row by row from a view of its own while commits go on."""
        self._refuse_closed()
        file = File(self._worker.path, writable=False)
        file.view()
        return Snapshot(revision=file.head, objects=objects_of(file))

    async def commit(self, expected: int, batches: Sequence[Sequence[Change]]) -> int:
        """See ``Store.commit``. May be called again before it answered, with the head that it will have made."""
        self._refuse_closed()
        head: int = await self._answer(lambda done: _Batch(expected, batches, done))
        if head > self._head:
            self._advance(head)
        return head

    async def watch(self, from_revision: int) -> AsyncIterator[Commit]:
        """See ``Store.watch``."""
        at = from_revision
        while True:
            self._refuse_closed()
            moved = self._moved
            if at >= self._head:
                await moved.wait()
                continue
            for commit in await self._call(_since(at)):
                yield commit
                at = commit.revision

    async def compact(self, keep_from: int) -> None:
        """See ``Store.compact``."""
        await self._call(lambda file: file.forget(keep_from))

    async def restore(self, snapshot: Snapshot) -> None:
        """Fill a store that never had anything.

        Raises:
            StoreError: it has, or could not be written.
        """
        await self._call(lambda file: file.fill(snapshot.revision, snapshot.objects))
        self._advance(snapshot.revision)

    async def head(self) -> int:
        """See ``Store.head``: nobody else writes."""
        self._refuse_closed()
        return self._head

    async def close(self) -> None:
        """See ``Store.close``. What was asked before is done."""
        if not self._closed:
            self._closed = True
            self._worker.jobs.put(None)
            await asyncio.to_thread(self._worker.join)
            self._advance(self._head)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreError(f"{self._worker.path} is closed")

    async def _call(self, function: Callable[[File], R]) -> R:
        self._refuse_closed()
        return cast("R", await self._answer(lambda done: _Call(function, done)))

    async def _answer(self, job: "Callable[[asyncio.Future[Any]], _Batch | _Call]") -> Any:
        """What the thread says to it."""
        done: asyncio.Future[Any] = self._loop.create_future()
        self._unanswered += 1
        if self._turn is None:
            self._turn = self._loop.call_later(_TURN, self._make_way)
        self._worker.jobs.put(job(done))
        try:
            return await done
        finally:
            self._unanswered -= 1

    def _make_way(self) -> None:
        """Sleep without Python's lock, so that the thread has it."""
        self._turn = None
        if self._unanswered:
            time.sleep(_WAY)
            self._turn = self._loop.call_later(_TURN, self._make_way)

    def _advance(self, head: int) -> None:
        self._head = head
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


def objects_of(file: File) -> Iterator[tuple[str, str, bytes]]:
    """What a file has; closes it at the end."""
    with contextlib.closing(file):
        yield from file.objects()


def _since(revision: int) -> Callable[[File], list[Commit]]:
    return lambda file: file.since(revision, _PAGE)


class _Batch(NamedTuple):
    expected: int
    batches: Sequence[Sequence[Change]]
    done: "asyncio.Future[int]"


class _Call(NamedTuple):
    function: Callable[[File], Any]
    done: "asyncio.Future[Any]"


_Answer = tuple["asyncio.Future[Any]", Any]


class _Worker(threading.Thread):
    """The thread that has the file. It ends after a job of None."""

    def __init__(self, path: Path, keep: int, loop: asyncio.AbstractEventLoop, ready: "asyncio.Future[int]") -> None:
        """``ready`` gets the head, or why the file cannot be opened."""
        super().__init__(name="store", daemon=True)
        self.path = path
        self.jobs: queue.SimpleQueue[_Batch | _Call | None] = queue.SimpleQueue()
        self._keep = keep
        self._loop = loop
        self._ready = ready
        self._untidy = 0

    def run(self) -> None:
        try:
            with contextlib.closing(Lock(self.path)), contextlib.closing(File(self.path)) as file:
                self._answer([(self._ready, file.head)])
                self._serve(file)
        except Exception as error:
            self._answer([(self._ready, error)])

    def _serve(self, file: File) -> None:
        while True:
            jobs = self._waiting()
            for together, run in itertools.groupby(jobs, lambda job: isinstance(job, _Batch)):
                if together:
                    self._answer(self._commit(file, cast("Iterator[_Batch]", run)))
                    continue
                for call in cast("Iterator[_Call | None]", run):
                    if call is None:
                        return
                    self._answer([(call.done, _outcome(call.function, file))])
            if self._untidy >= _TIDY or not jobs:
                self._tidy(file)

    def _waiting(self) -> list[_Batch | _Call | None]:
        """Every job that waits; none when there was time to tidy and nothing came."""
        jobs: list[_Batch | _Call | None] = []
        with contextlib.suppress(queue.Empty):
            jobs.append(self.jobs.get(timeout=_IDLE if self._untidy else None))
            while True:
                jobs.append(self.jobs.get_nowait())
        return jobs

    def _commit(self, file: File, group: Iterable[_Batch]) -> list[_Answer]:
        """All of the group in one transaction, but for those that expected another head."""
        head = file.head
        answers: list[_Answer] = []
        accepted: list[Sequence[Change]] = []
        for batch in group:
            if batch.expected == head:
                head += len(batch.batches)
                accepted += batch.batches
                answers.append((batch.done, head))
            else:
                answers.append((batch.done, Conflict(head)))
        try:
            file.apply(accepted)
        except Exception as error:
            return [(done, error) for done, _ in answers]
        self._untidy += sum(len(changes) + 1 for changes in accepted)
        return answers

    def _tidy(self, file: File) -> None:
        """Nobody waits for this, and it can be done later as well."""
        self._untidy = 0
        with contextlib.suppress(StoreError):
            keep, slack = (self._keep // 10, 0) if file.size() > _BIG else (self._keep, _SLACK)
            if file.head - file.first > keep + slack:
                file.forget(file.head - keep)
            file.checkpoint()

    def _answer(self, answers: list[_Answer]) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is gone, and with it whoever asked
            self._loop.call_soon_threadsafe(_settle, answers)


def _outcome(function: Callable[[File], Any], file: File) -> Any:
    try:
        return function(file)
    except Exception as error:
        return error


def _settle(answers: list[_Answer]) -> None:
    for done, outcome in answers:
        if done.done():  # cancelled
            continue
        if isinstance(outcome, Exception):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)
