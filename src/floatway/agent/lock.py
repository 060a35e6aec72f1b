"""One agent a host, whatever happens: two would undo each other's work for ever.

flock on /run/floatway-agent/agent.lock     says who it is; goes with the process, however that ends
@floatway-agent                             a socket without a file, one per network namespace: holds even if the lock is deleted
"""

import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["Held", "alone"]

NAME: Final = "floatway-agent"
_CREDENTIALS: Final = struct.Struct("=iII")


class Held(Exception):  # noqa: N818 - a fact, no fault
    """Another agent runs here. Says which process it is."""


@contextlib.contextmanager
def alone(path: Path, name: str = NAME) -> Iterator[None]:
    """Be the only agent of this host while the block runs.

    Raises:
        Held: another one is.
        OSError: the lock cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sign:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Held(_said(os.pread(fd, 32, 0).decode(errors="replace").strip(), str(path))) from error
            try:
                sign.bind(f"\0{name}")
            except OSError as error:
                raise Held(_said(_owner(name), f"@{name}")) from error
            sign.listen(1)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(fd)


def _said(holder: str, where: str) -> str:
    return f"an agent runs on this host already, process {holder or 'unknown'} ({where})"


def _owner(name: str) -> str:
    """Who holds the socket (SO_PEERCRED, unix(7))."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        asking.connect(f"\0{name}")
        pid, _, _ = _CREDENTIALS.unpack(asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        return str(pid)
    return ""
