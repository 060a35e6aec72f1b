"""The ASGI application: from granian's messages to the dispatch and back.

    GET /            versions                     no token needed
    GET /healthz     200 ready | 503 why not      no token needed
    GET /metrics     Prometheus                   no token needed
    GET /openapi.json                             no token needed
        /v2.0/…      the Networking API           authenticated, dispatched, logged, measured
        /floatway/v1/…  operators' calls           the same

Whatever happens inside, the client gets an answer with a request id, and a stack trace stays here.
"""

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final, Protocol

import msgspec
import structlog
from starlette.types import Receive, Scope, Send

from floatway.api.access import permitted
from floatway.api.http import JSON, Request, Response, error_response
from floatway.control.caller import Caller
from floatway.control.errors import ApiError, bad_request

__all__ = ["App", "Finished"]

_LOG: Final = structlog.get_logger("floatway.api")
_PREFIX: Final = "/v2.0"
_OURS: Final = "/floatway/v1"
_READS: Final = frozenset({"GET", "HEAD"})


class Finished(msgspec.Struct, frozen=True):
    """A request that was answered: what logs and metrics are made of. ``noun`` is the first part of its path, if known."""

    method: str
    path: str
    noun: str
    status: int
    seconds: float
    request_id: str
    project_id: str
    peer: str
    bytes_sent: int
    global_request_id: str = ""
    """The caller's own name for what this request is part of (``X-OpenStack-Request-Id``)."""


class Handler(Protocol):
    """What answers below ``/v2.0``."""

    async def __call__(self, request: Request, caller: Caller) -> Response:
        """The answer; an ``ApiError`` becomes its document."""


Authenticate = Callable[[dict[str, str], str], Awaitable[Caller]]
Observe = Callable[[Finished], None]
Extra = Callable[[Scope], Awaitable[Response] | Response]


class Limits(msgspec.Struct, frozen=True):
    """What one request may cost: ``body`` in bytes, ``body_seconds`` until all of it is here."""

    body: int = 16 * 1024 * 1024
    body_seconds: float = 20.0


class App:
    """One server's application. ``plain`` maps paths outside the API (``/healthz``) to what answers them."""

    def __init__(
        self,
        handler: Handler,
        authenticate: Authenticate,
        *,
        nouns: frozenset[str] = frozenset(),
        operator: Handler | None = None,
        revision: Callable[[], int] = lambda: 0,
        plain: dict[str, Extra] | None = None,
        observers: Sequence[Observe] = (),
        limits: Limits | None = None,
    ) -> None:
        """``nouns`` are the collections that metrics may name; ``revision`` is the newest one: a write's answer carries it."""
        self._handlers = {_PREFIX: handler} | ({_OURS: operator} if operator is not None else {})
        self._revision = revision
        self._authenticate = authenticate
        self._nouns = nouns
        self._plain = plain or {}
        self._observers = tuple(observers)
        self._limits = limits or Limits()
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3.0."""
        if scope["type"] == "http":
            self.in_flight += 1
            try:
                await self._http(scope, receive, send)
            finally:
                self.in_flight -= 1
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request_id = f"req-{uuid.uuid4()}"
        path: str = scope["path"]
        client = scope.get("client")
        peer = client[0] if client else ""
        caller: Caller | None = None
        try:
            prefix = next((one for one in self._handlers if path == one or path.startswith(f"{one}/")), None)
            if prefix is not None:
                headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
                caller = await self._caller(headers, peer, scope["method"], path, receive)
                body = await self._body(scope["method"], headers, receive)
                response = await self._handlers[prefix](_request(scope, path, prefix, headers, body), caller)
            else:
                response = await self._other(path, scope)
        except ApiError as error:
            response = error_response(error)
        except _ClientGoneError:
            response = error_response(bad_request("HTTPBadRequest", "The request's body broke off."))
        except Exception:
            _LOG.exception("request failed", request_id=request_id, method=scope["method"], path=path)
            response = error_response(ApiError(500, "HTTPInternalServerError", _INTERNAL))
        told = () if scope["method"] in _READS else ((b"x-floatway-revision", b"%d" % self._revision()),)
        await _send(send, response, request_id, told, head=scope["method"] == "HEAD")
        if self._observers:
            noun = path[len(_PREFIX) + 1 :].partition("/")[0].removesuffix(".json").replace("-", "_")
            finished = Finished(
                scope["method"],
                path,
                noun if noun in self._nouns else "other",
                response.status,
                time.perf_counter() - started,
                request_id,
                caller.project_id if caller is not None else "",
                peer,
                len(response.body),
                _global_id(scope),
            )
            for observe in self._observers:
                observe(finished)

    async def _caller(self, headers: dict[str, str], peer: str, method: str, path: str, receive: Receive) -> Caller:
        """Who asks. The body of one who may not is read, or the connection would break under it, but not kept."""
        try:
            return permitted(await self._authenticate(headers, peer), method, path)
        except ApiError:
            await self._body(method, headers, receive, keep=False)
            raise

    async def _body(self, method: str, headers: dict[str, str], receive: Receive, *, keep: bool = True) -> bytes:
        if method in {"GET", "HEAD"} and "content-length" not in headers and "transfer-encoding" not in headers:
            return b""
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._limits.body:
            raise _too_large(self._limits.body)
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                return await _read(receive, self._limits.body, keep)
        except TimeoutError:
            raise ApiError(408, "HTTPRequestTimeout", "The request's body did not come in time.") from None

    async def _other(self, path: str, scope: Scope) -> Response:
        if path in {"", "/"}:
            if scope["method"] not in {"GET", "HEAD"}:
                raise ApiError(405, "HTTPMethodNotAllowed", "The method is not allowed for this resource.")
            return Response(200, msgspec.json.encode(versions(_base(scope))))
        extra = self._plain.get(path.rstrip("/"))
        if extra is None:
            raise ApiError(404, "HTTPNotFound", "The resource could not be found.")
        answer = extra(scope)
        return answer if isinstance(answer, Response) else await answer


_GLOBAL_ID: Final = re.compile(rb"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def _global_id(scope: Scope) -> str:
    """The id that the caller gave; anything else in its place is not believed."""
    for name, value in scope["headers"]:
        if len(name) == 22 and name.lower() == b"x-openstack-request-id":
            return value.decode() if _GLOBAL_ID.fullmatch(value) else ""
    return ""


_INTERNAL: Final = "Request Failed: internal server error while processing your request."


class _ClientGoneError(Exception):
    """The client left before its request was whole."""


async def _read(receive: Receive, limit: int, keep: bool) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message: MutableMapping[str, Any] = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGoneError
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        if keep:
            parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> ApiError:
    return ApiError(413, "HTTPRequestEntityTooLarge", f"The body of the request is larger than {limit} bytes.")


def _base(scope: Scope) -> str:
    """``http://host:port``, as the client sees it (X-Forwarded-Proto is believed: links only)."""
    host = scheme = ""
    for name, value in scope["headers"]:
        lower = name.lower()
        if lower == b"host":
            host = value.decode("latin-1")
        elif lower == b"x-forwarded-proto":
            scheme = value.decode("latin-1")
    if not host:
        server = scope.get("server") or ("127.0.0.1", 9696)
        host = f"{server[0]}:{server[1]}"
    return f"{scheme or scope.get('scheme', 'http')}://{host}"


def _request(scope: Scope, path: str, prefix: str, headers: dict[str, str], body: bytes) -> Request:
    parts = path[len(prefix) :].split("/")
    if parts[-1].endswith(".json"):
        parts[-1] = parts[-1].removesuffix(".json")
    scheme = headers.get("x-forwarded-proto") or scope.get("scheme", "http")
    return Request(
        scope["method"],
        tuple(part for part in parts if part),
        scope["query_string"].decode("latin-1"),
        headers,
        body,
        f"{scheme}://{headers.get('host', 'localhost')}{path}",
    )


def versions(base: str) -> dict[str, Any]:
    """The version document of ``GET /``."""
    return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": f"{base}{_PREFIX}/"}]}]}


async def _send(
    send: Send, response: Response, request_id: str, told: tuple[tuple[bytes, bytes], ...], *, head: bool
) -> None:
    body = response.body
    headers = [(b"x-openstack-request-id", request_id.encode()), *told, *response.headers]
    if body and not any(name == b"content-type" for name, _ in response.headers):
        headers.append((b"content-type", JSON))
    if response.status != 204:
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def plain_text(text: bytes, content_type: str, status: int = 200) -> Response:
    """An answer that is not JSON."""
    return Response(status, text, ((b"content-type", content_type.encode()),))
