"""``floatway db``: look after the server's store."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from floatway.cli.errors import BadInput, Complaint
from floatway.cli.lazy import Lazy, LazyGroup
from floatway.cli.options import json_option, print_json

F = TypeVar("F", bound=Callable[..., Any])

COMMANDS = {
    "check": Lazy("db:check", "Is everything in it as it was stored?"),
    "dump": Lazy("db:dump", "All of it as JSON lines, also while the server runs."),
    "restore": Lazy("db:restore", "A dump into a store that never had anything."),
    "upgrade": Lazy("db:upgrade", "An older file to today's format, after a copy."),
}

EPILOG = """\b
Examples:
  floatway db check sqlite:///var/lib/floatway/floatway.db
  floatway db dump sqlite:///var/lib/floatway/floatway.db > floatway.dump
  floatway db restore etcd://h1:2379,h2:2379,h3:2379/floatway floatway.dump"""


@click.command("db", cls=LazyGroup, lazy=COMMANDS, epilog=EPILOG)
def db() -> None:
    """Look after the server's store: STORE is sqlite:///PATH or etcd://HOST:PORT,…/PREFIX."""


def store_argument(function: F) -> F:
    """The argument STORE."""
    return click.argument("url", metavar="STORE")(function)


@click.command("check", epilog="\b\nExample:\n  floatway db check sqlite:///var/lib/floatway/floatway.db")
@store_argument
@json_option
def check(url: str, as_json: bool) -> None:
    """Read all of STORE: SQLite's own pages, each record's checksum, and that objects and log agree.

    The server may run meanwhile. Ends with 1 when something is wrong.
    """
    from floatway.store.open import checked

    revision, objects, problems = asyncio.run(checked(url))
    if as_json:
        print_json(
            {"store": url, "sound": not problems, "revision": revision, "objects": objects, "problems": problems}
        )
    elif not problems:
        click.echo(f"{url}: sound: {objects} objects at revision {revision}")
    if problems:
        raise Complaint(
            f"{url}: {len(problems)} problem{'s' if len(problems) > 1 else ''}",
            where="" if as_json else "\n".join(problems),
            mend="restore from a dump: floatway db restore",
        )


@click.command(
    "dump",
    epilog="\b\nExamples:\n  floatway db dump sqlite:///var/lib/floatway/floatway.db > floatway.dump\n"
    "  floatway db dump etcd://h1:2379/floatway | jq -r 'select(.kind == \"port\") | .value.name'",
)
@store_argument
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="This file rather than stdout.")
def dump(url: str, output: Path | None) -> None:
    """Print STORE as of one moment, as JSON lines. The server may run meanwhile.

    \b
    {"floatway":"store","format":1,"revision":117}
    {"kind":"network","id":"8e1…","value":{…}}      one line per object
    {"end":true,"objects":1}                        so that a cut file is noticed
    """
    from floatway.store.dump import dumped
    from floatway.store.open import snapshot_of

    lines = dumped(asyncio.run(snapshot_of(url)))
    if output is None:
        for line in lines:
            click.echo(line, nl=False)
        return
    part = output.with_name(f"{output.name}.part")
    with part.open("wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    part.replace(output)


@click.command(
    "restore",
    epilog="\b\nExamples:\n  floatway db restore sqlite:///var/lib/floatway/new.db floatway.dump\n"
    "  floatway db dump sqlite:///old.db | floatway db restore etcd://h1:2379/floatway -",
)
@store_argument
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@json_option
def restore(url: str, file: str, as_json: bool) -> None:
    """Put the dump in FILE (- for stdin) into STORE, all of it or nothing, at the dump's revision.

    STORE must never have had anything: a store in use is not overwritten.
    """
    from floatway.store.dump import loaded
    from floatway.store.open import open_store

    with click.open_file(file, "rb") as lines:
        snapshot = loaded(lines, file)

    async def run() -> None:
        store = await open_store(url)
        try:
            await store.restore(snapshot)
        finally:
            await store.close()

    asyncio.run(run())
    count = len(list(snapshot.objects))
    if as_json:
        print_json({"store": url, "revision": snapshot.revision, "objects": count})
    else:
        click.echo(f"{url}: {count} objects at revision {snapshot.revision}")


@click.command("upgrade", epilog="\b\nExample:\n  floatway db upgrade sqlite:///var/lib/floatway/floatway.db")
@store_argument
def upgrade(url: str) -> None:
    """Bring an older SQLite file to this version's format, as the server does when it starts.

    A copy of what it was is left beside it: FILE.format-N.
    """
    from floatway.store.open import open_store, sqlite_path

    if not (path := sqlite_path(url)).exists():
        raise BadInput(f"{path}: no such file")

    async def run() -> int:
        store = await open_store(url)
        revision = await store.head()
        await store.close()
        return revision

    click.echo(f"{url}: of today's format, at revision {asyncio.run(run())}")
