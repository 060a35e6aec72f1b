"""Our server for the benchmarks: a process of its own on loopback, filled through its own API; and etcd where it is asked for."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BULK = 250
"""Ports in one request while filling."""
PER_NETWORK = 1000
QUOTAS = ("network", "subnet", "port", "router", "floatingip", "security_group", "security_group_rule")

CONFIG = """
[server]
port = {port}
[store]
url = "{store}"
[network]
default_quotas = {{ {quotas} }}
"""


class Api:
    """A running server, and requests to it that are not measured."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.process = process
        self.port = port

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The decoded answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            raw = answer.read()
            if answer.status >= 400:
                raise SystemExit(f"{method} {path}: {answer.status} {raw[:500]!r}")
            return json.loads(raw) if raw else None
        finally:
            connection.close()

    def rss_mib(self) -> float:
        """Resident memory of the server's process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return round(int(status.partition("VmRSS:")[2].split()[0]) / 1024, 1)

    def cpu_seconds(self) -> float:
        """Processor time of the server's process so far, its threads' too."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def fill(self, ports: int) -> list[str]:
        """Networks of a thousand ports each until there are ``ports``; their ids."""
        ids: list[str] = []
        for number in range(-(-ports // PER_NETWORK)):
            network = self.call("POST", "/v2.0/networks", {"network": {"name": f"net{number}"}})["network"]["id"]
            cidr = f"10.{number}.0.0/16"
            self.call("POST", "/v2.0/subnets", {"subnet": {"network_id": network, "ip_version": 4, "cidr": cidr}})
            for begin in range(0, min(PER_NETWORK, ports - number * PER_NETWORK), BULK):
                wanted = [{"network_id": network, "name": f"port{number}-{begin + n}"} for n in range(BULK)]
                ids += [port["id"] for port in self.call("POST", "/v2.0/ports", {"ports": wanted})["ports"]]
        return ids


@contextlib.contextmanager
def serving(store: str, directory: Path, more: str = "") -> Iterator[Api]:
    """A server on that store until the block ends; ``directory`` takes its log and its configuration, to which ``more`` belongs."""
    port = free_port()
    config = directory / "server.toml"
    quotas = ", ".join(f"{noun} = -1" for noun in QUOTAS)
    config.write_text(CONFIG.format(port=port, store=store, quotas=quotas) + more)
    with (directory / "server.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "floatway", "server", "--config", config], stderr=log)
    try:
        wait_for(port, process, directory / "server.log")
        yield Api(process, port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextlib.contextmanager
def etcd(directory: Path, members: int = 3) -> Iterator[str]:
    """A cluster on loopback until the block ends; its store's URL."""
    ports = [(free_port(), free_port()) for _ in range(members)]
    cluster = ",".join(f"m{n}=http://127.0.0.1:{peer}" for n, (_, peer) in enumerate(ports))
    started = []
    try:
        for number, (client, peer) in enumerate(ports):
            argv = ["etcd", "--name", f"m{number}", "--data-dir", str(directory / f"etcd{number}")]
            for option, port in (("client", client), ("peer", peer)):
                argv += [f"--listen-{option}-urls", f"http://127.0.0.1:{port}"]
            argv += ["--advertise-client-urls", f"http://127.0.0.1:{client}"]
            argv += ["--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}", "--initial-cluster", cluster]
            with (directory / f"etcd{number}.log").open("wb") as log:
                started.append(subprocess.Popen(argv, stdout=log, stderr=log))
        for (client, _), process in zip(ports, started, strict=True):
            wait_for(client, process, directory / "etcd0.log")
        yield "etcd://" + ",".join(f"127.0.0.1:{client}" for client, _ in ports) + "/bench"
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A directory on a real disk: a commit that is durable is part of the figure, and /tmp may be memory."""
    made = Path(tempfile.mkdtemp(prefix="floatway-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until a connection is accepted."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"{process.args!r} did not come up:\n{log.read_text()[-3000:]}")
