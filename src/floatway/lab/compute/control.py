"""The compute endpoint from outside: start it, tell it of instances, read where they are.

lab up ─▶ start ─▶ tell(cloud's servers) ─▶ settled          lab exec, trace ─▶ nodes, wires
"""

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from floatway.lab import node
from floatway.lab.api import ask, wait_until
from floatway.lab.compute import wiring
from floatway.lab.compute.records import Instance, read
from floatway.lab.errors import LabError
from floatway.lab.node import Node, start_time
from floatway.lab.served import Server as Process
from floatway.lab.served import free_port
from floatway.model.resources import Server
from floatway.trace.world import Endpoint, Wire

__all__ = [
    "DIRECTORY", "command", "instances", "nodes", "overrides", "running", "servers", "settled", "start", "stop", "tell", "wires",
]  # fmt: skip

DIRECTORY = "compute"
"""Its files' place among the lab's."""
PORT = 8774
"""Nova's, if it is free."""

_START_SECONDS = 30.0


def command(
    lab: str, directory: Path, *, api: str, port: int, plugging_seconds: float = 60.0, python: str = sys.executable
) -> list[str]:
    """What runs it: its process may be killed and started again at any time."""
    options = {
        "--lab": lab,
        "--directory": directory,
        "--api": api,
        "--port": port,
        "--plugging-seconds": plugging_seconds,
    }
    return [python, "-m", "floatway.lab.compute", *(str(word) for pair in options.items() for word in pair)]


def start(lab: str, directory: Path, *, api: str, known: Process | None = None) -> Process:
    """Start it apart from this process, if it does not run; it keeps its port. Its log is compute.log in ``directory``.

    Raises:
        LabError: it does not start; says what it said.
    """
    if known is not None and known.alive:
        return known
    port = int(known.url.rpartition(":")[2]) if known is not None else free_port(PORT)
    url = f"http://127.0.0.1:{port}"
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "compute.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            command(lab, directory, api=api, port=port),
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/",
        )  # fmt: skip

    def ready() -> bool:
        if process.poll() is not None:
            raise LabError(f"the lab's compute endpoint does not start: {log.read_text()[-800:]}")
        try:
            ask(url, "GET", "/compute/v2.1", timeout=5)
        except LabError:
            return False
        return True

    wait_until(ready, f"the lab's compute endpoint answers; see {log}", seconds=_START_SECONDS)
    return Process(url, process.pid, start_time(process.pid))


def stop(directory: Path) -> None:
    """End it, whoever started it and whatever is written anywhere. Its instances stay, until somebody ends their machines."""
    mark, place = [b"-m", b"floatway.lab.compute"], str(directory).encode()
    for pid in node.processes(lambda words: words[1:3] == mark and place in words):
        node.kill(pid)


def tell(url: str, servers: Iterable[Server], remove: Iterable[str] = ()) -> None:
    """Instances as a cloud.yaml names them, whose ports the server knows; ids of those that are to go.

    Raises:
        LabError: the endpoint refuses or does not answer.
    """
    told = [
        {"id": one.id, "name": one.name or one.id, "host": one.host, "project_id": one.project_id} for one in servers
    ]
    ask(url, "POST", "/lab/v1/servers", {"servers": told, "remove": sorted(remove)})


def settled(url: str, *, seconds: float = 120.0) -> None:
    """Wait until nothing is under way with any instance.

    Raises:
        LabError: not in time, or an instance could not be made; says which and why.
    """

    def done() -> bool:
        shown = ask(url, "GET", "/compute/v2.1/servers/detail")["servers"]
        if failed := [one for one in shown if one["status"] == "ERROR"]:
            said = "; ".join(f"{one['name']}: {one['fault']['message']}" for one in failed)
            raise LabError(f"instances that could not be made: {said}")
        return all(one["OS-EXT-STS:task_state"] is None for one in shown)

    wait_until(done, "all instances are made; see: openstack server list", seconds=seconds)


def overrides(url: str) -> dict[str, str]:
    """What an entry in clouds.yaml needs beside the Networking API's address."""
    return {
        "compute_endpoint_override": f"{url}/compute/v2.1",
        "image_endpoint_override": f"{url}/image/v2",
        "identity_endpoint_override": f"{url}/identity/v3",
    }


def instances(directory: Path) -> dict[str, Instance]:
    """All instances by id, as the file has them."""
    return read(directory).instances


def nodes(directory: Path) -> dict[str, Node]:
    """The machines that run, by the instance's name; by its id where another has that name."""
    found: dict[str, Node] = {}
    for one in instances(directory).values():
        if one.node is not None and one.node.alive:
            found[one.id if one.name in found else one.name] = one.node
    return found


def servers(directory: Path) -> dict[str, Server]:
    """All instances as a cloud.yaml would name them, by id."""
    return {
        one.id: Server(id=one.id, name=one.name, project_id=one.project_id, host=one.host)
        for one in instances(directory).values()
    }


def running(directory: Path) -> dict[str, Server]:
    """Those instances that are to run, whether they do or not, by id."""
    known = instances(directory)
    return {id_: one for id_, one in servers(directory).items() if known[id_].want == "running"}


def wires(directory: Path, names: Mapping[str, str]) -> tuple[Wire, ...]:
    """The cable of each interface of the machines in ``names`` (by instance's id), as the tracer wants to know them."""
    return tuple(
        Wire(wiring.tap(nic.port), (Endpoint(names[one.id], nic.device), Endpoint(one.host, wiring.tap(nic.port))))
        for one in instances(directory).values()
        if one.id in names
        for nic in one.nics
    )
