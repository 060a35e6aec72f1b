"""A resident agent: keeps its handles and its last view of the host, so that a change in the cloud is on the wire at once.

    reconcile(cloud)   the whole truth: look at everything, mend everything
    apply(cloud)       the fast way: trust the last view, plan the difference to the new cloud, run it; verify() later

The fast way is exact as long as nobody else changed our things since the last look; the next reconcile finds out and mends.
"""

from types import TracebackType
from typing import Self

from floatway.agent.reconcile import Clock, Outcome, reconcile
from floatway.compile.allocations import allocate
from floatway.compile.host import Memo, compile_host
from floatway.host.plan import plan as make_plan
from floatway.host.records import Link
from floatway.host.state import HostState
from floatway.linux.connection import HostConnection
from floatway.linux.errors import StepFailed
from floatway.linux.execute import execute
from floatway.linux.observe import host_links
from floatway.model.cloud import Cloud


class Agent:
    """One host's agent. Use as a context manager."""

    def __init__(self, host: str, conn: HostConnection | None = None) -> None:
        self.host = host
        self.conn = conn or HostConnection()
        self._last: Outcome | None = None
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
        self._last = None
        self._last = reconcile(self.conn, cloud, self.host, memo=self._memo)
        return self._last

    def apply(self, cloud: Cloud) -> Outcome:
        """Run the difference between the last view and the cloud without looking first; looks when there is no last view, when
        something was waited for, or when a step fails. Raises as :meth:`reconcile`."""
        last = self._last
        if last is None or last.waiting or self.host not in cloud.hosts:
            return self.reconcile(cloud)
        clock = Clock()
        with clock.phase("allocate"):
            allocations = allocate(cloud, self.host, last.allocations)
        with clock.phase("compile"):
            desired = compile_host(cloud, self.host, allocations, self._memo)
        with clock.phase("plan"):
            plan = make_plan(self._known(last, desired), desired)
        try:
            with clock.phase("execute"):
                execute(self.conn, plan)
        except StepFailed:
            return self.reconcile(cloud)
        self._last = Outcome(
            plan=plan,
            observed=desired,
            desired=desired,
            allocations=allocations,
            seconds=clock.seconds,
            waiting=plan.waiting,
            rounds=1 if plan else 0,
        )
        return self._last

    def _known(self, last: Outcome, desired: HostState) -> HostState:
        """What is there as far as we know: what we made, and the devices that others made for what is newly wanted."""
        asked = {link.key for link in desired.records(Link, lambda link: link.kind == "foreign")}
        if new := asked - last.desired.table(Link).keys():
            return last.desired.replaced(*(link for link in host_links(self.conn) if link.key in new))
        return last.desired
