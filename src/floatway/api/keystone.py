"""Keystone's tokens: who holds one, in which project, with which roles (Identity API v3).

    X-Auth-Token: T ──▶ seen in the last minutes? ──▶ GET /v3/auth/tokens   X-Subject-Token: T, X-Auth-Token: our own
                                                       200 user, project, roles │ 404 nobody's │ 401 ours ran out: a new one

As Neutron with keystonemiddleware. A service (Nova) that passes a user's request on sends its own token along
(``X-Service-Token``); with that, a user's token may have run out in the meantime.
"""

import hashlib
import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import httpx
import msgspec
import structlog

from floatway.api.auth import IsAdmin, admitted
from floatway.api.config import KeystoneConfig, secret
from floatway.api.flight import SingleFlight
from floatway.control.caller import AccessRule, Caller
from floatway.control.errors import ApiError, unauthorized, unavailable

__all__ = ["Keystone"]

_LOG: Final = structlog.get_logger("floatway.auth")
_DOWN: Final = "The Keystone service is temporarily unavailable."
_LONGEST_TOKEN: Final = 16 * 1024
_KEPT: Final = 10_000
_CONNECTIONS: Final = 16
_REFUSED_SECONDS: Final = 30.0
_RENEW_BEFORE: Final = 60.0
"""Seconds before its end in which our own token is not used any more."""
_SERVICE_ROLES: Final = frozenset({"service"})
_SERVICE_TYPES: Final = frozenset({"network"})


class _Named(msgspec.Struct, frozen=True):
    id: str = ""
    name: str = ""


class _Role(msgspec.Struct, frozen=True):
    name: str


class _Access(msgspec.Struct, frozen=True):
    method: str = ""
    path: str = ""
    service: str = ""


class _Credential(msgspec.Struct, frozen=True):
    access_rules: tuple[_Access, ...] | None = None


class _Token(msgspec.Struct, frozen=True):
    """What Keystone says of a token, as far as it matters here."""

    expires_at: str
    user: _Named
    project: _Named | None = None
    domain: _Named | None = None
    system: dict[str, Any] | None = None
    roles: tuple[_Role, ...] = ()
    application_credential: _Credential | None = None


class _Document(msgspec.Struct, frozen=True):
    token: _Token


class _Known(msgspec.Struct, frozen=True):
    """What is remembered of a token: whose it is (None: nobody's), until when that is believed."""

    caller: Caller | None
    until: float


_DECODER: Final = msgspec.json.Decoder(_Document)


class Keystone:
    """One Keystone, asked about callers' tokens."""

    def __init__(self, config: KeystoneConfig, is_admin: IsAdmin, *, clock: Callable[[], float] = time.time) -> None:
        """Nothing is asked yet.

        Raises:
            OSError: the file with the password or the certificates cannot be read.
        """
        self._config = config
        self._is_admin = is_admin
        self._clock = clock
        base = config.url.rstrip("/")
        self._base = base if base.endswith("/v3") else f"{base}/v3"
        self._challenge = f'Keystone uri="{config.www_authenticate_uri or config.url}"'
        self._password = secret(config.password, config.password_file)
        self._http = httpx.AsyncClient(
            verify=_trusted(config.ca_file),
            timeout=config.timeout,
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            headers={"user-agent": "floatway"},
            trust_env=False,
        )
        self._key = secrets.token_bytes(32)
        self._known: dict[bytes, _Known] = {}
        self._checks: SingleFlight[_Known] = SingleFlight()
        self._own: SingleFlight[str] = SingleFlight()
        self._token = ""
        self._token_until = 0.0

    async def __call__(self, headers: Mapping[str, str], peer: str) -> Caller:
        """Whose token the header ``X-Auth-Token`` has."""
        token = headers.get("x-auth-token") or headers.get("x-storage-token")
        if not token:
            raise unauthorized(self._challenge)
        service = headers.get("x-service-token")
        if service is None:
            return await self._whose(token)
        roles = (await self._whose(service)).roles
        if not roles & _SERVICE_ROLES:
            raise unauthorized(self._challenge)
        caller = await self._whose(token, expired=True)
        return msgspec.structs.replace(caller, service_roles=roles, access_rules=None)

    async def close(self) -> None:
        """Close the connections."""
        await self._checks.close()
        await self._own.close()
        await self._http.aclose()

    async def _whose(self, token: str, *, expired: bool = False) -> Caller:
        if len(token) > _LONGEST_TOKEN or not token.isascii() or not token.isprintable():
            raise unauthorized(self._challenge)
        digest = hashlib.blake2b(token.encode(), key=self._key, digest_size=16, salt=b"x" * expired).digest()
        known = self._known.get(digest)
        if known is None or known.until <= self._clock():
            known = await self._checks.answer(digest, lambda: self._ask(digest, token, expired))
        if known.caller is None:
            raise unauthorized(self._challenge)
        return known.caller

    async def _ask(self, digest: bytes, token: str, expired: bool) -> _Known:
        response = await self._validate(token, expired)
        now = self._clock()
        if response.status_code == 404:
            known = _Known(None, now + min(_REFUSED_SECONDS, self._config.cache_seconds))
        else:
            known = self._understood(response.content, now, expired)
        self._known.pop(digest, None)
        if len(self._known) >= _KEPT:
            del self._known[next(iter(self._known))]
        self._known[digest] = known
        return known

    async def _validate(self, token: str, expired: bool) -> httpx.Response:
        """Keystone's answer, 200 or 404; our own token is renewed once if it is that which Keystone does not know."""
        query = {"nocatalog": "1"} | ({"allow_expired": "1"} if expired else {})
        for _attempt in range(2):
            own = await self._own_token()
            response = await self._send(
                "GET",
                params=query,
                headers={"x-auth-token": own, "x-subject-token": token, "openstack-identity-access-rules": "1.0"},
            )
            if response.status_code in {200, 404}:
                return response
            if response.status_code != 401:
                break
            if own == self._token:
                self._token = ""
        raise self._refused("Keystone does not check tokens for us", response)

    async def _own_token(self) -> str:
        if self._token and self._clock() < self._token_until:
            return self._token
        return await self._own.answer("own", self._log_in)

    async def _log_in(self) -> str:
        config = self._config
        user = {
            "name": config.username,
            "password": self._password.reveal(),
            "domain": {"name": config.user_domain_name},
        }
        project = {"name": config.project_name, "domain": {"name": config.project_domain_name}}
        response = await self._send(
            "POST",
            params={"nocatalog": "1"},
            json={
                "auth": {
                    "identity": {"methods": ["password"], "password": {"user": user}},
                    "scope": {"project": project},
                }
            },
        )
        token: str = response.headers.get("x-subject-token", "")
        if response.status_code != 201 or not token:
            raise self._refused("Keystone does not let us in", response)
        try:
            ends = _seconds(_DECODER.decode(response.content).token.expires_at)
        except (msgspec.DecodeError, ValueError):
            raise self._refused("Keystone's answer is not understood", response) from None
        self._token, self._token_until = token, ends - _RENEW_BEFORE
        return token

    async def _send(self, method: str, **what: Any) -> httpx.Response:
        try:
            return await self._http.request(method, f"{self._base}/auth/tokens", **what)
        except httpx.HTTPError as error:
            _LOG.error("Keystone does not answer", url=self._base, error=str(error) or type(error).__name__)
            raise unavailable(_DOWN) from error

    def _refused(self, what: str, response: httpx.Response) -> ApiError:
        _LOG.error(what, url=self._base, user=self._config.username, status=response.status_code)
        return unavailable(_DOWN)

    def _understood(self, content: bytes, now: float, expired: bool) -> _Known:
        try:
            token = _DECODER.decode(content).token
            ends = _seconds(token.expires_at)
        except (msgspec.DecodeError, ValueError) as error:
            _LOG.error("Keystone's answer is not understood", url=self._base, error=str(error))
            raise unavailable(_DOWN) from error
        until = now + self._config.cache_seconds
        return _Known(self._caller(token), until if expired else min(until, ends))

    def _caller(self, token: _Token) -> Caller:
        roles = frozenset(role.name.lower() for role in token.roles)
        project = token.project or _Named()
        credential = token.application_credential
        rules = credential.access_rules if credential is not None else None
        caller = Caller(
            user_id=token.user.id,
            user_name=token.user.name,
            project_id=project.id,
            project_name=project.name,
            domain_id=token.domain.id if token.domain is not None else "",
            roles=roles,
            system_scope=bool(token.system and token.system.get("all")),
            access_rules=None
            if rules is None
            else tuple(AccessRule(rule.method, rule.path) for rule in rules if rule.service in _SERVICE_TYPES),
        )
        return admitted(caller, self._is_admin)


def _trusted(ca_file: str) -> Any:
    if not ca_file:
        return True
    return ssl.create_default_context(cafile=ca_file)


def _seconds(when: str) -> float:
    """Unix time of an ISO 8601 time in UTC."""
    return datetime.fromisoformat(when).timestamp()
