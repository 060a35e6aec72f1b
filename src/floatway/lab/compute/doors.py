"""In each compute host, the lab's servers at the address that they have outside: 127.0.0.1 there is no way to 127.0.0.1 here.

floatway plug …, openstack …  ─▶ 127.0.0.1:9696, a socket in the host's network, held by this process ─▶ 127.0.0.1:9696 here

What a person types on a real host works on the lab's as it stands. A door goes with its host, or with this process.
"""

import asyncio
import contextlib
import os
import socket
import time
from functools import partial
from typing import Final

import structlog

from floatway.lab.compute.keeper import Hosts
from floatway.lab.node import Node
from floatway.linux import netns

__all__ = ["Doors"]

_LOG: Final = structlog.get_logger("floatway.lab.compute")
_TAKEN_SECONDS: Final = 5.0
_CHUNK: Final = 1 << 16


class Doors:
    """One for each of ``ports`` in each host that lives."""

    def __init__(self, hosts: Hosts, ports: tuple[int, ...]) -> None:
        self._hosts = hosts
        self._ports = ports
        self._open: dict[tuple[Node, int], asyncio.Server] = {}

    async def open(self) -> None:
        """Those that are missing; those of hosts that are gone are closed."""
        wanted = {(node, port) for node in self._hosts().values() if node.alive for port in self._ports}
        for key in self._open.keys() - wanted:
            self._open.pop(key).close()
        for node, port in wanted - self._open.keys():
            try:
                sock = await _listening(node, port)
            except OSError as error:  # somebody there has the port: no reason to do without instances
                _LOG.warning("a host has no way to the lab's server", host=node.name, port=port, error=str(error))
                continue
            self._open[node, port] = await asyncio.start_server(partial(_through, port), sock=sock)

    def close(self) -> None:
        """All of them."""
        while self._open:
            self._open.popitem()[1].close()


async def _listening(node: Node, port: int) -> socket.socket:
    """A process before this one may have been killed while a child of it still holds the port for a moment. Raises OSError."""
    deadline = time.monotonic() + _TAKEN_SECONDS
    while True:
        fd = os.open(f"/proc/{node.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with netns.inside(fd):
                return socket.create_server(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > deadline:
                raise
        finally:
            os.close(fd)
        await asyncio.sleep(0.05)


async def _through(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A connection to a door goes on as another one, to the same port here."""
    try:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:  # the server is dead, and its port would refuse as well
        writer.close()
        return
    await asyncio.gather(_relay(reader, there_writer), _relay(there_reader, writer))


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
