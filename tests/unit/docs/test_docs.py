"""The documentation is true as far as a machine can tell: generated pages are current, links lead somewhere, commands parse."""

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import click
import pytest

from floatway.cli.main import cli

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]+\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)")


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_current() -> None:
    for name, text in generator().pages().items():
        assert (ROOT / "docs" / "reference" / name).read_text() == text, f"{name} is stale: run bin/docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, _ in LINK.findall(page.read_text()):
        assert not target or (page.parent / target).exists(), f"{page.name} links to {target}"


def commands_in(page: Path) -> list[str]:
    found = []
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|;(?= )|\|", re.sub(r"(^|\s)#.*", "", line)):
                text = part.strip().removeprefix("sudo ").removeprefix("bin/")
                if text.startswith("floatway "):
                    found.append(text)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_parse(page: Path) -> None:
    """Every command line of ours in a shell block: known command, known options, all arguments there."""
    for line in commands_in(page):
        words = shlex.split(re.sub(r" \d?>.*", "", line), comments=True)[1:]
        context = click.Context(cli, info_name="floatway", **cli.context_settings)
        command: click.Command = cli
        while isinstance(command, click.Group):
            name = words.pop(0)
            below = command.get_command(context, name)
            assert below is not None, f"{page.name}: {line}: no command {name}"
            command = below
        command.make_context(name, words, parent=context)
