"""Clients that send rubbish, too much, too slowly or nothing at all: each gets an answer or an end, and the others notice nothing."""

import contextlib
import os
import random
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.processes import PATIENCE, Server, server

LIMIT = 65536


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all: whoever comes last must be served as well as the first."""
    directory = tmp_path_factory.mktemp("server")
    with server(directory, max_body_bytes=LIMIT, header_timeout=2.0, body_timeout=1.0) as started:
        yield started
        assert not [line for line in started.lines() if line["level"] == "error"]


def works(api: Server) -> None:
    """It answers somebody decent."""
    assert api.call("GET", "/v2.0/networks").status == 200


def said(api: Server, sent: bytes, *, end: bool = False) -> bytes:
    """All that comes back until the server closes the connection."""
    parts = []
    with api.connect() as sock, contextlib.suppress(ConnectionError):
        sock.sendall(sent)
        if end:
            sock.shutdown(socket.SHUT_WR)
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)


def post(body: bytes, *headers: str) -> bytes:
    """A request to create a network."""
    lines = ["POST /v2.0/networks HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize(
    "sent",
    [
        bytes(range(256)) * 20,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n" * 10_000,
        b"GET / HTTP/1.1\r\n: no name\r\n\r\n",
        b"GET /\x00\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET  /  HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"POST /v2.0/networks HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /v2.0/networks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"POST /v2.0/networks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
    ],
    ids=lambda sent: repr(sent[:24]),
)
def test_garbage_ends_the_connection(api: Server, sent: bytes) -> None:
    answer = said(api, sent)
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    works(api)


def test_random_bytes(api: Server) -> None:
    chance = random.Random(20261123)
    for _ in range(50):
        said(api, chance.randbytes(chance.randrange(1, 3000)), end=True)
    works(api)


def test_a_request_altered_at_random(api: Server) -> None:
    chance = random.Random(7)
    whole = post(b'{"network": {"name": "a"}}', "Content-Length: 26")
    for _ in range(200):
        altered = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            altered[chance.randrange(len(altered))] = chance.randrange(256)
        answer = said(api, bytes(altered), end=True)
        assert not answer.startswith(b"HTTP/1.1 5"), altered
    works(api)


def test_a_header_too_long(api: Server) -> None:
    assert said(api, b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000).startswith((b"HTTP/1.1 431", b""))
    assert said(api, b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 5000 + b"\r\n").startswith(b"HTTP/1.1 431")
    assert said(api, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 414")


def test_a_body_too_long_is_refused_before_it_comes(api: Server) -> None:
    with api.connect() as sock:
        sock.sendall(post(b"", f"Content-Length: {LIMIT + 1}"))
        answer = sock.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"HTTPRequestEntityTooLarge" in answer


def test_a_body_too_long_that_does_not_say_so(api: Server) -> None:
    chunk = b"1000\r\n" + b"a" * 0x1000 + b"\r\n"
    answer = said(api, post(chunk * (LIMIT // 0x1000 + 2) + b"0\r\n\r\n", "Transfer-Encoding: chunked"))
    assert answer.startswith(b"HTTP/1.1 413") or not answer  # it may come while we are still sending
    works(api)


def test_a_header_that_never_ends(api: Server) -> None:
    assert said(api, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ") == b""
    works(api)


def test_a_body_that_does_not_come(api: Server) -> None:
    answer = said(api, post(b'{"network"', "Content-Length: 100"))
    assert answer.startswith(b"HTTP/1.1 408")
    works(api)


def test_a_body_cut_off_changes_nothing(api: Server) -> None:
    before = api.call("GET", "/v2.0/networks").body
    with api.connect() as sock:
        sock.sendall(post(b'{"network": {"name": "cut', "Content-Length: 1000"))
    works(api)
    assert api.call("GET", "/v2.0/networks").body == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b"[" * 50_000,
        b'{"network": ' * 5000,
        b"null",
        b"[]",
        b'"network"',
        b'{"network": []}',
        b'{"network": null}',
        b'{"network": {"name": "\\ud800"}}',
        b'{"networks": {}}',
        b'{"networks": [1]}',
        b"1e999999",
        b'{"network": {"mtu": ' + b"9" * 5000 + b"}}",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_a_body_that_is_no_request(api: Server, body: bytes) -> None:
    answer = api.call("POST", "/v2.0/networks", body)
    assert answer.status == 400
    assert answer.body["NeutronError"]["message"]
    assert answer.headers["x-openstack-request-id"].startswith("req-")


@pytest.mark.parametrize(
    "path",
    [
        "/v2.0/%ff%00/../..",
        "/v2.0/networks/%2e%2e%2f",
        "/v2.0/networks?%ff=%zz&limit=x" + "&a=b" * 2000,
        "/v2.0//networks///",
        "/v2.0/networks/" + "a" * 5000,
        "/v2.0/networks?limit=-1",
        "/v2.0/networks?fields=" + "a," * 3000,
        "/v2.0/networks?sort_key=%00&sort_dir=sideways",
        "/v2.0/networks?marker=nobody",
    ],
    ids=lambda path: path[:32],
)
def test_a_path_that_is_none(api: Server, path: str) -> None:
    assert api.call("GET", path).status < 500
    works(api)


def test_a_thousand_idle_connections(api: Server) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4000, hard), hard))
    idle = [api.connect() for _ in range(1000)]
    try:
        works(api)
        assert memory_mib(api) < 400
        for sock in idle:  # each of them ends by itself, for none has asked for anything
            sock.settimeout(PATIENCE)
            assert sock.recv(1) == b""
    finally:
        for sock in idle:
            sock.close()
    works(api)
    assert open_files(api) < 200


def test_requests_without_waiting_for_answers(api: Server) -> None:
    count = 500
    with api.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * count)
        heard = b""
        while heard.count(b"HTTP/1.1 200 OK") < count:
            part = sock.recv(262144)
            assert part, heard[-300:]
            heard += part


def test_clients_that_ask_and_do_not_read(api: Server) -> None:
    for number in range(50):
        assert (
            api.call("POST", "/v2.0/networks", {"network": {"name": f"{number}", "description": "d" * 250}}).status
            == 201
        )
    deaf = [api.connect() for _ in range(100)]
    try:
        for sock in deaf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(b"GET /v2.0/networks HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5)
        works(api)
        assert memory_mib(api) < 400
    finally:
        for sock in deaf:
            sock.close()
    works(api)


def memory_mib(api: Server) -> float:
    """Resident."""
    return int(Path(f"/proc/{api.process.pid}/status").read_text().partition("VmRSS:")[2].split()[0]) / 1024


def open_files(api: Server) -> int:
    """What the server has open."""
    return len(os.listdir(f"/proc/{api.process.pid}/fd"))  # noqa: PTH208


def test_a_caller_names_the_request(api: Server) -> None:
    name = "req-0f8fad5b-d9cb-469f-a165-70867728950e"
    answer = api.call("GET", "/v2.0/networks", headers={"X-OpenStack-Request-Id": name})
    api.call("GET", "/v2.0/networks", headers={"X-OpenStack-Request-Id": "x\tforged"})
    line = next(line for line in api.lines() if line.get("request_id") == answer.headers["x-openstack-request-id"])
    assert line["global_request_id"] == name
    assert not [line for line in api.lines() if "forged" in line.get("global_request_id", "")]


def test_more_connections_than_there_may_be_wait(tmp_path: Path) -> None:
    ask = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with server(tmp_path, max_connections=8) as api:
        taken = []
        for _ in range(8):
            sock = api.connect()
            sock.sendall(ask)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
            taken.append(sock)
        with api.connect() as waiting:
            waiting.sendall(ask)
            taken[0].sendall(ask)  # who is in is still served
            assert taken[0].recv(65536).startswith(b"HTTP/1.1 200")
            for sock in taken:
                sock.close()
            assert waiting.recv(65536).startswith(b"HTTP/1.1 200")
