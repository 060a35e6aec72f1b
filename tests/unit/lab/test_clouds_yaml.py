"""clouds.yaml in somebody's home: written where there is none, taken away again, and another's is never touched."""

import os
import pwd
from pathlib import Path

import pytest
import yaml

from floatway.lab import clouds_yaml
from floatway.lab.served import Server

SERVER = Server("http://127.0.0.1:9696", 1, 1)
EXPORT = "export OS_CLOUD=floatway"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home; labs "a" and "ab" have directories of their own."""
    here = tmp_path / "home"
    here.mkdir()
    for name in ("a", "ab"):
        (tmp_path / "lab" / name).mkdir(parents=True)
    monkeypatch.setattr(clouds_yaml, "VAR", tmp_path / "lab")
    monkeypatch.setattr(clouds_yaml, "SYSTEM", tmp_path / "etc.yaml")
    monkeypatch.setattr(clouds_yaml, "_home", lambda: (here, pwd.getpwuid(os.getuid())))
    return here


def theirs(home: Path) -> Path:
    return home / ".config" / "openstack" / "clouds.yaml"


def test_it_comes_and_goes_with_the_lab(home: Path) -> None:
    assert clouds_yaml.write("a", SERVER, {"compute_endpoint_override": "http://127.0.0.1:8774/v2.1"}) == EXPORT
    cloud = yaml.safe_load(theirs(home).read_text())["clouds"]["floatway"]
    assert cloud["auth"] == {"endpoint": SERVER.url} and cloud["compute_endpoint_override"].endswith(":8774/v2.1")
    assert clouds_yaml.write("a", SERVER, {}) == EXPORT, "again, as when a lab is mended"
    clouds_yaml.remove("a")
    assert not list(home.iterdir()), "directories made for it go too"
    clouds_yaml.remove("a")


def test_somebody_elses_is_left_alone(home: Path) -> None:
    theirs(home).parent.mkdir(parents=True)
    theirs(home).write_text("clouds: {production: {}}\n")
    said = clouds_yaml.write("a", SERVER, {})
    assert said == f"export OS_CLIENT_CONFIG_FILE={clouds_yaml.VAR / 'a' / 'clouds.yaml'} OS_CLOUD=floatway"
    clouds_yaml.remove("a")
    assert theirs(home).read_text() == "clouds: {production: {}}\n"


def test_the_machines_own_is_not_hidden(home: Path) -> None:
    clouds_yaml.SYSTEM.write_text("clouds: {production: {}}\n")
    assert "OS_CLIENT_CONFIG_FILE" in clouds_yaml.write("a", SERVER, {})
    assert not theirs(home).exists()


def test_another_labs_is_left_alone(home: Path) -> None:
    assert clouds_yaml.write("ab", SERVER, {}) == EXPORT
    assert "OS_CLIENT_CONFIG_FILE" in clouds_yaml.write("a", Server("http://127.0.0.1:9", 1, 1), {})
    clouds_yaml.remove("a")
    assert SERVER.url in theirs(home).read_text()


def test_what_else_is_in_the_directories_stays(home: Path) -> None:
    (home / ".config").mkdir()
    (home / ".config" / "other").touch()
    clouds_yaml.write("a", SERVER, {})
    clouds_yaml.remove("a")
    assert [path.name for path in (home / ".config").iterdir()] == ["other"]
