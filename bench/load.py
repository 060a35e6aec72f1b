"""A lean HTTP/1.1 client in a process of its own: it must not be what is measured.

    python bench/load.py < SPEC(JSON) > RESULT(JSON)

Raw sockets, keep-alive, one request at a time on each connection, one thread and epoll. It sends ready-made bytes and reads of
an answer only its status and length. A request is counted from just before its first byte is sent to its last byte read.
"""

import base64
import select
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence

import msgspec


class Spec(msgspec.Struct, frozen=True):
    """``requests`` are sent in turn, ``count`` in all, at most ``seconds`` long; the first ``warm`` of them are not counted."""

    host: str
    port: int
    requests: tuple[str, ...]
    """Base64."""
    count: int
    connections: int = 8
    warm: int = 0
    seconds: float = 60.0


class Result(msgspec.Struct, frozen=True):
    """Milliseconds; ``statuses`` counts by HTTP status, ``size`` is the last answer's body in bytes."""

    per_second: float
    count: int
    seconds: float
    p50: float
    p90: float
    p99: float
    worst: float
    statuses: dict[str, int]
    size: int
    warm: int = 0


class Connection:
    """One socket and the answer that comes on it."""

    __slots__ = ("begun", "body_from", "received", "sock", "total")

    def __init__(self, host: str, port: int) -> None:
        self.sock = socket.create_connection((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.begun = 0.0
        self.received = b""
        self.total = self.body_from = 0

    def send(self, request: bytes) -> None:
        """Begin."""
        self.received = b""
        self.total = 0
        self.begun = time.perf_counter()
        self.sock.sendall(request)

    def read(self) -> int:
        """Take what is there; the status once the answer is whole, else 0."""
        data = self.sock.recv(262144)
        if not data:
            raise SystemExit(f"the server closed the connection after {self.received[:200]!r}")
        self.received = self.received + data if self.received else data
        if not self.total:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return 0
            self.body_from = end + 4
            head = self.received[:end].lower()
            at = head.find(b"content-length:")
            if at >= 0:
                self.total = self.body_from + int(head[at + 15 :].split(b"\r", 1)[0])
            elif head[9:12] in {b"204", b"304"}:
                self.total = self.body_from
            else:
                raise SystemExit(f"an answer without Content-Length: {head!r}")
        return int(self.received[9:12]) if len(self.received) >= self.total else 0


def load(spec: Spec) -> Result:
    """Send them all."""
    requests = deque(base64.b64decode(text) for text in spec.requests)
    poll = select.epoll()
    connections = {}
    for _ in range(spec.connections):
        connection = Connection(spec.host, spec.port)
        connections[connection.sock.fileno()] = connection
        poll.register(connection.sock, select.EPOLLIN)
    taken: list[float] = []
    statuses: Counter[int] = Counter()
    began, sent, ended, size = time.perf_counter(), 0, 0, 0
    total = spec.warm + spec.count
    for connection in connections.values():
        if sent < total:
            connection.send(requests[0])
            requests.rotate(-1)
            sent += 1
    while ended < sent:
        for number, _ in poll.poll():
            connection = connections[number]
            if not (status := connection.read()):
                continue
            now = time.perf_counter()
            ended += 1
            if ended == spec.warm:
                began = now
            if ended > spec.warm:
                taken.append(now - connection.begun)
                statuses[status] += 1
                size = len(connection.received) - connection.body_from
            if sent < total and now - began < spec.seconds:
                connection.send(requests[0])
                requests.rotate(-1)
                sent += 1
    return msgspec.structs.replace(result(taken, time.perf_counter() - began, statuses, size), warm=spec.warm)


def result(taken: Sequence[float], seconds: float, statuses: Counter[int], size: int) -> Result:
    """Percentiles."""
    ordered = sorted(1000 * value for value in taken)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)

    return Result(
        per_second=round(len(taken) / seconds, 1),
        count=len(taken),
        seconds=round(seconds, 3),
        p50=at(0.5),
        p90=at(0.9),
        p99=at(0.99),
        worst=round(ordered[-1], 3),
        statuses={str(status): count for status, count in sorted(statuses.items())},
        size=size,
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(load(msgspec.json.decode(sys.stdin.buffer.read(), type=Spec))))
