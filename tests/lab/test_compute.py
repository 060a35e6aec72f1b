"""Instances by the unmodified ``openstack`` command: the lab's compute endpoint before a real server, on two hosts without agents.

openstack ─▶ compute endpoint ─▶ Networking API          vm1 eth0 ==== tap… h1      vm2 eth0 ==== tap… h2
"""

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from api.processes import PATIENCE, Server, free_port, listening, plain_environment, wait_until
from api.processes import server as networking
from api.test_openstack_client import Client, Step, check, steps
from floatway.lab import enter, fabric, lab, node
from floatway.lab.compute import control
from lab.support import lab_name

pytestmark = pytest.mark.lab

SCENARIO = Path(__file__).parent / "compute.scenario"


class Compute:
    """The endpoint's process, to be killed and started again."""

    def __init__(self, name: str, api: Server, directory: Path) -> None:
        self.name, self.api, self.directory = name, api, directory
        self.port = free_port()
        self.start()

    def start(self, plugging_seconds: float = 0) -> None:
        argv = control.command(
            self.name, self.directory, api=self.api.url, port=self.port, plugging_seconds=plugging_seconds
        )
        with (self.directory / "compute.log").open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, env=plain_environment())
        wait_until(self.answers, "the compute endpoint to answer")
        assert self.process.poll() is None, self.log()

    def answers(self) -> bool:
        if self.process.poll() is not None:
            return True
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.call("GET", "/compute/v2.1")[0] == 200
        return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def log(self) -> str:
        return (self.directory / "compute.log").read_text()

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        answer = Server(self.process, self.port, self.directory).call(method, path, body)
        return answer.status, answer.body

    def server(self, id_: str) -> dict[str, Any]:
        status, document = self.call("GET", f"/compute/v2.1/servers/{id_}")
        return dict(document["server"]) if status == 200 else {"status": "GONE"}

    def create(self, name: str, network: str, **more: Any) -> str:
        body = {"server": {"name": name, "flavorRef": "1", "networks": [{"uuid": network}], **more}}
        status, document = self.call("POST", "/compute/v2.1/servers", body)
        assert status == 202, document
        return str(document["server"]["id"])

    def act(self, id_: str, **action: Any) -> None:
        assert self.call("POST", f"/compute/v2.1/servers/{id_}/action", action)[0] == 202

    def until(self, id_: str, status: str) -> dict[str, Any]:
        wait_until(lambda: self.server(id_)["status"] == status, f"{id_} to be {status}")
        return self.server(id_)


@pytest.fixture
def compute(tmp_path: Path) -> Iterator[Compute]:
    name = lab_name("compute")
    with networking(tmp_path) as api:
        try:
            hosts = {host: node.create(name, host, "compute") for host in ("h1", "h2")}
            lab._write(lab.Lab(name=name, nodes=hosts, fabric=node.create(name, lab.FABRIC, "fabric")))
            endpoint = Compute(name, api, tmp_path)
            try:
                yield endpoint
            finally:
                if endpoint.process.poll() is None:
                    endpoint.stop()
        finally:
            lab.down(name)
    assert not list(node.inits(name))


@pytest.fixture
def network(compute: Compute) -> str:
    """A network with a subnet."""
    id_ = str(compute.api.call("POST", "/v2.0/networks", {"network": {"name": "net1"}}).body["network"]["id"])
    subnet = {"network_id": id_, "cidr": "10.1.0.0/24", "ip_version": 4}
    assert compute.api.call("POST", "/v2.0/subnets", {"subnet": subnet}).status == 201
    return id_


def links(compute: Compute, host: str) -> set[str]:
    return fabric.links(lab.load(compute.name).nodes[host]) - {"lo"}


def inside(compute: Compute, id_: str, *argv: str) -> str:
    one = control.instances(compute.directory)[id_]
    assert one.node is not None
    return str(enter.run(one.node, argv, capture_output=True, text=True, timeout=60).stdout)


def test_a_session_with_the_command(compute: Compute, tmp_path: Path) -> None:
    clouds = tmp_path / "clouds.yaml"
    overrides = control.overrides(f"http://127.0.0.1:{compute.port}")
    cloud = {"auth_type": "none", "auth": {"endpoint": compute.api.url}, **overrides}
    clouds.write_text(json.dumps({"clouds": {"floatway": cloud}}))
    client = Client(compute.api.url, OS_CLIENT_CONFIG_FILE=str(clouds), OS_CLOUD="floatway")
    names: dict[str, str] = {}
    wrong: list[str] = []
    session = list(steps(SCENARIO.read_text()))
    try:
        for step in session:
            wrong += [f"{SCENARIO.name}:{step.line}: {step.command}\n    {told}" for told in tried(step, client, names)]
    finally:
        client.close()
    assert not wrong, "\n" + "\n".join(wrong)
    assert "Traceback" not in compute.log()


def tried(step: Step, client: Client, names: dict[str, str]) -> Iterator[str]:
    """As ``check``, with two words more: ``says`` (a part of the output), ``soon`` (rows that are there in the end)."""
    match step.expected:
        case {"says": text}:
            done = client.run([names.get(word.removeprefix("$"), word) for word in step.command.split()])
            if done["status"] or text not in done["out"]:
                yield f"says: {done['out']}{done['err']}"
        case {"soon": expected}:
            awaited = step._replace(expected=expected)
            deadline = time.monotonic() + PATIENCE
            while told := list(check(awaited, client, names)):
                if time.monotonic() > deadline:
                    yield from told
                    return
        case _:
            yield from check(step, client, names)


def test_an_instance_is_wired_as_its_port_says(compute: Compute, network: str) -> None:
    id_ = compute.create(
        "vm", network, availability_zone="nova:h1", user_data="IyEvYmluL3NoCmVjaG8gaGVsbG8gZnJvbSAkKGhvc3RuYW1lKQo="
    )
    compute.until(id_, "ACTIVE")
    (port,) = compute.api.call("GET", f"/v2.0/ports?device_id={id_}").body["ports"]
    address = port["fixed_ips"][0]["ip_address"]
    assert links(compute, "h1") == {f"tap{port['id']}"[:14]}
    assert links(compute, "h2") == set()
    assert f"{address}/24 brd 10.1.0.255" in inside(compute, id_, "ip", "address", "show", "eth0")
    assert port["mac_address"] in inside(compute, id_, "ip", "link", "show", "eth0")
    assert "default via 10.1.0.1 dev eth0" in inside(compute, id_, "ip", "route")
    log = lambda: compute.call(  # noqa: E731
        "POST", f"/compute/v2.1/servers/{id_}/action", {"os-getConsoleOutput": {}})[1]["output"]  # fmt: skip
    wait_until(lambda: "hello from vm" in log(), "the user's script to speak")
    compute.act(id_, **{"os-stop": None})
    compute.until(id_, "SHUTOFF")
    assert links(compute, "h1") == set()
    (kept,) = compute.api.call("GET", f"/v2.0/ports?device_id={id_}").body["ports"]
    assert kept["binding:host_id"] == "h1"


def gone_or_going(compute: Compute, id_: str) -> bool:
    one = control.instances(compute.directory).get(id_)
    return one is None or one.want == "deleted"


def test_killed_at_any_moment_it_goes_on(compute: Compute, network: str) -> None:
    """Killed right after each request: the next process brings it to an end, and makes no port twice."""
    ids: list[str] = []
    for number in range(6):
        asked = {"server": {"name": f"vm{number}", "flavorRef": "1", "networks": [{"uuid": network}]}}
        with ThreadPoolExecutor(1) as client:
            client.submit(compute.call, "POST", "/compute/v2.1/servers", asked)
            wait_until(
                lambda number=number: len(control.instances(compute.directory)) > number,
                "the instance to be remembered",
            )
            compute.stop(signal.SIGKILL)
        ids = list(control.instances(compute.directory))
        compute.start()
    for id_ in ids:
        compute.until(id_, "ACTIVE")
    ports = compute.api.call("GET", "/v2.0/ports?device_owner=compute:nova").body["ports"]
    assert sorted(port["device_id"] for port in ports) == sorted(ids)
    before = {id_: one.node for id_, one in control.instances(compute.directory).items()}
    compute.stop(signal.SIGKILL)
    compute.start()
    assert {id_: one.node for id_, one in control.instances(compute.directory).items()} == before
    assert all(one is not None and one.alive for one in before.values())
    for id_ in ids:
        with ThreadPoolExecutor(1) as client:
            client.submit(compute.call, "DELETE", f"/compute/v2.1/servers/{id_}")
            wait_until(lambda id_=id_: gone_or_going(compute, id_), "the wish to be remembered")
            compute.stop(signal.SIGKILL)
        compute.start()
    wait_until(lambda: not compute.call("GET", "/compute/v2.1/servers")[1]["servers"], "all instances to be gone")
    assert compute.api.call("GET", "/v2.0/ports?device_owner=compute:nova").body["ports"] == []
    assert links(compute, "h1") == links(compute, "h2") == set()
    assert not [one for one in before.values() if one is not None and one.alive]


def test_an_instance_whose_machine_died_is_shut_off_and_starts_again(compute: Compute, network: str) -> None:
    id_ = compute.create("vm", network)
    compute.until(id_, "ACTIVE")
    machine = control.instances(compute.directory)[id_].node
    assert machine is not None
    node.kill(machine.pid)
    assert compute.server(id_)["status"] == "SHUTOFF"
    compute.act(id_, **{"os-start": None})
    shown = compute.until(id_, "ACTIVE")
    assert shown["OS-EXT-STS:power_state"] == 1
    assert "default via" in inside(compute, id_, "ip", "route")


def test_without_the_networking_api_it_waits(compute: Compute, network: str, tmp_path: Path) -> None:
    id_ = compute.create("vm", network)
    compute.until(id_, "ACTIVE")
    compute.api.stop()
    assert compute.call("GET", f"/compute/v2.1/servers/{id_}")[0] == 503
    assert compute.call("DELETE", f"/compute/v2.1/servers/{id_}")[0] == 204
    assert compute.call("GET", "/compute/v2.1/flavors")[0] == 200
    argv = [sys.executable, "-m", "floatway", "server", "--config", str(tmp_path / "server.toml")]
    again = subprocess.Popen(argv, env=plain_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listening(compute.api.port), "the server to listen")
        wait_until(lambda: compute.server(id_)["status"] == "GONE", "the instance to go")
    finally:
        again.terminate()
        again.wait(PATIENCE)


def test_instances_of_a_cloud_yaml_keep_their_ids(compute: Compute, network: str) -> None:
    """The reference's instance: told with its id, shown with the hash of its host that the reference shows."""
    id_, project = "aac0a6c0-4235-4543-b80d-bf7dcd349f77", "cceb34e1bc91413cb0137011e8734425"
    port = {
        "network_id": network,
        "device_id": id_,
        "device_owner": "compute:nova",
        "binding:host_id": "h1",
        "tenant_id": project,
    }
    made = compute.api.call("POST", "/v2.0/ports", {"port": port}).body["port"]
    told = {"id": id_, "name": "test", "host": "h1", "project_id": project}
    assert compute.call("POST", "/lab/v1/servers", {"servers": [told]})[0] == 200
    shown = compute.until(id_, "ACTIVE")
    assert (shown["name"], shown["tenant_id"]) == ("test", project)
    assert made["mac_address"] in inside(compute, id_, "ip", "link", "show", "eth0")
    machine = control.instances(compute.directory)[id_].node
    assert compute.call("POST", "/lab/v1/servers", {"servers": [told]})[0] == 200
    compute.until(id_, "ACTIVE")
    assert control.instances(compute.directory)[id_].node == machine
    assert control.nodes(compute.directory) == {"test": machine}
    compute.call("POST", "/lab/v1/servers", {"servers": [{**told, "host": "h2"}]})
    wait_until(lambda: links(compute, "h2") != set() and links(compute, "h1") == set(), "the instance to move")
    assert compute.until(id_, "ACTIVE")["OS-EXT-SRV-ATTR:host"] == "h2"
    compute.call("POST", "/lab/v1/servers", {"remove": [id_]})
    compute.until(id_, "GONE")


def test_what_no_agent_takes_is_an_error_that_says_so(compute: Compute, network: str) -> None:
    compute.stop()
    compute.start(plugging_seconds=30)
    id_ = compute.create("vm", network, availability_zone="nova:h1")
    shown = compute.until(id_, "ERROR")
    assert "no agent of host h1 can take it" in shown["fault"]["message"]
    compute.stop()
    compute.start()
    compute.act(id_, reboot={"type": "HARD"})
    assert "fault" not in compute.until(id_, "ACTIVE")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 400, "'server' is a required property"),
        ({"server": {"flavorRef": "1"}}, 400, "name"),
        ({"server": {"name": "", "flavorRef": "1"}}, 400, "1 to 255 characters"),
        ({"server": {"name": "x" * 256, "flavorRef": "1"}}, 400, "1 to 255 characters"),
        ({"server": {"name": "x", "flavorRef": "77"}}, 400, "Flavor 77 could not be found"),
        ({"server": {"name": "x", "flavorRef": "1", "imageRef": "77"}}, 400, "requested image 77"),
        ({"server": {"name": "x", "flavorRef": "1", "networks": [{}]}}, 400, "network uuid"),
        (
            {"server": {"name": "x", "flavorRef": "1", "networks": [{"uuid": "no"}]}},
            400,
            "Network no could not be found",
        ),
        ({"server": {"name": "x", "flavorRef": "1", "networks": [{"port": "no"}]}}, 400, "Port no could not be found"),
        ({"server": {"name": "x", "flavorRef": "1", "metadata": {"a": 1}}}, 400, "metadata"),
        ({"server": {"name": "x", "flavorRef": "1", "availability_zone": "mars"}}, 400, "availability zone"),
    ],
    ids=str,
)
def test_bad_requests_change_nothing(compute: Compute, body: object, status: int, words: str) -> None:
    answer = compute.call("POST", "/compute/v2.1/servers", body)
    assert answer[0] == status
    assert words in answer[1]["badRequest"]["message"]
    assert compute.call("GET", "/compute/v2.1/servers")[1]["servers"] == []


def test_odd_clients_do_it_no_harm(compute: Compute) -> None:
    for data in (
        b"\0\1\2\r\n\r\n",
        b"GET / HTTP/1.1\r\n",
        b"POST /compute/v2.1/servers HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
    ):
        with socket.create_connection(("127.0.0.1", compute.port), PATIENCE) as sock:
            sock.sendall(data)
    assert compute.call("POST", "/compute/v2.1/servers", b"{nonsense")[0] == 400
    assert compute.call("GET", "/nowhere")[0] == 404
    assert compute.call("GET", "/compute/v2.1/servers/nobody")[0] == 404
    with contextlib.closing(socket.create_connection(("127.0.0.1", compute.port), PATIENCE)) as sock:
        sock.sendall(b"GET /compute/v2.1/servers HTTP/1.1\r\nhost: x\r\norigin: http://evil\r\n\r\n")
        assert b" 403 " in sock.recv(4096)
    assert compute.process.poll() is None
