"""A plan on paper: a script that a shell accepts, every step with a heading, and the same in JSON."""

import json
import subprocess
from importlib import resources

import click
import pytest

from floatway.cli import show
from floatway.compile.allocations import Allocations, allocate
from floatway.compile.host import compile_host
from floatway.host.plan import plan
from floatway.host.state import HostState
from floatway.host.steps import Plan
from floatway.model.load import cloud_from_text

HOST = "cy2-compute02"


@pytest.fixture(scope="module")
def whole() -> Plan:
    cloud = cloud_from_text(
        (resources.files("floatway.lab") / "clouds" / "reference.yaml").read_text(), "reference.yaml"
    )
    desired = compile_host(cloud, HOST, allocate(cloud, HOST, Allocations()))
    return plan(HostState.of([]), desired)


def test_the_text_is_a_shell_script(whole: Plan) -> None:
    text = click.unstyle(show.text(whole, HOST))
    checked = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_every_step_has_a_numbered_heading(whole: Plan) -> None:
    lines = click.unstyle(show.text(whole, HOST)).splitlines()
    total = len(whole.steps)
    for number in range(1, total + 1):
        assert any(line.startswith(f"# {number} of {total}  ") for line in lines)


def test_the_last_line_sums_up_and_names_what_is_waited_for(whole: Plan) -> None:
    last = click.unstyle(show.text(whole, HOST)).splitlines()[-1]
    assert last.startswith(f"# {HOST}: {len(whole.steps)} steps to do")
    for device in whole.waiting:
        assert device in last


def test_nothing_to_do() -> None:
    assert click.unstyle(show.text(Plan(), HOST)) == f"# {HOST}: nothing to do"


def test_json_round_trips(whole: Plan) -> None:
    value = json.loads(json.dumps(show.to_json(whole, HOST)))
    assert value["host"] == HOST
    assert len(value["steps"]) == len(whole.steps)
    assert all(step["commands"] and step["heading"] for step in value["steps"])
