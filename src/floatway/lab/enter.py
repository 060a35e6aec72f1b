"""Doing things inside a machine of the lab: a function, or a command.

fork ─ setns(net, mount, UTS, PID) ─ fork (only a child is in the PID namespace) ─ setns(named namespace) ─ function or exec
"""

import os
import pickle
import resource
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

import msgspec

from floatway.lab.errors import BadRequestError, LabError
from floatway.lab.node import ALL, CLONE_NEWNET, Node, die_with_parent, setns

P = ParamSpec("P")
T = TypeVar("T")


class _Reply(msgspec.Struct, frozen=True):
    """An outcome on its way through the pipe: a pickled result, or a pickled exception with its text."""

    ok: bool
    payload: bytes
    text: str = ""


class Call:
    """A function under way in a node. :meth:`result` waits for it."""

    def __init__(self, node: Node, netns: str, do: Callable[[], object]) -> None:
        self._node = node
        read, write = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            os.close(read)
            _child(node, netns, do, write)
        os.close(write)
        self._read = read

    def result(self) -> object:
        """What the function returned; what it raised is raised here. Raises LabError when it died."""
        with os.fdopen(self._read, "rb") as pipe:
            data = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        if not data:
            how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
            raise LabError(f"what ran in {self._node.name} {how}; is the machine up? see: floatway lab status")
        reply = msgspec.msgpack.decode(data, type=_Reply)
        if reply.ok:
            return pickle.loads(reply.payload)  # noqa: S301 (written by our own child)
        raised = pickle.loads(reply.payload) if reply.payload else None  # noqa: S301
        raise raised if isinstance(raised, BaseException) else LabError(f"{self._node.name}: {reply.text}")


def call(node: Node, function: Callable[..., T], *args: object, netns: str = "") -> T:
    """Run a function in the node (in its namespace ``netns``, if given) and give its result, which must pickle."""
    return cast(T, begin(node, function, *args, netns=netns).result())


def begin(node: Node, function: Callable[..., object], *args: object, netns: str = "") -> Call:
    """Start a function in the node, to run beside others."""
    return Call(node, netns, lambda: function(*args))


def _child(node: Node, netns: str, do: Callable[[], object], write: int) -> None:
    try:
        die_with_parent()
        go_in(node, ALL)
        inner = os.fork()
        if inner:
            os.close(write)
            _end_as(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]))
        die_with_parent()
        into_netns(netns)
        reply = _Reply(ok=True, payload=pickle.dumps(do()))
    except BaseException as error:
        reply = _Reply(ok=False, payload=_pickled(error), text=f"{type(error).__name__}: {error}")
    try:
        with os.fdopen(write, "wb") as pipe:
            pipe.write(msgspec.msgpack.encode(reply))
    finally:
        os._exit(0)  # also when nobody reads any more: a forked child must never return into its parent's code


def _pickled(error: BaseException) -> bytes:
    """The exception, if it comes back from a pickle whole."""
    try:
        data = pickle.dumps(error)
        return data if str(pickle.loads(data)) == str(error) else b""  # noqa: S301
    except Exception:
        return b""


def go_in(node: Node, flags: int) -> None:
    """Move this process (its children, for the PID namespace) into a node. Raises LabError when the node is dead."""
    if not node.alive:
        raise LabError(f"the machine {node.name} is dead; raise the lab again: floatway lab up")
    fd = os.pidfd_open(node.pid)
    try:
        setns(fd, flags)
    finally:
        os.close(fd)


def into_netns(name: str) -> None:
    """Move this process into a named namespace of the node it is in. Raises LabError when there is none."""
    if not name:
        return
    try:
        fd = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        known = ", ".join(sorted(entry.name for entry in Path("/run/netns").iterdir())) or "none"
        raise BadRequestError(f"there is no namespace {name} here; there are: {known}") from None
    try:
        setns(fd, CLONE_NEWNET)
    finally:
        os.close(fd)


def run(node: Node, argv: Sequence[str], *, netns: str = "", **options: Any) -> subprocess.CompletedProcess[Any]:
    """``subprocess.run`` in the node; takes the same options. A negative return code is the signal that ended the command."""
    _check_netns(node, netns)
    return subprocess.run(list(argv), preexec_fn=lambda: _enter(node, netns), check=False, **options)


def popen(node: Node, argv: Sequence[str], *, netns: str = "", **options: Any) -> subprocess.Popen[Any]:
    """``subprocess.Popen`` in the node. Killing it kills the command."""
    _check_netns(node, netns)
    options = {"stdout": subprocess.PIPE, **options}
    return subprocess.Popen(list(argv), preexec_fn=lambda: _enter(node, netns), **options)  # noqa: PLW1509


def run_beside(node: Node, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
    """A command in the node's network, but with the machine's own files and process numbers."""
    return subprocess.run(list(argv), preexec_fn=lambda: go_in(node, CLONE_NEWNET), check=False, **options)


def _check_netns(node: Node, netns: str) -> None:
    """What goes wrong between fork and exec reaches nobody: look before."""
    if not node.alive:
        raise LabError(f"the machine {node.name} is dead; raise the lab again: floatway lab up")
    if netns:
        call(node, into_netns, netns)


def _enter(node: Node, netns: str) -> None:
    """Between fork and exec: go in, and leave a process outside that passes the command's end on."""
    go_in(node, ALL)
    inner = os.fork()
    if inner:
        _pass_on(inner)
    die_with_parent()
    into_netns(netns)


def _pass_on(inner: int) -> NoReturn:
    # subprocess waits for the end of a pipe that this process also holds
    os.closerange(3, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 65536))
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # the terminal sends them to the command as well
    signal.signal(signal.SIGTERM, lambda *_: os.kill(inner, signal.SIGTERM))
    _end_as(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]))


def _end_as(status: int) -> NoReturn:
    """End this process as its child ended: with its exit status, or by its signal."""
    if status < 0:
        with suppress(OSError):  # SIGKILL has no other disposition
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status if status >= 0 else 128 - status)
