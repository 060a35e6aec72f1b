"""The compute endpoint from outside: start it, tell it of instances, read where they are.

lab up ─▶ start ─▶ tell(cloud's servers) ─▶ settled          lab exec, trace ─▶ nodes, wires
"""

import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from floatway.agent.networking import Login, Networking, NetworkingError, Unreachable
from floatway.lab.compute import wiring
from floatway.lab.compute.records import Instance, read
from floatway.lab.errors import LabError
from floatway.lab.node import Node
from floatway.model.resources import Server
from floatway.trace.world import Endpoint, Wire

__all__ = ["command", "instances", "nodes", "overrides", "settled", "start", "tell", "wires"]

_START_SECONDS = 30.0
_LOOK = 0.02


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


def start(lab: str, directory: Path, *, api: str, port: int) -> int:
    """Start it apart from this process; its log is compute.log in ``directory``. Gives its process id once it listens.

    Raises:
        LabError: it does not start; says what it said.
    """
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "compute.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            command(lab, directory, api=api, port=port),
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/",
        )  # fmt: skip
    deadline = time.monotonic() + _START_SECONDS
    while True:
        if process.poll() is not None:
            raise LabError(f"the lab's compute endpoint does not start: {log.read_text()[-800:]}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise LabError(f"the lab's compute endpoint does not answer on port {port}; see {log}") from error
            time.sleep(_LOOK)
        else:
            return process.pid


def tell(
    url: str, servers: Iterable[Server], remove: Iterable[str] = (), machines: Mapping[str, Node] | None = None
) -> None:
    """Instances as a cloud.yaml names them, whose ports the server knows; ``machines`` are those that run already, by id.

    Raises:
        LabError: the endpoint refuses or does not answer.
    """
    told = [
        {"id": one.id, "name": one.name or one.id, "host": one.host, "project_id": one.project_id,
         "node": (machines or {}).get(one.id)}
        for one in servers
    ]  # fmt: skip
    _call(url, "POST", "/lab/v1/servers", {"servers": told, "remove": list(remove)})


def settled(url: str, *, seconds: float = 120.0) -> None:
    """Wait until nothing is under way with any instance.

    Raises:
        LabError: not in time, or an instance could not be made; says which and why.
    """
    deadline = time.monotonic() + seconds
    while True:
        shown = _call(url, "GET", "/compute/v2.1/servers/detail")["servers"]
        if failed := [one for one in shown if one["status"] == "ERROR"]:
            said = "; ".join(f"{one['name']}: {one['fault']['message']}" for one in failed)
            raise LabError(f"instances that could not be made: {said}")
        busy = [one["name"] for one in shown if one["OS-EXT-STS:task_state"] is not None]
        if not busy:
            return
        if time.monotonic() > deadline:
            raise LabError(f"after {seconds:g} s these instances are still on their way: {', '.join(busy)}")
        time.sleep(_LOOK)


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


def wires(directory: Path) -> tuple[Wire, ...]:
    """The cable of each interface of machines that run, as the tracer wants to know them."""
    alive = {node.id: name for name, node in nodes(directory).items()}
    return tuple(
        Wire(wiring.tap(nic.port), (Endpoint(alive[one.id], nic.device), Endpoint(one.host, wiring.tap(nic.port))))
        for one in instances(directory).values()
        if one.id in alive
        for nic in one.nics
    )


def _call(url: str, method: str, path: str, body: object = None) -> Any:
    client = Networking(Login(endpoint=url))
    try:
        return client.call(method, path, body)
    except (NetworkingError, Unreachable) as error:
        raise LabError(f"the lab's compute endpoint: {error}") from error
    finally:
        client.close()
