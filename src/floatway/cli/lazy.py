"""Commands by name, imported only when they are run or helped with.

``floatway --help`` lists every command with one line and imports none of them: what a person waits for is the
interpreter and click, nothing else.
"""

import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from floatway.cli.errors import BadInput, complaint, misuse


class Lazy(NamedTuple):
    """Where a command lives (``module:attribute`` below ``floatway.cli``) and its line in the list."""

    where: str
    summary: str


class LazyGroup(click.Group):
    """A group whose commands are imported at their first use; every error of ours leaves it as a Complaint."""

    def __init__(self, name: str, *, lazy: dict[str, Lazy], **attrs: object) -> None:
        super().__init__(name, **attrs)  # type: ignore[arg-type]
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of declaration: the order in which a newcomer needs them."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module that holds the command."""
        if (lazy := self.lazy.get(cmd_name)) is None:
            return None
        module, _, attribute = lazy.where.partition(":")
        found = getattr(importlib.import_module(f"floatway.cli.{module}"), attribute)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list out of the table, not out of the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.summary) for name, lazy in self.lazy.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Click's own, with the nearest name when there is no such command."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise unknown_command(ctx, args[0], self.list_commands(ctx)) from error

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Click's own, with a wrong option before any command told as we tell it."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.ClickException as error:
            raise misuse(error) from error

    def invoke(self, ctx: click.Context) -> object:
        """Run, and tell what went wrong in the user's words."""
        try:
            return super().invoke(ctx)
        except (click.Abort, click.exceptions.Exit):
            raise
        except click.ClickException as error:
            raise misuse(error) from error
        except Exception as error:
            if (told := complaint(error)) is None:
                raise
            raise told from error


def unknown_command(ctx: click.Context, name: str, known: Sequence[str]) -> BadInput:
    """``floatway traec`` -> did you mean trace."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    mend = f"did you mean: {ctx.command_path} {near[0]}" if near else f"there are: {', '.join(known)}"
    return BadInput(f"no such command: {ctx.command_path} {name}", mend=mend)
