"""The wire to a server: the real one, and others that lie, break off, keep silent or are not who they say."""

import asyncio
import hashlib
import random
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from control_cloud import agent_of
from floatway.agent import link as link_module
from floatway.agent.link import Address, Link, LinkError, Refused
from floatway.api.agents.hub import Hub
from floatway.api.agents.listener import Listener
from floatway.api.config import AgentsConfig
from floatway.api.engine import Engine
from floatway.control.settings import Settings
from floatway.model.stream import Delta, Report
from sim.store import MemoryStore

TLS = Path(__file__).parents[2] / "api" / "tls"
LIMIT = 20.0
Story = Callable[[Path], Awaitable[None]]


def run(story: Story, directory: Path) -> None:
    async def limited() -> None:
        async with asyncio.timeout(LIMIT):
            await story(directory)

    asyncio.run(limited())


class Served:
    """A real server on a Unix socket and a TCP port, with the cloud's first network in it."""

    def __init__(self, path: Path, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.engine = Engine(MemoryStore(random.Random(1)), Settings(), clock=lambda: 0.0)
        self.path = path / "agents.sock"

    async def __aenter__(self) -> "Served":
        await self.engine.start()
        await self.engine.write(lambda draft: agent_of(draft, "h1"))
        self.hub = Hub(self.engine.model, clock=lambda: 0.0)
        self.engine.listen(self.hub.moved)
        self.listener = Listener(
            AgentsConfig(socket=str(self.path), bind="127.0.0.1", port=0, heartbeat=0.05),
            self.engine,
            self.hub,
            authenticate=lambda headers: (
                headers.get("authorization", "").removeprefix("Bearer ").partition(".")[0] or None
            ),
            join=self._join,
        )
        await self.listener.start(self.tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.listener.stop()
        await self.engine.close()

    async def _join(self, body: object) -> dict[str, object]:
        raise AssertionError(body)

    def link(self, host: str = "h1", key: str = "h1.key") -> Link:
        return Link(Address.of(f"unix:{self.path}"), host, key)


def test_a_part_its_changes_heartbeats_and_reports(tmp_path: Path) -> None:
    async def story(path: Path) -> None:
        async with Served(path) as server:
            link = server.link()
            stream = link.stream(None, 5.0)
            first = await anext(stream)
            assert first.fresh
            assert first.revision == server.engine.model.revision
            assert await link.report(Report(applied=first.revision, fresh=True)) == first.revision
            assert server.hub.presences["h1"].applied == first.revision
            beat = await anext(stream)
            assert beat.empty
            await stream.aclose()
            resumed = server.link().stream(first.revision, 5.0)
            again = await anext(resumed)
            assert not again.fresh
            await resumed.aclose()
            link.close()

    run(story, tmp_path)


def test_who_has_no_key_or_anothers_is_refused(tmp_path: Path) -> None:
    async def story(path: Path) -> None:
        async with Served(path) as server:
            with pytest.raises(Refused) as caught:
                await anext(server.link(key="").stream(None, 5.0))
            assert caught.value.status == 401
            with pytest.raises(Refused) as caught:
                await server.link("h1", "h2.key").report(Report(applied=1))
            assert caught.value.status == 403

    run(story, tmp_path)


def test_a_server_that_stops_ends_the_stream(tmp_path: Path) -> None:
    async def story(path: Path) -> None:
        async with Served(path) as server:
            stream = server.link().stream(None, 5.0)
            await anext(stream)
            await server.listener.stop()
            with pytest.raises((LinkError, StopAsyncIteration)):
                while True:
                    await anext(stream)

    run(story, tmp_path)


HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def scripted(path: Path, answers: list[bytes], *, hold: bool = False) -> tuple[asyncio.Server, Link]:
    """A server that gives one of these answers to each connection, whatever it is asked, and hangs up (or holds)."""
    ready = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answers:
            writer.write(answers.pop(0))
        await writer.drain()
        if hold:
            await reader.read()
        writer.close()
        ready.set()

    socket = path / "scripted.sock"
    server = await asyncio.start_unix_server(serve, socket)
    return server, Link(Address.of(f"unix:{socket}"), "h1", "h1.key")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nconte",
        HEAD + chunk(b"{nonsense\n"),
        HEAD + chunk(b'{"revision":"many"}\n'),
        HEAD + b"zz\r\n",
        HEAD + chunk(b'{"revision":1}\n') + b"20\r\n{",
        HEAD + chunk(b"\xff\xfe\n"),
        b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy",
        b"HTTP/1.1 404 No\r\ncontent-length: 2\r\n\r\n[]",
    ],
)
def test_whatever_a_server_says_wrong_is_one_kind_of_error(tmp_path: Path, answer: bytes) -> None:
    async def story(path: Path) -> None:
        server, link = await scripted(path, [answer])
        with pytest.raises(LinkError):
            async for delta in link.stream(None, 5.0):
                assert delta == Delta(revision=1)
        server.close()

    run(story, tmp_path)


def test_lines_come_whole_however_they_are_cut(tmp_path: Path) -> None:
    async def story(path: Path) -> None:
        text = b'{"revision":1,"fresh":true}\n{"revision":2}\n{"revision":3}\n'
        parts = [text[i : i + 7] for i in range(0, len(text), 7)]
        server, link = await scripted(path, [HEAD + b"".join(map(chunk, parts)) + b"0\r\n\r\n"])
        assert [delta.revision async for delta in link.stream(None, 5.0)] == [1, 2, 3]
        server.close()

    run(story, tmp_path)


def test_a_silent_server_counts_as_gone(tmp_path: Path) -> None:
    async def story(path: Path) -> None:
        server, link = await scripted(path, [HEAD + chunk(b'{"revision":1}\n')], hold=True)
        heard = []
        with pytest.raises(LinkError):
            async for delta in link.stream(None, 0.01):
                heard.append(delta.revision)
        assert heard == [1]
        server.close()

    run(story, tmp_path)


def test_a_line_without_end_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "_LINE_BYTES", 1000)

    async def story(path: Path) -> None:
        server, link = await scripted(path, [HEAD + chunk(b"x" * 2000)], hold=True)
        with pytest.raises(LinkError, match="without end"):
            await anext(link.stream(None, 5.0))
        server.close()

    run(story, tmp_path)


def test_a_report_goes_out_again_on_a_new_connection_if_the_old_one_was_let_go(tmp_path: Path) -> None:
    async def story(path: Path) -> None:
        good = b'HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{"revision":7}'
        server, link = await scripted(path, [good, good])  # each connection serves one, and hangs up
        assert await link.report(Report(applied=7)) == 7
        assert await link.report(Report(applied=7)) == 7
        with pytest.raises(LinkError):
            await link.report(Report(applied=7))
        server.close()

    run(story, tmp_path)


def test_nobody_there_is_an_error_at_once(tmp_path: Path) -> None:
    async def story(path: Path) -> None:
        with pytest.raises(LinkError):
            await anext(Link(Address.of(f"unix:{path}/none.sock"), "h1", "k").stream(None, 5.0))

    run(story, tmp_path)


def test_only_the_server_whose_certificate_is_pinned_learns_the_key(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(65536))
        writer.write(HEAD + chunk(b'{"revision":1}\n') + b"0\r\n\r\n")
        writer.close()

    async def story(path: Path) -> None:
        del path
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        address = Address.of(f"https://127.0.0.1:{port}")
        certificate = ssl.PEM_cert_to_DER_cert((TLS / "certificate.pem").read_text())
        right = hashlib.sha256(certificate).hexdigest()
        with pytest.raises(LinkError, match="fingerprint"):
            await anext(Link(address, "h1", "secret", fingerprint="00" * 32).stream(None, 5.0))
        with pytest.raises(LinkError):  # no pin, and no authority knows it
            await anext(Link(address, "h1", "secret").stream(None, 5.0))
        assert not any(b"secret" in data for data in heard)
        pinned = Link(address, "h1", "secret", fingerprint=right.upper())
        assert [delta.revision async for delta in pinned.stream(None, 5.0)] == [1]
        server.close()

    run(story, tmp_path)


@pytest.mark.parametrize("ask", ["stream", "report", "shown"])
@pytest.mark.parametrize(("scheme", "hint"), [("https", "http://"), ("http", "https://")])
def test_the_wrong_scheme_is_an_error_that_says_the_right_one(tmp_path: Path, scheme: str, hint: str, ask: str) -> None:
    async def story(path: Path) -> None:
        tls: ssl.SSLContext | None = None
        if scheme == "http":
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
        async with Served(path, tls) as server:
            address = Address.of(f"{scheme}://127.0.0.1:{server.listener.port}")
            link = Link(address, "h1", "h1.key", fingerprint="00" * 32)
            asked: dict[str, Callable[[], Awaitable[object]]] = {
                "stream": lambda: anext(link.stream(None, 5.0)),
                "report": lambda: link.report(Report(applied=1)),
                "shown": link.shown,
            }
            with pytest.raises(LinkError, match=f"servers with {hint}") as caught:
                await asked[ask]()
            assert str(caught.value).startswith(f"{address.text}: ")

    run(story, tmp_path)


@pytest.mark.parametrize("text", ["", "ftp://x", "controller:9697", "unix:relative", "https://", "https://h:port"])
def test_what_is_no_address_is_said_to_be_none(text: str) -> None:
    with pytest.raises(LinkError):
        Address.of(text)


def test_addresses() -> None:
    assert Address.of("https://controller") == Address("https://controller", host="controller", port=9697, tls=True)
    assert Address.of("http://[fd00::1]:80").host == "fd00::1"
    assert Address.of("unix:/run/x").path == "/run/x"
