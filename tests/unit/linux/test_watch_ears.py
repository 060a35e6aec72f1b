"""Descriptors behind one: read when they have something, and let go when reading them fails."""

import os
from collections.abc import Iterator

import pytest

from floatway.linux.watch_ears import Ears


class End:
    """A pipe's end that is read."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()

    def fileno(self) -> int:
        """The file descriptor."""
        return self.read_fd


@pytest.fixture
def end() -> Iterator[End]:
    """With something in it."""
    one = End()
    os.write(one.write_fd, b"word")
    yield one
    os.close(one.read_fd)
    os.close(one.write_fd)


def test_what_has_something_is_read(end: End) -> None:
    errors: list[Exception] = []
    heard: list[bytes] = []
    ears = Ears(errors.append)
    ears.read(end, lambda: heard.append(os.read(end.read_fd, 100)))
    ears.ready()
    ears.forget(end)
    os.write(end.write_fd, b"more")
    ears.ready()
    ears.close()
    assert (heard, errors) == ([b"word"], [])


def test_a_reader_that_fails_is_told_of_and_asked_no_more(end: End) -> None:
    errors: list[Exception] = []
    ears = Ears(errors.append)
    ears.read(end, lambda: 1 // 0)  # type: ignore[arg-type,return-value]
    ears.ready()
    ears.ready()
    ears.forget(end)
    ears.close()
    assert [type(error) for error in errors] == [ZeroDivisionError]
