"""Reads without asking etcd: a server says that it will show every commit, and commits wait until it does.

    reader S:  readers/S := 41, with a lease ─── hears 42 on its watch ─── readers/S := 42
    writer W:  log/42 := … and reads readers/ ── S has 41: waits ───────── S has 42: acknowledges

While S holds its lease no commit is acknowledged that S has not heard of, so what S has heard of is all that a client may
expect: no question to etcd is needed. S stops believing in its lease, by its own clock, long before etcd lets it end; then its
key is gone, and no writer waits for it. The price: a commit waits for one more write of each such reader, and for a reader
that died until its lease ends. What somebody else wrote may be shown by one server a moment before another one shows it.

The clock is Linux's CLOCK_BOOTTIME, which goes on while the machine sleeps. A virtual machine that is frozen together with its
clock can show old state for a moment when it wakes: whoever cannot rule that out asks etcd (the default).
"""

import asyncio
import contextlib
import time

import msgspec

from floatway.store.base import StoreError
from floatway.store.etcd_client import Client, EtcdError
from floatway.store.etcd_layout import Keys
from floatway.store.etcd_log import Log
from floatway.store.etcd_wire import (
    Event,
    KeyValue,
    Lease,
    LeaseKept,
    Op,
    Range,
    RangeAnswer,
    TxnAnswer,
    Watch,
    WatchCreate,
    Watched,
    after,
    txn,
)

__all__ = ["Confirmations", "LocalReads"]

_TTL = 4  # seconds; etcd counts them from the last renewal that it took
_BELIEF = 2.0  # seconds from when we asked for that renewal: half, for clocks that differ and leaders that change
_RENEW = 0.5  # seconds between renewals
_WANTED = 2.0  # seconds after the last read until the lease is given back: who does not read holds nobody up
_POLL = 0.25  # seconds until a writer looks for itself what the readers have
_PAUSE = 0.05  # seconds until a watch that broke is begun anew
_WATCHED = msgspec.json.Decoder(Watched, strict=False)


def clock() -> float:
    """Seconds that pass, also while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LocalReads:
    """The reader's side: holds the lease while somebody reads."""

    def __init__(self, client: Client, keys: Keys, log: Log, server: str) -> None:
        """``server`` is our id."""
        self._client = client
        self._key = keys.readers + server.encode()
        self._head = keys.head
        self._log = log
        self._until = 0.0
        self._asked = 0.0
        self._lease = 0
        self._holder: asyncio.Task[None] | None = None
        log.heard.append(self._heard)
        self._news = asyncio.Event()

    def known(self) -> int | None:
        """The newest revision, if that is certain without asking."""
        now = self._asked = clock()
        if now < self._until:
            return self._log.known
        if self._log.followers and self._holder is None:
            self._holder = asyncio.create_task(self._hold(), name="local reads")
        return None

    async def close(self) -> None:
        """Give the lease back."""
        self._until = 0.0
        if self._holder:
            self._holder.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._holder

    def _heard(self) -> None:
        if self._lease:
            self._news.set()

    async def _hold(self) -> None:
        confirming = asyncio.create_task(self._confirm(), name="confirm")
        try:
            while self._log.followers and clock() < self._asked + _WANTED:
                with contextlib.suppress(StoreError):
                    if not self._lease:
                        await self._acquire()
                    else:
                        await self._renew()
                await asyncio.sleep(_RENEW)
        finally:
            self._until = 0.0
            confirming.cancel()
            lease, self._lease = self._lease, 0
            self._holder = None
            if lease:
                with contextlib.suppress(StoreError):
                    await self._client.call("lease/revoke", Lease(ID=lease), Lease)

    async def _acquire(self) -> None:
        begin = clock()
        lease = (await self._client.call("lease/grant", Lease(TTL=_TTL), Lease)).ID
        put = [Op.put(self._key, b"%d" % self._log.known, lease=lease), Op.get(self._head)]
        answer = await self._client.call("kv/txn", txn(then=put), TxnAnswer)
        self._log.known = max(self._log.known, self._log.number(answer.read(1).value, "head"))
        self._lease, self._until = lease, begin + _BELIEF
        self._news.set()  # of what was committed before we held it: a writer may have seen our key with less

    async def _renew(self) -> None:
        begin = clock()
        kept = await self._client.call("lease/keepalive", Lease(ID=self._lease), LeaseKept)
        if kept.result.TTL <= 0:
            self._lease, self._until = 0, 0.0
            return
        self._until = begin + _BELIEF
        await self._log.head()  # so that a watch that has died is noticed, and does not hold up the writers

    async def _confirm(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if not (lease := self._lease):
                continue  # without one our key would hold up the writers for ever
            put = [Op.put(self._key, b"%d" % self._log.known, lease=lease)]
            try:
                await self._client.call("kv/txn", txn(then=put), TxnAnswer)
            except EtcdError:
                if lease == self._lease:  # it has ended
                    self._lease, self._until = 0, 0.0
            except StoreError:
                self._news.set()


class _Waiting:
    """A commit that waits for readers."""

    def __init__(self, revision: int, etcd_revision: int, readers: set[bytes]) -> None:
        self._revision = revision
        self._etcd_revision = etcd_revision
        self.readers = readers
        self.done = asyncio.Event()

    def take(self, event: Event) -> None:
        """A reader wrote, or its lease ended after our commit: what ended before may have been taken up again."""
        gone = event.type == "DELETE" and event.kv.mod_revision > self._etcd_revision
        if gone or (event.type == "PUT" and int(event.kv.value) >= self._revision):
            self._drop(event.kv.key)

    def look(self, found: RangeAnswer) -> None:
        """All readers as of now."""
        there = {kv.key: int(kv.value) for kv in found.kvs}
        for key in list(self.readers):
            if there.get(key, self._revision) >= self._revision:
                self._drop(key)

    def _drop(self, key: bytes) -> None:
        self.readers.discard(key)
        if not self.readers:
            self.done.set()


class Confirmations:
    """The writer's side."""

    def __init__(self, client: Client, keys: Keys, server: str) -> None:
        """``server`` is our id: we do not wait for ourselves."""
        self._client = client
        self._begin = keys.readers
        self._own = keys.readers + server.encode()
        self._waiting: set[_Waiting] = set()
        self._follower: asyncio.Task[None] | None = None

    def get(self) -> Op:
        """Goes into every commit: who must have heard of it."""
        return Op.get(self._begin, after(self._begin))

    async def wait(self, revision: int, etcd_revision: int, readers: tuple[KeyValue, ...]) -> None:
        """Until all of ``readers``, as of the commit, have heard of ``revision`` or are no more.

        Raises:
            StoreError: that cannot be found out; the commit is durable all the same.
        """
        behind = {kv.key for kv in readers if kv.key != self._own and int(kv.value) < revision}
        if not behind:
            return
        if self._follower is None:
            self._follower = asyncio.create_task(self._follow(), name="readers")
        waiting = _Waiting(revision, etcd_revision, behind)
        self._waiting.add(waiting)
        try:
            while not waiting.done.is_set():
                try:
                    async with asyncio.timeout(_POLL):
                        await waiting.done.wait()
                except TimeoutError:
                    waiting.look(await self._look())
        finally:
            self._waiting.discard(waiting)

    async def close(self) -> None:
        """Stop watching the readers."""
        if self._follower:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower

    async def _look(self) -> RangeAnswer:
        return await self._client.call("kv/range", Range(self._begin, after(self._begin)), RangeAnswer)

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(StoreError, msgspec.MsgspecError):
                since = (await self._look()).header.revision + 1
                create = WatchCreate(self._begin, after(self._begin), since, (), fragment=False)
                async with contextlib.aclosing(self._client.lines("watch", Watch(create))) as lines:
                    async for line in lines:
                        told = _WATCHED.decode(line).result
                        for event in told.events if told else ():
                            for waiting in list(self._waiting):
                                waiting.take(event)
            await asyncio.sleep(_PAUSE)
