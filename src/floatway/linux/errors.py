"""What can go wrong at the border to kernel and Open vSwitch: one family, each saying what, where and what a person would type."""

import errno as numbers
import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from floatway.host.steps import Step


class LinuxError(Exception):
    """The root of all errors of this room."""


class NetlinkError(LinuxError):
    """The kernel refused a netlink request. ``errno`` as in errno(3), ``text`` with the kernel's own explanation if it gave one."""

    def __init__(self, errno: int, explanation: str = "") -> None:
        self.errno = errno
        self.text = os.strerror(errno) + (f": {explanation}" if explanation else "")
        super().__init__(self.text)


class ToolError(LinuxError):
    """A tool ended with an error. ``command`` is what a person would type to see it again."""

    def __init__(self, argv: Sequence[str], netns: str, status: int, text: str) -> None:
        prefix = f"ip netns exec {shlex.quote(netns)} " if netns else ""
        self.command = prefix + shlex.join(argv)
        self.status = status
        self.text = text.strip() or f"exit status {status}"
        super().__init__(f"{self.command}: {self.text}")


class OvsdbError(LinuxError):
    """Open vSwitch's database (or vswitchd behind it) refused, or does not answer."""


class ObserveError(LinuxError):
    """A part of the host's state cannot be read."""


class StepFailed(LinuxError):  # noqa: N818  (named by what happened to the step)
    """A step of a plan failed: ``step`` is no more of it than is known to have failed, ``command`` the shell command of that,
    ``errno`` 0 where there is none; ``text`` ends with its name: File exists (EEXIST)."""

    def __init__(self, step: "Step", command: str, text: str, errno: int = 0) -> None:
        self.step = step
        self.command = command
        name = numbers.errorcode.get(errno, "")
        self.text = f"{text} ({name})" if name else text
        self.errno = errno
        super().__init__(f"{command}: {self.text}")
