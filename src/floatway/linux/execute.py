"""Run a plan's steps on the live host: netlink, one OVSDB transaction, one bundle per bridge, one restore per namespace.

A step that fails stops the plan: what was done stays, what was not is found by the next observation. Nothing is rolled back,
since a half-done plan never leaves a dangling reference (law L2) and the next reconcile goes on from there (law L9).
"""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import groupby

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
from floatway.linux import conntrack, ipops, ipset, iptables, netns, openflow, ovsdb_ops, spawn, sysctl
from floatway.linux.announce import announce
from floatway.linux.connection import HostConnection
from floatway.linux.errors import LinuxError, StepFailed
from floatway.linux.rtwrite import loopback_up

_BESIDE = (Ip, Announce, ConntrackDelete)
"""What may go on while a tool that has done its work takes its time to end."""


def execute(conn: HostConnection, plan: Plan) -> None:
    """Run all steps in order. Raises StepFailed with the command a person would type to see the failure again."""
    ending: list[tuple[Restore, Future[str]]] = []
    try:
        for steps in _batches(plan.steps):
            first = steps[0]
            if ending and not isinstance(first, _BESIDE):
                _end(ending)
            if len(steps) == 1 and isinstance(first, Restore) and is_our_netns(first.netns):
                with _failure_of(first):
                    ending.append((first, iptables.start_restore(conn, first.netns, first.text)))
                if ending[-1][1].done():
                    _end(ending)
            elif isinstance(first, ConntrackDelete):
                _forget_connections(conn, [step for step in steps if isinstance(step, ConntrackDelete)])
            else:
                spawn.parallel(lambda step: execute_step(conn, step), steps)
    finally:
        _end(ending)


def _end(ending: "list[tuple[Restore, Future[str]]]") -> None:
    """Wait for the tools that are about to end."""
    while ending:
        step, future = ending.pop()
        with _failure_of(step):
            future.result()


def _batches(steps: tuple[Step, ...]) -> Iterator[list[Step]]:
    """Neighbouring steps that do not see each other may run at the same time: restores of different namespaces, and forgetting
    connections, for which the kernel walks its whole table each time."""
    for kind, group in groupby(steps, key=type):
        together = list(group)
        restores = {step.netns for step in together if isinstance(step, Restore)}
        if kind is ConntrackDelete or len(restores) == len(together):
            yield together
        else:
            yield from ([step] for step in together)


def execute_step(conn: HostConnection, step: Step) -> None:
    """Run one step. Raises StepFailed."""
    with _failure_of(step):
        _run(conn, step)


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
        case Restore(netns=space, text=text):
            iptables.restore(conn, space, text)
        case IpsetRestore(netns=space, text=text):
            ipset.restore(conn, space, text)
        case OvsTransaction(ops=ops):
            conn.ovs_tables()  # connects anew if the server restarted meanwhile
            ovsdb_ops.apply(conn.ovsdb, ops)
        case OfBundle(bridge=bridge, delete=delete, add=add):
            openflow.bundle(conn, bridge, delete, add)
        case ConntrackDelete():
            conntrack.forget(conn, [step])
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


def _forget_connections(conn: HostConnection, steps: list[ConntrackDelete]) -> None:
    by_space: dict[str, list[ConntrackDelete]] = {}
    for step in steps:
        by_space.setdefault(step.netns, []).append(step)
    for group in by_space.values():
        with _failure_of(group[0]):
            conntrack.forget(conn, group)
