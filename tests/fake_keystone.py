"""A Keystone of a few lines, served on loopback: it knows tokens, counts what it is asked, and fails when told to."""

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class FakeKeystone(ThreadingHTTPServer):
    """``tokens``: what it says of them; ``own`` are the tokens that it gave us."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.now = 1_795_000_000.0
        self.tokens: dict[str, dict[str, Any]] = {}
        self.own: list[str] = []
        self.logins: list[dict[str, Any]] = []
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.status = 0
        self.body = b""
        self.hold: threading.Event | None = None
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_args: object) -> None:
        """Who asked may have left."""

    def token(self, name: str, lifetime: float = 3600, **fields: Any) -> str:
        """A token that is known from now on."""
        self.tokens[name] = {
            "expires_at": iso(self.now + lifetime),
            "user": {"id": f"id-{name}", "name": name, "domain": {"id": "default"}},
            "roles": [{"id": "1", "name": "member"}],
            "project": {"id": "p1", "name": "one", "domain": {"id": "default"}},
        } | fields
        return name


class Handler(BaseHTTPRequestHandler):
    """Identity API v3, as far as tokens go."""

    protocol_version = "HTTP/1.1"
    server: FakeKeystone

    def do_POST(self) -> None:
        keystone = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with keystone.lock:
            keystone.logins.append(body)
            own = f"own-{len(keystone.logins)}"
        if keystone.status:
            return self.answer(keystone.status, {})
        if body["auth"]["identity"]["password"]["user"]["password"] != "s3cr3t":
            return self.answer(401, {})
        keystone.own.append(own)
        return self.answer(201, {"token": {"expires_at": iso(keystone.now + 600), "user": {"id": "me"}}}, own)

    def do_GET(self) -> None:
        keystone = self.server
        query = parse_qs(urlsplit(self.path).query)
        token = self.headers["x-subject-token"]
        with keystone.lock:
            keystone.asked.append((token, query))
        if keystone.hold is not None:
            keystone.hold.wait(60)
        if keystone.status:
            return self.answer(keystone.status, {})
        if self.headers["x-auth-token"] not in keystone.own:
            return self.answer(401, {})
        document = keystone.tokens.get(token)
        if document is None or (iso(keystone.now) >= document["expires_at"] and "allow_expired" not in query):
            return self.answer(404, {})
        return self.answer(200, {"token": document})

    def answer(self, status: int, document: Mapping[str, Any], token: str = "") -> None:
        body = self.server.body or json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        if token:
            self.send_header("x-subject-token", token)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


@contextlib.contextmanager
def keystone() -> Iterator[FakeKeystone]:
    """One that serves until the block ends."""
    made = FakeKeystone()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()
