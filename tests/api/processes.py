"""A server of its own process for a test, as an operator runs it: ``python -m floatway server --config …``.

with server(tmp_path) as api:        listening, its store in tmp_path, everybody is administrator
    api.call("GET", "/v2.0/networks")
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from floatway.api.config_text import toml

PATIENCE = 60.0
"""Seconds that a process has for what takes milliseconds; only a broken one takes them."""


class Answer(NamedTuple):
    """Headers by lower-case name; the body decoded when it is JSON."""

    status: int
    headers: dict[str, str]
    body: Any


class Server:
    """A server's process."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def call(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            data = body if body is None or isinstance(body, bytes) else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})  # type: ignore[arg-type]
            return read(connection.getresponse())

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def lines(self) -> list[dict[str, Any]]:
        """What it logged so far."""
        return [json.loads(line) for line in self.log.read_text().split("\n") if line]  # paths may have other breaks

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal, wait for the end; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def read(answer: http.client.HTTPResponse) -> Answer:
    """The whole answer."""
    raw = answer.read()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    is_json = headers.get("content-type", "").startswith("application/json")
    return Answer(answer.status, headers, json.loads(raw) if raw and is_json else raw)


@contextlib.contextmanager
def server(
    directory: Path, tables: Mapping[str, Mapping[str, object]] | None = None, **server_keys: object
) -> Iterator[Server]:
    """A server until the block ends. ``tables`` of its configuration; ``server_keys`` go into [server]."""
    started = start(directory, tables, **server_keys)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.stop()


def start(directory: Path, tables: Mapping[str, Mapping[str, object]] | None = None, **server_keys: object) -> Server:
    """The same, for tests that end it themselves."""
    port = free_port()
    wanted = {
        "server": {"port": port, **server_keys},
        "store": {"url": f"sqlite://{directory}/floatway.db"},
        **(tables or {}),
    }
    config = directory / "server.toml"
    config.write_text("".join(f"[{name}]\n{keys(table)}" for name, table in wanted.items()))
    log = directory / "server.log"
    with log.open("ab") as out:
        argv = [sys.executable, "-m", "floatway", "server", "--config", str(config)]
        process = subprocess.Popen(argv, stdout=out, stderr=out, env=plain_environment())
    made = Server(process, port, log)
    wait_until(lambda: process.poll() is not None or listening(port), "the server to listen")
    assert process.poll() is None, log.read_text()
    return made


def keys(table: Mapping[str, object]) -> str:
    """A table's lines."""
    return "".join(f"{name} = {toml(value)}\n" for name, value in table.items())


def plain_environment() -> dict[str, str]:
    """This process's environment without what configures a server."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("FLOATWAY_", "OS_"))}


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listening(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_until(condition: "Any", what: str) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)
