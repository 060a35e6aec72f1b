"""Named network namespaces, as ``ip netns`` keeps them: a bind mount of the namespace's file at /run/netns/NAME.

with inside(fd):           setns(2) moves this one thread, costs microseconds and no process;
    socket.socket(…)       sockets, /proc/sys/net and spawned processes then belong to that namespace.
"""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from floatway.linux.errors import LinuxError

CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED, _MNT_DETACH = 4096, 16384, 1 << 20, 2
OWN = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)
_creating = threading.Lock()


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def setns(fd: int) -> None:
    """Move the calling thread into the network namespace behind ``fd``. Raises OSError (EPERM without CAP_SYS_ADMIN)."""
    _check(_libc.setns(fd, CLONE_NEWNET), "setns")


@contextmanager
def inside(fd: int | None) -> Iterator[None]:
    """Run the block in a namespace (None: stay); only the calling thread moves, and comes back whatever happens."""
    if fd is None:
        yield
        return
    own = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd)
        try:
            yield
        finally:
            setns(own)
    finally:
        os.close(own)


def names(directory: Path) -> list[str]:
    """The named namespaces, sorted. A file without a namespace (left by a crash of its maker) names none."""
    try:
        entries = [entry.name for entry in os.scandir(directory)]
    except FileNotFoundError:
        return []
    return sorted(name for name in entries if _alive(directory / name))


@contextmanager
def anonymous() -> Iterator[int]:
    """A new namespace that has no name, by its file descriptor: it ends with the block. Raises OSError."""
    own = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(CLONE_NEWNET), "unshare")
        try:
            fd = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            setns(own)
    finally:
        os.close(own)
    try:
        yield fd
    finally:
        os.close(fd)


def create(directory: Path, name: str) -> None:
    """``ip netns add NAME``. Raises FileExistsError when there is one already."""
    with _creating:
        _make_shared(directory)
        path = directory / name
        if path.exists() and not _alive(path):
            path.unlink()
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
        own = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.unshare(CLONE_NEWNET), "unshare")
            try:
                _mount(OWN, path, _MS_BIND)
            finally:
                setns(own)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(own)


def delete(directory: Path, name: str) -> None:
    """``ip netns delete NAME``: the namespace goes when its last process, socket and open file go. Absent is fine."""
    path = directory / name
    # A file without the mount is what a crash between open and mount leaves behind; more than one mount is possible too.
    while _libc.umount2(os.fsencode(path), _MNT_DETACH) == 0:
        pass
    path.unlink(missing_ok=True)


def open_fd(directory: Path, name: str) -> int:
    """A file descriptor that stands for the namespace. Raises LinuxError when the name stands for none."""
    path = directory / name
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LinuxError(f"network namespace {name}: {error.strerror} ({path}); see them with: ip netns") from error
    if not _alive(path):
        os.close(fd)
        raise LinuxError(
            f"network namespace {name}: {path} is a dead file without a namespace; mend with: ip netns delete {name}"
        )
    return fd


def _alive(path: Path) -> bool:
    """Is this a file of the kernel's namespace file system, as the own namespace's is?"""
    try:
        return path.stat().st_dev == Path(OWN).stat().st_dev
    except OSError:
        return False


def _make_shared(directory: Path) -> None:
    """Like iproute2: a shared mount, so that deleting a name frees the namespace in every mount namespace that sees it."""
    directory.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        _mount("", directory, _MS_SHARED | _MS_REC)
        return
    _mount(directory, directory, _MS_BIND | _MS_REC)
    _mount("", directory, _MS_SHARED | _MS_REC)


def _mount(source: str | Path, target: Path, flags: int) -> None:
    _check(_libc.mount(os.fsencode(source), os.fsencode(target), b"none", flags, None), f"mount {target}")
