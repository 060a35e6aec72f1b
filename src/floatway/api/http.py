"""One request and its answer, as the dispatch sees them; nothing here knows what the API means.

ASGI scope + body ──▶ Request ──▶ dispatch ──▶ Response ──▶ ASGI messages
"""

from typing import Any

import msgspec

from floatway.control.errors import ApiError, bad_request

__all__ = ["JSON", "NO_CONTENT", "Request", "Response", "error_response"]

JSON = b"application/json"
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder()


class Request(msgspec.Struct, frozen=True):
    """``path`` is split at its slashes, below ``/v2.0``. Header names are lower case."""

    method: str
    path: tuple[str, ...]
    query: str = ""
    headers: dict[str, str] = {}
    body: bytes = b""
    url: str = ""

    def json(self) -> Any:
        """The body as JSON; no body is an empty object, as it is for Neutron.

        Raises:
            ApiError: 400 when it is none.
        """
        if not self.body:
            return {}
        try:
            return _DECODER.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise bad_request("HTTPBadRequest", "Body contains invalid data") from error


class Response(msgspec.Struct, frozen=True):
    """``body`` is what goes on the wire."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


NO_CONTENT = Response(204)


def error_response(error: ApiError) -> Response:
    """The error document of the Networking API; of Keystone's middleware for who is not known."""
    document: dict[str, Any] = {"NeutronError": {"type": error.type, "message": error.message, "detail": error.detail}}
    if error.status == 401:
        document = {"error": {"code": 401, "title": "Unauthorized", "message": error.message}}
    headers = tuple((name.encode(), value.encode("latin-1", "replace")) for name, value in error.headers)
    return Response(error.status, _ENCODER.encode(document), headers)
