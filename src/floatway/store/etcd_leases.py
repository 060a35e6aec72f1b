"""Who is there: a key per running server that etcd removes when the server's lease is not kept.

start ── lease 10 s, servers/<id> ──▶ kept every 3 s ── killed ──▶ gone at most 10 s later
"""

import asyncio
import contextlib
import os
import socket
import time
import uuid
from collections.abc import AsyncIterator

import msgspec

from floatway.store.base import StoreError
from floatway.store.etcd_client import Client
from floatway.store.etcd_layout import Keys
from floatway.store.etcd_wire import Compare, Lease, LeaseKept, Op, Range, RangeAnswer, TxnAnswer, after, txn

__all__ = ["Registration", "Server"]

_TTL = 10  # seconds
_KEEP = 3.0  # seconds between two renewals: two may be lost


class Server(msgspec.Struct, frozen=True):
    """One that runs now. ``since`` in seconds since the epoch."""

    id: str
    host: str
    pid: int
    since: float


class Registration:
    """This server's own key and lease."""

    def __init__(self, client: Client, keys: Keys) -> None:
        """Not there before ``start``."""
        self._client = client
        self._keys = keys
        self._lease = 0
        self._keeper: asyncio.Task[None] | None = None
        self.server = Server(uuid.uuid4().hex, socket.gethostname(), os.getpid(), time.time())

    async def start(self) -> None:
        """Be known from now on."""
        await self._register()
        self._keeper = asyncio.create_task(self._keep(), name="lease")

    async def stop(self) -> None:
        """Be gone at once."""
        if self._keeper:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self._lease:
            await self._client.call("lease/revoke", Lease(ID=self._lease), Lease)

    async def all(self) -> list[Server]:
        """Every server that runs now."""
        found = Range(self._keys.servers, after(self._keys.servers))
        answer = await self._client.call("kv/range", found, RangeAnswer)
        return [msgspec.json.decode(kv.value, type=Server) for kv in answer.kvs]

    @contextlib.asynccontextmanager
    async def alone(self, key: bytes) -> AsyncIterator[bool]:
        """Whether this server, and no other, has ``key`` meanwhile."""
        mine = self.server.id.encode()
        put = [Op.put(key, mine, lease=self._lease)]
        answer = await self._client.call(
            "kv/txn", txn(Compare.absent(key), then=put, otherwise=[Op.get(key)]), TxnAnswer
        )
        got = answer.succeeded or answer.read(0).value == mine
        try:
            yield got
        finally:
            if got:
                await self._client.call("kv/txn", txn(Compare.same(key, mine), then=[Op.delete(key)]), TxnAnswer)

    async def _register(self) -> None:
        self._lease = (await self._client.call("lease/grant", Lease(TTL=_TTL), Lease)).ID
        key = self._keys.servers + self.server.id.encode()
        put = [Op.put(key, msgspec.json.encode(self.server), lease=self._lease)]
        await self._client.call("kv/txn", txn(then=put), TxnAnswer)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_KEEP)
            with contextlib.suppress(StoreError):
                kept = await self._client.call("lease/keepalive", Lease(ID=self._lease), LeaseKept)
                if kept.result.TTL <= 0:  # it ended while etcd was out of reach
                    await self._register()
