"""Open vSwitch of one compute host: a private ovsdb-server and ovs-vswitchd in the node's own /run and /etc.

Datapath: the kernel's where its module is there, else the userspace one (``datapath_type=netdev``). That one's main thread takes 32
packet buffers for each port in each of its passes and gives them back (lib/netdev-linux.c), a third of its time with glibc's malloc
where there are 1,000 ports: it gets jemalloc, where that is installed.
"""

import fcntl
import os
import subprocess
import sysconfig
from contextlib import suppress
from pathlib import Path
from typing import Literal

from floatway.lab import enter
from floatway.lab.errors import LabError
from floatway.lab.node import Node

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
RUN, DATABASE = Path("/run/openvswitch"), Path("/etc/openvswitch/conf.db")
MANAGER = "ptcp:6640:127.0.0.1"


def datapath() -> Literal["system", "netdev"]:
    """The kernel's datapath if this machine has it or can load it."""
    if Path("/sys/module/openvswitch").exists():
        return "system"
    try:
        loaded = subprocess.run(["modprobe", "-q", "openvswitch"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        loaded = False
    return "system" if loaded and Path("/sys/module/openvswitch").exists() else "netdev"


def start(node: Node) -> None:
    """Start what of the two daemons does not run. Raises LabError with what the daemon said."""
    enter.call(node, _start, preloaded(datapath()))


def preloaded(kind: str) -> dict[str, str]:
    """The environment (ld.so(8)) that gives ovs-vswitchd its allocator: Debian's libjemalloc2 on this architecture, if it is there."""
    library = Path("/usr/lib", sysconfig.get_config_var("MULTIARCH") or "", "libjemalloc.so.2")
    return {"LD_PRELOAD": str(library)} if kind == "netdev" and library.exists() else {}


def running(node: Node) -> bool:
    """Do both daemons run?"""
    return enter.call(node, _running)


def _alive(daemon: str) -> bool:
    try:
        pid = int((RUN / f"{daemon}.pid").read_text())
        return daemon in Path(f"/proc/{pid}/cmdline").read_text()
    except (OSError, ValueError):
        return False


def _running() -> bool:
    return _alive("ovsdb-server") and _alive("ovs-vswitchd")


def _start(vswitchd: dict[str, str]) -> None:
    if not _alive("ovsdb-server"):
        if not DATABASE.exists():
            DATABASE.parent.mkdir(parents=True, exist_ok=True)
            _do("ovsdb-tool", "create", str(DATABASE), str(SCHEMA))
        remotes = (f"--remote=punix:{RUN}/db.sock", "--remote=db:Open_vSwitch,Open_vSwitch,manager_options")
        _start_daemon("ovsdb-server", str(DATABASE), *remotes)
        _do("ovs-vsctl", "--no-wait", "init", "--", "set-manager", MANAGER, "--", "set", "Open_vSwitch", ".",
            "other_config:n-handler-threads=1", "other_config:n-revalidator-threads=1")  # fmt: skip
    if not _alive("ovs-vswitchd"):
        _start_daemon("ovs-vswitchd", f"unix:{RUN}/db.sock", **vswitchd)


def _start_daemon(name: str, *argv: str, **environment: str) -> None:
    pidfile = RUN / f"{name}.pid"
    wait_for_release(pidfile)
    log = f"--log-file={RUN}/{name}.log"
    _do(name, *argv, "--detach", "--no-chdir", f"--pidfile={pidfile}", log, "-vconsole:off", **environment)


def wait_for_release(pidfile: Path) -> None:
    """A process that was killed looks dead (its command line is empty) before the kernel has closed its files and, with them, the
    lock on its pid file, for which a new one refuses to start (lib/daemon-unix.c)."""
    with suppress(FileNotFoundError), pidfile.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)


def _do(*argv: str, **environment: str) -> None:
    environment = {**os.environ, "OVS_RUNDIR": str(RUN), **environment}
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        log = RUN / f"{argv[0]}.log"
        said = done.stderr.strip() or (log.read_text()[-500:] if log.exists() else "")
        raise LabError(f"{argv[0]} does not start: {said or f'exit status {done.returncode}'}")
