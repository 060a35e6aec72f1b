"""The store of several servers: a replicated log in etcd, guarded by the head revision.

    server A: commit(7) ──▶ if head = 7 then head := 9, log/9 := [8: …, 9: …]  ──▶ 9
    server B: commit(7) ──▶ the same guard, later ──▶ Conflict(9) ── its watch brings 8 and 9 ──▶ decides anew

A commit is one transaction of two writes, however many objects it changes. What is too big for a request is staged before it.
If the answer is lost the same transaction is asked for again: its guard lets it happen once, and its id in the log tells
whether that was it.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Sequence

from floatway.store.base import Change, Commit, Conflict, Snapshot, StoreError
from floatway.store.etcd_client import Client
from floatway.store.etcd_layout import FORMAT, Entry, Keys, decoded, encoded
from floatway.store.etcd_leases import Registration, Server
from floatway.store.etcd_log import Log
from floatway.store.etcd_reads import Confirmations, LocalReads
from floatway.store.etcd_tidy import Objects
from floatway.store.etcd_wire import Compare, Op, TxnAnswer, after, txn

__all__ = ["EtcdStore"]

_BIG = 200  # changes from which a commit is encoded beside the event loop
_MUCH = 64 * 2**20  # bytes of log, written by this server, after which a tenth of what is kept must do
_HEADS = 2  # reads of the head on their way at once


class EtcdStore:
    """See ``Store``."""

    exclusive = False

    def __init__(self, client: Client, prefix: str, *, keep: int = 10_000) -> None:
        """Use ``open``."""
        self.name = f"etcd {prefix}"
        self._client = client
        self._keys = Keys(prefix)
        self._keep = keep
        self._log = Log(client, self._keys, self.name)
        self._objects = Objects(client, self._keys, self._log)
        self._registration = Registration(client, self._keys)
        self._confirmations = Confirmations(client, self._keys, self._registration.server.id)
        self._local: LocalReads | None = None
        self._committing = asyncio.Lock()
        self._reading = asyncio.Semaphore(_HEADS)
        self._next_head: asyncio.Task[int] | None = None
        self._tidying: asyncio.Task[None] | None = None
        self._written = 0
        self._closed = False

    @classmethod
    async def open(
        cls, client: Client, prefix: str, *, keep: int = 10_000, register: bool = True, local_reads: bool = False
    ) -> "EtcdStore":
        """Open it, or make it. ``register``: be known to the other servers, with a lease. ``local_reads``: see etcd_reads.

        ``keep`` is how many of the newest revisions stay in the log for watchers without anybody calling ``compact``.

        Raises:
            StoreError: etcd does not answer, or what is there is of another format.
        """
        store = cls(client, prefix, keep=keep)
        keys = store._keys
        answer = await client.call(
            "kv/txn",
            txn(
                Compare.absent(keys.format),
                then=[Op.put(keys.format, FORMAT), Op.put(keys.head, b"0"), Op.put(keys.first, b"1")],
                otherwise=[Op.get(keys.format)],
            ),
            TxnAnswer,
        )
        if not answer.succeeded and (found := answer.read(0).value) != FORMAT:
            raise StoreError(f"{store.name} is of format {found!r}; this floatway reads {FORMAT!r}")
        if register:
            await store._registration.start()
        if local_reads:
            store._local = LocalReads(client, keys, store._log, store._registration.server.id)
        return store

    async def snapshot(self) -> Snapshot:
        """See ``Store.snapshot``."""
        self._refuse_closed()
        return await self._objects.snapshot()

    async def commit(self, expected: int, batches: Sequence[Sequence[Change]]) -> int:
        """See ``Store.commit``."""
        self._refuse_closed()
        if not batches:
            return expected
        changes = tuple(tuple(batch) for batch in batches)
        entry = Entry(uuid.uuid4().hex, expected + 1, len(changes), 0, changes)
        if sum(map(len, changes)) > _BIG:
            value, staged = await asyncio.to_thread(encoded, entry)
        else:
            value, staged = encoded(entry)
        async with self._committing:
            head = await self._commit(entry, value, staged)
        self._log.known = max(self._log.known, head)
        self._written += len(value) + sum(map(len, staged))
        self._tidy_when_due(head)
        return head

    async def _commit(self, entry: Entry, value: bytes, staged: list[bytes]) -> int:
        keys, client = self._keys, self._client
        for number, piece in enumerate(staged):
            put = [Op.put(keys.stage(entry.last, entry.id, number), piece)]
            await client.call("kv/txn", txn(then=put), TxnAnswer)
        retries, readers = client.retries, self._confirmations.get()
        answer = await client.call(
            "kv/txn",
            txn(
                Compare.same(keys.head, b"%d" % (entry.first - 1)),
                then=[Op.put(keys.head, b"%d" % entry.last), Op.put(keys.log(entry.last), value), readers],
                otherwise=[Op.get(keys.head), Op.get(keys.log(entry.first), keys.log_end, limit=1), readers],
            ),
            TxnAnswer,
        )
        if answer.succeeded:
            await self._confirmations.wait(entry.last, answer.header.revision, answer.read(2).kvs)
            return entry.last
        head = self._log.number(answer.read(0).value, "head")
        taken = answer.read(1).value
        there = decoded(taken, self.name) if taken else None
        if there and there.id == entry.id:  # an earlier try of ours, whose answer was lost
            await self._confirmations.wait(entry.last, answer.header.revision, answer.read(2).kvs)
            return entry.last
        if client.retries != retries and there and there.first > entry.first:
            raise StoreError(f"{self.name}: the log no longer tells whether revision {entry.first} was ours")
        if staged:
            begin = keys.stage(entry.last, entry.id)
            await client.call("kv/txn", txn(then=[Op.delete(begin, after(begin))]), TxnAnswer)
        raise Conflict(head)

    def watch(self, from_revision: int) -> AsyncIterator[Commit]:
        """See ``Store.watch``."""
        self._refuse_closed()
        return self._log.follow(from_revision)

    async def compact(self, keep_from: int) -> None:
        """See ``Store.compact``."""
        self._refuse_closed()
        await self._objects.tidy(keep_from)

    async def restore(self, snapshot: Snapshot) -> None:
        """See ``Store.restore``."""
        self._refuse_closed()
        await self._objects.fill(snapshot)

    async def checked(self) -> tuple[int, int, list[str]]:
        """Read all of it: the revision, how many objects, what is wrong in words."""
        problems: list[str] = []
        revision = count = 0
        try:
            revision = await self._log.read_all()
            snapshot = await self._objects.snapshot()
            revision, count = snapshot.revision, sum(1 for _ in snapshot.objects)
        except StoreError as error:
            problems.append(str(error))
        return revision, count, problems

    async def head(self) -> int:
        """See ``Store.head``. Everybody who asks before a read begins shares it."""
        self._refuse_closed()
        if self._local and (known := self._local.known()) is not None:
            return known
        if self._next_head is None:
            self._next_head = asyncio.create_task(self._read_head())
            self._next_head.add_done_callback(_looked_at)
        return await asyncio.shield(self._next_head)

    async def _read_head(self) -> int:
        async with self._reading:
            self._next_head = None  # who asks from now on needs a later one
            return await self._log.head()

    async def servers(self) -> list[Server]:
        """The servers that run on this store now."""
        return await self._registration.all()

    async def close(self) -> None:
        """See ``Store.close``."""
        if self._closed:
            return
        self._closed = True
        if self._tidying:
            self._tidying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._tidying
        if self._local:
            await self._local.close()
        await self._confirmations.close()
        with contextlib.suppress(StoreError):
            await self._registration.stop()
        await self._client.close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreError(f"{self.name} is closed")

    def _tidy_when_due(self, head: int) -> None:
        """Twice as many revisions as are kept have gathered, or big ones."""
        big = self._written > _MUCH
        if self._tidying is None and (big or head - self._objects.revision > 2 * self._keep):
            self._written = 0
            self._tidying = asyncio.create_task(self._tidy(head + 1 - (self._keep // 10 if big else self._keep)))

    async def _tidy(self, keep_from: int) -> None:
        """One server at a time, by a key that goes with the server's lease; a failure is for the next one to mend."""
        try:
            with contextlib.suppress(StoreError):
                async with self._registration.alone(self._keys.tidying) as mine:
                    if mine:
                        await self._objects.tidy(keep_from)
        finally:
            self._tidying = None


def _looked_at(task: "asyncio.Task[int]") -> None:
    if not task.cancelled():
        task.exception()
