"""A server's agents' door to knock at: a real listener on a Unix socket, two hosts that have keys, and a port on each."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec

from control_cloud import ADMIN, agent_of, network_of, port_of, subnet_of
from floatway.api.agents.hub import Hub
from floatway.api.agents.keys import Keys
from floatway.api.agents.listener import Listener
from floatway.api.config import AgentsConfig
from floatway.api.engine import Engine
from floatway.control import entities as e
from floatway.control.decide import ports
from floatway.control.draft import Draft
from floatway.control.settings import Settings
from floatway.model.stream import Delta, Report
from floatway.store.base import Store
from floatway.store.open import open_store

NOW = 1_795_000_000.0


class Door:
    """A server's door, two hosts that have keys, and a port on each."""

    hub: Hub
    listener: Listener

    def __init__(self, store: Store, path: str) -> None:
        self.engine = Engine(store, Settings(), clock=lambda: self.seconds)
        self.path = path
        self.keys: dict[str, str] = {}
        self.ports: dict[str, e.Port] = {}
        self.seconds = NOW
        self.kept: list[asyncio.StreamWriter] = []

    async def ask(self, request: bytes) -> tuple[int, Any]:
        """Status and document of the answer to a request on a connection of its own; 0 when it is just closed."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        with contextlib.suppress(ConnectionError):
            writer.write(request)
            await writer.drain()
        with contextlib.suppress(ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
            sized = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            body = await reader.readexactly(int(sized[0].split(b":")[1])) if sized else b""
            writer.close()
            return int(head.split()[1]), msgspec.json.decode(body) if body else None
        return 0, None

    def request(self, method: str, path: str, host: str = "", body: bytes = b"", *headers: str) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers]
        if host:
            lines.append(f"Authorization: Bearer {self.keys[host]}")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    async def report(self, host: str, report: Report) -> tuple[int, Any]:
        return await self.ask(self.request("POST", f"/v1/hosts/{host}/reports", host, msgspec.json.encode(report)))

    async def follow(self, host: str, since: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(self.path, limit=1 << 24)
        writer.write(self.request("GET", f"/v1/hosts/{host}/stream{since}", host))
        self.kept.append(writer)  # one that nobody holds is closed
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        return reader, writer

    async def rename(self, host: str, name: str) -> int:
        """A change that concerns both hosts; its revision."""
        port = self.ports[host]

        def decide(draft: Draft) -> None:
            ports.update(draft, ADMIN, draft.need(e.Port, port.id), {"name": name})

        return (await self.engine.write(decide)).model.revision


async def line_of(reader: asyncio.StreamReader) -> Delta:
    size = int(await reader.readline(), 16)
    line = await reader.readexactly(size + 2)
    return msgspec.json.decode(line, type=Delta)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def opened(**config: Any) -> AsyncIterator[Door]:
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/agents.sock"
        door = Door(await open_store(f"sqlite://{directory}/floatway.db"), path)
        engine = door.engine
        await engine.start()
        hub = door.hub = Hub(engine.model, clock=lambda: door.seconds)
        engine.listen(hub.moved)
        keys = Keys(engine)
        listener = door.listener = Listener(
            AgentsConfig(socket=path, **config), engine, hub, authenticate=keys.authenticate, join=keys.join
        )
        for host in ("h1", "h2"):
            secret = await keys.invite(host)
            door.keys[host] = (await keys.join({"host": host, "secret": secret}))["key"]

        def decide(draft: Draft) -> None:
            network = network_of(draft)
            subnet_of(draft, network)
            for host in door.keys:
                agent_of(draft, host)
                door.ports[host] = port_of(draft, network, ADMIN, device_owner="compute:a", binding_host_id=host)

        await engine.write(decide)
        await listener.start()
        try:
            yield door
        finally:
            await listener.stop()
            await engine.close()


def run(story: Callable[[Door], Awaitable[None]], **config: Any) -> None:
    async def main() -> None:
        async with opened(**config) as door, asyncio.timeout(60):
            await story(door)

    asyncio.run(main())
