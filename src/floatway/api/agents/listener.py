"""The agents' door: plain HTTP/1.1, apart from the API's, so that no agent can slow a client of the API.

    GET  /v1/hosts/HOST/stream?from=REVISION    200, a line of JSON for each change (model.stream.Delta), for as long as both live
    POST /v1/hosts/HOST/reports                 200 {"revision": N}         a model.stream.Report
    GET  /v1/hosts/HOST                         200                         what is known of the host
    POST /v1/join                               200                         a join token for a key

What one connection may take is bounded: its header and body in bytes and seconds, what is written and not yet read, and how
long it may be silent. Who is too slow is cut off; the stream itself holds one delta, which grows no larger than the host's part.
"""

import asyncio
import contextlib
import ssl
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import h11
import msgspec
import structlog

from floatway.api.agents.hub import Ahead, Hub, Presence, Stream, encoded
from floatway.api.agents.reports import Reports
from floatway.api.config import AgentsConfig
from floatway.api.engine import Engine
from floatway.api.http import Response, error_response
from floatway.control.errors import ApiError, bad_request, forbidden, unauthorized
from floatway.model.stream import Delta, Report

__all__ = ["Listener"]

_LOG: Final = structlog.get_logger("floatway.agents")
_REPORT: Final = msgspec.json.Decoder(Report)
_ENCODER: Final = msgspec.json.Encoder()
_HEADER_BYTES: Final = 16 * 1024
_UNREAD_BYTES: Final = 256 * 1024
_NDJSON: Final = [(b"content-type", b"application/x-ndjson")]

Authenticate = Callable[[Mapping[str, str]], str | None]
"""From a request's headers (lower case) to the host that it comes from; None when that cannot be told."""
Join = Callable[[Any], Awaitable[dict[str, Any]]]


class _Gone(Exception):  # noqa: N818 - a fact, no fault
    """The agent left, or broke off in the middle."""


class Listener:
    """Serves agents from ``start`` to ``stop``."""

    def __init__(
        self, config: AgentsConfig, engine: Engine, hub: Hub, *, authenticate: Authenticate, join: Join
    ) -> None:
        """``hub`` follows ``engine``."""
        self._config = config
        self._engine = engine
        self._hub = hub
        self._reports = Reports(engine, hub)
        self._authenticate = authenticate
        self._join = join
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self._beat: asyncio.Task[None] | None = None

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen where the configuration says.

        Raises:
            OSError: it cannot.
        """
        if self._config.bind:
            self._servers.append(
                await asyncio.start_server(
                    self._connected, self._config.bind, self._config.port, ssl=tls, limit=_UNREAD_BYTES, backlog=1024
                )
            )
        if self._config.socket:
            self._servers.append(
                await asyncio.start_unix_server(self._connected, self._config.socket, limit=_UNREAD_BYTES, backlog=1024)
            )
        self._beat = asyncio.create_task(self._reports.beat(), name="heartbeats")

    async def stop(self) -> None:
        """Let go of all agents; they come back when there is a server again."""
        for server in self._servers:
            server.close()
        tasks = [*self._connections, *([self._beat] if self._beat else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= self._config.max_connections:
            writer.close()
            return
        self._connections.add(task)
        try:
            await _Connection(self, reader, writer).serve()
        except (_Gone, ConnectionError, TimeoutError, ssl.SSLError, h11.ProtocolError):
            pass
        except Exception:
            _LOG.exception("an agent's connection failed")
        finally:
            self._connections.discard(task)
            with contextlib.suppress(Exception):
                writer.close()

    async def answer(self, method: str, path: list[str], headers: dict[str, str], body: bytes) -> Response:
        """Everything but streams.

        Raises:
            ApiError: what goes into the error document.
        """
        if path == ["v1", "join"] and method == "POST":
            return _json(await self._join(_decoded(body)))
        host = self._host(path, headers)
        if path[3:] == ["reports"] and method == "POST":
            try:
                report = _REPORT.decode(body)
            except (msgspec.DecodeError, RecursionError) as error:
                raise bad_request("HTTPBadRequest", f"This is no report: {error}") from error
            if report.applied > self._hub.revision and not self._engine.store.exclusive:
                async with asyncio.timeout(self._config.heartbeat):
                    await self._engine.reached(report.applied)
            await self._reports.take(host, report)
            return _json({"revision": self._hub.revision})
        if len(path) == 3 and method == "GET":
            presence = self._hub.presences.get(host)
            return _json(public(presence) if presence is not None else {"host": host, "connected": False})
        raise ApiError(404, "HTTPNotFound", "The resource could not be found.")

    def _host(self, path: list[str], headers: Mapping[str, str]) -> str:
        """The host that asks about itself."""
        if len(path) < 3 or path[:2] != ["v1", "hosts"]:
            raise ApiError(404, "HTTPNotFound", "The resource could not be found.")
        host = self._authenticate(headers)
        if host is None:
            raise unauthorized("Bearer", "This needs the key of the host: Authorization: Bearer …")
        if host != path[2]:
            raise forbidden("NotThisHost", "A host's key is good for that host alone.")
        return host

    async def open(self, path: list[str], query: str, headers: Mapping[str, str]) -> Stream:
        """The stream that is asked for.

        Raises:
            ApiError: 400, 401, 403; 503 when what the agent has seen does not come.
        """
        host = self._host(path, headers)
        asked = urllib.parse.parse_qs(query).get("from", [""])[0]
        if asked and not asked.isdecimal():
            raise bad_request("HTTPBadRequest", "from is a revision: a number, 0 or more.")
        since = int(asked) if asked else None
        try:
            return self._hub.open(host, since)
        except Ahead as ahead:
            if self._engine.store.exclusive:  # of another store, or of one that was restored: begin anew
                return self._hub.open(host, None)
            async with asyncio.timeout(self._config.heartbeat):
                await self._engine.reached(ahead.revision)
            return self._hub.open(host, since)

    @property
    def hub(self) -> Hub:
        """Who follows."""
        return self._hub

    @property
    def config(self) -> AgentsConfig:
        """What one connection may take."""
        return self._config


class _Connection:
    """One agent's connection: requests one after another, or one stream."""

    def __init__(self, listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._listener = listener
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEADER_BYTES)
        writer.transport.set_write_buffer_limits(high=_UNREAD_BYTES)

    async def serve(self) -> None:
        """Until either side has had enough."""
        while True:
            async with asyncio.timeout(self._listener.config.idle_timeout):
                request = await self._event()
            if not isinstance(request, h11.Request):
                return
            async with asyncio.timeout(self._listener.config.body_timeout):
                body, refused = await self._body()
            if refused is not None:
                await self._respond(error_response(refused))
                return
            method = request.method.decode("ascii")
            target, _, query = request.target.decode("latin-1").partition("?")
            path = [urllib.parse.unquote(one) for one in target.split("/") if one]
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
            try:
                if method == "GET" and path[3:] == ["stream"]:
                    await self._stream(await self._listener.open(path, query, headers))
                    return
                response = await self._listener.answer(method, path, headers, body)
            except ApiError as error:
                response = error_response(error)
            await self._respond(response)
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _event(self) -> Any:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            data = await self._reader.read(65536)
            self._http.receive_data(data)
            if not data and self._http.their_state is h11.IDLE:
                raise _Gone

    async def _body(self) -> tuple[bytes, ApiError | None]:
        parts: list[bytes] = []
        size = 0
        while True:
            event = await self._event()
            if isinstance(event, h11.Data):
                size += len(event.data)
                if size > self._listener.config.max_body_bytes:
                    limit = self._listener.config.max_body_bytes
                    return b"", ApiError(413, "HTTPRequestEntityTooLarge", f"A report has {limit} bytes at most.")
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return b"".join(parts), None
            else:
                raise _Gone

    async def _respond(self, response: Response) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(response.body))]
        self._send(h11.Response(status_code=response.status, headers=[*headers, *response.headers]))
        if response.body:
            self._send(h11.Data(data=response.body))
        self._send(h11.EndOfMessage())
        await self._flush()

    async def _stream(self, stream: Stream) -> None:
        """Send what comes, and a heartbeat when nothing does, until the agent leaves or does not read."""
        hub, heartbeat = self._listener.hub, self._listener.config.heartbeat
        leaving = asyncio.ensure_future(self._reader.read(1))
        leaving.add_done_callback(lambda _: stream.close())
        try:
            self._send(h11.Response(status_code=200, headers=_NDJSON))
            while not stream.closed:
                taken = await stream.take(heartbeat)
                if stream.closed:
                    break
                revision, line = taken if taken is not None else (hub.revision, encoded(Delta(revision=hub.revision)))
                self._send(h11.Data(data=line))
                await self._flush()
                hub.sent(stream, revision)
            if not leaving.done():
                self._send(h11.EndOfMessage())
                await self._flush()
        finally:
            leaving.cancel()
            hub.left(stream)

    def _send(self, event: Any) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)

    async def _flush(self) -> None:
        async with asyncio.timeout(self._listener.config.slow_timeout):
            await self._writer.drain()


def public(presence: Presence) -> dict[str, Any]:
    """What may be said of a host: to itself, and to administrators."""
    fields = {name: getattr(presence, name) for name in presence.__struct_fields__ if name != "due"}
    shown: dict[str, Any] = msgspec.to_builtins(fields)
    return shown


def _json(document: dict[str, Any]) -> Response:
    return Response(200, _ENCODER.encode(document))


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise bad_request("HTTPBadRequest", f"Body contains invalid data: {error}") from error
