"""A thousand simulated agents in one process: each follows its stream, and 10 ms after a line, which is what making a change takes
at the least, says that it stands there.

    python bench/fanout_agents.py < SPEC(JSON) and then one command a line: settled REVISION, heard

Raw sockets, one thread and epoll: it must not be what is measured. Of a line it reads no more than its revision and whether there
is anything in it. Times are of the monotonic clock, which all processes of a machine share.
"""

import json
import select
import socket
import sys
import time
from collections import deque

import msgspec

_LINE = b'{"revision":'
WORK_SECONDS = 0.01


class Spec(msgspec.Struct, frozen=True):
    """Where the door is, and each host's key."""

    port: int
    keys: dict[str, str]


class Heard(msgspec.Struct, frozen=True):
    """Of each line with content: host, revision, seconds. ``bytes_`` counts all that came."""

    lines: list[tuple[str, int, float]]
    bytes_: int


class Host:
    """One agent: its stream, and the connection on which it reports."""

    __slots__ = ("at", "name", "port", "reports", "rest", "stream", "tail")

    def __init__(self, name: str, key: str, port: int) -> None:
        self.name = name
        self.at = 0
        self.rest = b""
        self.stream = socket.create_connection(("127.0.0.1", port))
        self.port = port
        self.reports: socket.socket | None = None
        head = f"HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        self.tail = f"POST /v1/hosts/{name}/reports {head}Content-Length: "
        self.stream.sendall(f"GET /v1/hosts/{name}/stream {head}\r\n".encode())

    def read(self) -> list[tuple[int, bool]]:
        """Revision and whether there is content, of each line that has come whole."""
        data = self.stream.recv(1 << 20)
        if not data:
            raise SystemExit(f"the server let go of {self.name}")
        *whole, self.rest = (self.rest + data).split(b"}\n")
        found = []
        for line in whole:
            at = line.find(_LINE)
            if at >= 0:
                digits, comma, _ = line[at + len(_LINE) : at + len(_LINE) + 24].partition(b",")
                found.append((int(digits), bool(comma)))
        return found

    def report(self, revision: int) -> socket.socket | None:
        """Say that it stands there; the connection for it, when it is new."""
        self.at = revision
        opened = None
        if self.reports is None:
            self.reports = opened = socket.create_connection(("127.0.0.1", self.port))
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = json.dumps({"applied": revision, "fresh": opened is not None})
        self.reports.sendall(f"{self.tail}{len(body)}\r\n\r\n{body}".encode())
        return opened


def main() -> None:
    """Follow until standard input ends."""
    spec = msgspec.json.decode(sys.stdin.readline(), type=Spec)
    print("true", flush=True)
    poll = select.epoll()
    poll.register(0, select.EPOLLIN)
    streams: dict[int, Host] = {}
    answers: dict[int, tuple[str, socket.socket]] = {}
    for name, key in spec.keys.items():
        host = Host(name, key, spec.port)
        streams[host.stream.fileno()] = host
        poll.register(host.stream, select.EPOLLIN)
    lines: list[tuple[str, int, float]] = []
    size = 0
    due: deque[tuple[float, Host, int]] = deque()
    while True:
        wait = max(0.0, due[0][0] - time.monotonic()) if due else None
        for number, _ in poll.poll(wait):
            if number == 0:
                command = sys.stdin.readline().split()
                if not command:
                    return
                print(json.dumps(_answer(command, list(streams.values()), lines, size)), flush=True)
                if command == ["heard"]:
                    lines, size = [], 0
            elif number in streams:
                host = streams[number]
                found = host.read()
                now = time.monotonic()
                lines += [(host.name, revision, now) for revision, content in found if content]
                if found:
                    due.append((now + WORK_SECONDS, host, found[-1][0]))
            else:
                name, reports = answers[number]
                answer = reports.recv(65536)
                if not answer or (answer.startswith(b"HTTP/1.1 ") and b" 200 " not in answer[:16]):
                    raise SystemExit(f"{name}: {answer[:300]!r}")
                size += len(answer)
        while due and due[0][0] <= time.monotonic():
            _, host, revision = due.popleft()
            if (opened := host.report(revision)) is not None:
                answers[opened.fileno()] = host.name, opened
                poll.register(opened, select.EPOLLIN)
            if len(due) % 8 == 0:
                break  # lines that have come meanwhile are noted when they come


def _answer(command: list[str], hosts: list[Host], lines: list[tuple[str, int, float]], size: int) -> object:
    if command[0] == "heard":
        return msgspec.to_builtins(Heard(lines, size))
    return sum(host.at >= int(command[1]) for host in hosts)


if __name__ == "__main__":
    main()
