"""What the command line says when something is wrong: what, where, and how to mend it.

    error: 'tset' is no machine, instance, port or address here
      known are cy2-compute02, outside, test, 192.168.10.106
      did you mean test?

Exit statuses: 2 when the input is bad (nothing was changed), 1 when an operation failed.
"""

from typing import IO, Any

import click

FAILED = 1


class Complaint(click.ClickException):
    """An operation failed. ``where`` names file, host or command, ``mend`` what to do; both may have several lines."""

    exit_code = FAILED

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(what)
        self.where = where
        self.mend = mend

    def format_message(self) -> str:
        """The lines below each other, the first without ``error:``."""
        return "\n  ".join([self.message, *self.where.splitlines(), *self.mend.splitlines()])

    def show(self, file: IO[Any] | None = None) -> None:
        """On stderr, ``error:`` in red on a terminal."""
        click.echo(click.style("error: ", fg="red", bold=True) + self.format_message(), file=file, err=file is None)


class BadInput(Complaint):
    """What was asked makes no sense; nothing was changed."""

    exit_code = 2


def misuse(error: click.ClickException) -> click.ClickException:
    """Click's own complaint about how a command was called, told as ours; what is ours, or is the help, as it is."""
    if isinstance(error, Complaint | click.exceptions.NoArgsIsHelpError):
        return error
    said = error.format_message().rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    mend = f"{context.get_usage().replace('Usage:', 'usage:', 1)}\n{context.command_path} --help" if context else ""
    return BadInput(said[:1].lower() + said[1:], mend=mend)


def complaint(error: Exception) -> Complaint | None:
    """The complaint for an error that one of our borders raised; None for a programming error (let it show its traceback)."""
    if isinstance(error, (ImportError, NameError, AssertionError)):
        return None
    from floatway.agent.reconcile import ReconcileError
    from floatway.compile.allocations import AllocationError
    from floatway.lab.errors import BadRequestError, LabError
    from floatway.linux.errors import LinuxError, StepFailed
    from floatway.model.load import CloudError
    from floatway.store.base import StoreError
    from floatway.trace.question import TraceError

    match error:
        case CloudError():
            return BadInput("the cloud is not valid, nothing was changed", where=str(error))
        case BadRequestError():
            return BadInput(str(error))
        case TraceError():
            what, *more = str(error).split("; ")
            return BadInput(what, where="\n".join(more))
        case StepFailed():
            return Complaint(str(error), mend="the steps before it are done; running it again goes on from there")
        case LinuxError() | LabError() | ReconcileError() | AllocationError() | StoreError():
            return Complaint(str(error))
        case PermissionError():
            return Complaint(f"not permitted: {error}", mend="this takes root: run it with sudo")
        case OSError():
            return Complaint(str(error))
    return None
