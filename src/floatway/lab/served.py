"""A lab that runs as a cloud does: one server on this machine, one agent in each compute host, everything said through the API.

    this machine                         cy2-compute02 (a lab machine)
    floatway server 127.0.0.1:9696 ◀──── agents.sock ──── floatway agent, started again whenever it ends

/var/lib/floatway/lab/NAME/server.toml   cloud.db   agents.sock   HOST.toml   HOST.key   *.log      seen from inside the machines too
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import msgspec

from floatway.lab import enter
from floatway.lab.api import ask, wait_applied, wait_until
from floatway.lab.errors import LabError
from floatway.lab.node import Node, kill, processes, start_time, state
from floatway.model.cloud import Cloud
from floatway.model.resources import Host

__all__ = [
    "VAR",
    "Server",
    "agents",
    "following",
    "load",
    "pause",
    "paused",
    "start_agent",
    "start_server",
    "stop",
    "view",
    "wait_active",
    "wait_followed",
]

VAR = Path("/var/lib/floatway/lab")
PORT = 9696
_START_SECONDS = 30.0


class Server(msgspec.Struct, frozen=True):
    """The lab's server: where it listens, and which process it is."""

    url: str
    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Does it run?"""
        return start_time(self.pid) == self.started


def start_server(name: str, known: Server | None) -> Server:
    """The lab's server, started if it does not run. It keeps its port and its store.

    Raises:
        LabError: it does not start; says what it said.
    """
    if known is not None and known.alive:
        return known
    directory = VAR / name
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    port = int(known.url.rpartition(":")[2]) if known is not None else free_port(PORT)
    config = directory / "server.toml"
    config.write_text(
        toml(
            {
                "server": {"bind": "127.0.0.1", "port": port},
                "store": {"url": f"sqlite://{directory}/cloud.db"},
                "agents": {"socket": str(directory / "agents.sock")},
                "log": {"access": False},
            }
        )
    )
    log = directory / "server.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "floatway", "server", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd="/",
            env=_environment(directory),
        )
    server = Server(f"http://127.0.0.1:{port}", process.pid, start_time(process.pid))

    def ready() -> bool:
        if process.poll() is not None:
            raise LabError(f"the lab's server does not start: {log.read_text()[-800:]}")
        try:
            ask(server.url, "GET", "/healthz", timeout=5)
        except LabError:
            return False
        return True

    wait_until(ready, "the lab's server answers", seconds=_START_SECONDS)
    return server


def _environment(directory: Path) -> dict[str, str]:
    """Of the lab's daemons: what Python compiles stays with the lab, so that a killed one starts again as fast as an installed one does,
    and nothing is written beside the sources."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(directory / "pycache")}


def start_agent(name: str, server: Server, node: Node, host: Host) -> None:
    """The agent of a compute host, with a key of its own; runs already: nothing is done.

    Raises:
        LabError: the server does not let the host in.
    """
    directory = VAR / name
    key, config = directory / f"{host.name}.key", directory / f"{host.name}.toml"
    if not key.exists():
        token = ask(server.url, "POST", f"/floatway/v1/hosts/{host.name}/tokens")["token"]
        joined = ask_socket(directory / "agents.sock", "/v1/join", {"host": host.name, "secret": token["secret"]})
        aside = key.with_suffix(".new")
        aside.touch(mode=0o600)
        aside.write_text(joined["key"])
        aside.replace(key)
    pins = msgspec.to_builtins(host.pins)
    config.write_text(
        toml(
            {
                "host": host.name,
                "servers": [f"unix:{directory / 'agents.sock'}"],
                "key_file": str(key),
                "tunnel_ip": host.tunnel_ip,
                "agent_mode": host.agent_mode,
                "datapath_type": host.datapath_type,
                "bridge_mappings": host.bridge_mappings,
                "bridge_nics": host.bridge_nics,
                "pins": {what: numbers for what, numbers in pins.items() if numbers},
            }
        )
    )
    enter.call(node, _spawn_agent, str(config), str(directory / f"{host.name}.log"))


def _spawn_agent(config: str, log: str) -> None:
    """In the machine: an agent that is started again whenever it ends, as systemd would, unless one is there already."""
    command = f'while :; do "{sys.executable}" -m floatway agent --config "{config}" >>"{log}" 2>&1; sleep 0.2; done'
    argv = ["sh", "-c", command]
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().split(b"\0")[:3] == [a.encode() for a in argv]:
                return
        except OSError:
            continue
    subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env=_environment(Path(config).parent),
    )


def pause(node: Node, *, stop: bool) -> bool:
    """Have the agent of a compute host do nothing (SIGSTOP), or go on; whether there is one."""
    return enter.call(node, _signal_agent, signal.SIGSTOP if stop else signal.SIGCONT)


def _signal_agent(number: int) -> bool:
    found = list(agents())
    for pid in found:
        os.kill(pid, number)
    return bool(found)


def paused(node: Node) -> bool:
    """Was the agent of a compute host told to do nothing?"""
    return enter.call(node, _is_stopped)


def _is_stopped() -> bool:
    return any(state(pid) == "T" for pid in agents())


def agents() -> Iterator[int]:
    """The agents' processes on the machine that the caller is in."""
    return processes(lambda words: words[1:4] == [b"-m", b"floatway", b"agent"])


def load(server: Server, cloud: Cloud, before: Cloud) -> None:
    """Tell the server the cloud: what is in it is made so, what ``before`` had and it has not goes. The rest is not touched.

    Raises:
        LabError: the server refuses; nothing has changed.
    """
    tables = ("floating_ips", "ports", "routers", "subnets", "networks", "security_groups", "hosts")
    gone = {table: sorted(getattr(before, table).keys() - getattr(cloud, table).keys()) for table in tables}
    there = {table: getattr(view(server), table) for table in tables}
    remove = {table: [id_ for id_ in ids if id_ in there[table]] for table, ids in gone.items()}
    ask(server.url, "POST", "/floatway/v1/cloud", {"cloud": cloud, "remove": {k: v for k, v in remove.items() if v}})


def view(server: Server) -> Cloud:
    """All of the cloud as hosts realise it.

    Raises:
        LabError: the server does not answer.
    """
    return msgspec.convert(ask(server.url, "GET", "/floatway/v1/cloud")["cloud"], Cloud)


def following(server: Server) -> frozenset[str]:
    """The hosts whose agents follow the server.

    Raises:
        LabError: the server does not answer.
    """
    hosts = ask(server.url, "GET", "/floatway/v1/hosts")["hosts"]
    return frozenset(one["host"] for one in hosts if one["connected"])


def wait_followed(server: Server, hosts: Set[str]) -> None:
    """Wait until the agents of the hosts follow the server, and have applied all that it was told.

    Raises:
        LabError: they do not in time; says which, and what failed.
    """
    wait_until(
        lambda: hosts <= following(server),
        f"the agents of {', '.join(sorted(hosts))} follow; see: floatway agent status",
    )
    wait_applied(server.url)


def wait_active(server: Server, cloud: Cloud) -> None:
    """Wait until the ports of the cloud's instances are ACTIVE.

    Raises:
        LabError: they are not in time.
    """
    wanted = {port.id for port in cloud.ports.values() if port.device_id in cloud.servers}

    def active() -> bool:
        shown = ask(server.url, "GET", "/v2.0/ports?fields=id&fields=status")["ports"]
        return wanted <= {port["id"] for port in shown if port["status"] == "ACTIVE"}

    wait_until(active, f"the ports of {len(cloud.servers)} instances are ACTIVE; see: openstack port list")


def stop(name: str) -> None:
    """End the lab's server, whoever started it and whatever state file there is."""
    config = str(VAR / name / "server.toml").encode()
    for pid in processes(lambda words: config in words and b"server" in words):
        kill(pid)


def free_port(wanted: int) -> int:
    """A TCP port of 127.0.0.1: the one that is wanted if nobody has it, else any."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise LabError("no TCP port is free on 127.0.0.1")


def ask_socket(path: Path, target: str, body: object) -> Any:
    """The answer to a POST over a Unix socket.

    Raises:
        LabError: there is none, or it is a refusal.
    """
    import http.client  # noqa: PLC0415 (only here)

    connection = http.client.HTTPConnection("localhost", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(str(path))
        connection.request("POST", target, msgspec.json.encode(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        document = answer.read()
    except OSError as error:
        raise LabError(f"{path}: {error.strerror or error}") from error
    finally:
        connection.close()
    if answer.status >= 300:
        raise LabError(f"{target}: {document[:300].decode(errors='replace')}")
    return msgspec.json.decode(document)


def toml(table: dict[str, Any]) -> str:
    """A TOML text: plain values first, tables after them."""
    plain = [f"{key} = {_value(value)}" for key, value in table.items() if not isinstance(value, dict)]
    tables = [
        "\n".join([f"[{key}]", *(f"{_key(k)} = {_value(v)}" for k, v in value.items())])
        for key, value in table.items()
        if isinstance(value, dict)
    ]
    return "\n\n".join(["\n".join(plain), *tables]).strip() + "\n"


def _key(key: str) -> str:
    return msgspec.json.encode(key).decode()


def _value(value: Any) -> str:
    """Inline. A JSON string is a TOML basic string."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return msgspec.json.encode(value).decode()
