"""HTTP basic authentication against an htpasswd file, for a cloud without Keystone.

    htpasswd -cB /etc/floatway/htpasswd alice          alice:$2y$05$…
    [auth.http_basic.users]
    alice = { project_id = "…", roles = ["member"] }

A right password is checked with bcrypt once; afterwards a keyed hash of the header is compared, which takes microseconds.
Both files are read again when they change, and then every password is checked anew.
"""

import asyncio
import base64
import hashlib
import secrets
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import bcrypt
import msgspec
import structlog

from floatway.api.auth import IsAdmin, admitted, too_many
from floatway.api.config import HttpBasicConfig, HttpBasicUser
from floatway.api.flight import SingleFlight
from floatway.api.throttle import Throttle
from floatway.control.caller import Caller
from floatway.control.errors import unauthorized

__all__ = ["HttpBasic", "read_htpasswd", "read_users"]

_LOG: Final = structlog.get_logger("floatway.auth")
_CHALLENGE: Final = 'Basic realm="floatway", charset="UTF-8"'
_BCRYPT: Final = ("$2a$", "$2b$", "$2y$")
_LONGEST: Final = 72
"""Bytes of a password that bcrypt looks at; htpasswd leaves out the rest as well."""
_LOOK_AGAIN: Final = 1.0
_AT_ONCE: Final = 2
_KEPT: Final = 10_000
_IMPLIED: Final = {"admin": ("manager", "member", "reader"), "manager": ("member", "reader"), "member": ("reader",)}
"""As Keystone's bootstrap makes one role imply others."""


class _Users(msgspec.Struct, frozen=True):
    """What the files say: password hashes, and who the users are."""

    hashes: dict[str, bytes]
    callers: dict[str, Caller]


class HttpBasic:
    """Users of an htpasswd file. Each has one project and some roles."""

    def __init__(
        self, config: HttpBasicConfig, is_admin: IsAdmin, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Reads the files.

        Raises:
            OSError: a file cannot be read.
            ValueError: or is not what it should be.
        """
        self._config = config
        self._is_admin = is_admin
        self._clock = clock
        self._files = tuple(Path(name) for name in (config.htpasswd, config.users_file) if name)
        self._stamps = self._stamp()
        self._users = self._read()
        self._looked = clock()
        self._key = secrets.token_bytes(32)
        self._nobody = bcrypt.hashpw(secrets.token_hex(16).encode(), bcrypt.gensalt(_rounds(self._users.hashes)))
        self._known: dict[bytes, Caller | None] = {}
        self._checks: SingleFlight[Caller | None] = SingleFlight()
        self._busy = asyncio.Semaphore(_AT_ONCE)
        self._by_user = Throttle(5, clock)
        self._by_peer = Throttle(20, clock)

    async def __call__(self, headers: Mapping[str, str], peer: str) -> Caller:
        """The user whose name and password the header ``Authorization`` has."""
        header = headers.get("authorization")
        if header is None:
            raise unauthorized(_CHALLENGE)
        self._look()
        digest = hashlib.blake2b(header.encode("latin-1", "replace"), key=self._key, digest_size=16).digest()
        if digest in self._known:
            caller = self._known[digest]
        else:
            name, password = _credentials(header)
            caller = await self._checks.answer(digest, lambda: self._check(digest, name, password, peer))
        if caller is None:
            raise unauthorized(_CHALLENGE)
        return caller

    async def close(self) -> None:
        """Wait for no password any more."""
        await self._checks.close()

    async def _check(self, digest: bytes, name: str, password: bytes, peer: str) -> Caller | None:
        self._refuse_guessing(name, peer)
        async with self._busy:
            self._refuse_guessing(name, peer)  # others may have failed while this one waited
            users = self._users
            hashed = users.hashes.get(name)
            # a name that is not there takes as long as one that is
            right = await asyncio.to_thread(_verify, password, hashed or self._nobody) and hashed is not None
            if right:
                self._by_user.succeeded((name, peer))
            else:
                self._by_user.failed((name, peer))
                self._by_peer.failed(peer)
        caller = users.callers[name] if right else None
        if users is self._users:
            if len(self._known) >= _KEPT:
                del self._known[next(iter(self._known))]
            self._known[digest] = caller
        return caller

    def _refuse_guessing(self, name: str, peer: str) -> None:
        seconds = max(self._by_user.wait((name, peer)), self._by_peer.wait(peer))
        if seconds > 0:
            raise too_many(seconds)

    def _look(self) -> None:
        """Read the files again when they are not what they were; keep what was read last if they cannot be read."""
        now = self._clock()
        if now - self._looked < _LOOK_AGAIN:
            return
        self._looked = now
        try:
            stamps = self._stamp()
            if stamps == self._stamps:
                return
            users = self._read()
        except (OSError, ValueError) as error:
            _LOG.error("users are not read again", error=str(error))
            return
        self._users, self._stamps = users, stamps
        self._known.clear()
        _LOG.info("users are read again", users=len(users.hashes))

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        stats = (file.stat() for file in self._files)
        return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)

    def _read(self) -> _Users:
        hashes = dict(read_htpasswd(Path(self._config.htpasswd)))
        users = dict(self._config.users)
        if self._config.users_file:
            users |= read_users(Path(self._config.users_file))
        for name in hashes.keys() - users.keys():
            _LOG.warning("user without a project: cannot call", user=name)
        return _Users(
            {name: hashed for name, hashed in hashes.items() if name in users},
            {name: self._caller(name, user) for name, user in users.items()},
        )

    def _caller(self, name: str, user: HttpBasicUser) -> Caller:
        roles = frozenset(role.lower() for role in user.roles)
        roles |= {implied for role in roles for implied in _IMPLIED.get(role, ())}
        project = user.project_id
        caller = Caller(user_id=name, user_name=name, project_id=project, project_name=project, roles=roles)
        return admitted(caller, self._is_admin)


def read_htpasswd(file: Path) -> Iterator[tuple[str, bytes]]:
    """Each user with the bcrypt hash of their password.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is not ``user:$2b$…``.
    """
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, colon, hashed = text.partition(":")
        if not (name and colon):
            raise ValueError(f"{file}:{number}: not user:hash")
        if not hashed.startswith(_BCRYPT) or len(hashed) != 60:
            raise ValueError(f"{file}:{number}: {name}: not a bcrypt hash; make one with «htpasswd -B {file} {name}»")
        yield name, hashed.encode()


def read_users(file: Path) -> dict[str, HttpBasicUser]:
    """The file of users: ``alice = { project_id = "…", roles = ["member"] }``, one a line.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not of that form.
    """
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        return msgspec.convert(table, dict[str, HttpBasicUser])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"{file}: {error}") from error


def _credentials(header: str) -> tuple[str, bytes]:
    scheme, _, encoded = header.partition(" ")
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        if scheme.lower() == "basic" and colon:
            return name.decode(), password
    except ValueError:  # not base64, not UTF-8
        pass
    raise unauthorized(_CHALLENGE)


def _verify(password: bytes, hashed: bytes) -> bool:
    try:
        return bcrypt.checkpw(password[:_LONGEST], hashed)
    except ValueError:  # a NUL within the password
        return False


def _rounds(hashes: Mapping[str, bytes]) -> int:
    """The cost that most of the file's hashes have, for a hash that nobody's password fits."""
    costs = sorted(int(hashed[4:6]) for hashed in hashes.values())
    return costs[len(costs) // 2] if costs else 12
