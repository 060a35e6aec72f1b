"""Help everywhere, with examples that parse, and quickly."""

import shlex
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from floatway import __version__
from floatway.cli.main import cli


def commands(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found = [(path, command)]
    if isinstance(command, click.Group):
        context = click.Context(command, **cli.context_settings)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            found += commands(below, (*path, name))
    return found


ALL = commands(cli)


@pytest.mark.parametrize(
    ("path", "command"), ALL, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_has_help_with_an_example(path: tuple[str, ...], command: click.Command) -> None:
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0, result.output
    assert command.help
    assert "Example" in result.output, "show, don't only tell"


def test_the_list_says_what_the_commands_say_they_are() -> None:
    names = {" ".join(path) for path, _ in ALL}
    for wanted in ("cloud check", "cloud schema", "plan", "apply", "observe", "trace", "completion", "lab plan"):
        assert wanted in names
    for wanted in ("up", "down", "status", "exec", "shell", "apply"):
        assert f"lab {wanted}" in names


def examples() -> list[str]:
    lines = []
    for _, command in ALL:
        for line in (command.epilog or "").splitlines():
            text = line.strip().removeprefix('eval "$(').split("  ")[0]
            if text.startswith("floatway "):
                lines.append(text)
    return sorted(set(lines))


@pytest.mark.parametrize("line", examples())
def test_every_example_parses(line: str) -> None:
    """No unknown command, option or missing argument in what the help tells people to type."""
    parse(line)


def parse(line: str) -> None:
    words = shlex.split(line.split(" | ")[0].split(" > ")[0].split(" >/")[0].rstrip('")'), comments=True)[1:]
    command: click.Command = cli
    context = click.Context(cli, info_name="floatway", **cli.context_settings)
    while isinstance(command, click.Group) and words:
        name = words.pop(0)
        below = command.get_command(context, name)
        assert below is not None, f"no command {name} in {line}"
        command = below
    command.make_context("x", words, parent=context)


def test_version() -> None:
    assert CliRunner().invoke(cli, ["--version"]).output == f"floatway {__version__}\n"


HEAVY = """
import sys, floatway.cli.main as m
try:
    m.cli(["--help"])
except SystemExit:
    pass
heavy = {"msgspec", "yaml", "rich", "asyncio"}
print(sorted(n for n in sys.modules if n in heavy or n.startswith("floatway.") and "cli" not in n))
"""


def test_help_imports_no_command() -> None:
    """What a person waits for is the interpreter and click: no msgspec, no YAML, no command."""
    done = subprocess.run([sys.executable, "-c", HEAVY], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str) -> None:
    result = CliRunner().invoke(cli, ["completion", shell])
    assert result.exit_code == 0
    assert "_FLOATWAY_COMPLETE" in result.output
