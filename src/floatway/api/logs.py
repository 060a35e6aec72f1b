"""What the server writes about itself: one line an event, JSON for machines or coloured for a person, on standard error.

{"timestamp":"2026-11-23T09:12:01.153Z","level":"info","event":"request","request_id":"req-…","method":"GET","path":"/v2.0/ports",
 "status":200,"seconds":0.0021,"bytes":5120,"project_id":"…","peer":"192.0.2.7"}

A line for each request is on every request's way, so it is made by one encoder call and one write; everything else goes through
structlog, which also takes in what libraries say through ``logging``. Nothing that is named like a secret, or looks like a token,
gets out.
"""

import contextlib
import logging
import os
import re
import sys
import time
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import structlog

from floatway.api.app import Finished
from floatway.api.config import LogConfig

__all__ = ["access_log", "configure", "redact"]

Write = Callable[[bytes], object]
LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
HIDDEN: Final = "********"
LONGEST_PATH: Final = 2048
"""Characters of a request's path in its line."""

_SECRET_KEY: Final = re.compile(r"(?i)password|passwd|secret|token|authorization|api_?key|private_key")
_SECRET_TEXT: Final = re.compile(
    r"gAAAA[\w-]{20,}={0,2}"  # a Fernet token
    r"|(?i:(?<=basic )|(?<=bearer ))[\w+/.~-]{8,}={0,2}"
    r"|(?i:(?<=password\": \")|(?<=password\":\"))[^\"]+"
)
_QUIET: Final = ("httpx", "httpcore", "hpack", "asyncio", "_granian", "granian.access")
"""Libraries that tell of every request they make: only their warnings."""


class _Line(msgspec.Struct, omit_defaults=True):
    """A request's line."""

    timestamp: str
    level: str
    event: str
    request_id: str
    method: str
    path: str
    status: int
    seconds: float
    bytes: int
    global_request_id: str = ""
    project_id: str = ""
    peer: str = ""


def configure(config: LogConfig, write: Write | None = None) -> None:
    """Send structlog's and ``logging``'s lines to ``write``; standard error if None."""
    out = write or to_stderr
    level = LEVELS[config.level]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.add_log_level,
        structlog.processors.format_exc_info,
    ]
    render = _renderer(config)
    structlog.configure(
        processors=[*shared, redact, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Lines(out),
        cache_logger_on_first_use=write is None,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, render],
    )
    handler = _Handler(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def access_log(config: LogConfig, write: Write | None = None) -> Callable[[Finished], None]:
    """What writes a line for each request that was answered; only for failures of ours when the level says so."""
    out = write or to_stderr
    if LEVELS[config.level] > logging.INFO:
        told = access_log(LogConfig(format=config.format), write)
        return lambda finished: told(finished) if finished.status >= 500 else None
    encode = msgspec.json.Encoder().encode
    if config.format == "console":

        def told(finished: Finished) -> None:
            out(_for_a_person(finished).encode())

        return told

    def line(finished: Finished) -> None:
        out(encode(_line(finished)) + b"\n")

    return line


def _line(finished: Finished) -> _Line:
    return _Line(
        now(),
        "error" if finished.status >= 500 else "info",
        "request",
        finished.request_id,
        finished.method,
        finished.path[:LONGEST_PATH],
        finished.status,
        round(finished.seconds, 6),
        finished.bytes_sent,
        finished.global_request_id,
        finished.project_id,
        finished.peer,
    )


def _for_a_person(finished: Finished) -> str:
    clock = time.strftime("%H:%M:%S")
    path = finished.path[:LONGEST_PATH]
    if not path.isprintable():
        path = ascii(path)  # a client writes no lines of its own here, and moves no cursor
    return (
        f"{clock} {finished.status} {finished.method:<6} {path}"
        f"  {1000 * finished.seconds:.1f} ms  {finished.bytes_sent} B  {finished.peer}  {finished.request_id}\n"
    )


def now() -> str:
    """ISO 8601, in UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide values whose name says that they are secret, and what looks like a token inside texts."""
    for key, value in event.items():
        if _SECRET_KEY.search(key):
            event[key] = HIDDEN if value else value
        elif isinstance(value, str):
            event[key] = _SECRET_TEXT.sub(HIDDEN, value)
        elif isinstance(value, dict):
            event[key] = redact(None, "", dict(value))
    return event


def _renderer(config: LogConfig) -> Any:
    if config.format == "console":
        return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    encode = msgspec.json.Encoder(enc_hook=str).encode
    order = ("timestamp", "level", "event")

    def render(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        first = {key: event.pop(key) for key in order if key in event}
        return encode({**first, **event}).decode()

    return render


class _Lines:
    """What structlog writes to: a line whole, or not at all."""

    def __init__(self, out: Write) -> None:
        self._out = out

    def msg(self, message: str) -> None:
        """Write the line."""
        self._out(message.encode(errors="backslashreplace") + b"\n")

    debug = info = warning = warn = error = critical = exception = failure = fatal = log = msg


class _Handler(logging.Handler):
    """``logging``'s side of the same."""

    def __init__(self, out: Write) -> None:
        super().__init__()
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; a record that cannot be formatted is reported by ``logging`` itself."""
        try:
            self._out(self.format(record).encode(errors="backslashreplace") + b"\n")
        except Exception:
            self.handleError(record)


def to_stderr(line: bytes) -> None:
    """One system call for one line. A reader that is gone must not end the server."""
    with contextlib.suppress(OSError):
        os.write(2, line)
