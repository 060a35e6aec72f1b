"""The compute endpoint as a process: HTTP/1.1 on loopback, everything in one thread, so that forks into machines find no other.

python -m floatway.lab.compute --lab NAME --directory DIR --api http://127.0.0.1:9696 --port 8774
"""

import argparse
import asyncio
import contextlib
import errno
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import h11
import msgspec
import structlog

from floatway.agent.networking import Login, Networking
from floatway.lab import lab as labs
from floatway.lab.compute.app import Answer, App
from floatway.lab.compute.doors import Doors
from floatway.lab.compute.keeper import Keeper
from floatway.lab.compute.ports import Ports
from floatway.lab.compute.records import Records
from floatway.lab.errors import LabError
from floatway.lab.node import Node

__all__ = ["Options", "main", "run"]

_LOG: Final = structlog.get_logger("floatway.lab.compute")
_BODY_BYTES: Final = 4 << 20
_IDLE_SECONDS: Final = 75.0
_PORT_SECONDS: Final = 5.0
_PLUGGING_SECONDS: Final = 60.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to run it. ``plugging_seconds`` 0: do not wait for ports to become ACTIVE (hosts without an agent)."""

    lab: str
    directory: Path
    api: str
    port: int
    plugging_seconds: float = _PLUGGING_SECONDS


def main() -> None:
    """The entry point of ``python -m floatway.lab.compute``."""
    parser = argparse.ArgumentParser(prog="floatway.lab.compute", description=__doc__)
    parser.add_argument("--lab", required=True, help="the lab's name")
    parser.add_argument("--directory", required=True, type=Path, help="where instances are remembered")
    parser.add_argument("--api", required=True, help="the lab's server: http://127.0.0.1:9696")
    parser.add_argument("--port", required=True, type=int, help="TCP port on 127.0.0.1")
    parser.add_argument("--plugging-seconds", type=float, default=_PLUGGING_SECONDS, help="0: do not wait for ACTIVE")
    try:
        asyncio.run(run(Options(**vars(parser.parse_args()))))
    except (OSError, msgspec.DecodeError) as error:
        sys.exit(f"cannot serve instances: {error}")


async def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT; instances stay.

    Raises:
        OSError: the port is taken.
        msgspec.DecodeError: the file of instances is none of ours.
    """
    records = Records(options.directory)
    ports = Ports(Networking(Login(endpoint=options.api)))

    def hosts() -> Mapping[str, Node]:
        try:
            return {name: node for name, node in labs.load(options.lab).nodes.items() if node.role == "compute"}
        except LabError:
            return {}

    keeper = Keeper(options.lab, records, ports, hosts, plugging_seconds=options.plugging_seconds)
    doors = Doors(hosts, (int(options.api.rpartition(":")[2]), options.port))
    app = App(f"http://127.0.0.1:{options.port}", records, keeper, ports, hosts, doors=doors)
    await doors.open()
    server = await _listen(app, options.port)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    keeper.start()
    _LOG.info("serving instances", port=options.port, lab=options.lab, instances=len(records.all))
    await stop.wait()
    server.close()
    doors.close()
    await keeper.stop()


async def _listen(app: App, port: int) -> asyncio.Server:
    """A process before this one may have been killed while a child of it, on its way into a machine, holds the port for a moment."""
    deadline = time.monotonic() + _PORT_SECONDS
    while True:
        try:
            return await asyncio.start_server(
                lambda reader, writer: _connected(app, reader, writer), "127.0.0.1", port, limit=_BODY_BYTES
            )
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


async def _connected(app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, request after request."""
    http = h11.Connection(h11.SERVER)
    try:
        while True:
            async with asyncio.timeout(_IDLE_SECONDS):
                asked = await _request(http, reader)
            if asked is None:
                return
            request, body = asked
            answer = await _answer(app, request, body)
            payload = msgspec.json.encode(answer.document) if answer.document is not None else b""
            headers = [("content-type", "application/json")] if payload else []
            if answer.status != 204:
                headers.append(("content-length", str(len(payload))))
            for event in (h11.Response(status_code=answer.status, headers=headers), h11.Data(data=payload)):
                writer.write(http.send(event) or b"")
            writer.write(http.send(h11.EndOfMessage()) or b"")
            await writer.drain()
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return
            http.start_next_cycle()
    except (h11.ProtocolError, ConnectionError, TimeoutError, EOFError):
        pass
    finally:
        with contextlib.suppress(Exception):
            writer.close()


async def _request(http: h11.Connection, reader: asyncio.StreamReader) -> tuple[h11.Request, bytes] | None:
    """The next request with its body; None when the client has left."""
    request: h11.Request | None = None
    parts: list[bytes] = []
    size = 0
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(1 << 16))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            size += len(event.data)
            if size > _BODY_BYTES:
                raise EOFError
            parts.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            return request, b"".join(parts)
        else:
            return None


async def _answer(app: App, request: h11.Request, body: bytes) -> Answer:
    """The application's; a fault of ours is told as one."""
    path, _, query = request.target.decode("ascii", "replace").partition("?")
    if any(name == b"origin" for name, _ in request.headers):
        return Answer(403, {"forbidden": {"code": 403, "message": "Web pages are not served."}})
    try:
        return await app(request.method.decode(), tuple(part for part in path.split("/") if part), query, body)
    except Exception:
        _LOG.exception("a request failed", method=request.method.decode(), path=path)
        return Answer(500, {"computeFault": {"code": 500, "message": "Unexpected error; see the lab's compute.log"}})
