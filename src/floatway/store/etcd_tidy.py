"""The objects in etcd: a snapshot in pieces and the log after it. Tidying writes a newer snapshot and trims the log.

    snapshot 4000 ── log 4001 … 9000        tidy(keep_from=8001)        snapshot 9000 ── log 8001 … 9000

The pieces are rewritten one by one, so that a server needs the memory of one and of what changed. One transaction, guarded by
the pointer to the old snapshot, makes the new one count: whoever tidies at the same time finds the guard changed.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator

from floatway.store.base import Compacted, Snapshot, StoreError
from floatway.store.etcd_client import Client, EtcdError
from floatway.store.etcd_layout import Cutter, Keys, Object, Pointer, merged, objects_in, pointer, pointing
from floatway.store.etcd_log import Log
from floatway.store.etcd_wire import Compaction, Compare, Op, Range, RangeAnswer, TxnAnswer, after, txn

__all__ = ["Objects"]

_TRIES = 10  # times that a snapshot is begun anew because it was replaced while it was read
_OUT_OF_RANGE = 11  # gRPC's code: that history is compacted already
Changes = dict[tuple[str, str], bytes | None]


class Objects:
    """See the module's drawing."""

    def __init__(self, client: Client, keys: Keys, log: Log) -> None:
        """Of the store whose log it is."""
        self._client = client
        self._keys = keys
        self._log = log
        self.revision = 0
        """Of the newest snapshot that was looked at."""

    async def snapshot(self) -> Snapshot:
        """Everything, as of the newest revision.

        Raises:
            StoreError: it is damaged, or etcd does not answer.
        """
        for _ in range(_TRIES):
            objects: Changes = {}
            try:
                pointed, _ = await self._pointed()
                async for piece in self._pieces(pointed):
                    objects.update({(kind, id_): body for kind, id_, body in piece})
                changes, revision = await self._changes(pointed.revision)
            except Compacted:  # replaced by a newer one while we read
                continue
            objects |= changes
            left = ((kind, id_, body) for (kind, id_), body in objects.items() if body is not None)
            return Snapshot(revision, left)
        raise StoreError(f"{self._log.name}: the snapshot was replaced {_TRIES} times while it was read")

    async def tidy(self, keep_from: int) -> bool:
        """Write a snapshot of the newest revision and forget the log before ``keep_from``; False when another server did."""
        old, stored = await self._pointed()
        id_ = uuid.uuid4().hex
        try:
            changes, revision = await self._changes(old.revision)
            count = await self._rewrite(old, changes, id_)
        except Compacted:
            await self._remove(id_)
            return False
        new = Pointer(revision, id_, count)
        return await self._point(new, stored, old, min(keep_from, revision + 1))

    async def fill(self, snapshot: Snapshot) -> None:
        """Make a snapshot the content of a store that never had anything.

        Raises:
            StoreError: it has.
        """
        id_ = uuid.uuid4().hex
        changes: Changes = {(kind, key): body for kind, key, body in snapshot.objects}
        count = await self._rewrite(Pointer(0, "", 0), changes, id_)
        keys, revision = self._keys, snapshot.revision
        answer = await self._client.call(
            "kv/txn",
            txn(
                Compare.same(keys.head, b"0"),
                Compare.absent(keys.snapshot),
                then=[
                    Op.put(keys.snapshot, pointing(Pointer(revision, id_, count))),
                    Op.put(keys.head, b"%d" % revision),
                    Op.put(keys.first, b"%d" % (revision + 1)),
                ],
                otherwise=[Op.get(keys.snapshot), Op.get(keys.head)],
            ),
            TxnAnswer,
        )
        if not answer.succeeded and pointer(answer.read(0).value, self._log.name).id != id_:
            await self._remove(id_)
            head = (answer.read(1).value or b"?").decode()
            raise StoreError(f"{self._log.name} is not empty (revision {head}): restore into a new prefix")
        self.revision = revision

    async def _point(self, new: Pointer, stored: bytes | None, old: Pointer, keep_from: int) -> bool:
        keys = self._keys
        first = (await self._client.call("kv/range", Range(keys.first), RangeAnswer)).value or b"1"
        forget = [
            Op.put(keys.first, b"%d" % max(int(first), keep_from)),
            Op.delete(keys.log_begin, keys.log(keep_from)),
            Op.delete(keys.stage_begin, keys.stage(keep_from)),
        ]
        if old.id:
            forget.append(Op.delete(keys.objects(old.id), after(keys.objects(old.id))))
        guard = Compare.same(keys.snapshot, stored)
        then = [Op.put(keys.snapshot, pointing(new)), *forget]
        answer = await self._client.call("kv/txn", txn(guard, then=then, otherwise=[Op.get(keys.snapshot)]), TxnAnswer)
        if not answer.succeeded and pointer(answer.read(0).value, self._log.name).id != new.id:
            await self._remove(new.id)
            return False
        self.revision = new.revision
        try:
            await self._client.call("kv/compaction", Compaction(answer.header.revision), TxnAnswer)
        except EtcdError as error:
            if error.code != _OUT_OF_RANGE:
                raise
        return True

    async def _rewrite(self, old: Pointer, changes: Changes, id_: str) -> int:
        """Write the pieces of a new snapshot; how many."""
        cutter, count = Cutter(), 0

        def full(objects: list[Object], due: Changes) -> list[bytes]:
            return list(cutter.add(merged(objects, due)))

        async def write(pieces: list[bytes]) -> None:
            nonlocal count
            for piece in pieces:
                put = [Op.put(self._keys.objects(id_, count), piece)]
                await self._client.call("kv/txn", txn(then=put), TxnAnswer)
                count += 1

        async for piece in self._pieces(old):
            last = piece[-1][:2]
            due = {key: changes.pop(key) for key in [key for key in changes if key <= last]}
            await write(await asyncio.to_thread(full, piece, due))
        await write([*await asyncio.to_thread(full, [], changes), *cutter.rest()])
        return count

    async def _remove(self, id_: str) -> None:
        begin = self._keys.objects(id_)
        await self._client.call("kv/txn", txn(then=[Op.delete(begin, after(begin))]), TxnAnswer)

    async def _pointed(self) -> tuple[Pointer, bytes | None]:
        stored = (await self._client.call("kv/range", Range(self._keys.snapshot), RangeAnswer)).value
        pointed = pointer(stored, f"{self._log.name}: snapshot")
        self.revision = pointed.revision
        return pointed, stored

    async def _pieces(self, of: Pointer) -> AsyncIterator[list[Object]]:
        for number in range(of.pieces):
            key = self._keys.objects(of.id, number)
            value = (await self._client.call("kv/range", Range(key), RangeAnswer)).value
            if value is None:
                if (await self._pointed())[0] == of:
                    raise StoreError(f"{self._log.name}: {key.decode()} is missing")
                raise Compacted(of.revision)
            yield objects_in(value, f"{self._log.name}: {key.decode()}")

    async def _changes(self, revision: int) -> tuple[Changes, int]:
        """What was written last to each object after ``revision``, and the newest revision."""
        changes: Changes = {}
        while True:
            page = await self._log.page(revision)
            for entry in page.entries:
                for commit in entry.commits(revision):
                    changes.update({(change.kind, change.id): change.body for change in commit.changes})
                revision = entry.last
            if not page.more:
                return changes, revision
