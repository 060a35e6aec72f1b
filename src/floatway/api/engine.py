"""Where rules meet durability: one writer over the immutable model, with group commit.

    write(decide) ──▶ draft over the newest model (committed or about to be) ──▶ queue
                                                                        │   all that queued while the last commit ran
    read() ◀── the committed model ◀── durable ◀── store.commit ◀───────┘   become one transaction

A rule runs at once against everything decided before it, so that racing requests see each other; its answer waits until
its revision is durable, and readers see only what is. Where several servers share a store, a commit that finds the head
moved takes in what others did and decides anew: rules are pure, so deciding twice does no harm. A refusal, or a write that
changes nothing, has no commit to prove that it was decided on the newest state: it waits for the one before it, or for the head.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Generic, TypeVar, cast

import msgspec

from floatway.control.decide import default_rules
from floatway.control.draft import Draft
from floatway.control.entities import KINDS
from floatway.control.errors import ApiError, unavailable
from floatway.control.settings import Settings
from floatway.control.snapshot import Model, built
from floatway.store.base import Change, Commit, Compacted, Conflict, Snapshot, Store, StoreError, Unreachable

__all__ = ["Engine", "Moved", "Written"]

R = TypeVar("R")
Moved = Callable[[Model, Collection[tuple[str, str]] | None], None]
"""Told of a revision: its model, and (kind, id) of what differs from the one before; None when that is not known."""
_ENCODER = msgspec.msgpack.Encoder()
_DECODERS = {name: msgspec.msgpack.Decoder(kind) for name, kind in KINDS.items()}


class Written(msgspec.Struct, Generic[R], frozen=True):
    """What a rule returned, and the model as of its revision."""

    result: R
    model: Model


class _Pending:
    """A decided write that waits to become durable."""

    __slots__ = ("changes", "decide", "done", "model", "refused", "result")

    def __init__(self, decide: Callable[[Draft], Any], done: "asyncio.Future[Written[Any]]") -> None:
        self.decide = decide
        self.done = done
        self.result: Any = None
        self.refused: ApiError | None = None
        self.changes: tuple[Change, ...] = ()
        self.model: Model | None = None

    def settle(self) -> None:
        """Tell whoever waits."""
        if self.done.done():
            return
        if self.refused:
            self.done.set_exception(self.refused)
        else:
            self.done.set_result(Written(self.result, cast("Model", self.model)))


class Engine:
    """The model of one server process, and the only way to change it."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        seed: Callable[[], int | None] = lambda: None,
    ) -> None:
        """``clock`` gives seconds since the epoch; ``seed`` is asked for each decision's, where ids are to repeat (simulations)."""
        self.store = store
        self.settings = settings
        self.model = built((), 0)
        self._clock, self._seed = clock, seed
        self._tentative = self.model
        self._queue: list[_Pending] = []
        self._committing: list[_Pending] = []
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._broken: BaseException | None = None
        self._closing = False
        self._listeners: list[Moved] = []

    def listen(self, moved: "Moved") -> None:
        """Have ``moved`` called for each revision, once, in order, as soon as readers may see it."""
        self._listeners.append(moved)

    async def start(self) -> None:
        """Load the newest snapshot and follow the store from there."""
        snapshot = await self.store.snapshot()
        self.model = self._tentative = _loaded(snapshot)
        self._tasks = [asyncio.create_task(self._commit_forever(), name="commit")]
        if not self.store.exclusive:
            self._tasks.append(asyncio.create_task(self._follow(), name="follow"))
        if self.model.revision == 0:
            await self.write(_bootstrap)

    async def close(self) -> None:
        """Let what was decided become durable, then stop."""
        self._closing = True
        self._wake.set()
        if self._tasks:
            await asyncio.wait([self._tasks[0]], timeout=30)
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.store.close()

    @property
    def healthy(self) -> bool:
        """Whether writes can succeed."""
        return self._broken is None and not self._closing

    async def read(self) -> Model:
        """A model no older than any write acknowledged before the call, by whichever server.

        Raises:
            ApiError: 503 when the store does not answer.
        """
        if self.store.exclusive:
            return self.model
        try:
            head = await self.store.head()
        except StoreError as error:
            raise unavailable(f"The store does not answer: {error}") from error
        return await self.reached(head)

    async def reached(self, revision: int) -> Model:
        """The model once it is at ``revision`` or later.

        Raises:
            ApiError: 503 when it cannot get there.
        """
        while self.model.revision < revision:
            if self._broken:
                raise unavailable(f"The store cannot be followed: {self._broken}")
            await self._moved.wait()
        return self.model

    async def write(self, decide: Callable[[Draft], R]) -> Written[R]:
        """Run a rule and make what it changed durable.

        Raises:
            ApiError: what the rule raised (nothing changed), or 503 when the store failed.
        """
        if not self.healthy:
            raise unavailable(f"The store does not accept writes: {self._broken or 'the server is stopping'}")
        pending = _Pending(decide, asyncio.get_running_loop().create_future())
        self._decide(pending)
        if not pending.changes and self.store.exclusive and not self._queue and not self._committing:
            pending.settle()
            return cast("Written[R]", pending.done.result())
        self._queue.append(pending)
        self._wake.set()
        return cast("Written[R]", await pending.done)

    def _decide(self, pending: _Pending) -> None:
        draft = Draft(self._tentative, self.settings, seconds=self._clock(), seed=self._seed())
        try:
            pending.result, pending.refused = pending.decide(draft), None
        except ApiError as refused:
            pending.result, pending.refused, pending.changes, pending.model = None, refused, (), self._tentative
            return
        changed = draft.changes()
        pending.changes = tuple(
            Change(kind, id_, None if entity is None else _ENCODER.encode(entity)) for kind, id_, entity in changed
        )
        pending.model = draft.model.at(self._tentative.revision + 1) if changed else self._tentative
        self._tentative = pending.model

    async def _commit_forever(self) -> None:
        while not (self._closing and not self._queue):
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                self._committing, self._queue = self._queue, []
                try:
                    await self._commit(self._committing)
                except Exception as error:
                    self._fail(error)
                self._committing = []

    async def _commit(self, batch: list[_Pending]) -> None:
        while batch:
            expected = self.model.revision
            writes = [pending.changes for pending in batch if pending.changes]
            if cast("Model", batch[0].model).revision != expected + bool(batch[0].changes):
                self._redecide(batch)  # the model moved between deciding and now
                continue
            if writes:
                try:
                    head = await self.store.commit(expected, writes)
                except Conflict as moved:
                    await self.reached(moved.head)
                    self._redecide(batch)
                    continue
                if head > self.model.revision:
                    for pending in batch:
                        if pending.changes:
                            self._tell(cast("Model", pending.model), pending.changes)
                    self._advance(cast("Model", batch[-1].model))
                else:  # others' commits came in by the watch before our own answer did: what is queued stands on old ground
                    self._redecide([])
            elif not self.store.exclusive and (head := await self.store.head()) > expected:
                await self.reached(head)
                self._redecide(batch)
                continue
            for pending in batch:
                pending.settle()
            return

    def _redecide(self, batch: list[_Pending]) -> None:
        """Decide the batch and all that queued behind it anew, on the newest committed model."""
        self._tentative = self.model
        for waiting in (batch, self._queue):
            kept = []
            for pending in waiting:
                try:
                    self._decide(pending)
                    kept.append(pending)
                except Exception as error:
                    if not pending.done.done():
                        pending.done.set_exception(error)
            waiting[:] = kept

    def _fail(self, error: BaseException) -> None:
        """The store refused or died: nobody who waits was served, and nothing decided since stands."""
        told = unavailable(f"The store failed: {error}")
        for pending in (*self._committing, *self._queue):
            if not pending.done.done():
                pending.done.set_exception(told)
        self._queue = []
        self._tentative = self.model
        if self.store.exclusive and not isinstance(error, StoreError):
            self._broken = error

    def _tell(self, model: Model, changes: Sequence[Change] | None) -> None:
        changed = None if changes is None else [(change.kind, change.id) for change in changes]
        for moved in self._listeners:
            moved(model, changed)

    def _advance(self, model: Model) -> None:
        self.model = model
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def _follow(self) -> None:
        """Take in what other servers committed."""
        while not self._broken:
            try:
                await self._take_in()
            except Unreachable:
                continue  # reads and writes say so to whoever asks; it has been patient already
            except StoreError as error:
                self._broken = error
                self._advance(self.model)  # who waits for a later one learns that it will not come

    async def _take_in(self) -> None:
        try:
            async for commit in self.store.watch(self.model.revision):
                if commit.revision > self.model.revision:
                    self._taken_in(applied(self.model, commit), commit.changes)
        except Compacted:  # we slept so long that the log no longer has what we missed
            snapshot = await self.store.snapshot()
            if snapshot.revision > self.model.revision:
                self._taken_in(_loaded(snapshot), None)

    def _taken_in(self, model: Model, changes: Sequence[Change] | None) -> None:
        self._tell(model, changes)
        self._advance(model)
        if not self._queue and not self._committing:
            self._tentative = model


def _bootstrap(draft: Draft) -> None:
    """What a new cloud begins with; of several servers that start at once, the first one's."""
    if draft.base.revision == 0:
        default_rules.bootstrap(draft)


def _loaded(snapshot: Snapshot) -> Model:
    return built([_DECODERS[kind].decode(body) for kind, _, body in snapshot.objects], snapshot.revision)


def applied(model: Model, commit: Commit) -> Model:
    """The model after a commit that somebody else decided."""
    for change in commit.changes:
        if change.body is not None:
            model = model.put(_DECODERS[change.kind].decode(change.body))
        else:
            old = model.get(KINDS[change.kind], change.id)
            if old is not None:
                model = model.remove(old)
    return model.at(commit.revision)
