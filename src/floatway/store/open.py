"""Which store a URL names.

    sqlite:///var/lib/floatway/floatway.db?keep=10000
    etcd://h1:2379,h2:2379,h3:2379/prefix?cacert=/etc/floatway/ca.pem&cert=/etc/floatway/etcd.pem&key=/etc/floatway/etcd.key
    etcd://h1:2379,h2:2379,h3:2379/prefix?reads=local       see etcd_reads; reads=quorum asks etcd for each

keep: how many of the newest revisions a watcher can resume from. cacert, cert, key: TLS, with these PEM files; etcds:// is TLS
with the system's authorities. A name and a password go before the hosts, etcd://floatway:secret@h1:2379/prefix. The nearest
member comes first: it is asked while it answers.
"""

import contextlib
import ssl
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from floatway.store.base import Snapshot, Store, StoreError
from floatway.store.etcd import EtcdStore
from floatway.store.etcd_client import Client, Member
from floatway.store.etcd_wire import Credentials
from floatway.store.sqlite import SqliteStore, objects_of
from floatway.store.sqlite_file import File

__all__ = ["checked", "open_store", "shown", "snapshot_of", "sqlite_path"]

_KEEP = "10000"
_PORT = 2379
_ETCD = ("etcd", "etcds")


async def open_store(url: str) -> Store:
    """Open it, or make it when it is new.

    Raises:
        StoreError: the URL makes no sense, or the store cannot be opened.
    """
    scheme = urlsplit(url).scheme
    if scheme == "sqlite":
        path = sqlite_path(url)
        return await SqliteStore.open(path, keep=_keep(_options(url, {"keep"}), url))
    if scheme in _ETCD:
        return await _open_etcd(url, register=True)
    raise StoreError(f"{shown(url)}: a store is sqlite:///PATH or etcd://HOST:PORT,…/PREFIX")


def shown(url: str) -> str:
    """The URL as it may be logged: without a password."""
    who, at, hosts = urlsplit(url).netloc.rpartition("@")
    return url.replace(f"{who}{at}{hosts}", f"{who.partition(':')[0]}{at}{hosts}", 1) if at else url


async def snapshot_of(url: str) -> Snapshot:
    """What a store holds, read beside whoever has it open.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    if urlsplit(url).scheme == "sqlite":
        file = File(sqlite_path(url), writable=False)
        file.view()
        return Snapshot(file.head, objects_of(file))
    store = await _open_etcd(url, register=False)
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
    store = await _open_etcd(url, register=False)
    try:
        return await store.checked()
    finally:
        await store.close()


def sqlite_path(url: str) -> Path:
    """The file that ``sqlite:///PATH`` names; ``sqlite:PATH`` is below the current directory.

    Raises:
        StoreError: it names none.
    """
    parts = urlsplit(url)
    if parts.netloc or not parts.path:
        raise StoreError(f"{shown(url)}: a SQLite store is sqlite:///PATH, with three slashes before an absolute path")
    return Path(unquote(parts.path))


async def _open_etcd(url: str, *, register: bool) -> EtcdStore:
    parts = urlsplit(url)
    options = _options(url, {"keep", "cacert", "cert", "key", "reads"})
    prefix = parts.path.rstrip("/")
    keep, reads = _keep(options, url), options.get("reads", "quorum")
    if reads not in {"quorum", "local"}:
        raise StoreError(f"{shown(url)}: reads is quorum or local")
    if parts.scheme not in _ETCD or not prefix.strip("/"):
        raise StoreError(f"{shown(url)}: an etcd store is etcd://HOST:PORT,HOST:PORT,…/PREFIX")
    who, _, hosts = parts.netloc.rpartition("@")
    name, _, password = who.partition(":")
    client = Client(
        [_member(host, url) for host in hosts.split(",")],
        tls=_tls(options, wanted=parts.scheme == "etcds"),
        credentials=Credentials(unquote(name), unquote(password)) if who else None,
    )
    try:
        local = register and reads == "local"
        return await EtcdStore.open(client, prefix, keep=keep, register=register, local_reads=local)
    except BaseException:
        await client.close()
        raise


def _member(text: str, url: str) -> Member:
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname:
            return Member(parts.hostname, parts.port or _PORT)
    except ValueError:
        pass
    raise StoreError(f"{shown(url)}: {text!r} is not HOST:PORT")


def _tls(options: dict[str, str], *, wanted: bool) -> ssl.SSLContext | None:
    if not wanted and not options.keys() & {"cacert", "cert", "key"}:
        return None
    try:
        context = ssl.create_default_context(cafile=options.get("cacert"))
        if cert := options.get("cert"):
            context.load_cert_chain(cert, options.get("key"))
    except OSError as error:
        files = ", ".join(options[name] for name in ("cacert", "cert", "key") if name in options)
        raise StoreError(f"the TLS files {files} cannot be used: {error}") from error
    return context


def _keep(options: dict[str, str], url: str) -> int:
    try:
        return int(options.get("keep", _KEEP))
    except ValueError:
        raise StoreError(f"{shown(url)}: keep is a number of revisions") from None


def _options(url: str, known: set[str]) -> dict[str, str]:
    options = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    if unknown := sorted(options.keys() - known):
        raise StoreError(f"{shown(url)}: unknown option {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
    return options
