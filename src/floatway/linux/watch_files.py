"""Names that come and go in a directory (inotify(7)): namespaces in /run/netns, sockets in Open vSwitch's run directory."""

import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path

_CREATE, _DELETE, _MOVED = 0x100, 0x200, 0x40 | 0x80
_OVERFLOW = 0x4000
_EVENT = struct.Struct("=iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Files:
    """Watched directories. ``fileno`` is readable when something happened in one."""

    def __init__(self) -> None:
        self._fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"inotify: {os.strerror(number)}; see: sysctl fs.inotify.max_user_instances")
        self._directories: dict[int, Path] = {}

    def fileno(self) -> int:
        """The file descriptor."""
        return int(self._fd)

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def add(self, directory: Path) -> bool:
        """Watch a directory; False when there is none. Watching twice is fine."""
        number = _libc.inotify_add_watch(self._fd, os.fsencode(directory), _CREATE | _DELETE | _MOVED)
        if number < 0:
            return False
        self._directories[number] = directory
        return True

    def read(self) -> Iterator[tuple[Path, str]]:
        """What happened: (directory, name). An empty name: in this directory more than could be told."""
        while True:
            try:
                data = os.read(self._fd, 65536)
            except BlockingIOError:
                return
            offset = 0
            while offset + _EVENT.size <= len(data):
                number, mask, _, length = _EVENT.unpack_from(data, offset)
                offset += _EVENT.size
                name = data[offset : offset + length].rstrip(b"\0").decode(errors="replace")
                offset += length
                if mask & _OVERFLOW:
                    yield from ((directory, "") for directory in self._directories.values())
                elif number in self._directories:
                    yield self._directories[number], name
