"""What a store promises, whichever it is.

    snapshot() ── revision R, all objects ──▶ model          commit(R, [changes …]) ──▶ R+1 … R+n, durable, or Conflict(head)
    watch(R)   ── R+1, R+2, … once each, in order ──▶        compact(K): commits before K may be forgotten

A revision is one batch of changes, applied whole or not at all. The store knows nothing of what it keeps: kinds, ids, bytes.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Protocol

import msgspec

__all__ = ["Change", "Commit", "Compacted", "Conflict", "Damaged", "Snapshot", "Store", "StoreError", "Unreachable"]


class Change(msgspec.Struct, frozen=True, array_like=True):
    """``body`` is msgpack of the entity, None when it was deleted."""

    kind: str
    id: str
    body: bytes | None


class Commit(msgspec.Struct, frozen=True, array_like=True):
    """What one revision changed."""

    revision: int
    changes: tuple[Change, ...]


class Snapshot(msgspec.Struct, frozen=True):
    """Everything as of one revision: (kind, id, body)."""

    revision: int
    objects: Iterable[tuple[str, str, bytes]]


class StoreError(Exception):
    """The store did not do it. The message says what, where and how to mend it."""


class Conflict(StoreError):  # noqa: N818 - what happened, not a fault
    """Somebody else committed first: the head is at revision ``head``."""

    def __init__(self, head: int) -> None:
        """``head`` is the newest revision known."""
        super().__init__(f"the store is at revision {head}")
        self.head = head


class Compacted(StoreError):  # noqa: N818
    """The revisions asked for are forgotten; ``first`` is the oldest that is left. Take a snapshot."""

    def __init__(self, first: int) -> None:
        """``first`` is the oldest revision that ``watch`` can still give."""
        super().__init__(f"revisions before {first} are compacted")
        self.first = first


class Damaged(StoreError):  # noqa: N818
    """A record is not what was stored: disk, or somebody's editor. The message names it."""


class Unreachable(StoreError):  # noqa: N818
    """The store did not answer in time. What was asked may have been done."""


class Store(Protocol):
    """See the module's drawing. ``exclusive`` says that nobody but this process commits."""

    exclusive: bool

    async def snapshot(self) -> Snapshot:
        """Everything, consistent."""

    async def commit(self, expected: int, batches: Sequence[Sequence[Change]]) -> int:
        """Make ``batches[i]`` revision ``expected + 1 + i``; all are durable when this returns the new head.

        Raises:
            Conflict: the head is not ``expected``; nothing was changed.
            StoreError: the store failed; nothing was changed, as far as can be known.
        """

    def watch(self, from_revision: int) -> AsyncIterator[Commit]:
        """Every commit after ``from_revision``, once, in order, for ever.

        Raises:
            Compacted: some of them are forgotten.
        """

    async def compact(self, keep_from: int) -> None:
        """Forget commits before revision ``keep_from``; the objects stay."""

    async def head(self) -> int:
        """The newest revision: not older than any commit that was acknowledged, by whomever, before the call."""

    async def restore(self, snapshot: Snapshot) -> None:
        """Fill a store that never had anything, all of it or nothing; its head is then the snapshot's revision.

        Raises:
            StoreError: it is not empty, or failed.
        """

    async def close(self) -> None:
        """Let go of it. What was acknowledged stays."""
