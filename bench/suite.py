"""The sub-benchmarks. The big host: 200 ports, 20 routers, 200 floating IPs on one compute host.

compile      cloud -> desired state: cold (nothing memoised), and with one port changed
reconcile    observe, compile, diff, nothing to do; on the big host, raised in a lab
floating-ip  from "the cloud has one more floating IP" to the first reply outside, asked for every 5 ms
trace        one walk, there and back, on the big host's observed state
lab-up       the reference cloud, from nothing to reconciled
cli          floatway --help
"""

import os
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import resources

import msgspec
from measure import Figure, figure, timed

from floatway.agent.agent import Agent
from floatway.agent.reconcile import reconcile
from floatway.compile.allocations import Allocations, allocate
from floatway.compile.host import Memo, compile_host
from floatway.host.commands import commands
from floatway.lab import enter, lab, ovs
from floatway.lab.sample import big_cloud
from floatway.lab.world import observe_world
from floatway.linux.connection import HostConnection
from floatway.model.cloud import Cloud
from floatway.model.load import cloud_from_text
from floatway.model.resources import FloatingIp, Port
from floatway.net.packet import ICMP_ECHO_REPLY
from floatway.trace.question import Question
from floatway.trace.walk import walk

PORTS, ROUTERS, FLOATING_IPS = 200, 20, 200
HOST = "compute1"
LAB = f"bench-{os.getpid()}"  # two runs at a time must not take down each other's lab
POLL_SECONDS = 0.005


def big() -> Cloud:
    """The big host's cloud, with the datapath that this machine has."""
    return lab.with_datapath(
        big_cloud(ports=PORTS, routers=ROUTERS, floating_ips=FLOATING_IPS, host=HOST), ovs.datapath()
    )


def reference() -> Cloud:
    """The reference cloud."""
    return cloud_from_text(
        (resources.files("floatway.lab") / "clouds" / "reference.yaml").read_text(), "reference.yaml"
    )


# --- compile ----------------------------------------------------------------------------------------


def bench_compile() -> Iterator[Figure]:
    """Cold, warm, and with one port changed."""
    cloud = big()
    allocations = allocate(cloud, HOST, Allocations())
    records = len(compile_host(cloud, HOST, allocations))
    cold = timed(lambda: compile_host(cloud, HOST, allocations), 20)
    yield figure("compile", "cold", cold, 50, records=records)
    memo = Memo()
    compile_host(cloud, HOST, allocations, memo)
    queue = iter([change_port(cloud, number) for number in range(20)])
    taken = timed(lambda: compile_host(next(queue), HOST, allocations, memo), 20)
    yield figure("compile", "one port's security changed", taken)


def change_port(cloud: Cloud, number: int) -> Cloud:
    """The cloud with port security of one instance's port off."""
    ports: list[Port] = [port for port in cloud.ports.values() if port.device_owner.startswith("compute:")]
    port = ports[number % len(ports)]
    changed = msgspec.structs.replace(port, port_security_enabled=not port.port_security_enabled)
    return msgspec.structs.replace(cloud, ports={**cloud.ports, port.id: changed})


# --- on the big host, raised in a lab -----------------------------------------------------------------


@contextmanager
def big_lab(cloud: Cloud, tell: Callable[[str], None]) -> Iterator[lab.Lab]:
    """The big host with one instance that lives; the other instances are their taps, as far as the host can see."""
    alive = next(iter(cloud.servers.values()))
    others = {port.id: port for port in instance_ports(cloud) if port.device_id != alive.id}
    small = msgspec.structs.replace(
        cloud,
        servers={alive.id: alive},
        ports={key: port for key, port in cloud.ports.items() if key not in others},
        floating_ips={key: fip for key, fip in cloud.floating_ips.items() if fip.port_id not in others},
    )
    lab.down(LAB)
    try:
        raised = lab.up(small, name=LAB, progress=tell)
        enter.call(raised.nodes[HOST], make_taps, [tap(port) for port in others.values()])
        yield raised
    finally:
        lab.down(LAB)


def instance_ports(cloud: Cloud) -> list[Port]:
    """The ports of instances, bound to the host."""
    return [port for port in cloud.ports_by_host[HOST] if port.device_owner.startswith("compute:")]


def tap(port: Port) -> str:
    """The instance's device on the host."""
    return f"tap{port.id[:11]}"


def make_taps(names: list[str]) -> None:
    """Stand-ins for the instances that do not live here."""
    batch = "".join(f"tuntap add dev {name} mode tap\nlink set {name} up\n" for name in names)
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)


def bench_reconcile(raised: lab.Lab, cloud: Cloud) -> Iterator[Figure]:
    """The first apply of everything, then looks at a host where nothing is to be done."""
    first, steps, typed = enter.call(raised.nodes[HOST], reconcile_once, cloud)
    yield figure("reconcile", "first apply of the whole host", [first], steps=steps, commands=typed)
    taken, phases, records = enter.call(raised.nodes[HOST], reconcile_idle, cloud, 10)
    done = figure("reconcile", "nothing to do", taken, 200, records=records)
    yield msgspec.structs.replace(done, phases_ms=phases)


def reconcile_once(cloud: Cloud) -> tuple[float, int, int]:
    """Milliseconds, steps, commands."""
    with HostConnection() as connection:
        begin = time.perf_counter()
        outcome = reconcile(connection, cloud, HOST)
        taken = 1000 * (time.perf_counter() - begin)
    return taken, len(outcome.plan.steps), sum(len(commands(step)) for step in outcome.plan.steps)


def reconcile_idle(cloud: Cloud, runs: int) -> tuple[list[float], dict[str, float], int]:
    """Milliseconds of each run, medians by phase, records compared."""
    taken, phases = [], []
    with HostConnection() as connection:
        reconcile(connection, cloud, HOST)
        for _ in range(runs):
            begin = time.perf_counter()
            outcome = reconcile(connection, cloud, HOST)
            taken.append(1000 * (time.perf_counter() - begin))
            if outcome.plan:
                raise SystemExit(f"not idle: {[commands(step) for step in outcome.plan.steps]}")
            phases.append(outcome.seconds)
    return taken, medians(phases), len(outcome.desired)


def medians(phases: list[dict[str, float]]) -> dict[str, float]:
    """Milliseconds of each phase."""
    return {name: round(1000 * statistics.median(p[name] for p in phases), 2) for name in phases[0]}


def bench_floating_ip(raised: lab.Lab, cloud: Cloud) -> Iterator[Figure]:
    """Take the living instance's floating IP away, give it back, and ask for it from outside all the while."""
    fip = living(cloud)
    without = msgspec.structs.replace(cloud, floating_ips={k: v for k, v in cloud.floating_ips.items() if k != fip.id})
    applied, replied, typed = [], [], 0
    phases: list[dict[str, float]] = []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(7):
            asking = pool.submit(enter.call, raised.nodes["outside"], first_reply, fip.floating_ip_address, 20.0)
            began, ended, typed, seconds = pool.submit(enter.call, raised.nodes[HOST], give, without, cloud).result()
            heard = asking.result()
            applied.append((ended - began) / 1e6)
            replied.append((heard - began) / 1e6)
            phases.append(seconds)
    done = figure("floating-ip", "applied", applied, commands=typed)
    yield msgspec.structs.replace(done, phases_ms=medians(phases))
    yield figure("floating-ip", "first reply outside", replied, 50)


def living(cloud: Cloud) -> FloatingIp:
    """The floating IP of the instance that lives."""
    alive = next(iter(cloud.servers))
    ports = {port.id for port in cloud.ports_by_device[alive]}
    return next(fip for fip in cloud.floating_ips.values() if fip.port_id in ports)


def give(without: Cloud, cloud: Cloud) -> tuple[int, int, int, dict[str, float]]:
    """Without it until outside has noticed, then with it; monotonic nanoseconds of begin and end, commands, phases."""
    with Agent(HOST) as agent:
        agent.reconcile(without)
        time.sleep(1.5)
        began = time.monotonic_ns()
        outcome = agent.apply(cloud)
        ended = time.monotonic_ns()
        return began, ended, sum(len(commands(step)) for step in outcome.plan.steps), outcome.seconds


def first_reply(address: str, patience: float) -> int:
    """When the address first answers after it has been silent for 0.2 s: monotonic nanoseconds."""
    identifier, heard, silent_since = os.getpid() & 0xFFFF, 0, None
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as pinger:
        pinger.settimeout(POLL_SECONDS)
        deadline = time.monotonic() + patience
        last = time.monotonic()
        sequence = 0
        while time.monotonic() < deadline:
            sequence = (sequence + 1) & 0xFFFF
            pinger.sendto(echo(identifier, sequence), (address, 0))
            until = time.monotonic() + POLL_SECONDS
            heard = 0
            while (left := until - time.monotonic()) > 0:
                pinger.settimeout(left)
                try:
                    data, sender = pinger.recvfrom(512)
                except TimeoutError:
                    break
                if sender[0] == address and data[20] == ICMP_ECHO_REPLY:
                    heard = time.monotonic_ns()
                    if silent_since:
                        return heard
            if heard:
                last = time.monotonic()
            elif time.monotonic() - last > 0.2:
                silent_since = last
    raise SystemExit(f"{address} did not answer within {patience} s")


def echo(identifier: int, sequence: int) -> bytes:
    """An echo request without data (RFC 792)."""
    bare = struct.pack("!BBHHH", 8, 0, 0, identifier, sequence)
    return bare[:2] + struct.pack("!H", _sum(bare)) + bare[4:]


def _sum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def bench_trace(raised: lab.Lab, cloud: Cloud) -> Iterator[Figure]:
    """Look once, walk often."""
    begin = time.perf_counter()
    world = observe_world(raised)
    observed = 1000 * (time.perf_counter() - begin)
    question = Question(source="outside", target=living(cloud).floating_ip_address)
    walked = walk(world, question)
    if not walked.ok:
        raise SystemExit(f"not delivered: {walked.forward.reason}; {walked.reply and walked.reply.reason}")
    hops = len(walked.forward.hops) + len(walked.reply.hops if walked.reply else ())
    records = sum(len(machine.state) for machine in world.machines.values())
    yield figure(
        "trace", "one walk, there and back", timed(lambda: walk(world, question), 20), 20, hops=hops, records=records
    )
    yield figure("trace", "observing all machines", [observed])


# --- the rest -----------------------------------------------------------------------------------------


def bench_lab_up() -> Iterator[Figure]:
    """The reference lab, up and down."""
    cloud, downs = reference(), []

    def down() -> None:
        downs.extend(timed(lambda: lab.down(LAB), 1))

    try:
        ups = timed(lambda: lab.up(cloud, name=LAB, progress=lambda *_: None), 5, before=down)
    finally:
        down()
    yield figure("lab-up", "reference cloud up", ups)
    yield figure("lab-up", "down", downs[1:])


def bench_cli() -> Iterator[Figure]:
    """What a person waits for before anything happens."""
    argv = [sys.executable, "-m", "floatway", "--help"]
    yield figure(
        "cli", "floatway --help", timed(lambda: subprocess.run(argv, capture_output=True, check=True), 15), 150
    )
