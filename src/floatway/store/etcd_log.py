"""Reading the log in etcd: pages of it at one moment, and following it for ever.

    page(after) ─ entries, and etcd's own revision ─▶ watch from there ─ lost, silent, compacted ─▶ page(after) again

A watch is only there to be quick. What it misses, the next page has: revisions are counted, so a gap shows.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import NamedTuple

import msgspec

from floatway.store.base import Commit, Compacted, StoreError, Unreachable
from floatway.store.etcd_client import Client
from floatway.store.etcd_layout import Entry, Keys, decoded
from floatway.store.etcd_wire import Op, Range, RangeAnswer, TxnAnswer, Watch, WatchCreate, Watched, txn

__all__ = ["Log", "Page"]

_ENTRIES = 32  # of one page, each of at most 1 MB
_BEAT = 1.0  # seconds of silence after which a watch is suspected, if the head is known to be further
_PAUSE = 0.05  # seconds until the next try when a watch broke
_LOOK = 5  # beats of silence after which the head is looked at
_WATCHED = msgspec.json.Decoder(Watched, strict=False)


class Page(NamedTuple):
    """Some of the log, and the state of all as of the moment it was read."""

    head: int
    first: int
    entries: list[Entry]
    etcd_revision: int
    more: bool


class Log:
    """See the module's drawing."""

    def __init__(self, client: Client, keys: Keys, name: str) -> None:
        """``name`` is for messages."""
        self._client = client
        self._keys = keys
        self.name = name
        self.known = 0
        """The newest revision that anybody here has heard of: a watch that is behind it for long is dead."""
        self.followers = 0
        """How many follow the log."""
        self.heard: list[Callable[[], None]] = []
        """Called when ``known`` has moved because of a watch."""

    async def head(self) -> int:
        """The newest revision, as of now."""
        answer = await self._client.call("kv/range", Range(self._keys.head), RangeAnswer)
        head = self.number(answer.value, "head")
        self.known = max(self.known, head)
        return head

    async def page(self, revision: int) -> Page:
        """What comes after ``revision``, from its beginning.

        Raises:
            Compacted: some of it is forgotten.
        """
        keys = self._keys
        read = [Op.get(keys.head), Op.get(keys.first), Op.get(keys.log(revision + 1), keys.log_end, limit=_ENTRIES)]
        answer = await self._client.call("kv/txn", txn(then=read), TxnAnswer)
        head, first = self.number(answer.read(0).value, "head"), self.number(answer.read(1).value, "first")
        if revision + 1 < first:
            raise Compacted(first)
        found = answer.read(2)
        entries = [await self._whole(kv.key, kv.value) for kv in found.kvs]
        for entry in entries:
            if entry.first > revision + 1:
                raise StoreError(f"{self.name}: the log has a gap: revision {revision + 1} is missing")
            revision = entry.last
        if not found.more and revision < head:
            raise StoreError(f"{self.name}: the log ends at revision {revision}, the head is {head}")
        self.known = max(self.known, head)
        return Page(head, first, entries, answer.header.revision, found.more)

    async def read_all(self) -> int:
        """Read every entry that is left, for what is wrong with it; the head."""
        first = (await self._client.call("kv/range", Range(self._keys.first), RangeAnswer)).value
        revision = self.number(first, "first") - 1
        while True:
            page = await self.page(revision)
            if not page.more:
                return page.head
            revision = page.entries[-1].last

    async def follow(self, revision: int) -> AsyncIterator[Commit]:
        """Every commit after ``revision``, once, in order, for ever.

        Raises:
            Compacted: some are forgotten.
        """
        self.followers += 1
        try:
            async with contextlib.aclosing(self._follow(revision)) as commits:
                async for commit in commits:
                    yield commit
        finally:
            self.followers -= 1

    async def _follow(self, revision: int) -> AsyncGenerator[Commit, None]:
        while True:
            try:
                page = await self.page(revision)
            except Unreachable:
                continue  # it has been patient already
            self._tell()
            for entry in page.entries:
                for commit in entry.commits(revision):
                    yield commit
                    revision = commit.revision
            if page.more:
                continue
            async with contextlib.aclosing(self._watch(page.etcd_revision + 1, revision)) as entries:
                async for entry in entries:
                    if entry.first > revision + 1:
                        break  # read it
                    for commit in entry.commits(revision):
                        yield commit
                        revision = commit.revision

    async def _watch(self, etcd_revision: int, reached: int) -> AsyncGenerator[Entry, None]:
        """Entries as they are written; ends when it may have missed some, or is silent although it must not be."""
        create = WatchCreate(self._keys.log_begin, self._keys.log_end, etcd_revision, ("NODELETE",), fragment=True)
        lines = self._client.lines("watch", Watch(create))
        silent = 0
        line = asyncio.ensure_future(anext(lines))
        try:
            while True:
                done, _ = await asyncio.wait({line}, timeout=_BEAT)
                if done:
                    silent = 0
                    told = _WATCHED.decode(line.result()).result
                    if told is None or told.canceled:
                        return
                    line = asyncio.ensure_future(anext(lines))
                    for event in told.events:
                        entry = await self._whole(event.kv.key, event.kv.value)
                        reached = entry.last
                        self.known = max(self.known, reached)
                        self._tell()
                        yield entry
                    continue
                silent += 1
                if silent % _LOOK == 0:
                    await self.head()
                if silent > 1 and self.known > reached:
                    self._client.avoid()
                    return
        except (StoreError, StopAsyncIteration, msgspec.MsgspecError):
            await asyncio.sleep(_PAUSE)
        finally:
            line.cancel()
            await asyncio.wait({line})
            if not line.cancelled():
                line.exception()  # looked at
            await lines.aclose()

    def _tell(self) -> None:
        for heard in self.heard:
            heard()

    async def _whole(self, key: bytes, value: bytes) -> Entry:
        """An entry with its changes, wherever they are."""
        where = f"{self.name}: {key.decode(errors='replace')}"
        entry = decoded(value, where)
        if not entry.stage:
            return entry
        pieces = []
        for piece in range(entry.stage):
            at = Range(self._keys.stage(entry.last, entry.id, piece))
            found = (await self._client.call("kv/range", at, RangeAnswer)).value
            if found is None:
                raise Compacted(entry.last + 1)
            pieces.append(found)
        return decoded(value, where, b"".join(pieces))

    def number(self, value: bytes | None, what: str) -> int:
        """A revision that a key holds.

        Raises:
            StoreError: it holds none.
        """
        if value is None or not value.isdigit():
            raise StoreError(f"{self.name}: {what} is {value!r}, not a revision: somebody removed or overwrote it")
        return int(value)
