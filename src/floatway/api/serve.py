"""Serving: an ASGI application on granian in this process, until a signal says stop.

    SIGTERM ──▶ no new connection ──▶ requests at work end (at most stop_timeout) ──▶ ``serve`` returns ──▶ the store is closed

Granian's own threads read, parse and write HTTP; the application runs in this thread's event loop. What a client may hold on to
is bounded there: a header that does not come, a connection that idles, more connections than there may be.
"""

import asyncio
import contextlib
import ipaddress
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.errors import ConfigurationError
from granian.http import HTTP1Settings
from granian.server.embed import Server

from floatway.api.config import ServerConfig

__all__ = ["ServeError", "notify", "serve"]

_LOG: Final = structlog.get_logger("floatway.server")
START_SECONDS: Final = 20.0


class ServeError(Exception):
    """The server cannot serve. The message says why and how to mend it."""


async def serve(config: ServerConfig, application: Any, *, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM or SIGINT, then let the requests at work end.

    ``ready`` is called once connections are accepted; systemd is told at the same time.

    Raises:
        ServeError: the address is taken, the certificate is not one, the requests at work did not end in time.
    """
    await _free(config)
    server = _server(config, application)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, server.stop, stopping, signal.Signals(number).name)
    serving = asyncio.create_task(server.serve(), name="serve")
    try:
        if await _accepting(config, serving, stopping):
            _LOG.info("serving", url=url(config))
            notify("READY=1")
            ready()
        await asyncio.wait([serving, asyncio.create_task(stopping.wait())], return_when=asyncio.FIRST_COMPLETED)
        notify("STOPPING=1")
        done, _ = await asyncio.wait([serving], timeout=config.stop_timeout)
        if not done:
            loop.set_exception_handler(lambda *_: None)  # granian's callbacks come too late for what is now torn down
            raise ServeError(
                f"requests were still at work {config.stop_timeout:g} s after the signal; they are cut off"
            )
        serving.result()
        if not stopping.is_set():
            raise ServeError("the server ended by itself")
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def url(config: ServerConfig) -> str:
    """Where a client finds it."""
    host = f"[{config.bind}]" if ":" in config.bind else config.bind
    return f"{'https' if config.tls_certificate else 'http'}://{host}:{config.port}"


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)), when it started us and wants to know."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(state.encode(), address)


def _server(config: ServerConfig, application: Any) -> Server:
    try:
        return Server(
            application,
            address=config.bind,
            port=config.port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=round(1000 * config.header_timeout)),
            websockets=False,
            backlog=min(4096, max(128, config.max_connections)),
            backpressure=config.max_connections,
            log_enabled=False,
            ssl_cert=Path(config.tls_certificate) if config.tls_certificate else None,
            ssl_key=Path(config.tls_key) if config.tls_key else None,
            ssl_protocol_min=SSLProtocols.tls12,
        )
    except (OSError, ConfigurationError) as error:
        raise ServeError(f"server.tls_certificate, server.tls_key: {error}") from error


def _stop(stop: Callable[[], object], stopping: asyncio.Event, name: str) -> None:
    if not stopping.is_set():
        _LOG.info("stopping", signal=name)
    stopping.set()
    stop()


async def _free(config: ServerConfig) -> None:
    """Granian shares a port with whoever else does; two servers on one port would take turns."""
    family = socket.AF_INET6 if ":" in config.bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.bind, config.port))
        except OSError as error:
            raise ServeError(
                f"cannot listen on {url(config)}: {error.strerror}; server.bind and server.port choose another"
            ) from error


async def _accepting(config: ServerConfig, serving: "asyncio.Task[None]", stopping: asyncio.Event) -> bool:
    """True once a connection is accepted; False when a signal came first."""
    bind = ipaddress.ip_address(config.bind)
    host = ("::1" if bind.version == 6 else "127.0.0.1") if bind.is_unspecified else config.bind
    async with asyncio.timeout(START_SECONDS):
        while not stopping.is_set():
            if serving.done():
                serving.result()
                raise ServeError(f"cannot serve on {url(config)}")
            with contextlib.suppress(ConnectionError):
                _, writer = await asyncio.open_connection(host, config.port)
                writer.close()
                return True
            await asyncio.sleep(0.01)
    return False
