"""``floatway db``: what was dumped is restored exactly, what is not empty is not overwritten, what is damaged is told."""

import asyncio
import json
import sqlite3
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from floatway.cli.main import cli
from floatway.store.base import Change
from floatway.store.open import open_store, snapshot_of
from storing import held

ENTITIES = {
    ("network", "n1"): {"name": "größe", "mtu": 1450, "tags": ["a", "b"], "nothing": None},
    ("port", "p1"): {"fixed_ips": [{"ip_address": "10.0.0.3"}], "raw": b"\x00\xff", "deep": {"inner": [b""]}},
}


def run(*arguments: str, text: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, ["db", *arguments], input=text)


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite://{tmp_path}/floatway.db"

    async def fill() -> None:
        store = await open_store(url)
        for revision, ((kind, id_), value) in enumerate(ENTITIES.items()):
            await store.commit(revision, [[Change(kind, id_, msgspec.msgpack.encode(value))]])
        await store.close()

    asyncio.run(fill())
    return url


def test_what_is_restored_is_what_was_dumped(url: str, tmp_path: Path) -> None:
    dumped = run("dump", url)
    assert [json.loads(line) for line in dumped.stdout.splitlines()] == [
        {"floatway": "store", "format": 1, "revision": 2},
        {"kind": "network", "id": "n1", "value": ENTITIES["network", "n1"]},
        {
            "kind": "port",
            "id": "p1",
            "value": {
                "fixed_ips": [{"ip_address": "10.0.0.3"}],
                "raw": {"$bytes": "AP8="},
                "deep": {"inner": [{"$bytes": ""}]},
            },
        },
        {"end": True, "objects": 2},
    ]
    assert run("dump", url, "-o", str(tmp_path / "dump")).exit_code == 0
    assert (tmp_path / "dump").read_bytes() == dumped.stdout_bytes
    new = f"sqlite://{tmp_path}/new.db"
    assert run("restore", new, str(tmp_path / "dump")).stdout == f"{new}: 2 objects at revision 2\n"
    assert run("dump", new).stdout_bytes == dumped.stdout_bytes
    assert held(asyncio.run(snapshot_of(new))) == held(asyncio.run(snapshot_of(url)))

    async def goes_on() -> None:
        store = await open_store(new)
        assert await store.commit(2, [[Change("port", "p1", None)]]) == 3
        await store.close()

    asyncio.run(goes_on())
    checked = json.loads(run("check", "--json", new).stdout)
    assert checked == {"store": new, "sound": True, "revision": 3, "objects": 1, "problems": []}


def test_a_store_in_use_can_be_dumped_and_checked_but_not_restored_into(url: str) -> None:
    async def story() -> tuple[Result, Result, Result]:
        store = await open_store(url)
        results = await asyncio.to_thread(lambda: (run("dump", url), run("check", url), run("upgrade", url)))
        await store.close()
        return results

    dumped, checked, upgraded = asyncio.run(story())
    assert len(dumped.stdout.splitlines()) == 4
    assert checked.stdout == f"{url}: sound: 2 objects at revision 2\n"
    assert upgraded.exit_code == 1
    assert "in use by another process" in upgraded.stderr
    assert run("upgrade", url).stdout == f"{url}: of today's format, at revision 2\n"


def test_restore_refuses_a_target_that_has_or_had_something(url: str, tmp_path: Path) -> None:
    dump = run("dump", url).stdout_bytes
    refused = run("restore", url, "-", text=dump)
    assert refused.exit_code == 1
    assert "is not empty (revision 2)" in refused.stderr
    assert run("dump", url).stdout_bytes == dump


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda lines: lines[:-1], "cut short"),
        (lambda lines: lines[:-2] + lines[-1:], "cut short"),
        (lambda lines: [*lines, lines[1]], "after the end"),
        (lambda lines: [lines[0], lines[1], lines[1], lines[2]], ":3: not an object, or one that was there before"),
        (lambda lines: [lines[0].replace(b'"format":1', b'"format":2'), *lines[1:]], "format 2"),
        (lambda lines: lines[1:], ":1: not a line of a dump"),
        (lambda lines: [], ":1: not a line of a dump"),
        (lambda lines: [lines[0], lines[1][:30], *lines[2:]], ":2: not a line of a dump"),
        (lambda lines: [line.replace(b"AP8=", b"A!") for line in lines], ":3: "),
    ],
)
def test_a_spoilt_dump_restores_nothing(url: str, tmp_path: Path, spoil, said: str) -> None:  # type: ignore[no-untyped-def]
    lines = spoil(run("dump", url).stdout_bytes.splitlines(keepends=True))
    new = tmp_path / "new.db"
    refused = run("restore", f"sqlite://{new}", "-", text=b"".join(lines))
    assert refused.exit_code == 1
    assert said in refused.stderr
    assert not new.exists()


def test_check_names_what_is_damaged(url: str) -> None:
    path = url.removeprefix("sqlite://")
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM objects WHERE kind = 'port'")
    db.close()
    found = run("check", url)
    assert found.exit_code == 1
    assert found.stderr.splitlines()[:2] == [
        f"error: {url}: 1 problem",
        "  object port p1: missing, though the log says it was written",
    ]
    assert json.loads(run("check", "--json", url).stdout)["problems"] == [
        "object port p1: missing, though the log says it was written"
    ]


@pytest.mark.parametrize("command", ["check", "dump", "upgrade"])
def test_what_is_not_there_is_not_made(command: str, tmp_path: Path) -> None:
    missing = run(command, f"sqlite://{tmp_path}/none.db")
    assert missing.exit_code in {1, 2}
    assert "no such file" in missing.stderr
    assert not list(tmp_path.iterdir())
