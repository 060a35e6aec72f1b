"""A host of its own for one test: new network, mount, PID and UTS namespaces, with Open vSwitch where asked for."""

import ctypes
import json
import os
import pickle
import signal
import subprocess
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from floatway.lab.ovs import wait_for_release

_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWPID, _CLONE_NEWNET = 0x20000, 0x4000000, 0x20000000, 0x40000000
_DEADLINE = 180  # seconds for one test
_PRIVATE = ("/run", "/etc/openvswitch", "/var/log/openvswitch", "/var/lib/openvswitch")
_libc = ctypes.CDLL(None, use_errno=True)


class InsideError(AssertionError):
    """The test failed in its namespaces; the text is the traceback from there."""


def isolated(function: Callable[[], None]) -> None:
    """Run the function in a process that is the init of new namespaces: when it ends, all that it started ends too."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _outer(function, writer)
    os.close(writer)
    try:
        answer = _read(reader)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)
    if not answer:
        raise InsideError("the test process died without a word")
    outcome = pickle.loads(answer)
    if outcome is not None:
        raise InsideError(outcome)


def _read(fd: int) -> bytes:
    chunks = []
    previous = signal.signal(
        signal.SIGALRM, lambda *_: (_ for _ in ()).throw(InsideError(f"no end within {_DEADLINE} seconds"))
    )
    signal.alarm(_DEADLINE)
    try:
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    return b"".join(chunks)


def _outer(function: Callable[[], None], writer: int) -> None:
    status = 1
    try:
        _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a killed pytest leaves nothing behind
        failed = _libc.unshare(_CLONE_NEWNS | _CLONE_NEWUTS | _CLONE_NEWPID | _CLONE_NEWNET)
        assert not failed, f"unshare: {os.strerror(ctypes.get_errno())}"
        pid = os.fork()
        if pid == 0:
            _inner(function, writer)
        _, status = os.waitpid(pid, 0)
    except BaseException:
        os.write(writer, pickle.dumps(traceback.format_exc()))
    finally:
        os._exit(1 if status else 0)


def _inner(function: Callable[[], None], writer: int) -> None:
    outcome: str | None = None
    try:
        _libc.prctl(1, signal.SIGKILL)
        sh("mount --make-rprivate / && mount -t proc proc /proc && mount -t sysfs sysfs /sys")
        for directory in _PRIVATE:
            if Path(directory).is_dir():
                sh(f"mount -t tmpfs tmpfs {directory}")
        sh("mkdir -p /run/netns /run/lock /run/openvswitch && ip link set lo up")
        function()
    except BaseException:
        outcome = traceback.format_exc()
    try:
        os.write(writer, pickle.dumps(outcome))
    finally:
        os._exit(0)


def sh(command: str, netns: str = "") -> str:
    """The output of a shell command; its failure is an error with what it said."""
    argv = ["ip", "netns", "exec", netns] if netns else []
    done = subprocess.run([*argv, "sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
    return done.stdout


def ip(arguments: str, netns: str = "") -> Any:
    """What ``ip -j`` says."""
    out = sh(f"ip {f'-n {netns}' if netns else ''} -j {arguments}")
    return json.loads(out or "[]")


def until(condition: Callable[[], Any], what: str, seconds: float = 10.0) -> Any:
    """Poll until the condition holds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.005)
    return value


def start_ovs() -> None:
    """ovsdb-server and ovs-vswitchd of this test's own, with an empty database."""
    sh(
        "test -d /etc/openvswitch && ovsdb-tool create /etc/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema"
    )
    start_ovsdb()
    sh("ovs-vsctl --no-wait init")
    start_vswitchd()


def start_ovsdb() -> None:
    """ovsdb-server alone."""
    wait_for_release(Path("/var/run/openvswitch/ovsdb-server.pid"))
    sh(
        "ovsdb-server --remote=punix:/var/run/openvswitch/db.sock --pidfile --detach --log-file /etc/openvswitch/conf.db"
    )


def start_vswitchd() -> None:
    """ovs-vswitchd alone."""
    wait_for_release(Path("/var/run/openvswitch/ovs-vswitchd.pid"))
    sh("ovs-vswitchd --disable-system --pidfile --detach --log-file")


def kill_vswitchd() -> None:
    """As a crash would."""
    _kill("ovs-vswitchd")


def kill_ovsdb() -> None:
    """As a crash would."""
    _kill("ovsdb-server")


def _kill(daemon: str) -> None:
    pid = int(Path(f"/var/run/openvswitch/{daemon}.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text(), f"{daemon} dies")
