"""Options and arguments that several commands share, so that they are spelled and explained once."""

import json
import socket
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from floatway.cli.errors import BadInput

if TYPE_CHECKING:
    from floatway.model.cloud import Cloud

F = TypeVar("F", bound=Callable[..., Any])
File = click.Path(path_type=Path, dir_okay=False)
Example = click.Choice(["reference", "two-hosts"])
"""The clouds that the package brings along."""


def cloud_file(function: F) -> F:
    """The argument FILE."""
    return click.argument("file", type=File)(function)


def cloud_option(function: F) -> F:
    """``--cloud FILE``."""
    return click.option("--cloud", "file", required=True, type=File, metavar="FILE", help="The cloud's YAML file.")(
        function
    )


def host_option(function: F) -> F:
    """``--host NAME``."""
    return click.option(
        "--host", metavar="NAME", default="", help="Which of its hosts; this machine's name if left out."
    )(function)


def lab_option(function: F) -> F:
    """``--lab NAME``."""
    return click.option("--lab", "lab_name", default="default", show_default=True, metavar="NAME", help="Which lab.")(
        function
    )


def json_option(function: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")(function)


def executor_option(function: F) -> F:
    """``--executor WAY``."""
    return click.option(
        "--executor",
        type=click.Choice(["netlink", "commands"]),
        default="netlink",
        show_default=True,
        help="commands: type what plan prints, one process each. Slow; for comparison.",
    )(function)


def colour_option(function: F) -> F:
    """``--colour``."""
    return click.option(
        "--colour",
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        show_default=True,
        help="auto: on a terminal, unless NO_COLOR is set.",
    )(function)


def example_text(name: str) -> str:
    """The YAML of one of them."""
    return (resources.files("floatway.lab") / "clouds" / f"{name}.yaml").read_text()


def choose_host(cloud: "Cloud", file: Path, name: str) -> str:
    """``name``, or this machine's own, if the cloud has it."""
    wanted = name or socket.gethostname().partition(".")[0]
    if wanted in cloud.hosts:
        return wanted
    raise BadInput(
        f'{file} has no host "{wanted}"' + ("" if name else " (this machine's name)"),
        where=f"its hosts: {', '.join(cloud.hosts) or 'none'}",
        mend="name one with --host",
    )


def print_json(value: object) -> None:
    """Indented, keys in their order."""
    click.echo(json.dumps(value, indent=2, default=str))
