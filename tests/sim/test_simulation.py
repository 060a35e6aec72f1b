"""Seeded runs of the whole: ``bin/simulate`` does thousands."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from effort import FACTOR

TESTS = Path(__file__).parents[1]


def simulated(*asked: str) -> dict[str, Any]:
    """What a process of its own says, in which sets are walked in the same order every time."""
    command = [sys.executable, str(TESTS / "sim" / "main.py"), "--json", *asked]
    done = subprocess.run(
        command, env={"PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_at_rest_everything_is_as_it_was_told() -> None:
    said = simulated("--runs", str(25 * FACTOR), "--hosts", "4")
    assert said["commits"] > 25 * 40 and said["waited"] > 25


def test_a_hundred_hosts_come_to_rest_too() -> None:
    said = simulated("--runs", str(FACTOR), "--hosts", "120", "--requests", "25")
    assert said["most_hosts"] == 120


def test_a_seed_replays_to_the_byte() -> None:
    one, two = (simulated("--runs", "2", "--seed", "17") for _ in range(2))
    assert one["digest"] == two["digest"]
    assert one["digest"] != simulated("--runs", "2", "--seed", "18")["digest"]
