"""What an agent can do with a host, whatever the host is: a live one, or one in memory that refuses what it is told to.

Agent ─▶ Body ─┬─ Live      kernel and Open vSwitch, through linux
               └─ Memory    host.fake, for simulations and tests
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from floatway.host.commands import commands
from floatway.host.fake import FakeError
from floatway.host.fake import run as run_in_memory
from floatway.host.records import Link, Sysctl
from floatway.host.state import HostState
from floatway.host.steps import Announce, ConntrackDelete, Plan, Step
from floatway.linux import observe, sysctl
from floatway.linux.connection import HostConnection
from floatway.linux.errors import StepFailed
from floatway.linux.execute import execute
from floatway.linux.touched import Touched, observe_touched

__all__ = ["Body", "Live", "Memory"]


class Body(Protocol):
    """A host as an agent meets it. Everything raises LinuxError when the host does not answer."""

    def look(self) -> HostState:
        """All that is there, but for settings."""

    def look_again(self, last: HostState, touched: Touched, settings: Iterable[tuple[str, str]]) -> HostState:
        """The last view with what was touched looked at again; ``settings`` are the (namespace, name) pairs that matter."""

    def settings(self, wanted: Iterable[tuple[str, str]]) -> Iterable[Sysctl]:
        """The values of these (namespace, name) settings, of those that are there."""

    def devices(self, names: Iterable[str]) -> list[Link]:
        """Those of these devices of the host's own namespace that are there."""

    def run(self, plan: Plan) -> None:
        """Run the plan's steps in order. Raises StepFailed at the first that fails."""


class Live:
    """The host that this process runs on."""

    def __init__(self, conn: HostConnection) -> None:
        self.conn = conn

    def look(self) -> HostState:
        """See :class:`Body`."""
        return observe.observe(self.conn)

    def look_again(self, last: HostState, touched: Touched, settings: Iterable[tuple[str, str]]) -> HostState:
        """See :class:`Body`."""
        return observe_touched(self.conn, last, touched, settings)

    def settings(self, wanted: Iterable[tuple[str, str]]) -> Iterable[Sysctl]:
        """See :class:`Body`."""
        return sysctl.read(self.conn, wanted)

    def devices(self, names: Iterable[str]) -> list[Link]:
        """See :class:`Body`."""
        return observe.links_named(self.conn, names)

    def run(self, plan: Plan) -> None:
        """See :class:`Body`."""
        execute(self.conn, plan)


class Memory:
    """A host in memory. ``refuses`` is asked for each step, and says why it fails ("" it does not)."""

    def __init__(self, state: HostState, refuses: Callable[[Step], str] | None = None) -> None:
        self.state = state
        self.refuses = refuses or (lambda _: "")
        self.forgotten: list[ConntrackDelete] = []
        """The connections that it was told to forget."""

    def look(self) -> HostState:
        """See :class:`Body`."""
        return self.state.without(*self.state.table(Sysctl).values())

    def look_again(self, last: HostState, touched: Touched, settings: Iterable[tuple[str, str]]) -> HostState:
        """See :class:`Body`. Looks at everything."""
        del last, touched
        return self.look().replaced(*self.settings(settings))

    def settings(self, wanted: Iterable[tuple[str, str]]) -> Iterable[Sysctl]:
        """See :class:`Body`."""
        asked = (self.state.get(Sysctl, *pair) for pair in wanted)
        return [setting for setting in asked if setting is not None]

    def devices(self, names: Iterable[str]) -> list[Link]:
        """See :class:`Body`."""
        found = (self.state.get(Link, "", name) for name in names)
        return [link for link in found if link is not None]

    def run(self, plan: Plan) -> None:
        """See :class:`Body`."""
        for step in plan.steps:
            why = self.refuses(step)
            if why:
                raise StepFailed(step, "; ".join(commands(step)), why)
            try:
                self.state = run_in_memory(self.state, step)
            except FakeError as error:
                if not isinstance(step, Announce):
                    raise StepFailed(step, "; ".join(commands(step)), str(error)) from error
            if isinstance(step, ConntrackDelete):
                self.forgotten.append(step)
