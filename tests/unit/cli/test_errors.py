"""Bad input: what, where, how to mend, exit status 2; nothing touched, no traceback."""

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from floatway.cli.main import cli
from floatway.cli.options import Example
from floatway.lab import lab, prerequisites, served


def run(*argv: str) -> Result:
    return CliRunner().invoke(cli, list(argv))


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    file = tmp_path / "cloud.yaml"
    file.write_text("networks:\n  - id: n1\n    mtu: [\n")
    return file


@pytest.fixture
def example(tmp_path: Path) -> Path:
    file = tmp_path / "cloud.yaml"
    file.write_text(run("cloud", "example").output)
    return file


def test_unknown_command_offers_the_nearest() -> None:
    result = run("traec")
    assert result.exit_code == 2
    assert "no such command" in result.output
    assert "floatway trace" in result.output


def test_malformed_yaml(broken: Path) -> None:
    result = run("cloud", "check", str(broken))
    assert result.exit_code == 2
    assert str(broken) in result.output
    assert "Traceback" not in result.output


def test_no_such_file() -> None:
    result = run("cloud", "check", "/nowhere/cloud.yaml")
    assert result.exit_code == 2
    assert "/nowhere/cloud.yaml" in result.output


def test_duplicate_mac_is_named_with_file_and_path(example: Path) -> None:
    text = example.read_text()
    example.write_text(text.replace("fa:16:3e:5d:21:0c", "fa:16:3e:ae:b3:e7"))
    result = run("cloud", "check", str(example))
    assert result.exit_code == 2
    assert str(example) in result.output
    assert "ports" in result.output
    assert "fa:16:3e:ae:b3:e7" in result.output.lower()


@pytest.mark.parametrize("command", [("plan",), ("apply",)])
def test_unknown_host_lists_the_known(example: Path, command: tuple[str, ...]) -> None:
    result = run(*command, "--cloud", str(example), "--host", "cy2-compute99")
    assert result.exit_code == 2
    assert "cy2-compute99" in result.output
    assert "cy2-compute02" in result.output


@pytest.mark.parametrize("command", [("plan",), ("apply",)])
def test_bad_cloud_stops_before_anything(broken: Path, command: tuple[str, ...]) -> None:
    result = run(*command, "--cloud", str(broken), "--host", "cy2-compute02")
    assert result.exit_code == 2
    assert "nothing was changed" in result.output


def test_check_counts_the_example(example: Path) -> None:
    result = run("cloud", "check", str(example))
    assert result.exit_code == 0
    assert "1 router" in result.output
    assert "1 floating IP" in result.output


@pytest.mark.parametrize("name", Example.choices)
def test_every_example_is_right(name: str, tmp_path: Path) -> None:
    file = tmp_path / "cloud.yaml"
    file.write_text(run("cloud", "example", name).output)
    assert run("cloud", "check", str(file)).exit_code == 0


def test_two_clouds_at_a_time_are_one_too_many(example: Path) -> None:
    result = run("lab", "up", str(example), "--example", "two-hosts")
    assert result.exit_code == 2
    assert "one cloud at a time" in result.output


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["test"], "--to"),
        (["--to", "192.168.0.1"], "sender"),
        (["test", "--to", "192.168.0.1", "--dport", "80"], "--tcp or --udp"),
        (["test", "--from", "outside", "--to", "192.168.0.1"], "two senders"),
        (["test", "--to", "192.168.0.1", "--tcp", "--dport", "70000"], "70000"),
    ],
)
def test_senseless_traces(argv: list[str], says: str) -> None:
    result = run("trace", *argv)
    assert result.exit_code == 2
    assert says in result.output


@pytest.mark.parametrize("argv", [["lab", "exec", "test", "--", "true"], ["trace", "test", "--to", "192.168.0.1"]])
def test_no_lab_says_how_to_raise_one(argv: list[str]) -> None:
    result = (
        run(*argv, "--lab", "there-is-no-such-lab")
        if argv[0] == "trace"
        else run(*argv[:2], "--lab", "there-is-no-such-lab", *argv[2:])
    )
    assert result.exit_code in {1, 2}
    assert "lab up" in result.output
    assert "Traceback" not in result.output


def test_an_unknown_option_of_exec_is_not_taken_for_a_host() -> None:
    result = run("lab", "exec", "--name", "mine", "test", "--", "true")
    assert result.exit_code == 2
    assert "--name" in result.output


class Late(BaseHTTPRequestHandler):
    """A server whose host h1 does not follow."""

    def do_GET(self) -> None:
        said = {"revision": 7, "applied": False, "hosts": {"h1": 6}, "late": [{"host": "h1"}],
                "NeutronError": {"type": "NotApplied", "message": "Not applied: h1 stands at revision 6 of 7.", "detail": ""}}  # fmt: skip
        body = json.dumps(said).encode()
        self.send_response(504)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def late() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Late) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_wait_says_who_is_behind(late: str) -> None:
    result = run("wait", "--url", late)
    assert result.exit_code == 1
    assert result.output.startswith("error: Not applied: h1 stands at revision 6 of 7.\n")


def test_wait_json_is_the_same_document_whether_applied_or_not(late: str) -> None:
    result = run("wait", "--url", late, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"revision": 7, "applied": False, "hosts": {"h1": 6}, "late": [{"host": "h1"}]}


@pytest.mark.parametrize(
    ("environment", "url", "words"),
    [
        ({}, "nonsense", "http://HOST:PORT"),
        ({"OS_CLOUD": "other"}, "", "knows mine"),
    ],
)
def test_where_the_api_is_not_said_rightly_is_bad_input(
    tmp_path: Path, environment: dict[str, str], url: str, words: str
) -> None:
    file = tmp_path / "clouds.yaml"
    file.write_text("clouds: {mine: {}}")
    env = {"OS_CLIENT_CONFIG_FILE": str(file), **environment}
    result = CliRunner().invoke(cli, ["wait", "--url", url], env=env)
    assert (result.exit_code, result.exception.__class__) == (2, SystemExit)
    assert words in result.output


@pytest.mark.parametrize("name", ["..", "../x", "", "a/b", ".hidden"])
@pytest.mark.parametrize("verb", ["down", "status", "up"])
def test_a_labs_name_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, name: str) -> None:
    kept = tmp_path / "x" / "precious"
    kept.mkdir(parents=True)
    monkeypatch.setattr(lab, "BASE", tmp_path / "run")
    monkeypatch.setattr(served, "VAR", tmp_path / "var")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(prerequisites, "require", lambda: None)
    result = run("lab", verb, "--lab", name)
    assert result.exit_code == 2
    assert "is not a name for a lab" in result.output
    assert kept.is_dir()


@pytest.mark.parametrize(
    ("argv", "said", "usage"),
    [
        (["--nope"], "no such option '--nope'", "floatway [OPTIONS] COMMAND"),
        (["lab", "--nope"], "no such option '--nope'", "floatway lab [OPTIONS] COMMAND"),
        (["lab", "up", "--plian"], "no such option '--plian'", "floatway lab up [OPTIONS]"),
        (["lab", "exec"], "missing argument 'HOST'", "floatway lab exec [OPTIONS] HOST"),
        (["lab", "exec", "--nope", "--", "true"], "no such option '--nope'", "floatway lab exec [OPTIONS] HOST"),
        (["agent", "token"], "missing argument 'HOST'", "floatway agent token [OPTIONS] HOST"),
        (["trace", "--sport", "many"], "invalid value for '--sport'", "floatway trace [OPTIONS]"),
    ],
)
def test_a_wrong_call_is_told_as_any_other_error(argv: list[str], said: str, usage: str) -> None:
    result = CliRunner().invoke(cli, argv, prog_name="floatway")
    first, *more = result.output.splitlines()
    assert result.exit_code == 2
    assert first.startswith(f"error: {said}")
    assert any(line.startswith(f"  usage: {usage}") for line in more), more
    assert f"  {usage.partition(' [')[0]} --help" in more
    assert "Error:" not in result.output


def test_a_command_that_takes_a_command_shows_its_help() -> None:
    assert CliRunner().invoke(cli, ["lab"], prog_name="floatway").output.startswith("Usage: floatway lab")


@pytest.mark.parametrize("argv", [["lab", "status"], ["lab", "plan"], ["lab", "exec", "test", "--", "true"]])
@pytest.mark.parametrize("name", ["there-is-no-such-lab", "../etc"])
def test_a_wrong_lab_is_bad_input(monkeypatch: pytest.MonkeyPatch, argv: list[str], name: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    result = run(*argv[:2], "--lab", name, *argv[2:])
    assert (result.exit_code, result.output.startswith("error: ")) == (2, True)
