"""Who calls and what they may do, at a server of its own process."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from api.processes import Server, server
from fake_keystone import FakeKeystone, keystone

ONE, TWO = "1" * 32, "2" * 32


def basic(name: str, password: str = "secret") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture
def by_password(tmp_path: Path) -> Iterator[Server]:
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    passwords, users, policy = tmp_path / "htpasswd", tmp_path / "users.toml", tmp_path / "policy.yaml"
    passwords.write_text("".join(f"{name}:{hashed}\n" for name in ("member", "reader", "other", "root")))
    users.write_text(
        f'member = {{ project_id = "{ONE}" }}\nreader = {{ project_id = "{ONE}", roles = ["reader"] }}\n'
        f'other = {{ project_id = "{TWO}" }}\nroot = {{ project_id = "{TWO}", roles = ["admin"] }}\n'
    )
    policy.write_text('"get_network:mtu": "rule:admin_only"\n"creat_network": "!"\n')
    tables = {
        "auth": {"mode": "http_basic"},
        "auth.http_basic": {"htpasswd": str(passwords), "users_file": str(users)},
        "policy": {"files": [str(policy)]},
    }
    with server(tmp_path, tables) as api:
        yield api


def test_users_of_an_htpasswd_file(by_password: Server) -> None:
    api = by_password
    refused = api.call("GET", "/v2.0/networks")
    assert (refused.status, refused.body["error"]["code"]) == (401, 401)
    assert refused.headers["www-authenticate"].startswith("Basic realm=")
    assert api.call("GET", "/v2.0/networks", headers=basic("member", "wrong")).status == 401
    assert api.call("GET", "/").status == 200

    made = api.call("POST", "/v2.0/networks", {"network": {"name": "n"}}, basic("member"))
    assert made.status == 201
    network = made.body["network"]
    path = f"/v2.0/networks/{network['id']}"
    assert network["project_id"] == ONE
    assert "provider:network_type" not in network
    assert "mtu" not in network
    shown = api.call("GET", path, headers=basic("root")).body["network"]
    assert {"provider:network_type", "mtu"} <= shown.keys()
    assert api.call("GET", path, headers=basic("reader")).status == 200

    change = {"network": {"name": "x"}}
    refused = api.call("PUT", path, change, basic("reader"))
    assert refused.status == 403
    assert refused.body["NeutronError"] == {
        "type": "PolicyNotAuthorized",
        "message": "rule:update_network is disallowed by policy",
        "detail": "",
    }
    assert api.call("PUT", path, change, basic("other")).body["NeutronError"]["type"] == "NetworkNotFound"
    assert api.call("GET", "/v2.0/networks", headers=basic("other")).body == {"networks": []}
    foreign = {"network": {"name": "x", "project_id": ONE}}
    assert api.call("POST", "/v2.0/networks", foreign, basic("other")).status == 400
    assert api.call("POST", "/v2.0/networks", foreign, basic("root")).status == 201
    assert [line["rule"] for line in api.lines() if line["event"].startswith("policy rule")] == ["creat_network"]


def test_who_is_not_known_is_told_so_after_a_long_body(by_password: Server) -> None:
    long = {"network": {"description": "x" * 3_000_000}}
    for _ in range(2):
        assert by_password.call("POST", "/v2.0/networks", long, basic("member", "wrong")).status == 401


@pytest.fixture
def fake() -> Iterator[FakeKeystone]:
    with keystone() as made:
        made.now = time.time()
        yield made


def test_keystones_tokens(fake: FakeKeystone, tmp_path: Path) -> None:
    rules = [{"service": "network", "method": "GET", "path": "/v2.0/networks/**"}]
    fake.token("member", project={"id": ONE, "name": "one"}, roles=[{"name": "member"}, {"name": "reader"}])
    fake.token("root", project={"id": TWO, "name": "two"}, roles=[{"name": "admin"}])
    fake.token("system", project=None, system={"all": True}, roles=[{"name": "admin"}, {"name": "reader"}])
    fake.token(
        "narrow",
        project={"id": ONE, "name": "one"},
        roles=[{"name": "member"}, {"name": "reader"}],
        application_credential={"id": "a", "access_rules": rules},
    )
    tables = {"auth": {"mode": "keystone"}, "auth.keystone": {"url": f"{fake.url}/v3", "password": "s3cr3t"}}
    with server(tmp_path, tables) as api:
        refused = api.call("GET", "/v2.0/networks")
        assert refused.headers["www-authenticate"] == f'Keystone uri="{fake.url}/v3"'
        made = api.call("POST", "/v2.0/networks", {"network": {}}, {"X-Auth-Token": "member"})
        assert made.status == 201
        assert made.body["network"]["project_id"] == ONE
        path = f"/v2.0/networks/{made.body['network']['id']}"
        assert api.call("GET", path, headers={"X-Auth-Token": "root"}).status == 200
        assert api.call("GET", path, headers={"X-Auth-Token": "narrow"}).status == 200
        assert api.call("DELETE", path, headers={"X-Auth-Token": "narrow"}).status == 401
        assert api.call("GET", "/v2.0/networks", headers={"X-Auth-Token": "system"}).body == {"networks": []}
        assert api.call("GET", path, headers={"X-Auth-Token": "system"}).status == 404
        assert api.call("GET", path, headers={"X-Auth-Token": "nobody"}).status == 401
        asked = len(fake.asked)
        assert api.call("GET", path, headers={"X-Auth-Token": "member"}).status == 200
        assert len(fake.asked) == asked
        fake.status = 500
        down = api.call("GET", path, headers={"X-Auth-Token": "new"})
        assert (down.status, down.body["NeutronError"]["type"]) == (503, "HTTPServiceUnavailable")
        assert api.call("GET", path, headers={"X-Auth-Token": "member"}).status == 200
        log = api.log.read_text()
        assert "s3cr3t" not in log


def test_a_web_page_may_not_call_where_everybody_may(tmp_path: Path) -> None:
    with server(tmp_path) as api:
        network = {"network": {}}
        for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            assert api.call("POST", "/v2.0/networks", network, headers).status == 403
        assert api.call("GET", "/v2.0/networks").body == {"networks": []}
