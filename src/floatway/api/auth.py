"""Who calls: from a request's headers to a ``Caller``, in the way that the configuration says.

none          everybody is the administrator; only on loopback, and no browser
http_basic    Authorization: Basic …  ──▶ htpasswd (bcrypt, once per password, then remembered) ──▶ user's project and roles
keystone      X-Auth-Token: …         ──▶ Keystone (once in five minutes per token) ──▶ user, project, roles
"""

import functools
import ipaddress
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec

from floatway.api.config import AuthConfig
from floatway.control.caller import ADMIN, Caller
from floatway.control.errors import ApiError, forbidden

__all__ = ["Authenticator", "IsAdmin", "NoAuth", "admitted", "make_authenticator"]

IsAdmin = Callable[[Caller], bool]
"""Whether a caller is an administrator: policy's ``context_is_admin``."""

_FIXED_PROJECT: Final = "admin"
"""The administrator's project where nobody manages projects."""


class Authenticator(Protocol):
    """One way to find out who calls."""

    async def __call__(self, headers: Mapping[str, str], peer: str) -> Caller:
        """Who sent these headers (names in lower case) from the address ``peer``.

        Raises:
            ApiError: 401 when that cannot be found out; 429, 503 when it cannot be found out now.
        """

    async def close(self) -> None:
        """Let go of files and connections."""


def make_authenticator(config: AuthConfig, is_admin: IsAdmin) -> Authenticator:
    """The authenticator of ``auth.mode``.

    Raises:
        OSError: a file that it needs cannot be read.
        ValueError: or is not what it should be.
    """
    if config.mode == "http_basic":
        from floatway.api.basic import HttpBasic  # noqa: PLC0415 - not everybody needs bcrypt

        return HttpBasic(config.http_basic, is_admin)
    if config.mode == "keystone":
        from floatway.api.keystone import Keystone  # noqa: PLC0415 - httpx takes half a second to import

        return Keystone(config.keystone, is_admin)
    return NoAuth(is_admin)


def admitted(caller: Caller, is_admin: IsAdmin) -> Caller:
    """The caller, an administrator if policy says so."""
    return msgspec.structs.replace(caller, is_admin=True) if is_admin(caller) else caller


class NoAuth:
    """Everybody on this machine is the administrator.

    As with Neutron's ``auth_strategy = noauth``, a client may say that it is somebody else: ``X-Project-Id``, ``X-User-Id``,
    ``X-Roles`` (with commas). Web pages that a browser on this machine shows are not asked for: they may send requests to
    loopback addresses, and so may what a hostile name server gives such an address to.
    """

    def __init__(self, is_admin: IsAdmin) -> None:
        self._is_admin = is_admin
        self._default = msgspec.structs.replace(ADMIN, project_id=_FIXED_PROJECT, project_name=_FIXED_PROJECT)

    async def __call__(self, headers: Mapping[str, str], peer: str) -> Caller:
        """The administrator, or whom the headers name."""
        if not _local_peer(peer):
            raise forbidden("Forbidden", "Without authentication only this machine's own clients are served.")
        if "origin" in headers or not _local_host(headers.get("host", "localhost")):
            raise forbidden("Forbidden", "Without authentication web pages are not served. Use an address, not a name.")
        roles = headers.get("x-roles")
        project = headers.get("x-project-id") or headers.get("x-tenant-id")
        user = headers.get("x-user-id")
        if roles is None and project is None and user is None:
            return self._default
        return self._named(user or ADMIN.user_id, project or _FIXED_PROJECT, roles)

    async def close(self) -> None:
        """Nothing to let go of."""

    def _named(self, user: str, project: str, roles: str | None) -> Caller:
        held = (
            ADMIN.roles
            if roles is None
            else frozenset(role for part in roles.split(",") if (role := part.strip().lower()))
        )
        caller = Caller(user_id=user, user_name=user, project_id=project, project_name=project, roles=held)
        return admitted(caller, self._is_admin)


@functools.lru_cache(maxsize=256)
def _local_peer(peer: str) -> bool:
    """Whether an address is this machine's; a socket that has none is."""
    try:
        return not peer or ipaddress.ip_address(peer.partition("%")[0]).is_loopback
    except ValueError:
        return False


@functools.lru_cache(maxsize=256)
def _local_host(host: str) -> bool:
    """Whether a ``Host`` header is one that no name server can have made: an address, or localhost."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def too_many(seconds: float) -> ApiError:
    """429: come back later."""
    after = max(1, round(seconds))
    return ApiError(
        429,
        "HTTPTooManyRequests",
        f"Too many failed attempts. Try again in {after} seconds.",
        headers=(("retry-after", str(after)),),
    )
