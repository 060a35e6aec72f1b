"""How soon damage done by hand is mended on the big host, what a plugged tap costs, and what hearing costs when nothing happens.

damage ── command starts ──▶ heard ──▶ that place looked at again ──▶ planned ──▶ executed      (the command's own time included)
"""

import asyncio
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from measure import Figure, figure
from suite import HOST

from floatway.agent.agent import Agent
from floatway.host.records import Link
from floatway.lab import enter, lab
from floatway.linux.connection import HostConnection
from floatway.linux.touched import Touched
from floatway.linux.watch import Watch
from floatway.model.cloud import Cloud

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

RUNS = 5
IDLE_SECONDS = 20.0
WITHIN_MS = 1000.0
KINDS = (
    "flow", "flows", "chain rule", "chain flushed", "rule", "route", "address", "neighbour", "link deleted", "link down",
    "ipset member", "port", "tag", "namespace",
)  # fmt: skip


def bench_watch(raised: lab.Lab, cloud: Cloud) -> Iterator[Figure]:
    """Each kind of damage some times; then nothing for a while."""
    taken, idle, plugged = enter.call(raised.nodes[HOST], watched, cloud)
    for kind, (times, phases) in taken.items():
        yield Figure(
            bench="watch",
            what=f"{kind}: mended",
            median_ms=round(statistics.median(times), 2),
            best_ms=round(min(times), 2),
            runs=len(times),
            aim_ms=WITHIN_MS,
            counts={"worst_ms": round(max(times))},
            phases_ms=phases,
        )
    yield figure("watch", "a tap comes back: taken", plugged, 25)
    yield figure("watch", "milliseconds of a core in a second without events", [idle], 5)


Taken = dict[str, tuple[list[float], dict[str, float]]]


def watched(cloud: Cloud) -> tuple[Taken, float, list[float]]:
    """Times by kind of damage; idle milliseconds of CPU in a second; times of taking a tap."""
    return asyncio.run(_watched(cloud))


async def _watched(cloud: Cloud) -> tuple[Taken, float, list[float]]:
    from kernel.damage import damages

    with HostConnection() as conn, Agent(HOST, conn) as agent:
        async with Watch(conn, sweep=0) as watch:
            with watch.ours():
                agent.reconcile(cloud)
            mend = _mender(agent, watch)
            await _quiet(mend)
            chance = random.Random(1)
            taken: Taken = {}
            assert agent.last is not None
            choices = damages(agent.last.observed)
            for kind in KINDS:
                times: list[float] = []
                phases: dict[str, float] = {}
                for _ in range(RUNS):
                    done, phases = await _damage(chance.choice(choices[kind]), mend, agent)
                    times.append(done)
                    await _quiet(mend)
                taken[kind] = (times, phases)
            plugged = []
            for _ in range(RUNS):
                taps = sorted(link.name for link in agent.last.desired.records(Link) if link.name.startswith("tap"))
                tap = chance.choice(taps)
                plugged.append(await _plug(tap, mend, agent, watch))
            before = _cpu()
            await asyncio.sleep(IDLE_SECONDS)
            return taken, 1000 * (_cpu() - before) / IDLE_SECONDS, plugged


Mend = Callable[[], Awaitable[tuple[Touched, bool]]]


def _mender(agent: Agent, watch: Watch) -> Mend:
    async def mend() -> tuple[Touched, bool]:
        touched = await watch.next()
        with watch.ours() as did:
            outcome = agent.verify(touched)
            did(outcome.plan)
        watch.expect(outcome.waiting)
        return touched, bool(outcome.plan)

    return mend


async def _damage(command: str, mend: Mend, agent: Agent) -> tuple[float, dict[str, float]]:
    begin = time.perf_counter()
    process = await asyncio.create_subprocess_exec("sh", "-c", command)
    async with asyncio.timeout(60):
        while not (await mend())[1]:
            pass
    taken = 1000 * (time.perf_counter() - begin)
    await process.wait()
    seconds = agent.last.seconds if agent.last else {}
    return taken, {name: round(1000 * value, 2) for name, value in seconds.items()}


async def _plug(tap: str, mend: Mend, agent: Agent, watch: Watch) -> float:
    subprocess.run(["ip", "link", "del", tap], check=True)
    await _quiet(mend)
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", f"ip tuntap add dev {tap} mode tap && ip link set {tap} up", stdout=asyncio.subprocess.DEVNULL
    )
    begin = 0.0
    async with asyncio.timeout(60):
        while agent.last is not None and tap in agent.last.waiting:
            touched = await watch.next()
            begin = begin or time.perf_counter()
            with watch.ours():
                watch.expect(agent.verify(touched).waiting)
    taken = 1000 * (time.perf_counter() - begin)
    await process.wait()
    await _quiet(mend)
    return taken


async def _quiet(mend: Mend) -> None:
    while True:
        try:
            async with asyncio.timeout(0.8):
                await mend()
        except TimeoutError:
            return


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
