"""From the API to packets: what a client waits for until the network obeys. A served lab, one compute host, one instance that lives.

    PUT floatingips/F ──▶ server ──▶ agent ──▶ kernel, Open vSwitch ──▶ first reply outside, asked for every 5 ms

Times run from just before the API call to the arrival of the first reply to a request sent after it (for what is taken away: to
the sending of the first request that stays without a reply), as for the peers (docs/benchmarks-agents.md).
"""

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import suite
from measure import Figure, figure

from floatway.lab import enter, lab, ovs, served
from floatway.lab.api import ask, wait_applied, wait_until
from floatway.lab.sample import big_cloud
from floatway.model.cloud import Cloud
from floatway.model.resources import FloatingIp
from floatway.net.packet import ICMP_ECHO_REPLY

HOST = suite.HOST
LAB = f"agents-{os.getpid()}"
EVERY = 0.005
"""Seconds between two questions."""
LONG = 0.25
"""Seconds of silence, or of answers, that count as a state."""


class Host:
    """A raised lab, and what to ask of it."""

    def __init__(self, raised: lab.Lab, cloud: Cloud) -> None:
        assert raised.server is not None
        self.lab, self.cloud, self.url = raised, cloud, raised.server.url
        self.alive = next(iter(cloud.servers.values()))
        self.port = cloud.ports_by_device[self.alive.id][0]
        self.floating = next(fip for fip in cloud.floating_ips.values() if fip.port_id == self.port.id)

    def change(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """When it was asked, in monotonic nanoseconds, and the answer."""
        began = time.monotonic_ns()
        return began, ask(self.url, method, f"/v2.0/{path}", body)

    def put(self, noun: str, id_: str, **values: object) -> int:
        return self.change("PUT", f"{noun}s/{id_}", {noun: values})[0]

    def watched(self, node: str, address: str, until: bool, change: Callable[[], int]) -> float:
        """Milliseconds from ``change`` until ``address`` answers (``until``), or no longer does."""
        with ThreadPoolExecutor(1) as pool:
            turning = pool.submit(enter.call, self.lab.nodes[node], turn, address, until, 20.0)
            time.sleep(LONG + 0.3)
            began = change()
            heard = int(turning.result())
        return (heard - began) / 1e6


def turn(address: str, until: bool, patience: float) -> int:
    """When ``address`` first does what it has not done for ``LONG`` seconds: monotonic nanoseconds. Sent and heard by two threads, so
    that an answer is timed when it comes."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    sock.settimeout(0.05)
    identifier = threading.get_native_id() & 0xFFFF
    sent: dict[int, int] = {}
    heard: dict[int, int] = {}
    stop = threading.Event()

    def listen() -> None:
        while not stop.is_set():
            try:
                data, sender = sock.recvfrom(512)
            except TimeoutError:
                continue
            if sender[0] == address and data[20] == ICMP_ECHO_REPLY:
                ident, sequence = struct.unpack_from("!HH", data, 24)
                if ident == identifier:
                    heard.setdefault(sequence, time.monotonic_ns())

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    begin = time.monotonic_ns()
    settled = 0
    sequence = 0
    try:
        while time.monotonic_ns() - begin < patience * 1e9:
            sequence += 1
            bare = struct.pack("!BBHHH", 8, 0, 0, identifier, sequence)
            now = time.monotonic_ns()
            sent[sequence] = now
            with suppress(OSError):  # no neighbour yet
                sock.sendto(bare[:2] + struct.pack("!H", suite._sum(bare)) + bare[4:], (address, 0))
            time.sleep(EVERY)
            last = max(heard.values(), default=begin)
            if until:
                if settled and last > settled:
                    return min(at for at in heard.values() if at > settled)
                if not settled and now - last > LONG * 1e9:
                    settled = now
            else:
                if not settled and now - begin > LONG * 1e9 and now - last < 50e6:
                    settled = now
                lost = [at for number, at in sent.items() if at > settled and number not in heard and now - at > 150e6]
                if settled and lost:
                    return min(lost)
        raise SystemExit(f"{address} did not turn within {patience} s")
    finally:
        stop.set()
        listener.join()
        sock.close()


@contextmanager
def host_of(floating_ips: int, tell: Callable[[str], None]) -> Iterator[Host]:
    """A served lab with so many ports, each with a floating IP; all but one instance are their taps."""
    routers = max(1, floating_ips // 10)
    cloud = lab.with_datapath(
        big_cloud(ports=floating_ips, routers=routers, floating_ips=floating_ips, host=HOST), ovs.datapath()
    )
    alive = next(iter(cloud.servers.values()))
    others = [port for port in suite.instance_ports(cloud) if port.device_id != alive.id]
    away = {port.id for port in others}
    small = msgspec.structs.replace(
        cloud,
        servers={alive.id: alive},
        ports={key: port for key, port in cloud.ports.items() if key not in away},
        floating_ips={key: fip for key, fip in cloud.floating_ips.items() if fip.port_id not in away},
    )
    lab.down(LAB)
    try:
        tell(f"a host with {floating_ips} ports, {routers} routers, {floating_ips} floating IPs")
        raised = lab.up(small, name=LAB, with_server=True)
        assert raised.server is not None
        enter.call(raised.nodes[HOST], suite.make_taps, [suite.tap(port) for port in others])
        served.load(raised.server, cloud, small)
        host = Host(raised, cloud)
        wanted = len(others) + 1

        def active() -> bool:
            ports = ask(host.url, "GET", "/v2.0/ports?device_owner=compute:nova&status=ACTIVE&fields=id")["ports"]
            return len(ports) == wanted

        wait_until(active, f"{wanted} ports are ACTIVE", seconds=120)
        wait_applied(host.url)
        yield host
    finally:
        lab.down(LAB)


def bench_agents(tell: Callable[[str], None], sizes: tuple[int, ...] = (2, 50, 200)) -> Iterator[Figure]:
    """Everything, at each size."""
    with host_of(1, tell) as host:
        yield from first(host)
    for size in sizes:
        with host_of(size, tell) as host:
            yield from floating(host, size)
            yield from rules(host, size)
            yield from restarts(host, size)
            yield from resources(host, size)


def floating(host: Host, size: int, runs: int = 7) -> Iterator[Figure]:
    """Associated and taken away, with the neighbour known outside, and with a stale one."""
    fip: FloatingIp = host.floating
    fg = next(port for port in host.cloud.ports.values() if port.device_owner == "network:floatingip_agent_gateway")
    outside = host.lab.nodes["outside"]
    address = fip.floating_ip_address
    gone, come, stale = [], [], []

    def neighbour(mac: str, state: str) -> None:
        enter.run(outside, ["ip", "neigh", "replace", address, "lladdr", mac, "dev", "eth1", "nud", state])

    for _ in range(runs):
        neighbour(fg.mac_address, "permanent")
        gone.append(host.watched("outside", address, False, lambda: host.put("floatingip", fip.id, port_id=None)))
        come.append(
            host.watched("outside", address, True, lambda: host.put("floatingip", fip.id, port_id=host.port.id))
        )
    for _ in range(runs):
        host.watched("outside", address, False, lambda: host.put("floatingip", fip.id, port_id=None))
        enter.run(outside, ["ip", "neigh", "del", address, "dev", "eth1"])
        neighbour("02:00:00:00:00:99", "stale")  # another machine's: what a moved address leaves behind
        stale.append(
            host.watched("outside", address, True, lambda: host.put("floatingip", fip.id, port_id=host.port.id))
        )
    name = "agents"
    yield figure(name, f"floating IP associated, first reply outside; {size} on the host", come, 15)
    yield figure(name, f"floating IP taken away, first loss; {size} on the host", gone, 15)
    yield figure(name, f"associated while outside has a stale neighbour; {size} on the host", stale, 15)


def first(host: Host, runs: int = 5) -> Iterator[Figure]:
    """The only one of its external network on the host: the fip namespace, its gateway port and all come with it, and go."""
    come = []
    address = host.floating.floating_ip_address
    for _ in range(runs):
        host.watched("outside", address, False, lambda: host.put("floatingip", host.floating.id, port_id=None))
        give = lambda: host.put("floatingip", host.floating.id, port_id=host.port.id)  # noqa: E731
        come.append(host.watched("outside", address, True, give))
    yield figure("agents", "first floating IP of an external network on the host, first reply", come, 60)


def rules(host: Host, size: int, runs: int = 5) -> Iterator[Figure]:
    """A rule that lets the pings in, taken away and given back."""
    (group,) = host.port.security_groups
    opened, closed = [], []
    address = host.floating.floating_ip_address
    listed = ask(host.url, "GET", f"/v2.0/security-group-rules?security_group_id={group}&direction=ingress")
    for rule in listed["security_group_rules"]:
        ask(host.url, "DELETE", f"/v2.0/security-group-rules/{rule['id']}")
    body = {"security_group_id": group, "direction": "ingress", "protocol": "icmp"}
    wait_applied(host.url)
    for _ in range(runs):
        made: dict[str, Any] = {}

        def make(made: dict[str, Any] = made) -> int:
            began, answer = host.change("POST", "security-group-rules", {"security_group_rule": body})
            made.update(answer["security_group_rule"])
            return began

        opened.append(host.watched("outside", address, True, make))
        closed.append(
            host.watched(
                "outside",
                address,
                False,
                lambda made=made: host.change("DELETE", f"security-group-rules/{made['id']}")[0],
            )
        )
    ask(host.url, "POST", "/v2.0/security-group-rules", {"security_group_rule": body})
    wait_applied(host.url)
    yield figure("agents", f"security group rule added, effective; {size} ports", opened, 15)
    yield figure("agents", f"rule removed, effective for what was established; {size} ports", closed, 15)


def restarts(host: Host, size: int, runs: int = 3) -> Iterator[Figure]:
    """The agent is killed; from its new process's start until it has told that it stands where the server does."""
    taken = []
    for _ in range(runs):
        kill = ["pkill", "-KILL", "-f", "^[^ ]*python[^ ]* -m [f]loatway agent"]
        enter.run(host.lab.nodes[HOST], kill)
        began = enter.call(host.lab.nodes[HOST], agent_started)

        def synced(began: float = began) -> bool:
            shown = ask(host.url, "GET", "/floatway/v1/hosts")["hosts"][0]
            return bool(shown["connected"] and shown["heard"] > began and shown["applied"] >= shown["concerned"])

        wait_until(synced, "the agent is in sync")
        taken.append(1000 * (time.time() - began))
    yield figure("agents", f"killed agent's new process in sync; {size} ports", taken, 1000)


def agent_started() -> float:
    """When the agent's new process came into being, in seconds since the epoch."""
    while True:
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                try:
                    words = Path(entry.path, "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if words[1:4] == [b"-m", b"floatway", b"agent"]:
                    return time.time()
        time.sleep(0.005)


def resources(host: Host, size: int) -> Iterator[Figure]:
    """Memory of both, and what idling costs: no times, so they are told as counts."""
    server = host.lab.server
    assert server is not None
    agent = enter.call(host.lab.nodes[HOST], agent_usage, 10.0)
    begin = cpu_seconds(server.pid)
    time.sleep(10)
    idle = cpu_seconds(server.pid) - begin
    counts = {
        "MiB agent": agent[0],
        "MiB server": rss(server.pid),
        "hundredths of a percent of a core, agent idle": round(agent[1] * 1000),
        "hundredths of a percent of a core, server idle": round(idle * 1000),
    }
    yield figure("agents", f"idle for ten seconds; {size} ports", [10_000.0], **counts)


def agent_usage(seconds: float) -> tuple[int, float]:
    """MiB, and seconds of processor time used while idle."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            words = Path(entry.path, "cmdline").read_bytes().split(b"\0")
            if words[1:4] == [b"-m", b"floatway", b"agent"]:
                pid = int(entry.name)
                begin = cpu_seconds(pid)
                time.sleep(seconds)
                return rss(pid), cpu_seconds(pid) - begin
    raise SystemExit("no agent runs")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))
