"""From the API to packets: what a client waits for until the network obeys. A served lab, one compute host, one instance that lives.

    PUT floatingips/F ──▶ server ──▶ agent ──▶ kernel, Open vSwitch ──▶ first reply outside, asked for every 5 ms

Times run from just before the API call to the arrival of the first reply to a request sent after it (for what is taken away: to
the sending of the first request that stays without a reply), as for the peers (docs/benchmarks-agents.md).
"""

import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import suite
from agents_page import IDLE
from measure import Figure, figure

from floatway.lab import enter, lab, served
from floatway.lab.api import ask, wait_applied, wait_until
from floatway.lab.full_host import HOST, full_host
from floatway.model.cloud import Cloud
from floatway.model.resources import OWNER_ROUTER_INTERFACE, FloatingIp
from floatway.net.packet import ICMP_ECHO_REPLY

LAB = f"agents-{os.getpid()}"
EVERY = 0.005
"""Seconds between two questions."""
LARGE = 200
"""Ports above which only floating IPs, start and memory are measured."""
KILL_AGENT = ["pkill", "-KILL", "-f", "^[^ ]*python[^ ]* -m [f]loatway agent"]
SETTLE = 6.0
"""Seconds in which what was done before is proven by another look: no idling yet."""
LONG = 0.25
"""Seconds of silence, or of answers, that count as a state."""


class Host:
    """A raised lab, and what to ask of it."""

    def __init__(self, raised: lab.Lab, cloud: Cloud) -> None:
        self.cold = self.told = 0.0
        """Milliseconds from the agent's start until all is there, and until the API had taken all of it."""
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
        wait_applied(self.url)
        with ThreadPoolExecutor(1) as pool:
            turning = pool.submit(enter.call, self.lab.nodes[node], turn, address, until, 20.0)
            time.sleep(LONG + 0.3)
            began = change()
            _, heard = turning.result()
        # the first to be lost may have been on its way already: a round trip takes 20 ms where vswitchd has 1,000 ports to poll
        return max(0.0, (heard - began) / 1e6)


def round_trips(address: str, count: int) -> list[float]:
    """Milliseconds of so many echoes, one after the other."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(2.0)
        identifier = threading.get_native_id() & 0xFFFF
        taken = []
        for sequence in range(count):
            began = time.monotonic_ns()
            sock.sendto(suite.echo(identifier, sequence), (address, 0))
            while True:
                data, sender = sock.recvfrom(512)
                if sender[0] == address and struct.unpack_from("!BxxxHH", data, 20) == (0, identifier, sequence):
                    break
            taken.append((time.monotonic_ns() - began) / 1e6)
            time.sleep(0.05)
        return taken


def turn(address: str, until: bool, patience: float) -> tuple[int, int]:
    """When ``address`` first does what it has not done for ``LONG`` seconds: when that request was sent and when its reply was heard (of
    a request that is lost: the former twice), in monotonic nanoseconds. Sent and heard by two threads, so that an answer is timed when
    it comes."""
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
            now = time.monotonic_ns()
            sent[sequence] = now
            with suppress(OSError):  # no neighbour yet
                sock.sendto(suite.echo(identifier, sequence), (address, 0))
            time.sleep(EVERY)
            last = max(heard.values(), default=begin)
            if until:
                if settled and last > settled:
                    first = min((at, number) for number, at in heard.items() if at > settled)
                    return sent[first[1]], first[0]
                if not settled and now - last > LONG * 1e9:
                    settled = now
            else:
                if not settled and now - begin > LONG * 1e9 and now - last < 50e6:
                    settled = now
                lost = [at for number, at in sent.items() if at > settled and number not in heard and now - at > 150e6]
                if settled and lost:
                    return min(lost), min(lost)
        raise SystemExit(f"{address} did not turn within {patience} s")
    finally:
        stop.set()
        listener.join()
        sock.close()


@contextmanager
def host_of(floating_ips: int, tell: Callable[[str], None]) -> Iterator[Host]:
    """A served lab with so many ports, each with a floating IP; all but one instance are their taps."""
    taken: list[float] = []

    def loading(raised: lab.Lab, told: Callable[[], None], there: Callable[[], None]) -> None:
        node = raised.nodes[HOST]
        served.pause(node, stop=True)  # a cold start: what the host shall be is known before its agent begins
        began = time.monotonic()
        told()
        taken.append(1000 * (time.monotonic() - began))
        enter.run(node, KILL_AGENT)
        start = enter.call(node, agent_started)
        there()
        taken.append(1000 * (time.time() - start))

    tell(f"a host with {floating_ips} ports, each with a floating IP")
    with full_host(floating_ips, name=LAB, loading=loading) as (raised, cloud):
        host = Host(raised, cloud)
        host.told, host.cold = taken
        yield host


def bench_agents(tell: Callable[[str], None], sizes: tuple[int, ...] = (2, 50, 200, 1000)) -> Iterator[Figure]:
    """Everything, at each size."""
    with host_of(1, tell) as host:
        yield from first(host)
    for size in sizes:
        with host_of(size, tell) as host:
            how_many = f"{size // 10} routers" if size >= 20 else "a router"
            yield figure(
                "agents", f"told to the API at once: {size} ports with a floating IP each, {how_many}", [host.told]
            )
            yield figure("agents", f"cold start: its agent's process begins, all {size} ports are ACTIVE", [host.cold])
            yield from floating(host, size)
            if size > LARGE:
                yield from resources(host, size)
                continue
            yield from rules(host, size)
            yield from plugs(host, size)
            yield from routers(host, size)
            yield from restarts(host, size)
            yield from resources(host, size)


def floating(host: Host, size: int, runs: int = 7) -> Iterator[Figure]:
    """Associated and taken away, with the neighbour known outside, and with a stale one."""
    fip: FloatingIp = host.floating
    fg = next(port for port in host.cloud.ports.values() if port.device_owner == "network:floatingip_agent_gateway")
    outside = host.lab.nodes["outside"]
    address = fip.floating_ip_address
    echoes: list[float] = []
    gone, come, stale = [], [], []

    def neighbour(mac: str, state: str) -> None:
        enter.run(outside, ["ip", "neigh", "replace", address, "lladdr", mac, "dev", "eth1", "nud", state])

    for _ in range(runs):
        neighbour(fg.mac_address, "permanent")
        echoes += enter.call(outside, round_trips, address, 5)
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
    yield figure(name, f"a round trip to a floating IP that is there; {size} on the host", echoes)
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


PROBE = "probe"
"""A namespace of the compute machine that stands in for an instance; and the host's end of its device before it is plugged in."""


def instance(host: Host, port: dict[str, Any], length: int, gateway: str, mac: str = "") -> None:
    """An instance, all but plugged: the host's end of its device has another name yet. ``mac``: the gateway's, known."""
    known = f"ip -n {PROBE} neigh replace {gateway} lladdr {mac} dev eth0 nud permanent" if mac else ""
    address = port["fixed_ips"][0]["ip_address"]
    script = f"""ip netns del {PROBE} 2>/dev/null; ip netns add {PROBE}
        ip link add {PROBE} type veth peer name eth0 address {port["mac_address"]} mtu 1450 netns {PROBE}
        ip netns exec {PROBE} ethtool -K eth0 tx off >/dev/null
        ip -n {PROBE} link set eth0 up
        ip -n {PROBE} address add {address}/{length} dev eth0
        ip -n {PROBE} route add default via {gateway}
        {known}"""
    enter.run(host.lab.nodes[HOST], ["sh", "-c", script])


def plug_in(tap: str) -> int:
    """Give it the name that the agent waits for, and set it up: monotonic nanoseconds of just before."""
    began = time.monotonic_ns()
    script = f"link set {PROBE} name {tap}\nlink set {tap} up\n"
    subprocess.run(["ip", "-batch", "-"], input=script, text=True, check=True)
    return began


def plugs(host: Host, size: int, runs: int = 5) -> Iterator[Figure]:
    """An instance of the living one's network is plugged in: its first ping of the gateway, and the port's ACTIVE."""
    network = host.port.network_id
    subnet = host.cloud.subnets_by_network[network][0]
    gateway = next(port for port in host.cloud.ports_by_network[network] if port.device_owner == OWNER_ROUTER_INTERFACE)
    reached, active, between = [], [], []
    for _ in range(runs):
        values = {"network_id": network, "device_owner": "compute:nova", "device_id": "probe", "binding:host_id": HOST}
        port = host.change("POST", "ports", {"port": values | {"security_groups": list(host.port.security_groups)}})[1][
            "port"
        ]
        wait_applied(host.url)
        instance(host, port, int(subnet.cidr.partition("/")[2]), str(subnet.gateway_ip), gateway.mac_address)
        seen: list[int] = []

        def watch(port: dict[str, Any] = port, seen: list[int] = seen) -> None:
            while not seen:
                if ask(host.url, "GET", f"/v2.0/ports/{port['id']}")["port"]["status"] == "ACTIVE":
                    seen.append(time.monotonic_ns())

        with ThreadPoolExecutor(2) as pool:
            answers = pool.submit(
                lambda gateway=subnet.gateway_ip: enter.call(
                    host.lab.nodes[HOST], turn, gateway, True, 20.0, netns=PROBE
                )
            )
            time.sleep(LONG + 0.5)
            watching = pool.submit(watch)
            began = enter.call(host.lab.nodes[HOST], plug_in, f"tap{port['id'][:11]}")
            asked, heard = answers.result()
            watching.result()
        reached.append((heard - began) / 1e6)
        active.append((seen[0] - began) / 1e6)
        between.append((seen[0] - asked) / 1e6)
        enter.run(host.lab.nodes[HOST], ["ip", "netns", "del", PROBE])
        host.change("DELETE", f"ports/{port['id']}")
        wait_applied(host.url)
    yield figure("agents", f"port plugged, first ping of the gateway; {size} ports", reached, 25)
    yield figure("agents", f"port plugged, ACTIVE in the API; {size} ports", active, 30)
    yield figure(
        "agents", f"… that is so long after the sending of the first ping that is answered; {size} ports", between, 5
    )


def routers(host: Host, size: int, runs: int = 5) -> Iterator[Figure]:
    """A router gets an interface on an instance's network, and a gateway: the first answer of the interface."""
    external = next(network.id for network in host.cloud.networks.values() if network.router_external)
    answered = []
    for number in range(runs):
        network = host.change("POST", "networks", {"network": {"name": "probe"}})[1]["network"]["id"]
        body = {"network_id": network, "cidr": f"10.2{number}0.0.0/24", "ip_version": 4}
        subnet = host.change("POST", "subnets", {"subnet": body})[1]["subnet"]
        values = {"network_id": network, "device_owner": "compute:nova", "device_id": "probe", "binding:host_id": HOST}
        port = host.change("POST", "ports", {"port": values})[1]["port"]
        wait_applied(host.url)
        instance(host, port, 24, subnet["gateway_ip"])
        enter.call(host.lab.nodes[HOST], plug_in, f"tap{port['id'][:11]}")
        router = host.change("POST", "routers", {"router": {"name": "probe"}})[1]["router"]["id"]
        wait_applied(host.url)
        with ThreadPoolExecutor(1) as pool:
            answers = pool.submit(
                lambda gateway=subnet["gateway_ip"]: enter.call(
                    host.lab.nodes[HOST], turn, gateway, True, 20.0, netns=PROBE
                )
            )
            time.sleep(LONG + 0.5)
            began, _ = host.change("PUT", f"routers/{router}/add_router_interface", {"subnet_id": subnet["id"]})
            host.change("PUT", f"routers/{router}", {"router": {"external_gateway_info": {"network_id": external}}})
            answered.append((answers.result()[1] - began) / 1e6)
        host.change("PUT", f"routers/{router}/remove_router_interface", {"subnet_id": subnet["id"]})
        for path in (f"routers/{router}", f"ports/{port['id']}", f"networks/{network}"):
            host.change("DELETE", path)
        enter.run(host.lab.nodes[HOST], ["ip", "netns", "del", PROBE])
        wait_applied(host.url)
    yield figure("agents", f"router with interface and gateway, the gateway answers; {size} ports", answered, 50)


def restarts(host: Host, size: int, runs: int = 3) -> Iterator[Figure]:
    """The agent is killed; from its new process's start until it has told that it stands where the server does."""
    taken = []
    for _ in range(runs):
        enter.run(host.lab.nodes[HOST], KILL_AGENT)
        began = enter.call(host.lab.nodes[HOST], agent_started)

        def synced(began: float = began) -> bool:
            shown = ask(host.url, "GET", "/floatway/v1/hosts")["hosts"][0]
            return bool(shown["connected"] and shown["heard"] > began and shown["applied"] >= shown["concerned"])

        wait_until(synced, "the agent is in sync")
        taken.append(1000 * (time.time() - began))
    yield figure("agents", f"killed agent's new process in sync; {size} ports", taken, 1000)


def agent_started() -> float:
    """When the agent's new process came into being, in seconds since the epoch."""
    while next(served.agents(), None) is None:
        time.sleep(0.005)
    return time.time()


def resources(host: Host, size: int) -> Iterator[Figure]:
    """Memory of both, and what idling costs: no times, so they are told as counts."""
    server = host.lab.server
    assert server is not None
    time.sleep(SETTLE)
    agent = enter.call(host.lab.nodes[HOST], agent_usage, 10.0)
    begin = cpu_seconds(server.pid)
    time.sleep(10)
    idle = cpu_seconds(server.pid) - begin
    counts = {
        "MiB agent": agent[0],
        "MiB server": rss(server.pid),
        f"agent{IDLE}": round(agent[1] * 1000),
        f"server{IDLE}": round(idle * 1000),
    }
    yield figure("agents", f"idle for ten seconds; {size} ports", [10_000.0], **counts)


def agent_usage(seconds: float) -> tuple[int, float]:
    """MiB, and seconds of processor time used while idle."""
    for pid in served.agents():
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
