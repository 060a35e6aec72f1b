"""The agents' door: plain HTTP/1.1, apart from the API's, so that no agent can slow a client of the API.

    GET  /v1/hosts/HOST/stream?from=REVISION    200, a line of JSON for each change (model.stream.Delta), for as long as both live
    POST /v1/hosts/HOST/reports                 200 {"revision": N}         a model.stream.Report
    GET  /v1/hosts/HOST                         200                         what is known of the host
    POST /v1/join                               200                         a join token for a key

What one connection may take is bounded: its header and body in bytes and seconds, what is written and not yet read, and how
long it may be silent. Who is too slow is cut off; the stream itself holds one delta, which grows no larger than the host's part.
A host has a few connections and an allowance of work; who has not proved yet to be a host has no room for a body, and makes way.
"""

import asyncio
import collections
import contextlib
import random
import ssl
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import h11
import msgspec
import structlog

from floatway.api.agents.allowance import Allowance
from floatway.api.agents.handshakes import Handshakes
from floatway.api.agents.hub import KEPT_EVENTS, Ahead, Hub, Presence, Stream, encoded
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
_STRANGERS_BYTES: Final = 16 * 1024
"""What a request without a host's key may bring: to be read over, or to join."""
_STRANGERS_PART: Final = 4
"""One in so many of the connections may be of nobody known."""
_OF_ONE_HOST: Final = 8
_SPREAD: Final = 0.7
_REQUEST_COST: Final = 1024
_OPEN_COST: Final = 64 * 1024
_JOIN_COST: Final = 8 * 1024
_EVENT_COST: Final = 1024
_UNREAD_BYTES: Final = 256 * 1024
_REVISION_DIGITS: Final = 18
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
        self._leaving: set[asyncio.Task[None]] = set()
        self._strangers: dict[asyncio.Task[None], None] = {}
        self._of_hosts: dict[str, dict[asyncio.Task[None], str]] = {}
        self._addresses: collections.Counter[str] = collections.Counter()
        """Of the hosts that are connected."""
        self._handshakes: Handshakes | None = None
        self._allowances: dict[str, Allowance] = {}
        self._duties: list[asyncio.Task[None]] = []

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen where the configuration says.

        Raises:
            OSError: it cannot.
        """
        if self._config.bind:
            if tls is not None:
                self._handshakes = Handshakes(
                    self._protocol, tls, lambda address: address in self._addresses, waiting=self._strangers_most
                )
                self._handshakes.start(self._config.bind, self._config.port)
            else:
                self._servers.append(
                    await asyncio.start_server(
                        self._connected, self._config.bind, self._config.port, limit=_UNREAD_BYTES, backlog=1024
                    )
                )
        if self._config.socket:
            self._servers.append(
                await asyncio.start_unix_server(self._connected, self._config.socket, limit=_UNREAD_BYTES, backlog=1024)
            )
        self._duties = [
            asyncio.create_task(self._reports.beat(), name="heartbeats"),
            asyncio.create_task(self._reports.ask(), name="ask"),
        ]

    def _protocol(self) -> asyncio.Protocol:
        reader = asyncio.StreamReader(limit=_UNREAD_BYTES)
        return asyncio.StreamReaderProtocol(reader, self._connected)

    @property
    def port(self) -> int:
        """The TCP port; 0 when there is none."""
        if self._handshakes is not None:
            return self._handshakes.port
        names = [one.getsockname() for server in self._servers for one in server.sockets]
        return next((int(name[1]) for name in names if isinstance(name, tuple)), 0)

    @property
    def _strangers_most(self) -> int:
        return max(1, self._config.max_connections // _STRANGERS_PART)

    async def stop(self) -> None:
        """Let go of all agents; they come back when there is a server again."""
        for server in self._servers:
            server.close()
        if self._handshakes is not None:
            await self._handshakes.close()
        tasks = [*self._connections, *self._duties]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= self._config.max_connections:
            writer.close()
            return
        if len(self._strangers) >= self._strangers_most:
            next(iter(self._strangers)).cancel()
        self._connections.add(task)
        self._strangers[task] = None
        ended = False
        try:
            await _Connection(self, reader, writer).serve()
            ended = True
        except (_Gone, ConnectionError, TimeoutError, ssl.SSLError, h11.ProtocolError):
            pass
        except asyncio.CancelledError:
            pass  # it made way; asyncio of Python 3.11 logs a callback of its own otherwise
        except Exception:
            _LOG.exception("an agent's connection failed")
        finally:
            self._left(task)
            with contextlib.suppress(Exception):
                writer.close()
                # what is still to be sent would be kept for as long as nobody reads it
                wait = self._config.slow_timeout if ended else 0.0
                asyncio.get_running_loop().call_later(wait, writer.transport.abort)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        self._strangers.pop(task, None)
        for host in [host for host, tasks in self._of_hosts.items() if task in tasks]:
            address = self._of_hosts[host].pop(task)
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]
            if not self._of_hosts[host]:
                del self._of_hosts[host]

    def admit(self, method: str, path: list[str], headers: Mapping[str, str], address: str = "") -> str:
        """The host whose connection this is, which comes from ``address``; "" for one that wants to join.

        Raises:
            ApiError: 401, 403, 404.
        """
        if path == ["v1", "join"] and method == "POST":
            return ""
        host = self._host(path, headers)
        if (task := asyncio.current_task()) is not None:
            self._strangers.pop(task, None)
            tasks = self._of_hosts.setdefault(host, {})
            if task not in tasks:
                self._addresses[address] += 1
            tasks[task] = address
            if len(tasks) > _OF_ONE_HOST:
                next(iter(tasks)).cancel()
        return host

    def left(self, host: str) -> None:
        """The host's stream ended."""
        if self._hub.server:
            task = asyncio.create_task(self._reports.left(host), name=f"{host} left")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def spend(self, host: str, cost: int) -> None:
        """Let a host (or "", all that have no key yet) that makes more than its share of work wait."""
        await self._allowances.setdefault(host, Allowance()).spend(_REQUEST_COST + cost)

    async def answer(
        self, method: str, path: list[str], headers: Mapping[str, str], host: str, body: bytes
    ) -> Response:
        """Everything but streams; ``host`` was admitted, and has to be still when it has waited for its turn.

        Raises:
            ApiError: what goes into the error document.
        """
        if not host:
            await self.spend("", _JOIN_COST)
            return _json(await self._join(_decoded(body)))
        if path[3:] == ["reports"] and method == "POST":
            await self.spend(host, len(body))
            try:
                report = _REPORT.decode(body)
            except (msgspec.DecodeError, RecursionError) as error:
                raise bad_request("HTTPBadRequest", f"This is no report: {error}") from error
            if report.agents:
                await self.spend(host, _OPEN_COST)
            if report.events:
                await self.spend(host, _EVENT_COST * min(len(report.events), KEPT_EVENTS))
            if report.applied > self._hub.revision:
                await self._engine.read()
            self._host(path, headers)
            await self._reports.take(host, report)
            return _json({"revision": self._hub.revision})
        if len(path) == 3 and method == "GET":
            presence = self._hub.presences.get(host)
            known = public(presence) if presence is not None else {"host": host, "connected": False}
            return _json(known | {"now": time.time()})
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

    async def open(self, host: str, query: str, path: list[str], headers: Mapping[str, str]) -> Stream:
        """The stream that is asked for by ``host``, which was admitted, and has to be still when it has waited for its turn.

        Raises:
            ApiError: 400, 401; 503 when what the agent has seen does not come.
        """
        await self.spend(host, _OPEN_COST)
        asked = urllib.parse.parse_qs(query).get("from", [""])[0]
        if asked and not (asked.isdecimal() and len(asked) <= _REVISION_DIGITS):
            raise bad_request("HTTPBadRequest", "from is a revision: a number, 0 or more.")
        since = int(asked) if asked else None
        self._host(path, headers)
        try:
            return self._hub.open(host, since)
        except Ahead:
            # either this server has not heard of it yet, or it is of another store, or of one that was restored: begin anew
            newest = (await self._engine.read()).revision
            self._host(path, headers)
            return self._hub.open(host, since if since is not None and since <= newest else None)

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
        self._first = True
        peer = writer.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        writer.transport.set_write_buffer_limits(high=_UNREAD_BYTES)

    async def serve(self) -> None:
        """Until either side has had enough."""
        while True:
            config = self._listener.config
            try:
                async with asyncio.timeout(config.body_timeout if self._first else config.idle_timeout):
                    request = await self._event()
            except h11.RemoteProtocolError as error:
                if self._http.our_state is h11.IDLE:
                    self._refuse(error)
                return
            if not isinstance(request, h11.Request):
                return
            method = request.method.decode("ascii")
            target, _, query = request.target.decode("latin-1").partition("?")
            path = [urllib.parse.unquote(one) for one in target.split("/") if one]
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
            host, refused = "", None
            try:
                host = self._listener.admit(method, path, headers, self._address)
            except ApiError as error:
                refused = error
            async with asyncio.timeout(config.body_timeout):
                body, too_long = await self._body(config.max_body_bytes if host else _STRANGERS_BYTES)
            if refused is not None or too_long is not None:
                await self._respond(error_response(refused or too_long or ApiError(400, "HTTPBadRequest", "")))
                return
            self._first = False
            try:
                if method == "GET" and path[3:] == ["stream"]:
                    await self._stream(await self._listener.open(host, query, path, headers))
                    return
                response = await self._listener.answer(method, path, headers, host, body)
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

    def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Say what is wrong with a header."""
        response = error_response(ApiError(error.error_status_hint, "HTTPBadRequest", f"This is no request: {error}"))
        headers = [(b"content-length", b"%d" % len(response.body)), (b"connection", b"close")]
        head = h11.Response(status_code=response.status, headers=headers)
        self._send(head, h11.Data(data=response.body), h11.EndOfMessage())

    async def _body(self, limit: int) -> tuple[bytes, ApiError | None]:
        parts: list[bytes] = []
        size = 0
        while True:
            event = await self._event()
            if isinstance(event, h11.Data):
                size += len(event.data)
                if size > limit:
                    return b"", ApiError(413, "HTTPRequestEntityTooLarge", f"A body has {limit} bytes at most.")
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return b"".join(parts), None
            else:
                raise _Gone

    async def _respond(self, response: Response) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(response.body))]
        head = h11.Response(status_code=response.status, headers=[*headers, *response.headers])
        body = [h11.Data(data=response.body)] if response.body else []
        self._send(head, *body, h11.EndOfMessage())
        await self._flush()

    async def _stream(self, stream: Stream) -> None:
        """Send what comes, and a heartbeat when nothing does, until the agent leaves or does not read."""
        hub, heartbeat = self._listener.hub, self._listener.config.heartbeat
        leaving = asyncio.ensure_future(self._reader.read(1))
        leaving.add_done_callback(lambda _: stream.close())
        transport = self._writer.transport

        def direct(revision: int, line: bytes) -> bool:
            if transport.get_write_buffer_size() or transport.is_closing():
                return False
            self._send_line(line)
            hub.sent(stream, revision)
            return True

        try:
            self._send(h11.Response(status_code=200, headers=_NDJSON))
            while not stream.closed:
                taken = await stream.take(random.uniform(_SPREAD, 1.0) * heartbeat)  # noqa: S311 - not all at once
                if stream.closed:
                    break
                revision, line = taken if taken is not None else (hub.revision, encoded(Delta(revision=hub.revision)))
                self._send_line(line)
                await self._flush()
                hub.sent(stream, revision)
                stream.direct = direct
            if not leaving.done():
                self._send(h11.EndOfMessage())
                await self._flush()
        finally:
            leaving.cancel()
            hub.left(stream)
            self._listener.left(stream.host)

    def _send_line(self, line: bytes) -> None:
        self._writer.write(b"%x\r\n%b\r\n" % (len(line), line))  # a chunk; h11 takes longer than all the rest

    def _send(self, *events: Any) -> None:
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))

    async def _flush(self) -> None:
        if self._writer.transport.get_write_buffer_size():
            async with asyncio.timeout(self._listener.config.slow_timeout):
                await self._writer.drain()


def public(presence: Presence) -> dict[str, Any]:
    """What may be said of a host: to itself, and to administrators."""
    fields = {name: getattr(presence, name) for name in presence.__struct_fields__ if name not in {"due", "followed"}}
    shown: dict[str, Any] = msgspec.to_builtins(fields)
    return shown


def _json(document: dict[str, Any]) -> Response:
    return Response(200, _ENCODER.encode(document))


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise bad_request("HTTPBadRequest", f"Body contains invalid data: {error}") from error
