"""Run a plan's steps on the live host: netlink, one OVSDB transaction, one bundle per bridge, one restore per namespace.

A step that fails stops the plan: what was done stays, what was not is found by the next observation. Nothing is rolled back,
since a half-done plan never leaves a dangling reference (law L2) and the next reconcile goes on from there (law L9).
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from itertools import groupby, pairwise
from typing import Final

from floatway.host.commands import commands
from floatway.host.ownership import is_our_netns
from floatway.host.steps import (
    Announce,
    ConntrackDelete,
    Ip,
    IpsetRestore,
    NetnsAdd,
    NetnsDelete,
    OfBundle,
    OvsTransaction,
    Plan,
    Restore,
    Step,
    SysctlWrite,
)
from floatway.linux import conntrack, ipops, ipset, iptables, netns, openflow, ovsdb_ops, sysctl
from floatway.linux.announce import announce
from floatway.linux.connection import HostConnection
from floatway.linux.errors import LinuxError, StepFailed
from floatway.linux.rtwrite import loopback_up

BESIDE: Final = (NetnsAdd, SysctlWrite, OvsTransaction, OfBundle, ConntrackDelete)
"""Steps that do not mind whether a namespace that came with the plan has its rules already: nothing lives there yet."""


def execute(conn: HostConnection, plan: Plan) -> None:
    """Run all steps in order. Raises StepFailed with the command a person would type to see the failure again."""
    together = groups(plan.steps)
    early = early_bundles(together)
    going = _Going(conn, frozenset(step.name for step in plan.steps if isinstance(step, NetnsAdd)))
    try:
        for number, (steps, after) in enumerate(pairwise([*together, ()])):
            going.end_before(steps[0])
            if restores := [step for step in steps if isinstance(step, Restore)]:
                going.restore(restores, [step for step in after if isinstance(step, ConntrackDelete)])
            elif deletions := [step for step in steps if isinstance(step, ConntrackDelete)]:
                going.forget(deletions)
            elif bundles := [step for step in steps if isinstance(step, OfBundle)]:
                going.bundle(bundles)
            else:
                for step in steps:
                    with _failure_of(step):
                        _run(conn, step)
            if number in early:
                going.begin([step for step in together[early[number]] if isinstance(step, OfBundle)])
    finally:
        going.end()


def groups(steps: tuple[Step, ...]) -> list[tuple[Step, ...]]:
    """Neighbouring steps that do not see each other go together: restores of different namespaces, bundles of different bridges, and
    forgetting connections, for which the kernel walks its whole table each time."""
    return list(_groups(steps))


def early_bundles(together: Sequence[tuple[Step, ...]]) -> dict[int, int]:
    """The groups (by number) after which another one, of bundles, may begin although its turn comes later: flows may be there before
    devices have moved to their namespaces and have addresses, as soon as the ports are there that they speak of. The kernel takes
    10 to 20 ms to move a device, vswitchd as long to take a bundle."""
    found: dict[int, int] = {}
    ports: int | None = None
    for number, steps in enumerate(together):
        match steps[0]:
            case OvsTransaction():
                ports = number
            case OfBundle() if ports is not None:
                found[ports], ports = number, None
            case Ip() | SysctlWrite():
                pass
            case _:
                ports = None
    return found


def _groups(steps: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    for _, neighbours in groupby(steps, key=type):
        group = tuple(neighbours)
        places = {_place(step) for step in group}
        if None not in places and (len(places) == len(group) or isinstance(group[0], ConntrackDelete)):
            yield group
        else:
            yield from ((step,) for step in group)


def _place(step: Step) -> str | None:
    match step:
        case Restore(netns=place) | ConntrackDelete(netns=place) | OfBundle(bridge=place):
            return place
        case _:
            return None


class _Going:
    """What has begun and not ended while a plan is executed: tools that have done their work and take their time to end, and those whose
    work nothing waits for yet. ``fresh`` namespaces come with this plan."""

    def __init__(self, conn: HostConnection, fresh: frozenset[str]) -> None:
        self._conn = conn
        self._fresh = fresh
        self._restores: list[tuple[Restore, iptables.Restoring]] = []
        self._seen: dict[str, conntrack.Seen] = {}
        self._forgotten: list[ConntrackDelete] = []
        self._bundles: list[tuple[OfBundle, Future[str]]] = []

    def begin(self, steps: Sequence[OfBundle]) -> None:
        """Begin these bundles, of different bridges."""
        for step in steps:
            with _failure_of(step):
                self._bundles.append((step, openflow.start_bundle(self._conn, step.bridge, step.delete, step.add)))

    def bundle(self, steps: Sequence[OfBundle]) -> None:
        """These bundles are in, begun early or not. Raises StepFailed."""
        begun = {step.bridge for step, _ in self._bundles}
        self.begin([step for step in steps if step.bridge not in begun])
        for step, future in self._bundles:
            with _failure_of(step):
                future.result()
        self._bundles.clear()

    def end_before(self, step: Step) -> None:
        """End what cannot go on beside this step. In namespaces of ours nobody else writes rules, so that rules are known to be
        there; elsewhere only what can be done again may follow early. Where nothing lives yet, rules are due with the first device."""
        if isinstance(step, Ip):
            for restore, restoring in self._restores:
                if restore.netns in self._fresh:
                    restoring.wait_rules()
        spaces = {restore.netns for restore, _ in self._restores}
        beside = isinstance(step, BESIDE if spaces <= self._fresh else ConntrackDelete)
        ours = isinstance(step, Ip | Announce) and all(map(is_our_netns, spaces))
        if not (beside or ours):
            self._end_restores()

    def restore(self, steps: Sequence[Restore], then: Sequence[ConntrackDelete]) -> None:
        """Restore all at once, with a first look at the connections that are forgotten ``then``; back when the rules are there, but for
        namespaces in which nothing lives yet."""
        looks = ((space, conntrack.look(self._conn, space)) for space in _by_namespace(then))
        self._seen = {space: seen for space, seen in looks if seen is not None}
        for step in steps:
            with _failure_of(step):
                self._restores.append((step, iptables.Restoring(self._conn, step.netns, step.text)))
        for restore, restoring in self._restores:
            if restore.netns not in self._fresh:
                restoring.wait_rules()

    def forget(self, steps: Sequence[ConntrackDelete]) -> None:
        """Forget connections; those that began while a tool had not ended perhaps once more."""
        for space, group in _by_namespace(steps).items():
            with _failure_of(group[0]):
                conntrack.forget(self._conn, group, self._seen.pop(space, None))
        if self._restores:
            self._forgotten += steps

    def end(self) -> None:
        """Wait for all of it. Raises StepFailed."""
        try:
            self._end_restores()
        finally:
            wait([future for _, future in self._bundles])

    def _end_restores(self) -> None:
        alone = True
        try:
            while self._restores:
                step, restoring = self._restores.pop()
                with _failure_of(step):
                    alone = restoring.end() and alone
        finally:
            wait(self._seen.values())
            self._seen.clear()
            forgotten, self._forgotten = self._forgotten, []
        if not alone and forgotten:
            self.forget(forgotten)


def _by_namespace(steps: Iterable[ConntrackDelete]) -> dict[str, list[ConntrackDelete]]:
    found: dict[str, list[ConntrackDelete]] = {}
    for step in steps:
        found.setdefault(step.netns, []).append(step)
    return found


@contextmanager
def _failure_of(step: Step) -> Iterator[None]:
    try:
        yield
    except StepFailed:
        raise
    except OSError as error:
        raise StepFailed(step, _command(step), str(error), error.errno or 0) from error
    except LinuxError as error:
        raise StepFailed(step, _command(step), str(error), getattr(error, "errno", 0)) from error


def _command(step: Step) -> str:
    lines = commands(step)
    return lines[0] if len(lines) == 1 else f"{lines[0]} … ({len(lines)} commands)" if lines else type(step).__name__


def _run(conn: HostConnection, step: Step) -> None:
    match step:
        case Ip():
            ipops.run(conn, step)
        case NetnsAdd(name=name):
            conn.namespaces()  # drops the handle of an earlier namespace of this name
            netns.create(conn.netns_dir, name)
            for error in conn.handle(name).route.execute([loopback_up()]):
                if error is not None:
                    raise error
        case NetnsDelete(name=name):
            conn.forget(name)
            netns.delete(conn.netns_dir, name)
        case SysctlWrite(netns=space, settings=settings):
            _write(conn, space, settings)
        case IpsetRestore(netns=space, text=text):
            ipset.restore(conn, space, text)
        case OvsTransaction(ops=ops):
            conn.ovs_tables()  # connects anew if the server restarted meanwhile
            ovsdb_ops.apply(conn.ovsdb, ops)
        case Announce(netns=space, dev=dev, address=address):
            announce(conn, space, dev, address)


def _write(conn: HostConnection, space: str, settings: tuple[tuple[str, str], ...]) -> None:
    for name, value in settings:
        try:
            sysctl.write(conn, space, name, value)
        except OSError as error:
            failed = SysctlWrite(netns=space, settings=((name, value),))
            command = "; ".join(commands(failed))
            raise StepFailed(failed, command, error.strerror or str(error), error.errno or 0) from error
