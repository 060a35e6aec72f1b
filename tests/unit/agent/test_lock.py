"""The second agent of a host is told who the first one is, and a dead one holds nothing."""

import multiprocessing
import os
import signal
import uuid
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from floatway.agent.lock import Held, alone


def hold(path: Path, name: str, held: Connection) -> None:
    with alone(path, name):
        held.send(True)
        signal.pause()


@pytest.fixture
def name() -> str:
    return f"floatway-test-{uuid.uuid4()}"


@pytest.mark.parametrize("deleted", [False, True])
def test_a_second_one_is_refused_until_the_first_is_dead(tmp_path: Path, name: str, deleted: bool) -> None:
    path = tmp_path / "run" / "agent.lock"
    ours, theirs = multiprocessing.Pipe()
    first = multiprocessing.get_context("fork").Process(target=hold, args=(path, name, theirs))
    first.start()
    assert ours.recv()
    if deleted:
        path.unlink()
    with pytest.raises(Held, match=f"process {first.pid} "), alone(path, name):
        pass
    os.kill(first.pid or 0, signal.SIGKILL)
    first.join()
    with alone(path, name):
        assert path.read_text() == f"{os.getpid()}\n"
    with alone(path, name):
        pass


def test_a_lock_that_cannot_be_written_is_said_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError), alone(tmp_path / "file" / "agent.lock", name):
        pass
