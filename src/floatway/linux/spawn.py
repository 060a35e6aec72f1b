"""Start a tool inside a namespace: the calling thread enters it, spawns, and comes back (no ``ip netns exec``).

The child inherits the thread's namespace. Tools that may run at the same time go through a small pool of threads; a reader
that starts some returns a ``Later``, so that the tools work while the caller reads something else.
"""

import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from floatway.linux.errors import ToolError
from floatway.linux.netns import inside

T = TypeVar("T")
R = TypeVar("R")
Later = Callable[[], list[R]]
"""What was started; calling it waits for the tools and gives the records."""
_TIMEOUT = 60  # seconds; a tool that hangs longer waits for a lock or a daemon that is gone


def run(argv: Sequence[str], *, netns: str = "", fd: int | None = None, stdin: str = "") -> str:
    """Run a tool in the namespace behind ``fd`` (None: here) and return its stdout. Raises ToolError."""
    try:
        with inside(fd), subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="surrogateescape"
        ) as child:  # fmt: skip
            try:
                out, err = child.communicate(stdin, timeout=_TIMEOUT)
            except subprocess.TimeoutExpired:
                child.kill()
                raise ToolError(argv, netns, -9, f"no answer within {_TIMEOUT} seconds") from None
    except FileNotFoundError:
        raise ToolError(argv, netns, 127, f"{argv[0]} is not installed") from None
    if child.returncode != 0:
        raise ToolError(argv, netns, child.returncode, err or out)
    return out


@cache
def pool() -> ThreadPoolExecutor:
    """The threads that wait for tools; spawning is cheap, waiting is what they do."""
    return ThreadPoolExecutor(max_workers=4, thread_name_prefix="floatway-tool")


os.register_at_fork(after_in_child=pool.cache_clear)  # a fork has none of its parent's threads


def start(argv: Sequence[str], *, netns: str = "", fd: int | None = None, stdin: str = "") -> "Future[str]":
    """:func:`run` on the pool."""
    return pool().submit(run, argv, netns=netns, fd=fd, stdin=stdin)
