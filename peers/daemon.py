"""A process that outlives the driver when asked to (``--keep``): started in a session of its own, found again by its pid file."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


def start(name: str, state: Path, argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> int:
    """Start it with its output in ``state/name.log`` and its pid in ``state/name.pid``."""
    with (state / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=state,
            env={**os.environ, **(env or {})},
        )
    (state / f"{name}.pid").write_text(f"{process.pid}\n{birth(process.pid)}\n")
    return process.pid


def running(name: str, state: Path) -> int:
    """Its pid, or 0. A pid that the kernel gave to another process since then does not count."""
    try:
        pid, born = (state / f"{name}.pid").read_text().split()
    except (OSError, ValueError):
        return 0
    return int(pid) if birth(int(pid)) == born else 0


def stop(name: str, state: Path, patience: float = 20) -> None:
    """End it, first politely."""
    pid = running(name, state)
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not pid:
            break
        os.kill(pid, number)
        deadline = time.monotonic() + patience
        while running(name, state) and time.monotonic() < deadline:
            reap(pid)
            time.sleep(0.05)
        pid = running(name, state)
    (state / f"{name}.pid").unlink(missing_ok=True)


def birth(pid: int) -> str:
    """When the process began, in the kernel's ticks; "" when there is none or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def reap(pid: int) -> None:
    """Take the exit status when it is a child of ours."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
