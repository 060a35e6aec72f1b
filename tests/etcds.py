"""Three etcd members of our own on loopback, to be killed, paused and started again; and a wire to cut between us and one."""

import asyncio
import contextlib
import shutil
import signal
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody has now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Cluster:
    """Members by number. They end with us, however we end."""

    def __init__(self, directory: Path, size: int = 3, tls: Path | None = None) -> None:
        """``tls`` has certificate.pem and key.pem for those who listen."""
        ports = free_ports(2 * size)
        self._tls = tls
        self.directory = directory
        self.ports, self._peers = ports[:size], ports[size:]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.paused: set[int] = set()

    @property
    def size(self) -> int:
        return len(self.ports)

    def url(self, prefix: str, *, first: int = 0) -> str:
        """A store there; the member to be asked first."""
        order = [*range(first, self.size), *range(first)]
        return f"etcd://{','.join(f'127.0.0.1:{self.ports[member]}' for member in order)}/{prefix}"

    def start(self, member: int) -> None:
        cluster = ",".join(f"m{n}=http://127.0.0.1:{port}" for n, port in enumerate(self._peers))
        scheme = "https" if self._tls else "http"
        client, peer = f"{scheme}://127.0.0.1:{self.ports[member]}", f"http://127.0.0.1:{self._peers[member]}"
        options = {
            "name": f"m{member}",
            "data-dir": str(self.directory / f"m{member}"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": cluster,
            "initial-cluster-state": "new",
            "heartbeat-interval": "50",
            "election-timeout": "500",
            "logger": "zap",
            "log-level": "error",
        }
        if self._tls:
            options |= {"cert-file": str(self._tls / "certificate.pem"), "key-file": str(self._tls / "key.pem")}
        with (self.directory / f"m{member}.log").open("ab") as log:
            self._processes[member] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "etcd", *(f"--{name}={value}" for name, value in options.items())],
                stdout=log,
                stderr=log,
            )

    def kill(self, member: int) -> None:
        process = self._processes.pop(member)
        process.kill()
        process.wait()
        self.paused.discard(member)

    def pause(self, member: int) -> None:
        """It stays connected and says nothing."""
        self._processes[member].send_signal(signal.SIGSTOP)
        self.paused.add(member)

    def resume(self, member: int) -> None:
        self._processes[member].send_signal(signal.SIGCONT)
        self.paused.discard(member)

    def alive(self) -> set[int]:
        return set(self._processes) - self.paused

    def mend(self) -> None:
        """All members up and with a leader."""
        self.revive()
        self.wait()

    def revive(self) -> None:
        """Start and resume what is not running. In the main thread: a member ends with the thread that started it."""
        for member in range(self.size):
            if member in self.paused:
                self.resume(member)
            if member not in self._processes:
                self.start(member)

    def wait(self) -> None:
        """Until all members have a leader."""
        for port in self.ports:
            while not _healthy(f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"):
                self._refuse_dead()

    def _refuse_dead(self) -> None:
        for member, process in self._processes.items():
            assert process.poll() is None, (self.directory / f"m{member}.log").read_text()[-2000:]

    def stop(self) -> None:
        for member in list(self._processes):
            self.kill(member)


def _healthy(url: str) -> bool:
    anybody = ssl._create_unverified_context()
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=1, context=anybody) as answer:
            return b"true" in answer.read()
    except (OSError, urllib.error.URLError):
        return False


@contextlib.contextmanager
def running(directory: Path, size: int = 3, tls: Path | None = None) -> Iterator[Cluster]:
    """A healthy cluster, gone afterwards."""
    assert shutil.which("etcd"), "Debian's etcd-server is missing: bin/test installs it"
    cluster = Cluster(directory, size, tls)
    try:
        cluster.mend()
        yield cluster
    finally:
        cluster.stop()


class Wire:
    """A port that leads to a member, until we cut or hold it."""

    def __init__(self, to: int) -> None:
        self._to = to
        self.port = 0
        self.before: Callable[[bytes], bool] = lambda _: False
        """Asked with each request: cut before the member gets it?"""
        self.after: Callable[[bytes], bool] = lambda _: False
        """Asked with each request: cut when the member has answered, before we get it?"""
        self.held: Callable[[bytes], bool] = lambda _: False
        """Asked with each request: from its first answer on, let nothing through and leave the connection open?"""
        self.cuts = 0

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        request = b""

        async def forth() -> None:
            nonlocal request
            while data := await reader.read(1 << 20):
                request = data
                if self.before(data):
                    self.cuts += 1
                    return
                far_writer.write(data)

        async def back() -> None:
            while data := await far_reader.read(1 << 20):
                if self.after(request):
                    self.cuts += 1
                    return
                if self.held(request):
                    self.cuts += 1
                    await asyncio.Event().wait()
                writer.write(data)

        tasks = [asyncio.create_task(forth()), asyncio.create_task(back())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            writer.close()
            far_writer.close()

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator["Wire"]:
        """While it is there."""
        async with asyncio.TaskGroup() as group:
            server = await asyncio.start_server(
                lambda reader, writer: group.create_task(self._carry(reader, writer)), "127.0.0.1", 0
            )
            self.port = server.sockets[0].getsockname()[1]
            try:
                yield self
            finally:
                server.close()
                for task in list(group._tasks):
                    task.cancel()
