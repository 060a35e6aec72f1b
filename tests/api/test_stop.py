"""How a server ends: politely, with what was begun; or all at once, with what was acknowledged. And how it says that it cannot begin."""

import json
import signal
import socket
import threading
from pathlib import Path

import pytest

from api.processes import Server, listening, server, start, wait_until

NETWORK = {"network": {"name": "a"}}


def half(api: Server, length: int) -> socket.socket:
    """A request whose body is on its way."""
    sock = api.connect()
    head = f"POST /v2.0/networks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    sock.sendall(head.encode())
    return sock


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_at_work_is_finished(tmp_path: Path, number: int) -> None:
    api = start(tmp_path)
    body = json.dumps(NETWORK).encode()
    with half(api, len(body)) as sock:
        assert api.call("GET", "/healthz").status == 200  # by now the other request's header is there too
        api.process.send_signal(number)
        wait_until(lambda: not listening(api.port), "the port to be closed")
        sock.sendall(body)
        assert sock.recv(65536).startswith(b"HTTP/1.1 201")
    assert api.process.wait(60) == 0
    events = [line["event"] for line in api.lines()]
    assert events[-1] == "stopped"
    with server(tmp_path) as again:
        assert [network["name"] for network in again.call("GET", "/v2.0/networks").body["networks"]] == ["a"]


def test_idle_connections_do_not_hold_it_up(tmp_path: Path) -> None:
    api = start(tmp_path)
    with api.connect(), api.connect() as used:
        used.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert used.recv(65536).startswith(b"HTTP/1.1 200")
        assert api.stop() == 0


def test_a_request_that_does_not_end_is_cut_off(tmp_path: Path) -> None:
    api = start(tmp_path, stop_timeout=0.5)
    with half(api, 100):
        assert api.call("GET", "/healthz").status == 200
        assert api.stop() == 1
    assert "cut off" in api.lines()[-1]["error"]


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    api = start(tmp_path)
    acknowledged: list[str] = []

    def write() -> None:
        try:
            while True:
                acknowledged.append(api.call("POST", "/v2.0/networks", NETWORK).body["network"]["id"])
        except (OSError, ValueError):
            return

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    wait_until(lambda: len(acknowledged) > 40, "forty networks")
    assert api.stop(signal.SIGKILL) == -signal.SIGKILL
    for writer in writers:
        writer.join()
    with server(tmp_path) as again:
        there = {network["id"] for network in again.call("GET", "/v2.0/networks").body["networks"]}
    assert set(acknowledged) <= there


def test_a_second_server_on_the_same_port_says_so(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with server(tmp_path / "one") as first, pytest.raises(AssertionError, match=r"cannot listen on .*in use"):
        start(tmp_path / "two", port=first.port)


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(str(tmp_path / "notify"))
    heard.settimeout(60)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with heard, server(tmp_path) as api:
        assert heard.recv(100) == b"READY=1"
        assert api.call("GET", "/healthz").status == 200
        assert api.stop() == 0
        assert heard.recv(100) == b"STOPPING=1"
