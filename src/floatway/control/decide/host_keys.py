"""The rules of hosts' keys: who may speak for a host.

token ──▶ HostKey(joining)         an administrator lets a host in: a secret that is good once, for an hour
join  ──▶ HostKey(secret)          the host exchanges it for its key; a key that it had before is void
"""

import hashlib
import hmac
import re
import secrets
from typing import Final

import msgspec

from floatway.control import entities as e
from floatway.control.draft import Draft
from floatway.control.errors import invalid_input, unauthorized
from floatway.control.snapshot import Readable

__all__ = ["JOINING_SECONDS", "host_of", "invite", "join", "revoke"]

JOINING_SECONDS: Final = 3600.0
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,253}[A-Za-z0-9])?")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def invite(draft: Draft, host: str) -> str:
    """A secret with which ``host`` may join once. One that was given out before is void; the host's key stays good.

    Raises:
        ApiError: 400, that is no host's name.
    """
    if not _NAME.fullmatch(host):
        raise invalid_input(f"'{host}' is not a host's name: letters, digits, dots, dashes, underscores")
    secret = secrets.token_urlsafe(32)
    known = draft.get(e.HostKey, host) or e.HostKey(id=host)
    draft.put(msgspec.structs.replace(known, joining=_hash(secret), joining_until=draft.seconds + JOINING_SECONDS))
    return secret


def join(draft: Draft, host: str, secret: str) -> str:
    """The host's key, for the secret of its invitation.

    Raises:
        ApiError: 401, the invitation is unknown, used or too old. All three in the same words.
    """
    known = draft.get(e.HostKey, host)
    good = known is not None and known.joining and hmac.compare_digest(known.joining, _hash(secret))
    if known is None or not good or draft.seconds > known.joining_until:
        raise unauthorized("Bearer", "This token is unknown, used or older than an hour; ask for another.")
    key = secrets.token_urlsafe(32)
    draft.put(e.HostKey(id=host, secret=_hash(key), sequence=known.sequence))
    return f"{host}.{key}"


def revoke(draft: Draft, host: str) -> bool:
    """Let nobody speak for ``host`` any more; whether anybody might have."""
    known = draft.get(e.HostKey, host)
    if known is not None:
        draft.remove(known)
    return known is not None


def host_of(model: Readable, key: str) -> str | None:
    """The host that the key is of."""
    host, _, secret = key.rpartition(".")
    known = model.get(e.HostKey, host)
    if known is None or not known.secret or not hmac.compare_digest(known.secret, _hash(secret)):
        return None
    return host
