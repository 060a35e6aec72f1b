"""Which store a URL names.

sqlite:///var/lib/floatway/floatway.db?keep=10000
etcd://h1:2379,h2:2379,h3:2379/prefix?cacert=/etc/floatway/ca.pem
"""

from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from floatway.store.base import Store, StoreError
from floatway.store.sqlite import SqliteStore

__all__ = ["open_store", "sqlite_path"]


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
