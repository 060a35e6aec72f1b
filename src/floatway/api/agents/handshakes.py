"""A TCP socket with TLS, whose handshakes do not hold up everybody else: each costs a millisecond in which nobody is answered.

    accept ─▶ from where a host is connected ────────────────▶ handshake at once, as long as its allowance lasts
           └▶ from elsewhere ─▶ waits, a line per address ──▶ one after another, a line at a time, so many a second

So a flood has its own line for the most part, and an agent that comes for the first time, or a thousand after a restart, get
their turn. When too many wait, the longest line makes way.
"""

import asyncio
import collections
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

import structlog

from floatway.api.agents.allowance import Allowance

__all__ = ["Handshakes"]

_LOG: Final = structlog.get_logger("floatway.agents")
RATE: Final = 500.0
"""Strangers' handshakes a second, of all lines: half of what a core can do. A thousand hosts are back within seconds."""
RATE_OF_ONE: Final = 10.0
"""As many for each line that waits: a host needs one, then it is known. So few meet a request that its 99th percentile stays."""
AT_ONCE: Final = 100
"""Strangers' that may be under way: so many could send what is costly in one moment."""
SECONDS: Final = 10.0
STRANGERS_SECONDS: Final = 3.0
"""For each that is under way; who takes longer tries again, and others get on meanwhile."""
COST: Final = 64 * 1024
"""Of a known host's allowance: 32 handshakes at once, then 4 a second."""
_UNUSED: Final = 0.5
"""Seconds in which nobody waited that are made good by going faster."""


class Handshakes:
    """Lets connections in from ``start`` to ``close``."""

    def __init__(
        self,
        protocol: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext,
        known: Callable[[str], bool],
        *,
        waiting: int,
    ) -> None:
        """``protocol`` makes what takes a connection; ``known`` tells whether a host is connected from an address; ``waiting``
        strangers may wait for their turn."""
        self._protocol = protocol
        self._tls = tls
        self._known = known
        self._most = waiting
        self.lines: collections.OrderedDict[str, collections.deque[socket.socket]] = collections.OrderedDict()
        """Who waits, by address; the first has the next turn."""
        self.waiting = 0
        self._come = asyncio.Event()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._allowances: dict[str, Allowance] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._socket: socket.socket | None = None

    def start(self, bind: str, port: int) -> None:
        """Listen.

        Raises:
            OSError: it cannot.
        """
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        self._socket = socket.create_server((bind, port), family=family, backlog=1024)
        self._socket.setblocking(False)
        self._run(self._accept(self._socket))
        self._run(self._take_turns())

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._socket.getsockname()[1]) if self._socket is not None else 0

    async def close(self) -> None:
        """Let nobody in any more; who is in stays."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for line in self.lines.values():
            for waiting in line:
                waiting.close()
        self.lines.clear()
        if self._socket is not None:
            self._socket.close()

    def _run(self, what: "collections.abc.Coroutine[None, None, None]") -> "asyncio.Task[None]":
        task = asyncio.create_task(what)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, peer = await loop.sock_accept(listening)
            except OSError as error:  # no descriptor is left; some will be
                _LOG.warning("an agent's connection cannot be accepted", error=str(error))
                await asyncio.sleep(1.0)
                continue
            if self._is_free(peer[0]):
                self._run(self._shake(accepted, SECONDS))
            else:
                self._queue(peer[0], accepted)
            await asyncio.sleep(0)  # others have their turn, however many stand at the door

    def _is_free(self, address: str) -> bool:
        if not self._known(address):
            self._allowances.pop(address, None)
            return False
        return self._allowances.setdefault(address, Allowance()).owed(COST) == 0

    def _queue(self, address: str, accepted: socket.socket) -> None:
        self.lines.setdefault(address, collections.deque()).append(accepted)
        self.waiting += 1
        if self.waiting > self._most:
            longest = max(self.lines, key=lambda one: len(self.lines[one]))
            self._next(longest).close()
        self._come.set()

    def _next(self, address: str) -> socket.socket:
        """The first of a line, which then is the last that has its turn again."""
        line = self.lines[address]
        first = line.popleft()
        self.waiting -= 1
        if line:
            self.lines.move_to_end(address)
        else:
            del self.lines[address]
        return first

    async def _take_turns(self) -> None:
        clock = asyncio.get_running_loop().time
        at = clock()
        while True:
            await self._slots.acquire()
            while not self.lines:
                self._come.clear()
                await self._come.wait()
            task = self._run(self._shake(self._next(next(iter(self.lines))), STRANGERS_SECONDS))
            task.add_done_callback(lambda _: self._slots.release())
            at = max(at, clock() - _UNUSED) + 1 / min(RATE, RATE_OF_ONE * max(1, len(self.lines)))
            await asyncio.sleep(at - clock())

    async def _shake(self, accepted: socket.socket, seconds: float) -> None:
        try:
            with contextlib.suppress(OSError, TimeoutError):  # what it says is no TLS, or it left
                await asyncio.get_running_loop().connect_accepted_socket(
                    self._protocol, accepted, ssl=self._tls, ssl_handshake_timeout=seconds
                )
        except asyncio.CancelledError:
            accepted.close()
            raise
