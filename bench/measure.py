"""Timing, and what is said about a number: what it is, how it compares, on which machine it was taken."""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """One measured thing. Times in milliseconds; ``aim`` None where none is set; ``counts`` what it consisted of."""

    bench: str
    what: str
    median_ms: float
    best_ms: float
    runs: int
    aim_ms: float | None = None
    counts: dict[str, int] = {}
    phases_ms: dict[str, float] = {}


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured. ``spawn_ms`` is one ``ip netns exec NS true``: the price of a process for each change, and the unit
    in which figures of different machines compare."""

    cores: int
    cpu: str
    memory_gib: float
    kernel: str
    python: str
    openvswitch: str
    spawn_ms: float


class Report(msgspec.Struct, frozen=True):
    """A run of the benchmarks."""

    date: str
    commit: str
    machine: Machine
    figures: tuple[Figure, ...]


def timed(function: Callable[[], object], runs: int, before: Callable[[], object] = lambda: None) -> list[float]:
    """Milliseconds of each of ``runs`` calls; ``before`` runs ahead of each and is not counted."""
    taken = []
    for _ in range(runs):
        before()
        begin = time.perf_counter()
        function()
        taken.append(1000 * (time.perf_counter() - begin))
    return taken


def figure(bench: str, what: str, taken: list[float], aim_ms: float | None = None, **counts: int) -> Figure:
    """The figure that a list of milliseconds makes."""
    return Figure(
        bench=bench,
        what=what,
        median_ms=round(statistics.median(taken), 3),
        best_ms=round(min(taken), 3),
        runs=len(taken),
        aim_ms=aim_ms,
        counts=counts,
    )


def machine() -> Machine:
    """This one."""
    cpu = next(
        (line.split(":")[1].strip() for line in _read("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    total = next(int(line.split()[1]) for line in _read("/proc/meminfo") if line.startswith("MemTotal"))
    ovs = subprocess.run(["ovs-vswitchd", "--version"], capture_output=True, text=True, check=False).stdout.split("\n")[
        0
    ]
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        cpu=cpu,
        memory_gib=round(total / 2**20, 1),
        kernel=platform.release().split("-")[0],
        python=platform.python_version(),
        openvswitch=ovs.rsplit(" ", 1)[-1],
        spawn_ms=spawn(),
    )


def spawn() -> float:
    """One process in a namespace, the way of a tool for each change. Measured in a mount namespace of its own, where the
    ``ip netns add`` that it needs is nobody else's."""
    argv = ["unshare", "--mount", "--propagation", "private", sys.executable, __file__]
    return float(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def _spawn_here() -> float:
    Path("/run/netns").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run/netns"], check=True)
    subprocess.run(["ip", "netns", "add", "bench"], check=True)
    argv = ["ip", "netns", "exec", "bench", "true"]
    return round(statistics.median(timed(lambda: subprocess.run(argv, check=True), 20)), 2)


def _read(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


if __name__ == "__main__":
    print(_spawn_here())
