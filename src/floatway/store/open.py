"""Which store a URL names.

sqlite:///var/lib/floatway/floatway.db?keep=10000
etcd://h1:2379,h2:2379,h3:2379/prefix?cacert=/etc/floatway/ca.pem
"""

import contextlib
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from floatway.store.base import Snapshot, Store, StoreError
from floatway.store.sqlite import SqliteStore, objects_of
from floatway.store.sqlite_file import File

__all__ = ["checked", "open_store", "snapshot_of", "sqlite_path"]


async def open_store(url: str) -> Store:
    """Open it, or make it when it is new.

    Raises:
        StoreError: the URL makes no sense, or the store cannot be opened.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        options = _options(parts, {"keep"})
        try:
            keep = int(options.get("keep", "10000"))
        except ValueError:
            raise StoreError(f"{url}: keep is a number of revisions") from None
        return await SqliteStore.open(sqlite_path(url), keep=keep)
    raise StoreError(f"{url}: a store is sqlite:///PATH or etcd://HOST:PORT,…/PREFIX")


async def snapshot_of(url: str) -> Snapshot:
    """What a store holds, read beside whoever has it open.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    if urlsplit(url).scheme == "sqlite":
        file = File(sqlite_path(url), writable=False)
        file.view()
        return Snapshot(file.head, objects_of(file))
    store = await open_store(url)
    try:
        return await store.snapshot()
    finally:
        await store.close()


async def checked(url: str) -> tuple[int, int, list[str]]:
    """Read everything: the revision, how many objects, and each problem in words. Beside whoever has it open.

    Raises:
        StoreError: there is none, or it cannot be opened at all.
    """
    if urlsplit(url).scheme == "sqlite":
        with contextlib.closing(File(sqlite_path(url), writable=False)) as file:
            file.view()
            problems = list(file.problems())
            return file.head, file.count(), problems
    raise StoreError(url)


def sqlite_path(url: str) -> Path:
    """The file that ``sqlite:///PATH`` names; ``sqlite:PATH`` is below the current directory.

    Raises:
        StoreError: it names none.
    """
    parts = urlsplit(url)
    if parts.netloc or not parts.path:
        raise StoreError(f"{url}: a SQLite store is sqlite:///PATH, with three slashes before an absolute path")
    return Path(unquote(parts.path))


def _options(parts: SplitResult, known: set[str]) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(options.keys() - known):
        raise StoreError(
            f"{parts.geturl()}: unknown option {', '.join(unknown)}; there are: {', '.join(sorted(known))}"
        )
    return options
