"""Keystone's tokens: what is asked, what is remembered, and what a caller is told when Keystone is not there."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fake_keystone import FakeKeystone, keystone
from floatway.api.auth import make_authenticator
from floatway.api.config import AuthConfig, KeystoneConfig, Secret
from floatway.api.keystone import Keystone
from floatway.api.policy import Policy
from floatway.control.caller import AccessRule, Caller
from floatway.control.errors import ApiError

IS_ADMIN = Policy().is_admin


@pytest.fixture
def fake() -> Iterator[FakeKeystone]:
    with keystone() as made:
        yield made


def config(url: str, **fields: Any) -> KeystoneConfig:
    return KeystoneConfig(**({"url": url, "password": Secret("s3cr3t")} | fields))


class Session:
    """An authenticator and the loop that it lives in, as long as a test."""

    def __init__(self, settings: KeystoneConfig, clock: FakeKeystone) -> None:
        self.runner = asyncio.Runner()
        self.keystone = Keystone(settings, IS_ADMIN, clock=lambda: clock.now)

    def call(self, token: str, **headers: str) -> Caller:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.runner.run(self.one({"x-auth-token": token} | named))

    async def one(self, headers: Mapping[str, str]) -> Caller:
        return await self.keystone(headers, "127.0.0.1")

    def refused(self, token: str, **headers: str) -> ApiError:
        with pytest.raises(ApiError) as caught:
            self.call(token, **headers)
        return caught.value


@contextlib.contextmanager
def session(fake: FakeKeystone, **fields: Any) -> Iterator[Session]:
    made = Session(config(**({"url": fake.url} | fields)), fake)
    yield made
    made.runner.run(made.keystone.close())
    made.runner.close()


def test_whose_a_token_is(fake: FakeKeystone) -> None:
    fake.token("alice", roles=[{"name": "Member"}, {"name": "reader"}])
    fake.token("root", roles=[{"name": "admin"}])
    with session(fake) as made:
        assert made.call("alice") == Caller(
            user_id="id-alice",
            user_name="alice",
            project_id="p1",
            project_name="one",
            roles=frozenset({"member", "reader"}),
        )
        assert made.call("root").is_admin
    assert [token for token, _ in fake.asked] == ["alice", "root"]
    assert len(fake.logins) == 1
    assert fake.logins[0]["auth"]["scope"] == {"project": {"name": "service", "domain": {"name": "Default"}}}


def test_scopes(fake: FakeKeystone) -> None:
    fake.token("system", project=None, system={"all": True}, roles=[{"name": "admin"}])
    fake.token("domain", project=None, domain={"id": "d", "name": "D"}, roles=[{"name": "admin"}])
    fake.token("unscoped", project=None, roles=[])
    with session(fake) as made:
        assert made.call("system").system_scope
        assert made.call("domain").domain_id == "d"
        assert made.call("unscoped") == Caller(user_id="id-unscoped", user_name="unscoped")
        assert not any(made.call(name).is_admin for name in fake.tokens)


def test_access_rules_of_an_application_credential(fake: FakeKeystone) -> None:
    rules = [
        {"service": "network", "method": "GET", "path": "/v2.0/ports"},
        {"service": "compute", "method": "GET", "path": "/v2.1/servers"},
    ]
    fake.token("narrow", application_credential={"id": "x", "access_rules": rules})
    fake.token("wide", application_credential={"id": "x"})
    fake.token("service", roles=[{"name": "service"}])
    with session(fake) as made:
        assert made.call("narrow").access_rules == (AccessRule("GET", "/v2.0/ports"),)
        assert made.call("wide").access_rules is None
        # a service acts for the user within what the user was allowed to ask of it
        assert made.call("narrow", x_service_token="service").access_rules is None


@pytest.mark.parametrize("token", ["", "nobody", "snow\N{SNOWMAN}", "new\nline", "x" * 20_000])
def test_who_is_not_known_is_told_where_to_be(fake: FakeKeystone, token: str) -> None:
    with session(fake) as made:
        error = made.refused(token)
    assert error.status == 401
    assert error.headers == (("www-authenticate", f'Keystone uri="{fake.url}"'),)


def test_no_token_at_all(fake: FakeKeystone) -> None:
    with session(fake, www_authenticate_uri="https://keystone.example/v3") as made, pytest.raises(ApiError) as caught:
        made.runner.run(made.one({}))
    assert caught.value.headers == (("www-authenticate", 'Keystone uri="https://keystone.example/v3"'),)
    assert fake.asked == []


def test_what_is_known_is_not_asked_again_for_a_while(fake: FakeKeystone) -> None:
    fake.token("alice")
    with session(fake, cache_seconds=300.0) as made:
        for _ in range(3):
            made.call("alice")
        assert len(fake.asked) == 1
        fake.now += 301
        made.call("alice")
        assert len(fake.asked) == 2
        del fake.tokens["alice"]
        made.call("alice")
        fake.now += 301
        assert made.refused("alice").status == 401


def test_a_token_is_not_believed_beyond_its_end(fake: FakeKeystone) -> None:
    fake.token("brief", lifetime=10)
    with session(fake) as made:
        made.call("brief")
        fake.now += 11
        assert made.refused("brief").status == 401


def test_a_token_that_is_nobodys_is_not_asked_about_again_at_once(fake: FakeKeystone) -> None:
    with session(fake) as made:
        for _ in range(3):
            made.refused("nobody")
        assert len(fake.asked) == 1
        fake.token("nobody")
        fake.now += 31
        assert made.call("nobody").user_name == "nobody"


def test_without_a_cache_each_request_asks(fake: FakeKeystone) -> None:
    fake.token("alice")
    with session(fake, cache_seconds=0.0) as made:
        for _ in range(3):
            made.call("alice")
    assert len(fake.asked) == 3


def test_many_at_once_ask_once(fake: FakeKeystone) -> None:
    fake.token("alice")
    fake.hold = threading.Event()

    async def many(keystone: Keystone) -> list[Caller]:
        calls = [asyncio.ensure_future(keystone({"x-auth-token": "alice"}, "")) for _ in range(50)]
        while not fake.asked:
            await asyncio.sleep(0)
        calls.pop().cancel()  # one that leaves does not take the answer from the others
        assert fake.hold is not None
        fake.hold.set()
        return await asyncio.gather(*calls)

    with session(fake) as made:
        callers = made.runner.run(many(made.keystone))
    assert len(callers) == 49
    assert {caller.user_name for caller in callers} == {"alice"}
    assert len(fake.asked) == len(fake.logins) == 1


def test_our_own_token_is_renewed_before_its_end(fake: FakeKeystone) -> None:
    fake.token("alice")
    with session(fake, cache_seconds=1.0) as made:
        made.call("alice")
        fake.now += 530
        made.call("alice")
        assert len(fake.logins) == 1
        fake.now += 20
        made.call("alice")
    assert len(fake.logins) == 2


def test_our_own_token_is_renewed_when_it_is_not_known_any_more(fake: FakeKeystone) -> None:
    fake.token("alice")
    fake.token("bob")
    with session(fake) as made:
        made.call("alice")
        fake.own.clear()
        assert made.call("bob").user_name == "bob"
    assert len(fake.logins) == 2


def test_a_services_token_comes_along(fake: FakeKeystone) -> None:
    fake.token("nova", roles=[{"name": "service"}])
    fake.token("alice", lifetime=10)
    fake.token("bob")
    with session(fake) as made:
        fake.now += 11
        assert made.refused("alice").status == 401
        caller = made.call("alice", x_service_token="nova")
        assert (caller.user_name, caller.service_roles) == ("alice", {"service"})
        assert made.refused("alice").status == 401
        assert made.refused("bob", x_service_token="nobody").status == 401
        assert made.refused("bob", x_service_token="bob").status == 401
        assert made.call("bob").service_roles == frozenset()


@pytest.mark.parametrize("status", [500, 503, 403, 302])
def test_keystone_fails(fake: FakeKeystone, status: int) -> None:
    fake.token("alice")
    with session(fake, cache_seconds=10.0) as made:
        fake.status = status
        error = made.refused("alice")
        assert (error.status, error.type) == (503, "HTTPServiceUnavailable")
        assert error.message == "The Keystone service is temporarily unavailable."
        fake.status = 0
        assert made.call("alice").user_name == "alice"
        fake.status = status
        assert made.call("alice").user_name == "alice"
        fake.now += 11
        assert made.refused("alice").status == 503


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"token": {"expires_at": "soon", "user": {}}}'])
def test_an_answer_that_is_none(fake: FakeKeystone, body: bytes) -> None:
    fake.token("alice")
    with session(fake) as made:
        fake.body = body
        assert made.refused("alice").status == 503


def test_a_wrong_password_is_our_matter(fake: FakeKeystone) -> None:
    fake.token("alice")
    with session(fake, password=Secret("wrong")) as made:
        assert made.refused("alice").status == 503


def test_keystone_is_not_there() -> None:
    gone = FakeKeystone()
    gone.server_close()
    with session(gone) as made:
        assert made.refused("alice").status == 503


def test_keystone_does_not_answer(fake: FakeKeystone) -> None:
    fake.token("alice")
    fake.hold = threading.Event()
    with session(fake, timeout=0.05) as made:
        assert made.refused("alice").status == 503
        fake.hold.set()


def test_the_password_may_be_in_a_file(fake: FakeKeystone, tmp_path: Path) -> None:
    fake.token("alice")
    file = tmp_path / "password"
    file.write_text("s3cr3t\n")
    with session(fake, url=f"{fake.url}/v3/", password=Secret(), password_file=str(file)) as made:
        assert made.call("alice").user_name == "alice"
    settings = config(fake.url, password=Secret(), password_file=str(tmp_path / "none"))
    with pytest.raises(OSError, match="none"):
        make_authenticator(AuthConfig(mode="keystone", keystone=settings), IS_ADMIN)
