"""Handshakes of strangers have turns: nobody's flood keeps others out, and hosts that are known do not stand in line."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from agents_door import until
from floatway.api.agents import handshakes as module
from floatway.api.agents.handshakes import Handshakes

TLS = Path(__file__).parents[2] / "api" / "tls"
AT_ONCE = 4
ANYBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ANYBODY.check_hostname, ANYBODY.verify_mode = False, ssl.CERT_NONE
Story = Callable[[Handshakes], Awaitable[None]]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RATE_OF_ONE", 1000.0)
    monkeypatch.setattr(module, "AT_ONCE", AT_ONCE)


def run(story: Story, known: Callable[[str], bool] = lambda address: False, waiting: int = 1000) -> None:
    async def main() -> None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
        door = Handshakes(_Hello, tls, known, waiting=waiting)
        door.start("127.0.0.1", 0)
        try:
            async with asyncio.timeout(30):
                await story(door)
        finally:
            await door.close()

    asyncio.run(main())


class _Hello(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"hello")
        transport.close()


async def greeted(door: Handshakes, address: str) -> bytes:
    """What a client at the address hears; nothing when it is sent away."""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port, ssl=ANYBODY, local_addr=(address, 0))
        heard = await reader.read()
        writer.close()
        return heard
    return b""


@contextlib.asynccontextmanager
async def silent(door: Handshakes, address: str, count: int) -> AsyncIterator[list[socket.socket]]:
    """Connections that never begin to shake hands."""
    opened = []
    for _ in range(count):
        one = socket.socket()
        one.bind((address, 0))
        one.setblocking(False)
        await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", door.port))
        opened.append(one)
    try:
        yield opened
    finally:
        for one in opened:
            one.close()


def test_all_are_let_in_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RATE_OF_ONE", 100.0)

    async def story(door: Handshakes) -> None:
        begin = time.monotonic()
        heard = await asyncio.gather(*(greeted(door, "127.0.0.2") for _ in range(80)))
        assert heard == [b"hello"] * 80
        assert time.monotonic() - begin > 0.2  # half a second's worth may go at once

    run(story)


def test_a_known_host_passes_those_who_keep_all_places_taken() -> None:
    async def story(door: Handshakes) -> None:
        async with silent(door, "127.0.0.2", AT_ONCE + 5):
            await until(lambda: door.waiting == 5)
            assert await greeted(door, "127.0.0.1") == b"hello"
            assert door.waiting == 5

    run(story, known=lambda address: address == "127.0.0.1")


def test_a_known_host_that_floods_stands_in_line_too() -> None:
    async def story(door: Handshakes) -> None:
        async with silent(door, "127.0.0.1", AT_ONCE + 40):
            await until(lambda: door.waiting > 0)

    run(story, known=lambda address: True)


def test_silent_strangers_give_their_places_back_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STRANGERS_SECONDS", 0.05)

    async def story(door: Handshakes) -> None:
        async with silent(door, "127.0.0.2", AT_ONCE + 10):
            assert await greeted(door, "127.0.0.3") == b"hello"

    run(story)


def test_lines_take_turns_and_the_longest_makes_way() -> None:
    async def story(door: Handshakes) -> None:
        async with silent(door, "127.0.0.2", AT_ONCE):
            await until(door._slots.locked)  # they have all the places
            async with silent(door, "127.0.0.2", 10) as many:
                await until(lambda: door.waiting == 10)
                async with silent(door, "127.0.0.3", 1):
                    await until(lambda: only_first_is_gone(many))
                    assert door.waiting == 10
                    assert [address for address, line in door.lines.items() for _ in line].count("127.0.0.3") == 1

    run(story, waiting=10)


def only_first_is_gone(many: list[socket.socket]) -> bool:
    """Whether the first of them was let go, and no other."""
    gone = []
    for one in many:
        try:
            gone.append(one.recv(1) == b"")
        except BlockingIOError:
            gone.append(False)
    return gone == [True] + [False] * (len(many) - 1)


def test_what_is_no_tls_harms_nobody() -> None:
    async def story(door: Handshakes) -> None:
        async with silent(door, "127.0.0.2", 3) as opened:
            for one in opened:
                await asyncio.get_running_loop().sock_sendall(one, b"GET / HTTP/1.1\r\n\r\n")
            assert await greeted(door, "127.0.0.2") == b"hello"

    run(story)
