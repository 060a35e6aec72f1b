"""A session with the unmodified ``openstack`` command, from ``openstack.scenario``.

$ network create net1 --description first      a command; -f json is added where something is expected of its output
  name: net1                                   fields of what it shows (YAML); others may be there
  id: $NET1                                    the first time: remember; from then on: the same, here and in commands
$ network list
  - {Name: net1}                               rows: just these, in any order, each with at least these fields
$ network list
  has: [{Name: net1}]                          rows: these among others
$ network delete nosuch
  fails: No Network found                      it ends with an error that says so
$ network delete net1                          nothing expected: it succeeds and prints nothing
"""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from api.processes import plain_environment, server

HERE = Path(__file__).parent
SCENARIO = HERE / "openstack.scenario"


class Step(NamedTuple):
    """One command, and what is expected of it."""

    line: int
    command: str
    expected: Any


def steps(text: str) -> Iterator[Step]:
    """The commands of a scenario."""
    blocks: list[tuple[int, str, list[str]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("$ "):
            blocks.append((number, line[2:], []))
        elif line.startswith(" "):
            blocks[-1][2].append(line)
    for number, command, lines in blocks:
        yield Step(number, command, yaml.safe_load("\n".join(lines)) if lines else None)


class Client:
    """The command, kept running; ``environment`` adds to what it is told."""

    def __init__(self, url: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, HERE / "openstack_worker.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={
                **plain_environment(),
                "PYTHONWARNINGS": "ignore",
                **(environment or {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": url}),
            },
        )

    def run(self, argv: list[str]) -> dict[str, Any]:
        """What became of it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(argv).encode() + b"\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        """End it."""
        self.process.communicate()


def check(step: Step, client: Client, names: dict[str, str]) -> Iterator[str]:
    """Run a step; every way in which it is not as expected."""
    argv = [re.sub(r"\$([A-Z]\w*)", lambda found: names[found[1]], word) for word in shlex.split(step.command)]
    expected = step.expected
    failing = isinstance(expected, dict) and "fails" in expected
    done = client.run(argv if expected is None or failing else [*argv, "-f", "json"])
    said = (done["out"] + done["err"]).strip()
    if failing:
        if not done["status"]:
            yield f"succeeded: {said}"
        elif expected["fails"] not in " ".join(said.split()):
            yield f"fails with other words: {said}"
    elif done["status"]:
        yield f"failed with {done['status']}: {said}"
    elif expected is None:
        if said:
            yield f"prints: {said}"
    else:
        yield from compare(expected, json.loads(done["out"] or "null"), names)


def compare(expected: Any, shown: Any, names: dict[str, str]) -> Iterator[str]:
    """Every difference between what is expected and what was shown."""
    if isinstance(expected, dict) and set(expected) == {"has"}:
        yield from rows(expected["has"], shown, names)
    elif isinstance(expected, list):
        if len(expected) != len(shown):
            yield f"{len(shown)} rows: {json.dumps(shown)}"
        yield from rows(expected, shown, names)
    else:
        for field, value in expected.items():
            if field not in shown:
                yield f"no field {field}: {json.dumps(shown)}"
            elif not same(value, shown[field], names):
                yield f"{field}: {json.dumps(shown[field])}, not {value!r}"


def rows(expected: list[dict[str, Any]], shown: list[dict[str, Any]], names: dict[str, str]) -> Iterator[str]:
    """The expected rows that are not there."""
    for row in expected:
        for one in shown:
            trial = dict(names)
            if row.keys() <= one.keys() and all(same(value, one[field], trial) for field, value in row.items()):
                names.update(trial)
                break
        else:
            yield f"no row {row}: {json.dumps(shown)}"


def same(expected: Any, shown: Any, names: dict[str, str]) -> bool:
    """Whether a shown value is the expected one: ``$NAME``, ``/pattern/``, parts of lists and objects, or the value itself."""
    match expected:
        case str() if expected.startswith("$"):
            return shown is not None and names.setdefault(expected[1:], shown) == shown
        case str() if len(expected) > 1 and expected.startswith("/") and expected.endswith("/"):
            return re.fullmatch(expected[1:-1], str(shown)) is not None
        case dict():
            return isinstance(shown, dict) and all(
                field in shown and same(value, shown[field], names) for field, value in expected.items()
            )
        case list():
            return (
                isinstance(shown, list)
                and len(expected) == len(shown)
                and all(any(same(value, one, names) for one in shown) for value in expected)
            )
    return bool(
        expected == shown or (shown is not None and not isinstance(shown, bool) and str(expected) == str(shown))
    )


@pytest.fixture(scope="module")
def session() -> list[Step]:
    """All of them."""
    return list(steps(SCENARIO.read_text()))


def test_the_session(tmp_path: Path, session: list[Step]) -> None:
    names: dict[str, str] = {}
    wrong: list[str] = []
    with server(tmp_path, {"network": {"vlan_ranges": {"physnet2": [[100, 199]]}}}) as api:
        client = Client(api.url)
        try:
            for step in session:
                try:
                    wrong += [
                        f"{SCENARIO.name}:{step.line}: {step.command}\n    {told}"
                        for told in check(step, client, names)
                    ]
                except KeyError as unknown:
                    wrong.append(f"{SCENARIO.name}:{step.line}: {step.command}\n    {unknown} was never shown")
        finally:
            client.close()
        errors = [line for line in api.lines() if line["level"] == "error"]
    assert not wrong, "\n" + "\n".join(wrong)
    assert not errors
    assert len(session) >= 150
