"""A host with 200 ports: its agent and the server are killed under packets that come every 5 ms, its things are deleted by hand.

outside 192.168.0.1 -- compute1: 200 ports, 20 routers, 200 floating IPs -- vm0, the one instance that lives
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from floatway.host.ownership import owned
from floatway.host.records import Address, Chain, Flow, Link, OvsPort, Record, Route, Rule
from floatway.host.state import HostState, decode, encode
from floatway.lab import enter, intent, lab, ovs, served
from floatway.lab.api import ask, wait_until
from floatway.lab.errors import LabError
from floatway.lab.full_host import HOST, full_host
from floatway.linux.connection import HostConnection
from floatway.linux.observe import observe
from floatway.model.cloud import Cloud
from kernel.damage import damages
from lab.support import lab_name

pytestmark = pytest.mark.lab

NAME = lab_name("full")
SECOND = 1.0
TICKS = os.sysconf("SC_CLK_TCK")


class Full:
    """The raised lab."""

    def __init__(self, raised: lab.Lab, cloud: Cloud) -> None:
        self.lab, self.cloud = raised, cloud
        (alive,) = (port for port in cloud.ports.values() if port.device_id == next(iter(cloud.servers)))
        self.floating = cloud.floating_ips_by_port[alive.id][0].floating_ip_address

    @property
    def server(self) -> served.Server:
        known = lab.load(NAME).server
        assert known is not None
        return known

    def state(self) -> HostState:
        return decode(enter.call(self.lab.nodes[HOST], observed))

    def cloud_now(self) -> Cloud:
        return lab.with_datapath(served.view(self.server), ovs.datapath())

    def log(self) -> str:
        return (served.VAR / NAME / f"{HOST}.log").read_text()

    def in_sync(self, since: float) -> bool:
        """Whether the host has said since then that it stands where the server does."""
        (shown,) = ask(self.server.url, "GET", "/floatway/v1/hosts")["hosts"] or ({"connected": False},)
        return bool(shown["connected"] and shown["heard"] > since and shown["applied"] >= shown["concerned"])

    @contextmanager
    def without_loss(self) -> Iterator[None]:
        """From outside to the living instance's floating IP and back, every 5 ms."""
        ping = ["ping", "-n", "-i", "0.005", "-c", "600", "-q", self.floating]
        with enter.popen(self.lab.nodes["outside"], ping, text=True) as running:
            yield
            said = running.communicate()[0]
        assert "600 received, 0% packet loss" in said, said


def observed() -> bytes:
    with HostConnection() as connection:
        state: HostState = observe(connection)
        return encode(state)


@pytest.fixture(scope="module")
def full() -> Iterator[Full]:
    with full_host(200, name=NAME) as (raised, cloud):
        yield Full(raised, cloud)


def agent() -> int:
    """The agent's process, 0 without one. To be called in the machine."""
    return next(served.agents(), 0)


def killed_agent() -> None:
    os.kill(agent(), signal.SIGKILL)


def started() -> float:
    """When the agent's process came into being, in seconds since the epoch."""
    while not (pid := agent()):
        time.sleep(0.005)
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / TICKS)


def test_a_killed_agent_is_in_sync_within_a_second_and_no_packet_is_lost(full: Full) -> None:
    before = set(owned(full.state()))
    with full.without_loss():
        enter.call(full.lab.nodes[HOST], killed_agent)
        begin = enter.call(full.lab.nodes[HOST], started)
        wait_until(lambda: full.in_sync(begin), "the agent is in sync")
        taken = time.time() - begin
    assert taken < SECOND
    assert set(owned(full.state())) ^ before == set(), "adopted, not made anew"


def test_a_killed_server_is_in_sync_within_a_second_and_no_packet_is_lost(full: Full) -> None:
    with full.without_loss():
        dead = full.server
        os.kill(dead.pid, signal.SIGKILL)
        wait_until(lambda: not dead.alive, "the server is dead")
        begin = time.time()
        raised = lab.load(NAME)
        lab._write(msgspec.structs.replace(raised, server=served.start_server(NAME, dead)))

        def in_sync() -> bool:
            try:
                return full.in_sync(begin)
            except LabError:
                return False

        wait_until(in_sync, "the host follows the new server")
        taken = time.time() - begin
    assert (
        taken < 2 * SECOND
    )  # of which the new process takes a second until it listens, on a machine that is busy with packets


KINDS: dict[str, tuple[type[Record], str]] = {
    "flow": (Flow, "flow"),
    "rule": (Rule, "rule"),
    "chain": (Chain, "chain flushed"),
    "link": (Link, "link deleted"),
    "route": (Route, "route"),
    "address": (Address, "address"),
    "port": (OvsPort, "port"),
}
"""What is deleted by hand, and how ``kernel.damage`` calls it."""


@pytest.mark.parametrize("what", KINDS)
def test_what_is_deleted_by_hand_is_back_within_a_second_and_it_is_said(full: Full, what: str) -> None:
    kind, damage = KINDS[what]
    before = full.state()
    commands = damages(before)[damage]
    for command in (commands[0], commands[len(commands) // 2], commands[-1]):
        told = full.log().count('"event":"repaired"')
        done = enter.run(full.lab.nodes[HOST], ["sh", "-c", command], capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        begin = time.monotonic()
        wait_until(lambda told=told: full.log().count('"event":"repaired"') > told, f"{command} is mended", seconds=20)  # type: ignore[misc]
        assert time.monotonic() - begin < SECOND, command
        wait_until(lambda: set(full.state().table(kind)) == set(before.table(kind)), f"all as before: {command}")
        assert not intent.differences(full.cloud_now(), HOST, full.state()), command
    (shown,) = ask(full.server.url, "GET", "/floatway/v1/hosts")["hosts"]
    assert any(event["kind"] == "repaired" for event in shown["events"])
