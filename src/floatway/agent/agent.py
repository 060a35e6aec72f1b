"""A resident agent: keeps its handles and its last view of the host, so that a change in the cloud is on the wire at once.

    reconcile(cloud)   the whole truth: look at everything, mend everything
    apply(cloud)       the fast way: trust the last view, plan the difference to the new cloud, run it; verify() later
    verify(touched)    look again at just what somebody touched (``linux.watch``), mend it, take what was waited for

What the host refuses is set apart (``agent.apart``) and left alone until the next reconcile, or until it is wanted otherwise.
The fast way is exact as long as nobody else changed our things since the last look; verify finds out and mends.
"""

from types import TracebackType
from typing import Self

from floatway.agent.apart import Refused, blocked, held, reconcile_apart, still_refused
from floatway.agent.body import Body, Live
from floatway.agent.reconcile import Clock, Outcome
from floatway.compile.allocations import Allocations, allocate
from floatway.compile.host import Memo, compile_host, origins
from floatway.host.ownership import owned
from floatway.host.partial import possible
from floatway.host.plan import absent, attainable
from floatway.host.plan import plan as make_plan
from floatway.host.records import Sysctl
from floatway.host.state import HostState
from floatway.host.steps import Plan
from floatway.linux.connection import HostConnection
from floatway.linux.errors import StepFailed
from floatway.linux.touched import Touched
from floatway.model.cloud import Cloud


class Agent:
    """One host's agent. Use as a context manager."""

    def __init__(self, host: str, conn: HostConnection | None = None, *, body: Body | None = None) -> None:
        """``body`` is what stands in for the live host, if anything does."""
        self.host = host
        self._conn = (conn or HostConnection()) if body is None else None
        self._body: Body = body if body is not None else Live(self._conn or HostConnection())
        self._refused: tuple[Refused, ...] = ()
        self._last: Outcome | None = None
        self._cloud: Cloud | None = None
        self._memo = Memo()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give all handles back."""
        if self._conn is not None:
            self._conn.close()

    @property
    def conn(self) -> HostConnection:
        """The way to the live host. Raises RuntimeError where something else stands in for it."""
        if self._conn is None:
            raise RuntimeError("there is no live host")
        return self._conn

    @property
    def last(self) -> Outcome | None:
        """What the last call found and did."""
        return self._last

    def reconcile(self, cloud: Cloud) -> Outcome:
        """Look at the whole host and make it be what the cloud wants, less what the host refuses (``Outcome.blocked``); what it
        refused before is tried again. Raises as ``agent.apart.reconcile_apart``."""
        return self._reconcile(cloud, Plan())

    def _reconcile(self, cloud: Cloud, cut_short: Plan) -> Outcome:
        self._last, self._cloud = None, cloud
        self._last, self._refused = reconcile_apart(
            self._body, cloud, self.host, self._memo, self._refused, cut_short=cut_short
        )
        return self._last

    def apply(self, cloud: Cloud) -> Outcome:
        """Run the difference between the last view and the cloud without looking first; looks when there is no last view or
        when a step fails. Raises as :meth:`reconcile`."""
        last = self._last
        if last is None or self.host not in cloud.hosts:
            return self.reconcile(cloud)
        clock = Clock()
        with clock.phase("allocate"):
            allocations = allocate(cloud, self.host, last.allocations)
        with clock.phase("compile"):
            desired = compile_host(cloud, self.host, allocations, self._memo)
        self._cloud = cloud
        return self._run(self._known(last, desired), desired, allocations, clock)

    def verify(self, touched: Touched) -> Outcome:
        """Look again at what was touched, and mend what is not as the last cloud wants it: the outcome's plan is what had to be
        done. Raises as :meth:`reconcile`, and RuntimeError before the first call of that."""
        last = self._last
        if last is None or self._cloud is None:
            if self._cloud is None:
                raise RuntimeError("nothing is known of the host yet: reconcile first")
            return self.reconcile(self._cloud)
        clock = Clock()
        with clock.phase("observe"):
            wanted = [(setting.netns, setting.name) for setting in last.desired.records(Sysctl)]
            observed = self._body.look_again(last.observed, touched, wanted)
        return self._run(observed, last.desired, last.allocations, clock)

    def _run(self, known: HostState, desired: HostState, allocations: Allocations, clock: Clock) -> Outcome:
        assert self._cloud is not None
        refused = still_refused(self._refused, desired)
        with clock.phase("plan"):
            have = owned(known, desired) if refused else known
            result = possible(have, desired, held(refused))
            plan = make_plan(known, result.state)
        try:
            with clock.phase("execute"):
                self._body.run(plan)
        except StepFailed:
            return self._reconcile(self._cloud, plan)
        where = origins(self._cloud, self.host, allocations, self._memo) if refused else {}
        self._refused = refused
        self._last = Outcome(
            plan=plan,
            observed=attainable(known, result.state),
            desired=desired,
            allocations=allocations,
            seconds=clock.seconds,
            waiting=plan.waiting,
            rounds=1 if plan else 0,
            blocked=blocked(refused, result, desired, where),
        )
        return self._last

    def _known(self, last: Outcome, desired: HostState) -> HostState:
        """What is there as far as we know, and the devices that others made for what is wanted."""
        new = [link.name for link in absent(last.observed, desired)]
        return last.observed.replaced(*self._body.devices(new)) if new else last.observed
