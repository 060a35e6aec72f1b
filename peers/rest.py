"""A JSON request and its answer, with the standard library only."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, NamedTuple


class RestError(Exception):
    """The other side refused, or there is none."""

    def __init__(self, method: str, url: str, status: int, text: str) -> None:
        super().__init__(f"{method} {url}: {status or 'no answer'}: {text[:500]}")
        self.status = status


class Answer(NamedTuple):
    """Headers as they came, and the decoded body."""

    headers: Mapping[str, str]
    body: Any


def call(method: str, url: str, body: object = None, token: str = "") -> Answer:
    """One request. Raises RestError for every status from 400 on, and when nobody answers."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token:
        headers["X-Auth-Token"] = token
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            raw = answer.read()
            return Answer(dict(answer.headers), json.loads(raw) if raw else None)
    except urllib.error.HTTPError as error:
        raise RestError(method, url, error.code, error.read().decode(errors="replace")) from error
    except OSError as error:
        raise RestError(method, url, 0, str(error)) from error


def answers(url: str) -> bool:
    """Whether anybody is there, whatever the status."""
    try:
        call("GET", url)
    except RestError as error:
        return error.status != 0
    return True


def wait_for(url: str, alive: "object", patience: float = 90) -> bool:
    """Whether somebody answers there in time; gives up when ``alive()`` says that the process is gone."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if answers(url):
            return True
        if callable(alive) and not alive():
            return False
        time.sleep(0.2)
    return False
