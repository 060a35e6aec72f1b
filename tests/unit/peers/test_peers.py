"""The driver of others' suites, without the suites: what it counts, writes and starts."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from floatway.api.config import load

ROOT = Path(__file__).parents[3]
FILLED = {"PORT": "9696", "KEYSTONE": "http://127.0.0.1:1/v3", "PASSWORD": "secret", "STORE": "sqlite:///tmp/x.db"}


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> "type[Modules]":
    """Its modules, which are scripts beside each other and no package."""
    monkeypatch.syspath_prepend(str(ROOT / "peers"))
    return Modules


class Modules:
    """By name."""

    @staticmethod
    def load(name: str) -> ModuleType:
        return importlib.import_module(name)


def test_the_servers_configuration_is_right(peers: type[Modules], tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text(peers.load("cloud").fill("server.toml", **FILLED))
    config = load(file, {})
    assert config.auth.mode == "keystone"
    assert config.auth.keystone.password.reveal() == "secret"


def test_every_place_of_every_template_is_filled(peers: type[Modules], tmp_path: Path) -> None:
    cloud, suites = peers.load("cloud"), peers.load("suites")
    suites.prepare(tmp_path, cloud.Cloud("http://127.0.0.1:1/v3", "http://127.0.0.1:2", "id", ("router", "quotas")))
    for file in (tmp_path / "etc").iterdir():
        assert "@" not in file.read_text()
    clouds = yaml.safe_load((tmp_path / "etc/clouds.yaml").read_text())["clouds"]
    assert {"devstack", "devstack-admin", "devstack-alt", "devstack-system-admin"} <= clouds.keys()
    assert "api_extensions = router,quotas" in (tmp_path / "etc/tempest.conf").read_text()


def test_what_a_run_came_to(peers: type[Modules], tmp_path: Path) -> None:
    suites, report = peers.load("suites"), peers.load("report")
    results = [
        suites.Result("a", "success"),
        suites.Result("b", "fail", traceback="Traceback\nValueError: no"),
        suites.Result("c", "skip", reason="qos extension not enabled.\nmore"),
        suites.Result("d", "skip", reason="qos extension not enabled."),
        suites.Result("setUpClass (E)", "fail"),
        suites.Result("stdout", "inprogress"),
        suites.Result("f", "inprogress"),
    ]
    summary = report.summary("tempest", results, 12.34)
    assert (summary.passed, summary.failed, summary.skipped) == (1, 3, 2)
    assert summary.skipped_by == {"qos extension not enabled.": 2}
    assert summary.failures == ("b", "setUpClass (E)", "f")
    first, second, third = report.table([summary]).splitlines()
    assert second.split() == ["tempest", "1", "3", "2", "12", "s"]
    assert third.strip() == "2  qos extension not enabled."
    assert first.split() == ["suite", "passed", "failed", "skipped", "time"]
    report.write(tmp_path / "report", [summary], {"tempest": results})
    assert "ValueError: no" in (tmp_path / "report/failures.txt").read_text()
    assert (tmp_path / "report/results.json").stat().st_size


def test_a_process_is_found_again_and_ended(peers: type[Modules], tmp_path: Path) -> None:
    daemon = peers.load("daemon")
    pid = daemon.start("sleeper", tmp_path, [sys.executable, "-c", "import time; time.sleep(600)"])
    assert daemon.running("sleeper", tmp_path) == pid
    daemon.stop("sleeper", tmp_path)
    assert daemon.running("sleeper", tmp_path) == 0
    (tmp_path / "sleeper.pid").write_text(f"{os.getpid()} 1\n")  # another process got the number since
    assert daemon.running("sleeper", tmp_path) == 0
    daemon.stop("sleeper", tmp_path)


def test_an_environment_that_is_not_whole_is_told(
    peers: type[Modules], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOATWAY_PEERS_SUITES", str(tmp_path))
    with pytest.raises(SystemExit, match="no stestr in"):
        peers.load("environments").environment("suites", tmp_path)


def test_locks_name_no_host(peers: type[Modules]) -> None:
    for lock in (ROOT / "peers/locks").glob("*.lock"):
        text = lock.read_text()
        assert "://" not in text
        assert text.count("==") > 20
        assert all("--hash=sha256:" in entry for entry in text.split("\n\n") if "==" in entry)


def test_help_has_examples() -> None:
    said = subprocess.run([sys.executable, ROOT / "peers/run.py", "--help"], capture_output=True, text=True, check=True)
    assert "bin/peer-tests --suite tempest" in said.stdout
