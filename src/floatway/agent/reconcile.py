"""Make a host be what the cloud wants of it, and prove that it is.

    observe ─▶ recover ─▶ allocate ─▶ compile ─▶ plan ─▶ execute ─┐
       ▲                                                          │   until the plan is empty (law L7)
       └──────────────────────── observe again ◀──────────────────┘

The host itself is the memory: what an earlier run (or its crash) left is observed, recovered and gone on with.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import msgspec

from floatway.agent.body import Body, Live
from floatway.compile.allocations import Allocations, allocate, recover
from floatway.compile.host import Memo, Origin, compile_host
from floatway.host.commands import commands
from floatway.host.plan import plan as make_plan
from floatway.host.records import Sysctl
from floatway.host.state import HostState
from floatway.host.steps import Plan, Step
from floatway.linux import by_commands
from floatway.linux.connection import HostConnection
from floatway.linux.errors import StepFailed
from floatway.linux.execute import execute
from floatway.model.cloud import Cloud

Executor = Literal["netlink", "commands"]
"""How steps are run: spoken to the kernel and Open vSwitch, or typed as the commands that a plan prints."""

_EXECUTE: dict[Executor, Callable[[HostConnection, Plan], None]] = {"netlink": execute, "commands": by_commands.execute}

ROUNDS = 4
"""A plan is usually enough; the rest is for what happens meanwhile (a namespace that the kernel is still taking apart)."""


class ReconcileError(Exception):
    """The host could not be brought to the wanted state; says what is still to do and how to look at it."""


class Outcome(msgspec.Struct, frozen=True):
    """What a reconcile did. ``plan`` holds all steps that were run (with dry_run: that would be), ``waiting`` the foreign devices
    that are not there yet, ``seconds`` how long each phase took in all, ``rounds`` how many plans were run; ``blocked`` says why an
    object could not be made."""

    plan: Plan
    observed: HostState
    desired: HostState
    allocations: Allocations
    seconds: dict[str, float]
    waiting: tuple[str, ...] = ()
    rounds: int = 0
    blocked: Mapping[Origin, str] = {}


class Clock:
    """Seconds spent per phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's duration to the phase."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin


class View(msgspec.Struct, frozen=True):
    """One look at the host with what it is wanted to be."""

    observed: HostState
    desired: HostState
    allocations: Allocations


def look(body: Body, cloud: Cloud, host: str, clock: Clock, memo: Memo | None = None) -> View:
    """Observe, recover, allocate and compile: everything before a plan."""
    if host not in cloud.hosts:
        raise ReconcileError(f"the cloud has no host {host}; it has {', '.join(sorted(cloud.hosts)) or 'none'}")
    with clock.phase("observe"):
        observed = body.look()
    with clock.phase("allocate"):
        allocations = allocate(cloud, host, recover(observed, cloud, host))
    with clock.phase("compile"):
        desired = compile_host(cloud, host, allocations, memo)
    with clock.phase("observe"):
        observed = observed.replaced(*body.settings((one.netns, one.name) for one in desired.records(Sysctl)))
    return View(observed=observed, desired=desired, allocations=allocations)


def reconcile(
    conn: HostConnection,
    cloud: Cloud,
    host: str,
    *,
    dry_run: bool = False,
    memo: Memo | None = None,
    executor: Executor = "netlink",
) -> Outcome:
    """Bring the host to what the cloud wants; ``memo`` saves a resident agent compile work.
    Raises ReconcileError (it does not converge), StepFailed (one step fails again and again), ObserveError (cannot be read)."""
    clock, body = Clock(), Live(conn)
    steps: list[Step] = []
    failed: StepFailed | None = None
    for number in range(ROUNDS + 1):
        view = look(body, cloud, host, clock, memo)
        with clock.phase("plan"):
            plan = make_plan(view.observed, view.desired)
        if dry_run or not plan:
            done = plan if dry_run else Plan(steps=tuple(steps), waiting=plan.waiting)
            return Outcome(
                plan=done,
                observed=view.observed,
                desired=view.desired,
                allocations=view.allocations,
                seconds=clock.seconds,
                waiting=plan.waiting,
                rounds=number,
            )
        if number == ROUNDS:
            raise ReconcileError(stuck(host, plan)) from failed
        try:
            with clock.phase("execute"):
                _EXECUTE[executor](conn, plan)
        except StepFailed as error:
            # Once may be the kernel still taking something apart; the same command twice is a fact.
            if failed is not None and failed.command == error.command:
                raise
            failed = error
        steps += plan.steps
    raise AssertionError("unreachable")


def stuck(host: str, plan: Plan) -> str:
    """What to say of a plan that is to do again and again."""
    lines = [line for step in plan.steps for line in commands(step)]
    shown = "\n".join(f"  {line}" for line in lines[:10])
    more = f"\n  … and {len(lines) - 10} more" if len(lines) > 10 else ""
    return (
        f"host {host} does not become what is wanted: after {ROUNDS} rounds these are still to do\n{shown}{more}\n"
        "Something else changes them back, or the kernel shows them differently; run one by hand and look at the result."
    )
