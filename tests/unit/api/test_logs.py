"""Lines of the log: whole, parseable, without secrets."""

import json
import logging
from collections.abc import Iterator

import msgspec
import pytest
import structlog

from floatway.api import logs
from floatway.api.app import Finished
from floatway.api.config import LogConfig

REQUEST = Finished("GET", "/v2.0/ports", "ports", 200, 0.0021234567, "req-1", "p1", "192.0.2.7", 512, "req-2")


@pytest.fixture
def written() -> Iterator[list[bytes]]:
    """What logging wrote; the settings of before afterwards."""
    root, lines = logging.getLogger(), list[bytes]()
    handlers, level = root.handlers[:], root.level
    yield lines
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_request_is_one_json_line(written: list[bytes]) -> None:
    logs.access_log(LogConfig(), written.append)(REQUEST)
    [line] = written
    assert line.endswith(b"\n")
    said = json.loads(line)
    assert said.pop("timestamp").endswith("Z")
    assert said == {
        "level": "info",
        "event": "request",
        "request_id": "req-1",
        "global_request_id": "req-2",
        "method": "GET",
        "path": "/v2.0/ports",
        "status": 200,
        "seconds": 0.002123,
        "bytes": 512,
        "project_id": "p1",
        "peer": "192.0.2.7",
    }


def test_a_request_for_a_person(written: list[bytes]) -> None:
    hostile = msgspec.structs.replace(REQUEST, path="/v2.0/\x1b[2J\n2026 forged", status=500)
    logs.access_log(LogConfig(format="console"), written.append)(hostile)
    [line] = written
    assert line.count(b"\n") == 1
    assert b"\x1b" not in line
    assert b" 500 GET " in line


def test_a_server_error_is_an_error(written: list[bytes]) -> None:
    logs.access_log(LogConfig(), written.append)(msgspec.structs.replace(REQUEST, status=503))
    assert json.loads(written[0])["level"] == "error"


@pytest.mark.parametrize("format_", ["json", "console"])
def test_no_secret_gets_out(written: list[bytes], format_: str) -> None:
    logs.configure(LogConfig(format=format_), written.append)  # type: ignore[arg-type]
    fernet = "gAAAAABrA_abcdefghijklmnopqrstuvwxyz0123456789=="
    structlog.get_logger().info("asked", password="hunter2", headers={"X-Auth-Token": "hunter2", "a": f"x {fernet}"})
    logging.getLogger("keystone").warning('sent {"password": "hunter2"} with Authorization: Basic aHVudGVyMjpodW50ZXIy')
    logging.getLogger("keystone").error("refused token %s", fernet)
    text = b"".join(written)
    assert len(written) == 3
    for hidden in (b"hunter2", b"aHVudGVyMjpodW50ZXIy", fernet.encode()):
        assert hidden not in text
    assert text.count(b"********") >= 5


def test_libraries_and_we_write_the_same_kind_of_line(written: list[bytes]) -> None:
    logs.configure(LogConfig(), written.append)
    with structlog.contextvars.bound_contextvars(request_id="req-1"):
        structlog.get_logger().info("ours", revision=3)
        logging.getLogger("aetcd").warning("theirs %s", 4)
    ours, theirs = map(json.loads, written)
    assert ours["event"] == "ours"
    assert ours["request_id"] == theirs["request_id"] == "req-1"
    assert theirs["event"] == "theirs 4"
    assert theirs["logger"] == "aetcd"
    assert list(theirs)[:3] == ["timestamp", "level", "event"]


def test_a_traceback_is_one_line_of_json(written: list[bytes]) -> None:
    logs.configure(LogConfig(), written.append)
    try:
        raise ValueError("no")  # noqa: TRY301
    except ValueError:
        structlog.get_logger().exception("failed")
    [line] = written
    assert line.count(b"\n") == 1
    assert "ValueError: no" in json.loads(line)["exception"]


def test_the_level_is_kept_for_all(written: list[bytes]) -> None:
    logs.configure(LogConfig(level="warning"), written.append)
    structlog.get_logger().info("not this")
    logging.getLogger("anything").info("nor this")
    logging.getLogger("httpx").warning("this")
    assert [json.loads(line)["event"] for line in written] == ["this"]


def test_at_a_higher_level_only_failures_of_ours_have_a_line(written: list[bytes]) -> None:
    observe = logs.access_log(LogConfig(level="warning"), written.append)
    for status in (200, 404, 503):
        observe(msgspec.structs.replace(REQUEST, status=status))
    assert [json.loads(line)["status"] for line in written] == [503]
