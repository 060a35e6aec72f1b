"""A machine of the lab: network, mount, UTS and PID namespaces, held by one sleeping process.

    init (PID 1 in there) = "floatway-lab:LAB:NODE infinity", a sleep(1): no code of ours runs on, nothing to crash.
    It ignores SIGCHLD, which survives exec(2): the kernel reaps every orphan. When it dies, all of its PID namespace dies,
    and with the processes the mounts and the network go.

The process's own name is how a later ``down`` finds it, with or without a state file.
"""

import ctypes
import os
import select
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, NoReturn

import msgspec

from floatway.lab.errors import LabError

Role = Literal["compute", "instance", "outside", "fabric"]

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x04000000, 0x20000000, 0x40000000
ALL = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNET
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC, MS_PRIVATE = 2, 4, 8, 16384, 1 << 18
MARK = "floatway-lab"
# private to every node; what the machine does not have needs no cover
TMPFS = ("/run", "/var/run", "/etc/floatway", "/etc/openvswitch", "/var/log/openvswitch", "/var/lib/openvswitch")

_libc = ctypes.CDLL(None, use_errno=True)


class Node(msgspec.Struct, frozen=True):
    """One machine. ``pid`` is its init in the machine's own numbers, ``started`` the init's start time (proc_pid_stat(5), field
    22, clock ticks since boot), which tells it from a later process of the same number. ``id`` is an instance's."""

    name: str
    role: Role
    pid: int
    started: int
    id: str = ""

    @property
    def alive(self) -> bool:
        """Does its init run?"""
        return start_time(self.pid) == self.started


def check(result: int, what: str) -> None:
    """Raise OSError when a libc call failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """unshare(2). Raises OSError."""
    check(_libc.unshare(flags), "unshare")


def setns(fd: int, flags: int) -> None:
    """setns(2) with a pidfd: into several namespaces at once. Raises OSError."""
    check(_libc.setns(fd, flags), "setns")


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (prctl(2), PR_SET_PDEATHSIG)."""
    check(_libc.prctl(1, signal.SIGKILL, 0, 0, 0), "prctl")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2). Raises OSError."""
    check(_libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()), f"mount {target}")


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 when there is none or it is a zombie."""
    fields = _stat(pid)
    return 0 if not fields or fields[0] in "ZX" else int(fields[19])


def state(pid: int) -> str:
    """R, S, D, Z, T, …, as proc_pid_stat(5) has it; "" when there is no such process."""
    return next(iter(_stat(pid)), "")


def _stat(pid: int) -> list[str]:
    """The fields behind the command's name."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def create(lab: str, name: str, role: Role, identity: str = "") -> Node:
    """Make the namespaces and their init, which outlives this process. Raises LabError."""
    read, write = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(read)
        _exit_after(lambda: _middle(lab, name, write), write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    number, _, trouble = said.decode(errors="replace").partition("\n")
    pid = int(number) if number.isdigit() else 0
    started = start_time(pid) if pid else 0
    if trouble or not started:
        if pid and started:
            os.kill(pid, signal.SIGKILL)
        raise LabError(f"cannot make the machine {name}: {trouble or 'its init died at once'}")
    return Node(name=name, role=role, pid=pid, started=started, id=identity)


def _exit_after(do: Callable[[], None], report: int) -> NoReturn:
    try:
        do()
    except BaseException as error:  # a forked child must never return into its parent's code
        with suppress(OSError):  # who waited for the report may have been killed
            os.write(report, f"\n{error}".encode())
        os._exit(1)
    os._exit(0)


def _middle(lab: str, name: str, report: int) -> None:
    os.setsid()
    unshare(ALL)
    init = os.fork()
    if init == 0:
        _exit_after(lambda: _init(lab, name), report)
    os.write(report, str(init).encode())


def _init(lab: str, name: str) -> None:
    """Become PID 1 of the new machine. The report pipe closes at exec: its end of file says ready."""
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for path in TMPFS:
        if Path(path).is_dir() and not Path(path).is_symlink():
            mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    for path in ("/run/netns", "/run/openvswitch", "/run/lock"):
        Path(path).mkdir(parents=True, exist_ok=True)
    socket.sethostname(name)
    _loopback_up()
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for entry in Path("/proc/self/fd").iterdir():  # a lock that whoever raises the lab holds would never be free again
        with suppress(OSError):
            os.set_inheritable(int(entry.name), int(entry.name) < 3)
    os.chdir("/")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    sleep = shutil.which("sleep") or "/bin/sleep"
    os.execve(sleep, [mark(lab, name), "infinity"], {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})  # noqa: S606 (no shell wanted)


def _loopback_up() -> None:
    """``ip link set lo up`` by ioctl (netdevice(7))."""
    import fcntl  # noqa: PLC0415 (only here)
    import struct  # noqa: PLC0415

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sH14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP


def mark(lab: str, name: str) -> str:
    """What a node's init is called in ``ps``."""
    return f"{MARK}:{lab}:{name}"


def inits(lab: str) -> Iterator[int]:
    """The inits of all nodes of a lab, found by name: also those that no state file knows."""
    prefix = f"{MARK}:{lab}:".encode()
    return processes(lambda words: words[0].startswith(prefix) and words[1:2] == [b"infinity"])


def processes(wanted: Callable[[list[bytes]], bool]) -> Iterator[int]:
    """The running processes whose command line, word by word, is wanted."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                words = Path(f"/proc/{entry.name}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if wanted(words) and start_time(int(entry.name)):
                yield int(entry.name)


def kill(pid: int, seconds: float = 60.0) -> None:
    """Kill an init, and with it its machine; wait until it is gone. Raises LabError when it stays."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        if not select.select([fd], [], [], seconds)[0]:
            raise LabError(f"process {pid} does not die; see: cat /proc/{pid}/stack")
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)
