"""Who asks and where the API is, out of the environment and clouds.yaml; and the client before a server that answers as told.

OS_CLOUD ─▶ clouds.yaml ─▶ Login ─▶ Networking ──▶ a server of one thread, with a list of answers
"""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from floatway.agent.networking import Login, LoginError, Networking, NetworkingError, Unreachable, login

CLOUDS = """
clouds:
  mine:
    auth_type: password
    auth: {auth_url: http://keystone:5000, username: me, password: secret, project_name: p}
    region_name: north
  lab:
    auth_type: none
    auth: {endpoint: "http://127.0.0.1:1234"}
    compute_endpoint_override: http://127.0.0.1:8774
"""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Login(kind="none", endpoint="http://127.0.0.1:9696")),
        ({"OS_AUTH_TYPE": "none", "OS_ENDPOINT": "http://h:1"}, Login(kind="none", endpoint="http://h:1")),
        (
            {"OS_AUTH_TYPE": "http_basic", "OS_ENDPOINT": "https://h", "OS_USERNAME": "u", "OS_PASSWORD": "p"},
            Login(kind="http_basic", endpoint="https://h", username="u", password="p"),
        ),
        (
            {"OS_AUTH_URL": "http://k", "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_PROJECT_NAME": "x"},
            Login(kind="password", auth_url="http://k", username="u", password="p", project_name="x"),
        ),
        (
            {"OS_AUTH_TYPE": "v3token", "OS_AUTH_URL": "http://k", "OS_TOKEN": "t"},
            Login(kind="token", auth_url="http://k", token="t"),
        ),
    ],
)
def test_the_environment_says_who_asks(environment: dict[str, str], expected: Login) -> None:
    assert login(environment) == expected


def test_clouds_yaml_says_it_and_the_environment_overrides(tmp_path: Path) -> None:
    file = tmp_path / "clouds.yaml"
    file.write_text(CLOUDS)
    env = {"OS_CLIENT_CONFIG_FILE": str(file)}
    assert login({**env, "OS_CLOUD": "lab"}) == Login(kind="none", endpoint="http://127.0.0.1:1234")
    mine = login({**env, "OS_CLOUD": "mine", "OS_PASSWORD": "other"})
    assert (mine.kind, mine.username, mine.password, mine.region_name) == ("password", "me", "other", "north")
    assert "other" not in repr(mine)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"OS_AUTH_TYPE": "kerberos"}, "kerberos"),
        ({"OS_AUTH_TYPE": "http_basic"}, "OS_USERNAME, OS_PASSWORD"),
        ({"OS_AUTH_URL": "http://k"}, "OS_USERNAME, OS_PASSWORD"),
        ({"OS_CLOUD": "x", "OS_CLIENT_CONFIG_FILE": "/nowhere/clouds.yaml"}, "/nowhere/clouds.yaml"),
    ],
)
def test_what_is_missing_is_named(environment: dict[str, str], words: str) -> None:
    with pytest.raises(LoginError, match=words):
        login(environment)


@pytest.mark.parametrize("content", ["", "clouds: []", "clouds: {other: {}}", "{", "clouds: {mine: 7}"])
def test_a_clouds_yaml_that_is_not_right_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "clouds.yaml"
    file.write_text(content)
    with pytest.raises(LoginError, match=str(file)):
        login({"OS_CLOUD": "mine", "OS_CLIENT_CONFIG_FILE": str(file)})


class Handler(BaseHTTPRequestHandler):
    """Gives the answers that the test has laid ready, by method and path; keeps what was asked."""

    protocol_version = "HTTP/1.1"
    answers: ClassVar[dict[str, list[tuple[int, Any, dict[str, str]]]]] = {}
    asked: ClassVar[list[tuple[str, dict[str, str], Any]]] = []

    def do(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = f"{self.command} {self.path}"
        self.asked.append((key, dict(self.headers), json.loads(raw) if raw else None))
        status, document, headers = self.answers[key].pop(0)
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = headers.get("X-Test") == "leave"

    do_GET = do_POST = do_PUT = do_DELETE = do  # noqa: N815

    def log_message(self, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    Handler.answers, Handler.asked = {}, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def answer(key: str, *told: tuple[int, Any] | tuple[int, Any, dict[str, str]]) -> None:
    Handler.answers.setdefault(key, []).extend((one[0], one[1], one[2] if len(one) > 2 else {}) for one in told)


def test_an_idle_connection_that_the_server_let_go_of_is_opened_anew(url: str) -> None:
    answer("GET /v2.0/ports", (200, {"ports": []}, {"X-Test": "leave"}), (200, {"ports": [1]}))
    api = Networking(Login(endpoint=f"{url}/v2.0/"))
    assert api.call("GET", "/v2.0/ports") == {"ports": []}
    assert api.call("GET", "/v2.0/ports") == {"ports": [1]}
    api.close()


def test_a_refusal_with_more_than_its_reason_is_told_in_its_words(url: str) -> None:
    """As a wait in vain is: who is late, and beside it the error."""
    told = {
        "revision": 7,
        "late": [],
        "NeutronError": {"type": "NotApplied", "message": "Not applied: h1", "detail": ""},
    }
    answer("GET /floatway/v1/wait", (504, told), (500, [1]), (502, {}))
    api = Networking(Login(endpoint=url))
    for said in ("Not applied: h1", "[1]", "{}"):
        with pytest.raises(NetworkingError, match=re.escape(said)):
            api.call("GET", "/floatway/v1/wait")
    api.close()


def test_the_revision_of_a_write_is_kept(url: str) -> None:
    answer("PUT /v2.0/ports/x", (200, {"port": {}}, {"X-Floatway-Revision": "77"}))
    answer("DELETE /v2.0/ports/x", (204, b""))
    api = Networking(Login(endpoint=url))
    api.call("PUT", "/v2.0/ports/x", {"port": {"name": "n"}})
    assert api.revision == 77
    assert Handler.asked[-1][2] == {"port": {"name": "n"}}
    assert api.call("DELETE", "/v2.0/ports/x") is None
    api.close()


@pytest.mark.parametrize(
    ("status", "document", "kind", "words"),
    [
        (
            404,
            {"NeutronError": {"type": "PortNotFound", "message": "no port", "detail": ""}},
            "PortNotFound",
            "no port",
        ),
        (
            504,
            {
                "revision": 3,
                "late": [{}],
                "NeutronError": {"type": "NotApplied", "message": "h1 is behind", "detail": ""},
            },
            "NotApplied",
            "^h1 is behind$",
        ),
        (401, {"error": {"code": 401, "title": "Unauthorized", "message": "who?"}}, "Unauthorized", "who?"),
        (502, b"<html>Bad gateway</html>", "", "Bad gateway"),
        (500, b"", "", "Internal Server Error"),
        (400, [], "", r"\[\]"),
        (400, {}, "", r"\{\}"),
    ],
)
def test_refusals_say_why(url: str, status: int, document: Any, kind: str, words: str) -> None:
    answer("GET /x", (status, document))
    api = Networking(Login(endpoint=url))
    with pytest.raises(NetworkingError, match=words) as raised:
        api.call("GET", "/x")
    assert (raised.value.status, raised.value.kind) == (status, kind)
    assert raised.value.document == (None if isinstance(document, bytes) else document)
    api.close()


def test_one_is_found_by_id_then_by_name_and_several_are_told(url: str) -> None:
    answer("GET /v2.0/security-groups?id=a%20b", (200, {"security_groups": []}), (200, {"security_groups": []}))
    answer("GET /v2.0/security-groups?name=a%20b", (200, {"security_groups": [{"id": "1"}]}),
           (200, {"security_groups": [{"id": "1"}, {"id": "2"}]}))  # fmt: skip
    api = Networking(Login(endpoint=url))
    assert api.one("security_group", "a b") == {"id": "1"}
    with pytest.raises(NetworkingError, match="1, 2"):
        api.one("security_group", "a b")
    api.close()


def test_nobody_there_is_unreachable_and_nonsense_is_no_address() -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        Networking(Login(endpoint="http://127.0.0.1:1")).call("GET", "/")
    with pytest.raises(LoginError, match="no address"):
        Networking(Login(endpoint="ftp://h")).call("GET", "/")


def test_keystone_gives_a_token_and_the_catalogue_the_endpoint_and_an_old_token_is_renewed(url: str) -> None:
    endpoints = [
        {"interface": "internal", "region_id": "north", "url": "http://wrong"},
        {"interface": "public", "region_id": "south", "url": "http://wrong"},
        {"interface": "public", "region_id": "north", "url": f"{url}/"},
    ]
    token = {"token": {"catalog": [{"type": "compute", "endpoints": []}, {"type": "network", "endpoints": endpoints}]}}
    first, second = ({"X-Subject-Token": name} for name in ("first", "second"))
    answer("POST /v3/auth/tokens", (201, token, first), (201, token, second))
    answer("GET /v2.0/ports", (200, {"ports": []}), (401, {}), (200, {"ports": [2]}))
    api = Networking(
        Login(kind="password", auth_url=url, username="u", password="p", project_name="x", region_name="north")
    )
    assert api.call("GET", "/v2.0/ports") == {"ports": []}
    asked = Handler.asked[0][2]["auth"]
    assert asked["identity"]["password"]["user"] == {"name": "u", "password": "p", "domain": {"name": "Default"}}
    assert asked["scope"] == {"project": {"name": "x", "domain": {"name": "Default"}}}
    assert api.call("GET", "/v2.0/ports") == {"ports": [2]}
    tokens = [headers["X-Auth-Token"] for key, headers, _ in Handler.asked if key.startswith("GET")]
    assert tokens == ["first", "first", "second"]
    api.close()


def test_keystones_no_is_told_without_the_password(url: str) -> None:
    answer("POST /v3/auth/tokens", (401, {"error": {"code": 401, "title": "Unauthorized", "message": "not you"}}))
    with pytest.raises(LoginError, match="not you") as raised:
        Networking(Login(kind="password", auth_url=url, username="u", password="hush")).call("GET", "/")
    assert "hush" not in str(raised.value)
