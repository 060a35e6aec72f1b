"""The SQLite file: its tables, its lock, its format, what a transaction does. Nothing here knows threads or event loops.

    log(revision, body)      one row per revision: its changes, framed      ─┐ one statement writes both: a commit is one
    objects(kind, id, body)  what there is now, framed                      ─┘ step of SQLite, with one fsync at its end
    meta(name, value)        first: the oldest revision that the log still gives
    intake                   a view; its triggers send each row to where it belongs

One statement rather than several because each step lets go of Python's lock, and gets it back only when a busy event loop
pauses: eight rows in eight steps took 80 ms beside a busy loop, in one step 6.

Format 1 is in ``user_version``; ``application_id`` spells FLTW. A lock (flock(2)) on FILE.lock keeps a second server out;
readers (dump, check) need none.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from floatway.store.base import Change, Commit, Compacted, Damaged, StoreError
from floatway.store.codec import frame, pack, unframe, unpack

__all__ = ["APPLICATION", "FORMAT", "UPGRADES", "File", "Lock"]

APPLICATION = int.from_bytes(b"FLTW", "big")
FORMAT = 1
UPGRADES: dict[int, Callable[[sqlite3.Connection], None]] = {}
"""By the format that each starts from: what makes the next one of it, inside the upgrade's transaction."""

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE log(revision INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE objects(kind TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY(kind, id));
CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO meta VALUES ('first', 1);
CREATE VIEW intake AS SELECT NULL AS revision, NULL AS kind, NULL AS id, NULL AS body;
CREATE TRIGGER intake_log INSTEAD OF INSERT ON intake WHEN new.revision IS NOT NULL
  BEGIN INSERT INTO log VALUES (new.revision, new.body); END;
CREATE TRIGGER intake_put INSTEAD OF INSERT ON intake WHEN new.kind IS NOT NULL AND new.body IS NOT NULL
  BEGIN INSERT INTO objects(kind, id, body) VALUES (new.kind, new.id, new.body)
        ON CONFLICT(kind, id) DO UPDATE SET body = excluded.body; END;
CREATE TRIGGER intake_delete INSTEAD OF INSERT ON intake WHEN new.kind IS NOT NULL AND new.body IS NULL
  BEGIN DELETE FROM objects WHERE kind = new.kind AND id = new.id; END;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {FORMAT};
COMMIT;
"""  # noqa: S608 - constants
_ROWS = 256  # rows of one statement, at most
_STATEMENTS = {
    size: "INSERT INTO intake VALUES " + ",".join(["(?,?,?,?)"] * size)  # noqa: S608 - constants
    for size in (2, 4, 8, 16, 32, 64, 128, _ROWS)
}
_HEAD = "SELECT coalesce((SELECT max(revision) FROM log), (SELECT value - 1 FROM meta WHERE name = 'first'))"
_FIRST = "SELECT value FROM meta WHERE name = 'first'"
_SINCE = "SELECT revision, body FROM log WHERE revision > ? ORDER BY revision LIMIT ?"
_MEANINGS: Mapping[str, str] = {
    "SQLITE_NOTADB": "not a SQLite file, or its first page is destroyed",
    "SQLITE_CORRUPT": "damaged; restore from a dump or a backup, after: floatway db check",
    "SQLITE_FULL": "the disk is full; nothing was changed",
    "SQLITE_READONLY": "cannot be written by this user",
    "SQLITE_CANTOPEN": "cannot be opened by this user",
}


class Lock:
    """Held by the process that may write the file. The kernel drops it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Take it.

        Raises:
            StoreError: another process holds it.
        """
        self._file = _opened(path.with_name(f"{path.name}.lock"))
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 32, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise StoreError(
                f"{path} is in use by another process (process {holder or 'unknown'}): stop that one first; "
                "for several servers at once use etcd"
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Let the next one in. The file stays: removing it would let two processes lock two different files."""
        os.close(self._file)


class File:
    """An open file. One thread uses it at a time."""

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        """Open it; make it when it is not there (and ``writable``).

        Raises:
            StoreError: it is not ours, damaged, of a format that must be upgraded or that is too new.
        """
        self.path = path
        if writable:
            os.close(_opened(path))
        elif not path.is_file():
            raise StoreError(f"{path}: no such file")
        mode = "rw" if writable else "ro"
        with _told(path):
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(writable)
                self.head: int = self._value(_HEAD)
                self.first: int = self._value(_FIRST)
            except BaseException:
                self._db.close()
                raise

    def _prepare(self, writable: bool) -> None:
        self._db.execute("PRAGMA busy_timeout = 5000")
        if not writable:
            _verify_format(self._db, self.path)
            return
        new = self._value("SELECT count(*) FROM sqlite_master") == 0
        if not new:
            _verify_format(self._db, self.path, older=True)  # before anything is written
        mode = self._value("PRAGMA journal_mode = WAL")
        if mode != "wal":
            raise StoreError(
                f"{self.path}: SQLite's write-ahead log does not work here (journal mode {mode}); use a local disk"
            )
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA wal_autocheckpoint = 0")  # checkpoint() does it, when nobody waits
        if new:
            self._db.executescript(_SCHEMA)
            _sync_directory(self.path.parent)
        elif self._value("PRAGMA user_version") < FORMAT:
            self._upgrade()

    def _upgrade(self) -> None:
        """To today's format, all of it or nothing; what it was before lies beside it."""
        found = self._value("PRAGMA user_version")
        backup = self.path.with_name(f"{self.path.name}.format-{found}")
        unfinished = backup.with_name(f"{backup.name}.part")
        unfinished.unlink(missing_ok=True)
        self._db.execute("VACUUM INTO ?", (str(unfinished),))
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.rename(backup)
        _sync_directory(self.path.parent)
        with self._transaction():
            for step in range(found, FORMAT):
                UPGRADES[step](self._db)
            self._db.execute(f"PRAGMA user_version = {FORMAT}")

    def _value(self, sql: str) -> Any:
        return self._db.execute(sql).fetchone()[0]

    def apply(self, commits: Sequence[Sequence[Change]]) -> int:
        """Make each a revision after the head, all of them in one durable transaction; the new head.

        Raises:
            StoreError: SQLite could not; nothing was changed.
        """
        rows = list(_rows(self.head + 1, commits))
        with _told(self.path):
            if len(rows) <= _ROWS:
                self._insert(rows)
            else:
                with self._transaction():
                    for start in range(0, len(rows), _ROWS):
                        self._insert(rows[start : start + _ROWS])
        self.head += len(commits)
        return self.head

    def _insert(self, rows: list[tuple[Any, ...]]) -> None:
        if not rows:
            return
        size = next(size for size in _STATEMENTS if size >= len(rows))
        values = [value for row in rows for value in row]
        values += [None] * (4 * size - len(values))
        self._db.executemany(_STATEMENTS[size], (values,))  # not execute(): that takes Python's lock once more

    def since(self, revision: int, limit: int) -> list[Commit]:
        """At most ``limit`` commits after ``revision``, in order.

        Raises:
            Compacted: some are forgotten.
        """
        if revision + 1 < self.first:
            raise Compacted(self.first)
        with _told(self.path):
            found = self._db.execute(_SINCE, (revision, limit)).fetchall()
        return [Commit(at, unpack(body, f"{self.path}: log entry {at}")) for at, body in found]

    def objects(self) -> Iterator[tuple[str, str, bytes]]:
        """Everything there is: (kind, id, body). One consistent view, also while others write."""
        with _told(self.path):
            for kind, id_, body in self._db.execute("SELECT kind, id, body FROM objects"):
                yield kind, id_, unframe(body, f"{self.path}: {kind} {id_}")

    def size(self) -> int:
        """Bytes in use, without what was freed."""
        with _told(self.path):
            pages = self._value("PRAGMA page_count") - self._value("PRAGMA freelist_count")
            return int(pages * self._value("PRAGMA page_size"))

    def count(self) -> int:
        """How many objects there are."""
        with _told(self.path):
            return int(self._value("SELECT count(*) FROM objects"))

    def forget(self, keep_from: int) -> None:
        """Drop the log before revision ``keep_from``."""
        keep_from = min(keep_from, self.head + 1)
        if keep_from <= self.first:
            return
        with _told(self.path), self._transaction():
            self._db.execute("UPDATE meta SET value = ? WHERE name = 'first'", (keep_from,))
            self._db.execute("DELETE FROM log WHERE revision < ?", (keep_from,))
        self.first = keep_from

    def fill(self, revision: int, objects: Iterable[tuple[str, str, bytes]]) -> None:
        """Put a whole snapshot into a file that never had anything.

        Raises:
            StoreError: the file is not empty.
        """
        if self.head or next(self.objects(), None):
            raise StoreError(f"{self.path} is not empty (revision {self.head}): restore into a new file")
        with _told(self.path), self._transaction():
            self._db.executemany(
                "INSERT INTO objects(kind, id, body) VALUES (?, ?, ?)",
                ((kind, id_, frame(body)) for kind, id_, body in objects),
            )
            self._db.execute("UPDATE meta SET value = ? WHERE name = 'first'", (revision + 1,))
        self.head, self.first = revision, revision + 1

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def view(self) -> None:
        """From now on all that is read is of this moment, until ``close``."""
        with _told(self.path):
            self._db.execute("BEGIN")
            self.head = self._value(_HEAD)
            self.first = self._value(_FIRST)

    def checkpoint(self) -> None:
        """Move what the write-ahead log holds to its place. Costs two fsyncs; commits are durable without it."""
        with _told(self.path):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def problems(self) -> Iterator[str]:
        """Everything that is not as it must be. Ask within a ``view``."""
        try:
            with _told(self.path):
                yield from (f"SQLite: {said}" for (said,) in self._db.execute("PRAGMA integrity_check") if said != "ok")
                yield from self._record_problems()
        except StoreError as error:
            yield str(error)

    def _record_problems(self) -> Iterator[str]:
        newest: dict[tuple[str, str], bytes | None] = {}
        expected = self.first
        for revision, body in self._db.execute("SELECT revision, body FROM log ORDER BY revision"):
            if revision != expected:
                yield f"log: revision {expected} is missing, the next one is {revision}"
            expected = revision + 1
            try:
                changes = unpack(body, f"log entry {revision}")
            except Damaged as error:
                yield str(error)
                continue
            newest |= {(change.kind, change.id): change.body for change in changes}
        for kind, id_, body in self._db.execute("SELECT kind, id, body FROM objects"):
            try:
                found = unframe(body, f"object {kind} {id_}")
            except Damaged as error:
                yield str(error)
                continue
            if newest.pop((kind, id_), found) != found:
                yield f"object {kind} {id_}: not what the log says was written last"
        for (kind, id_), body in newest.items():
            if body is not None:
                yield f"object {kind} {id_}: missing, though the log says it was written"

    def close(self) -> None:
        """Close; the last one to close checkpoints and removes the write-ahead log."""
        self._db.close()


def _rows(revision: int, commits: Sequence[Sequence[Change]]) -> Iterator[tuple[Any, ...]]:
    for offset, changes in enumerate(commits):
        yield revision + offset, None, None, pack(changes)
        for change in changes:
            yield None, change.kind, change.id, None if change.body is None else frame(change.body)


def _opened(path: Path) -> int:
    """The file's descriptor; a new file is private to its owner."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        told = f"there is no directory {path.parent}; make it: install -d -m 0750 {path.parent}"
        raise StoreError(f"{path}: {told}") from None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error


def _sync_directory(directory: Path) -> None:
    """Make the file's name durable too."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _verify_format(db: sqlite3.Connection, path: Path, *, older: bool = False) -> None:
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        raise StoreError(f"{path} is a SQLite file, but not one of floatway's")
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found > FORMAT:
        raise StoreError(f"{path} is of format {found}, written by a newer floatway; this one reads {FORMAT}")
    if found < FORMAT and not older:
        raise StoreError(
            f"{path} is of format {found}, this floatway reads {FORMAT}: floatway db upgrade sqlite://{path.absolute()}"
        )


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", "")
        raise StoreError(f"{path}: {_MEANINGS.get(code, error)}") from error
