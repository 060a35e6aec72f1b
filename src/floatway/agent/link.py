"""The wire to a server: plain HTTP/1.1 over TCP, TLS or a Unix socket, one connection for the stream and one for reports.

stream(since) ─▶ Delta, Delta, …        ends when the server does; LinkError when it cannot be reached or says no
report(report) ─▶ the server's revision
"""

import asyncio
import hashlib
import ssl
import urllib.parse
from collections.abc import AsyncIterator
from typing import Any, Final

import h11
import msgspec

from floatway.model.stream import Delta, Report

__all__ = ["Address", "Link", "LinkError", "Refused"]

_DELTA: Final = msgspec.json.Decoder(Delta)
_ENCODER: Final = msgspec.json.Encoder()
CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 30.0
_LINE_BYTES: Final = 256 * 1024 * 1024
_TLS_ALERT: Final = b"\x15\x03"
"""How a TLS record begins in which a server complains (RFC 8446, 5.1 and 6)."""
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"})
"""What OpenSSL, by its version, calls an answer that is no TLS record."""


class LinkError(Exception):
    """The server cannot be reached, or broke off."""


class Refused(LinkError):  # noqa: N818 - named by what the server did
    """The server answered with an error. ``status`` is HTTP's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


class _HungUp(ConnectionError):  # noqa: N818 - named by what the server did
    """The server closed the connection without a word: it may want another protocol, or be on its way down."""


class Address(msgspec.Struct, frozen=True):
    """Where a server listens: ``path`` of a Unix socket, or ``host`` and ``port``."""

    text: str
    path: str = ""
    host: str = ""
    port: int = 0
    tls: bool = False

    @classmethod
    def of(cls, text: str) -> "Address":
        """From ``https://host:9697``, ``http://…`` or ``unix:/path``.

        Raises:
            LinkError: it is none of these.
        """
        if text.startswith("unix:/"):
            return cls(text, path=text.removeprefix("unix:"))
        parts = urllib.parse.urlsplit(text)
        try:
            port = parts.port or 9697
        except ValueError as error:
            raise LinkError(f"{text}: {error}") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise LinkError(f"{text}: servers are https://HOST:PORT, http://HOST:PORT or unix:/PATH")
        return cls(text, host=parts.hostname, port=port, tls=parts.scheme == "https")


class _Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.http = h11.Connection(h11.CLIENT)
        self._answered = False

    async def ask(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes = b"") -> h11.Response:
        """Send a request; the head of its answer."""
        head = [*headers, ("content-length", str(len(body)))] if body else headers
        data = self.http.send(h11.Request(method=method, target=target, headers=head)) or b""
        if body:
            data += self.http.send(h11.Data(data=body)) or b""
        self.writer.write(data + (self.http.send(h11.EndOfMessage()) or b""))
        await self.writer.drain()
        event = await self.event()
        if not isinstance(event, h11.Response):
            raise LinkError("the server broke off")
        return event

    async def event(self) -> Any:
        """The next event of the answer."""
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event
            data = await self.reader.read(1 << 18)
            if not self._answered and (not data or data.startswith(_TLS_ALERT)):
                raise _HungUp("it hung up before it answered")
            self._answered = True
            self.http.receive_data(data)

    async def body(self) -> bytes:
        """All of a short answer."""
        parts = []
        while isinstance(event := await self.event(), h11.Data):
            parts.append(bytes(event.data))
        return b"".join(parts)

    def close(self) -> None:
        """Let go."""
        self.writer.close()


class Link:
    """The way to one server. Give it back with ``close``."""

    def __init__(self, address: Address, host: str, key: str, *, fingerprint: str = "", cacert: str = "") -> None:
        """``host`` speaks, and ``key`` proves it."""
        self.address = address
        self._host = host
        self._fingerprint = fingerprint.replace(":", "").lower()
        self._cacert = cacert
        self._headers = [("host", address.host or "localhost")]
        if key:
            self._headers.append(("authorization", f"Bearer {key}"))
        self._base = f"/v1/hosts/{urllib.parse.quote(host, safe='')}"
        self._reports: _Wire | None = None

    def close(self) -> None:
        """Let go of the server."""
        if self._reports is not None:
            self._reports.close()
            self._reports = None

    async def stream(self, since: int | None, silence: float) -> AsyncIterator[Delta]:
        """What changes from revision ``since`` on (None: all). After ``silence`` seconds without a word the server counts as gone.

        Raises:
            LinkError: it cannot be reached, refuses, or breaks off.
        """
        wire = await self._open()
        try:
            target = f"{self._base}/stream" + (f"?from={since}" if since is not None else "")
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    head = await wire.ask("GET", target, self._headers)
                    if head.status_code != 200:
                        raise _refused(head.status_code, await wire.body())
                async for line in _lines(wire, silence):
                    yield _DELTA.decode(line)
            except (OSError, TimeoutError, h11.ProtocolError, msgspec.DecodeError, EOFError) as error:
                raise self._broken(error) from error
        finally:
            wire.close()

    async def report(self, report: Report) -> int:
        """Say what has become of things; the server's revision.

        Raises:
            LinkError: it was not taken.
        """
        document = await self.post(f"{self._base}/reports", _ENCODER.encode(report))
        return int(document["revision"])

    async def shown(self) -> Any:
        """What the server knows of this host.

        Raises:
            LinkError: it cannot be reached, or refuses.
        """
        wire = await self._open()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                head = await wire.ask("GET", self._base, self._headers)
                answer = await wire.body()
        except (OSError, TimeoutError, h11.ProtocolError) as error:
            raise self._broken(error) from error
        finally:
            wire.close()
        if head.status_code >= 300:
            raise _refused(head.status_code, answer)
        return msgspec.json.decode(answer)

    async def post(self, target: str, body: bytes) -> Any:
        """The answer to a POST.

        Raises:
            LinkError: the server cannot be reached, or refuses.
        """
        again = self._reports is not None  # it may have been closed for idling, which shows only now
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._posted(target, body)
        except LinkError as error:
            if isinstance(error, Refused) or not again:
                raise
        except (OSError, TimeoutError, h11.ProtocolError, msgspec.DecodeError) as error:
            self.close()
            if not again:
                raise self._broken(error) from error
        return await self.post(target, body)

    async def _posted(self, target: str, body: bytes) -> Any:
        wire = self._reports or await self._open()
        self._reports = None  # whatever happens on the way, a half-used connection is not used again
        try:
            head = await wire.ask("POST", target, self._headers, body)
            answer = await wire.body()
        except BaseException:
            wire.close()
            raise
        if wire.http.our_state is h11.DONE and wire.http.their_state is h11.DONE:
            wire.http.start_next_cycle()
            self._reports = wire
        else:
            wire.close()
        if head.status_code >= 300:
            raise _refused(head.status_code, answer)
        return msgspec.json.decode(answer)

    async def _open(self) -> _Wire:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if self.address.path:
                    reader, writer = await asyncio.open_unix_connection(self.address.path)
                else:
                    context = self._tls() if self.address.tls else None
                    reader, writer = await asyncio.open_connection(self.address.host, self.address.port, ssl=context)
        except (OSError, TimeoutError) as error:
            raise self._broken(error, "no answer") from error
        if self._fingerprint and self.address.tls:
            self._check(writer)
        return _Wire(reader, writer)

    def _broken(self, error: Exception, silent: str = "") -> LinkError:
        """What went wrong, where, and what to do about it where that is known. ``silent`` is said of an error without words."""
        said = f"{self.address.text}: {error or silent or type(error).__name__}"
        if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
            said += (
                " (no TLS is spoken there: have the server listen with a certificate, agents.tls_certificate in its"
                " configuration, or begin the address in the agent's servers with http://)"
            )
        elif isinstance(error, _HungUp | ConnectionResetError) and not self.address.path and not self.address.tls:
            said += " (if TLS is spoken there, begin the address in the agent's servers with https://)"
        return LinkError(said)

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._cacert or None)
        if self._fingerprint:  # the certificate itself is known: neither names nor authorities add to that
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _check(self, writer: asyncio.StreamWriter) -> None:
        """Nothing was sent yet: a stranger learns no key."""
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        found = hashlib.sha256(certificate or b"").hexdigest()
        if found != self._fingerprint:
            writer.close()
            raise LinkError(
                f"{self.address.text}: its certificate has the fingerprint {found}, not {self._fingerprint}"
            )


async def _lines(wire: _Wire, silence: float) -> AsyncIterator[bytes]:
    """The lines of a body that never ends by itself."""
    parts: list[bytes] = []
    size = 0
    while True:
        async with asyncio.timeout(silence):
            event = await wire.event()
        if not isinstance(event, h11.Data):
            return
        data = bytes(event.data)
        while (end := data.find(b"\n")) >= 0:
            yield b"".join((*parts, data[:end]))
            parts, size, data = [], 0, data[end + 1 :]
        parts.append(data)
        size += len(data)
        if size > _LINE_BYTES:
            raise LinkError("the server sends a line without end")


def _refused(status: int, body: bytes) -> Refused:
    try:
        document = msgspec.json.decode(body)
        text = (document.get("NeutronError") or document.get("error") or {}).get("message", "")
    except (msgspec.DecodeError, AttributeError):
        text = body[:200].decode(errors="replace")
    return Refused(status, text)
