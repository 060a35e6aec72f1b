"""A resident agent: keeps its handles and its last view of the host, so that a change in the cloud is on the wire at once.

    reconcile(cloud)   the whole truth: look at everything, mend everything
    apply(cloud)       the fast way: trust the last view, plan the difference to the new cloud, run it; verify() later
    verify(touched)    look again at just what somebody touched (``linux.watch``), mend it, take what was waited for

The fast way is exact as long as nobody else changed our things since the last look; verify finds out and mends.
"""

from types import TracebackType
from typing import Self

from floatway.agent.reconcile import Clock, Outcome, reconcile
from floatway.compile.allocations import Allocations, allocate
from floatway.compile.host import Memo, compile_host
from floatway.host.plan import attainable
from floatway.host.plan import plan as make_plan
from floatway.host.records import Link, Sysctl
from floatway.host.state import HostState
from floatway.linux.connection import HostConnection
from floatway.linux.errors import StepFailed
from floatway.linux.execute import execute
from floatway.linux.observe import links_named
from floatway.linux.touched import Touched, observe_touched
from floatway.model.cloud import Cloud


class Agent:
    """One host's agent. Use as a context manager."""

    def __init__(self, host: str, conn: HostConnection | None = None) -> None:
        self.host = host
        self.conn = conn or HostConnection()
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
        self.conn.close()

    @property
    def last(self) -> Outcome | None:
        """What the last call found and did."""
        return self._last

    def reconcile(self, cloud: Cloud) -> Outcome:
        """Look at the whole host and make it be what the cloud wants. Raises as ``agent.reconcile.reconcile``."""
        self._last, self._cloud = None, cloud
        self._last = reconcile(self.conn, cloud, self.host, memo=self._memo)
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
            observed = observe_touched(self.conn, last.observed, touched, wanted)
        return self._run(observed, last.desired, last.allocations, clock)

    def _run(self, known: HostState, desired: HostState, allocations: Allocations, clock: Clock) -> Outcome:
        assert self._cloud is not None
        with clock.phase("plan"):
            plan = make_plan(known, desired)
        try:
            with clock.phase("execute"):
                execute(self.conn, plan)
        except StepFailed:
            return self.reconcile(self._cloud)
        self._last = Outcome(
            plan=plan,
            observed=attainable(known, desired),
            desired=desired,
            allocations=allocations,
            seconds=clock.seconds,
            waiting=plan.waiting,
            rounds=1 if plan else 0,
        )
        return self._last

    def _known(self, last: Outcome, desired: HostState) -> HostState:
        """What is there as far as we know, and the devices that others made for what is wanted."""
        asked = {link.key for link in desired.records(Link, lambda link: link.kind == "foreign")}
        if new := asked - last.observed.table(Link).keys():
            return last.observed.replaced(*links_named(self.conn, (str(name) for _, name in new)))
        return last.observed
