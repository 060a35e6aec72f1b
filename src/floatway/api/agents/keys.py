"""Who an agent is: the key in its requests, and how it gets one.

Authorization: Bearer cy2-compute02.8Jc…        the host, and its secret; the store has the secret's hash
"""

from collections.abc import Mapping
from typing import Any

from floatway.api.engine import Engine
from floatway.control.decide import host_keys
from floatway.control.errors import bad_request

__all__ = ["Keys"]

_SCHEME = "bearer "


class Keys:
    """The hosts' keys, as the newest model knows them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def authenticate(self, headers: Mapping[str, str]) -> str | None:
        """The host that a request comes from; None when its key is missing or of no host."""
        given = headers.get("authorization", "")
        if given[: len(_SCHEME)].lower() != _SCHEME:
            return None
        return host_keys.host_of(self._engine.model, given[len(_SCHEME) :].strip())

    async def invite(self, host: str) -> str:
        """A secret with which the host may join, once, within an hour.

        Raises:
            ApiError: 400, 503.
        """
        return (await self._engine.write(lambda draft: host_keys.invite(draft, host))).result

    async def join(self, body: Any) -> dict[str, Any]:
        """``{"host": …, "secret": …}`` for ``{"host": …, "key": …}``.

        Raises:
            ApiError: 400, 401, 503.
        """
        host, secret = (body.get(name) if isinstance(body, dict) else None for name in ("host", "secret"))
        if not isinstance(host, str) or not isinstance(secret, str):
            raise bad_request("HTTPBadRequest", 'Joining takes {"host": "…", "secret": "…"}.')
        key = (await self._engine.write(lambda draft: host_keys.join(draft, host, secret))).result
        return {"host": host, "key": key}

    async def revoke(self, host: str) -> bool:
        """Let nobody speak for the host any more; whether anybody might have.

        Raises:
            ApiError: 503.
        """
        return (await self._engine.write(lambda draft: host_keys.revoke(draft, host))).result
