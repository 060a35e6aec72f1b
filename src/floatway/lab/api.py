"""The lab's words with its server: plain JSON over loopback.

ask("http://127.0.0.1:9696", "GET", "/v2.0/ports") ─▶ {"ports": […]}
"""

import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import msgspec

from floatway.lab.errors import LabError

__all__ = ["RefusedError", "ask", "wait_applied", "wait_until"]

_SECONDS = 60.0


class RefusedError(LabError):
    """The server refused. ``status`` is HTTP's, ``document`` what it said."""

    def __init__(self, status: int, message: str, document: Any) -> None:
        super().__init__(message)
        self.status = status
        self.document = document


def ask(url: str, method: str, path: str, body: object = None, *, timeout: float = _SECONDS) -> Any:
    """The answer's document; None when it has none.

    Raises:
        RefusedError: the server says no.
        LabError: it does not answer.
    """
    data = None if body is None else msgspec.json.encode(body)
    request = urllib.request.Request(url + path, data=data, method=method)  # noqa: S310 - our own server
    request.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            text = answer.read()
    except urllib.error.HTTPError as error:
        raise _refused(error.code, error.read()) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise LabError(f"the lab's server at {url} does not answer: {reason}; mend it with: floatway lab up") from error
    return msgspec.json.decode(text) if text else None


def _refused(status: int, text: bytes) -> RefusedError:
    try:
        document = msgspec.json.decode(text)
    except msgspec.DecodeError:
        document = None
    told = document.get("NeutronError") if isinstance(document, dict) else None
    message = told["message"] if isinstance(told, dict) else text[:300].decode(errors="replace")
    return RefusedError(status, message, document)


def wait_applied(url: str, *, seconds: float = 60.0, revision: int | None = None) -> None:
    """Wait until every host concerned has applied the revision (None: the newest).

    Raises:
        LabError: some have not; says which, and what failed there.
    """
    query: dict[str, float] = {"timeout": seconds} | ({} if revision is None else {"revision": revision})
    try:
        ask(url, "GET", f"/floatway/v1/wait?{urllib.parse.urlencode(query)}", timeout=seconds + 10)
    except RefusedError as refused:
        raise LabError(str(refused)) from refused


def wait_until(done: Callable[[], bool], what: str, *, seconds: float = 60.0) -> None:
    """Ask again and again, 20 ms apart, until ``done``.

    Raises:
        LabError: not within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise LabError(f"after {seconds:g} s still not so: {what}")
        time.sleep(0.02)
