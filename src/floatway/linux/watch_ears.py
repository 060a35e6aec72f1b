"""Many descriptors behind one (epoll(7)): an event loop waits for the one, and all can be read at a moment of our choice."""

import select
from collections.abc import Callable
from typing import Protocol


class Descriptor(Protocol):
    """Anything that can be waited for."""

    def fileno(self) -> int:
        """The file descriptor."""
        ...


class Ears:
    """Descriptors and what reads them."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        """``failed`` is told what a reader raised; its source is read no more."""
        self._failed = failed
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}

    def fileno(self) -> int:
        """Readable when one of them is."""
        return self._epoll.fileno()

    def close(self) -> None:
        """Give the descriptor back; the others are their owners'."""
        self._epoll.close()

    def read(self, source: Descriptor, reader: Callable[[], None]) -> None:
        """Call ``reader``, which reads all there is, when the source has something."""
        self._readers[source.fileno()] = reader
        self._epoll.register(source.fileno(), select.EPOLLIN)

    def forget(self, source: Descriptor) -> None:
        """To be called before the source is closed."""
        self._drop(source.fileno())

    def ready(self) -> None:
        """Read all that has something now."""
        while events := self._epoll.poll(0):
            for fd, _ in events:
                if (reader := self._readers.get(fd)) is None:
                    continue
                try:
                    reader()
                except Exception as error:
                    self._drop(fd)  # else it would be readable for ever
                    self._failed(error)

    def _drop(self, fd: int) -> None:
        if self._readers.pop(fd, None) is not None:
            self._epoll.unregister(fd)
