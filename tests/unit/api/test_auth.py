"""Who calls, where nobody has to be asked, and where an htpasswd file says."""

import asyncio
import base64
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import bcrypt
import pytest

from floatway.api.access import matches, permitted
from floatway.api.auth import Authenticator, NoAuth, make_authenticator
from floatway.api.basic import HttpBasic
from floatway.api.config import AuthConfig, HttpBasicConfig, HttpBasicUser
from floatway.api.policy import Policy
from floatway.api.throttle import Throttle
from floatway.control.caller import AccessRule, Caller
from floatway.control.errors import ApiError

IS_ADMIN = Policy().is_admin


def called(authenticate: Authenticator, headers: Mapping[str, str], peer: str = "127.0.0.1") -> Caller:
    async def call() -> Caller:
        return await authenticate(headers, peer)

    return asyncio.run(call())


def refusal(authenticate: Authenticator, headers: Mapping[str, str], peer: str = "127.0.0.1") -> ApiError:
    with pytest.raises(ApiError) as caught:
        called(authenticate, headers, peer)
    return caught.value


# --- none ---------------------------------------------------------------------------------------------


def test_without_authentication_everybody_is_the_administrator() -> None:
    caller = called(make_authenticator(AuthConfig(), IS_ADMIN), {"host": "127.0.0.1:9696"})
    assert caller.is_admin
    assert caller.project_id
    assert {"admin", "member", "reader"} <= caller.roles


def test_headers_may_name_another() -> None:
    none = NoAuth(IS_ADMIN)
    caller = called(none, {"x-project-id": "p", "x-user-id": "u", "x-roles": "Member, reader"})
    assert (caller.project_id, caller.user_id, caller.roles) == ("p", "u", {"member", "reader"})
    assert not caller.is_admin
    assert called(none, {"x-tenant-id": "p"}).is_admin
    assert called(none, {"x-roles": "admin"}).is_admin


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.10", "::1", ""])
def test_this_machines_clients_are_served(peer: str) -> None:
    assert called(NoAuth(IS_ADMIN), {}, peer).is_admin


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8::1", "fe80::1%eth0", "nonsense"])
def test_others_are_not(peer: str) -> None:
    assert refusal(NoAuth(IS_ADMIN), {}, peer).status == 403


@pytest.mark.parametrize("host", ["127.0.0.1:9696", "[::1]:9696", "[::1]", "localhost", "localhost:9696", "192.0.2.7"])
def test_hosts_that_no_name_server_makes(host: str) -> None:
    assert called(NoAuth(IS_ADMIN), {"host": host}).is_admin


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example:9696"}, {"host": "localhost", "origin": "http://evil.example"}, {"host": ""}]
)
def test_web_pages_are_not_served(headers: dict[str, str]) -> None:
    assert refusal(NoAuth(IS_ADMIN), headers).status == 403


# --- http_basic ---------------------------------------------------------------------------------------


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def hashed(password: str, prefix: str = "2b") -> str:
    made = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4, prefix=b"2b")).decode()
    return made.replace("$2b$", f"${prefix}$", 1)  # "2b" may be in the salt, too


def header(name: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


USERS = {
    "alice": HttpBasicUser(project_id="p1"),
    "root": HttpBasicUser(project_id="p0", roles=("Admin",)),
    "gone": HttpBasicUser(project_id="p2"),
}
Made = tuple[HttpBasic, Path, Clock]


@pytest.fixture
def basic(tmp_path: Path) -> Made:
    file, clock = tmp_path / "htpasswd", Clock()
    file.write_text(f"# users\n\nalice:{hashed('wonder:land')}\nroot:{hashed('tiger', '2y')}\nlost:{hashed('x')}\n")
    return HttpBasic(HttpBasicConfig(htpasswd=str(file), users=USERS), IS_ADMIN, clock=clock), file, clock


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The passwords that bcrypt was asked about."""
    asked: list[bytes] = []
    check: Callable[[bytes, bytes], bool] = bcrypt.checkpw

    def counted(password: bytes, hashed_password: bytes) -> bool:
        asked.append(password)
        return check(password, hashed_password)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    return asked


def test_a_user_has_a_project_and_roles(basic: Made) -> None:
    caller = called(basic[0], header("alice", "wonder:land"))
    assert (caller.user_id, caller.project_id, caller.roles) == ("alice", "p1", {"member", "reader"})
    assert not caller.is_admin
    root = called(basic[0], header("root", "tiger"))
    assert root.is_admin
    assert root.roles == {"admin", "manager", "member", "reader"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        header("alice", "wonder"),
        header("alice", ""),
        header("nobody", "x"),
        header("lost", "x"),  # without a project
        header("gone", "x"),  # without a password
        {"authorization": "Bearer x"},
        {"authorization": "Basic"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic " + base64.b64encode(b"alice").decode()},
        {"authorization": "Basic " + base64.b64encode(b"\xff:x").decode()},
        {"authorization": "Basic " + base64.b64encode(b"alice:wonder\0land").decode()},
        {"authorization": "Basic \N{SNOWMAN}"},
    ],
)
def test_who_is_not_known_is_told_how_to_be(basic: Made, headers: dict[str, str]) -> None:
    error = refusal(basic[0], headers)
    assert error.status == 401
    assert dict(error.headers)["www-authenticate"].startswith('Basic realm="floatway"')


def test_bcrypt_is_asked_once_for_a_password(basic: Made, checks: list[bytes]) -> None:
    async def many() -> None:
        await asyncio.gather(*[basic[0](header("alice", "wonder:land"), "peer") for _ in range(20)])
        await basic[0](header("alice", "wonder:land"), "other")

    asyncio.run(many())
    assert checks == [b"wonder:land"]
    for _ in range(3):
        refusal(basic[0], header("alice", "wrong"))
    assert checks == [b"wonder:land", b"wrong"]


def test_a_name_that_is_not_there_takes_as_long(basic: Made, checks: list[bytes]) -> None:
    refusal(basic[0], header("nobody", "secret"))
    assert checks == [b"secret"]


def test_guessing_is_slowed_down(basic: Made, checks: list[bytes]) -> None:
    authenticate, _, clock = basic
    called(authenticate, header("alice", "wonder:land"), "far")
    for guess in range(5):
        assert refusal(authenticate, header("alice", f"guess{guess}"), "far").status == 401
    error = refusal(authenticate, header("alice", "guess5"), "far")
    assert (error.status, error.type, dict(error.headers)) == (429, "HTTPTooManyRequests", {"retry-after": "1"})
    assert len(checks) == 6
    # who is known goes on, and so does the user from elsewhere
    assert called(authenticate, header("alice", "wonder:land"), "far").user_id == "alice"
    assert refusal(authenticate, header("alice", "guess6"), "near").status == 401
    clock.now += 1
    assert refusal(authenticate, header("alice", "guess7"), "far").status == 401
    assert dict(refusal(authenticate, header("alice", "guess8"), "far").headers) == {"retry-after": "2"}


def test_guessing_names_is_slowed_down(basic: Made) -> None:
    for guess in range(20):
        assert refusal(basic[0], header(f"user{guess}", "x"), "far").status == 401
    assert refusal(basic[0], header("user99", "x"), "far").status == 429
    assert refusal(basic[0], header("user99", "x"), "near").status == 401


def test_many_guesses_at_once_are_slowed_down_too(basic: Made, checks: list[bytes]) -> None:
    async def many() -> list[BaseException | Caller]:
        calls = [basic[0](header("alice", f"guess{number}"), "far") for number in range(50)]
        return await asyncio.gather(*calls, return_exceptions=True)

    errors = [error.status for error in asyncio.run(many()) if isinstance(error, ApiError)]
    assert set(errors) == {401, 429}
    assert len(checks) <= 7


def test_the_file_is_read_again(basic: Made) -> None:
    authenticate, file, clock = basic
    called(authenticate, header("alice", "wonder:land"))
    file.write_text(f"gone:{hashed('back')}\nalice:{hashed('other')}\n")
    clock.now += 2
    assert refusal(authenticate, header("alice", "wonder:land")).status == 401
    assert called(authenticate, header("alice", "other")).project_id == "p1"
    assert called(authenticate, header("gone", "back")).project_id == "p2"


@pytest.mark.parametrize("text", ["alice:plain\n", "alice\n", "alice:$apr1$xxxxxxxx$yyyyyyyyyyyyyyyyyyyyyy\n", None])
def test_what_cannot_be_read_changes_nothing(basic: Made, text: str | None) -> None:
    authenticate, file, clock = basic
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    clock.now += 2
    assert called(authenticate, header("alice", "wonder:land")).project_id == "p1"


@pytest.mark.parametrize("text", ["alice:plain\n", "alice\n", ":x\n"])
def test_what_is_no_htpasswd_is_told_at_the_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / "htpasswd"
    file.write_text(text)
    with pytest.raises(ValueError, match="htpasswd:1: "):
        HttpBasic(HttpBasicConfig(htpasswd=str(file)), IS_ADMIN)


def test_users_may_be_in_a_file_of_their_own(tmp_path: Path) -> None:
    passwords, users, clock = tmp_path / "htpasswd", tmp_path / "users.toml", Clock()
    passwords.write_text(f"alice:{hashed('x')}\n")
    users.write_text('alice = { project_id = "p9", roles = ["reader"] }\n')
    config = HttpBasicConfig(htpasswd=str(passwords), users=USERS, users_file=str(users))
    authenticate = make_authenticator(AuthConfig(mode="http_basic", http_basic=config), IS_ADMIN)
    assert isinstance(authenticate, HttpBasic)
    authenticate._clock = clock
    authenticate._looked = clock.now
    assert called(authenticate, header("alice", "x")).project_id == "p9"
    users.write_text('alice = { project_id = "p10" }\n')
    os.utime(users, (1, 1))
    clock.now += 2
    assert called(authenticate, header("alice", "x")).project_id == "p10"
    users.write_text("alice = { project_id = 7 }\n")
    with pytest.raises(ValueError, match=r"users\.toml: "):
        HttpBasic(config, IS_ADMIN)


def test_failures_are_forgotten() -> None:
    clock = Clock()
    throttle = Throttle(2, clock)
    for _ in range(12):
        throttle.failed("x")
    assert throttle.wait("x") == 60
    assert throttle.wait("y") == 0
    clock.now += 61
    assert throttle.wait("x") == 0
    throttle.failed("x")
    assert throttle.wait("x") == 60
    clock.now += 601
    throttle.failed("x")
    assert throttle.wait("x") == 0
    for number in range(20_000):
        throttle.failed(number)
    assert len(throttle._failures) <= 10_000
    throttle.succeeded(19_999)
    assert throttle.wait(19_999) == 0


# --- Access rules of application credentials ----------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "path", "right"),
    [
        ("/v2.0/ports", "/v2.0/ports", True),
        ("/v2.0/ports", "/v2.0/ports/1", False),
        ("/v2.0/ports/*", "/v2.0/ports/1", True),
        ("/v2.0/ports/*", "/v2.0/ports/1/tags", False),
        ("/v2.0/ports/*", "/v2.0/ports/", False),
        ("/v2.0/ports/{port_id}", "/v2.0/ports/1", True),
        ("/v2.0/*/1", "/v2.0/ports/1", True),
        ("/v2.0/**", "/v2.0/ports/1/tags", True),
        ("**", "/v2.0", True),
        ("/**/tags", "/v2.0/ports/1/tags", True),
        ("/**/tags", "/v2.0/ports/1", False),
        ("/v2.0/p.rts", "/v2.0/ports", False),
        ("/v2.0/{a", "/v2.0/{a", True),
        ("**a" * 40, "a" * 5000 + "b", False),
    ],
)
def test_paths_of_access_rules(pattern: str, path: str, right: bool) -> None:
    assert matches(pattern, path) is right


def test_access_rules_narrow_down() -> None:
    caller = Caller(access_rules=(AccessRule("GET", "/v2.0/ports/*"),))
    assert permitted(caller, "GET", "/v2.0/ports/1") is caller
    assert permitted(Caller(), "PUT", "/v2.0/anything") == Caller()
    for rules in (caller, Caller(access_rules=())):
        with pytest.raises(ApiError) as caught:
            permitted(rules, "PUT", "/v2.0/ports/1")
        assert caught.value.status == 401
