"""Starting a daemon: when its predecessor is not quite dead, and with what."""

import fcntl
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from floatway.lab.ovs import preloaded, wait_for_release

HOLDER = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"


def test_a_dying_process_is_waited_for_until_its_lock_is_free(tmp_path: Path) -> None:
    pidfile = tmp_path / "ovsdb-server.pid"
    pidfile.write_text("1")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(pidfile)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as held:
        assert held.stdout is not None
        assert held.stdout.readline() == b"held\n"
        waiter = os.fork()
        if not waiter:
            wait_for_release(pidfile)
            os._exit(0)
        waiting = re.compile(rf"-> POSIX .* {waiter} ")  # proc_locks(5): blocked behind the lock in the line above
        while not waiting.search(Path("/proc/locks").read_text()):
            assert os.waitpid(waiter, os.WNOHANG) == (0, 0), "it did not wait"
        os.kill(held.pid, signal.SIGKILL)
        assert os.waitpid(waiter, 0)[1] == 0
    with pidfile.open("r+b") as free:
        fcntl.lockf(free, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_without_a_predecessor_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    wait_for_release(tmp_path / "none.pid")


def test_only_the_userspace_datapath_gets_an_allocator_and_it_is_one() -> None:
    assert preloaded("system") == {}
    for library in preloaded("netdev").values():
        ran = subprocess.run(
            ["/bin/cat", "/proc/self/maps"], env=preloaded("netdev"), capture_output=True, text=True, check=True
        )
        assert library in ran.stdout and not ran.stderr
