"""How soon a change is at every host that it concerns: a thousand simulated agents, twenty thousand ports, one server.

    PUT sent ──▶ decided ─ durable ─ hosts found ─ encoded once ─ written to each stream ──▶ the last of them has its line

Each host has 20 ports of two projects; a project has 200 ports on 20 hosts, a distributed router and a security group whose
members may reach each other. Every agent reports 10 ms after a line, which is as much and as soon as real ones do.
"""

import contextlib
import http.client
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import api_server
import msgspec
from fanout_agents import Spec
from measure import Figure

HOSTS = 1000
PROJECTS = 100
HOSTS_OF_ONE = 20
PORTS_ON_ONE = 10
CHANGES = 150
CHANGES_OF_ALL = 20
AIM_MS = 100.0
IDLE_SECONDS = 20.0
AGENTS = """
[agents]
bind = "127.0.0.1"
port = {port}
"""


class Fleet:
    """The agents' process."""

    def __init__(self, port: int, keys: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).parent / "fanout_agents.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.ask(msgspec.json.encode(Spec(port, keys)).decode())

    def ask(self, command: str) -> Any:
        """What it says to a line."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(command.encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the simulated agents died")
        return json.loads(line)

    def settle(self, revision: int) -> None:
        """Wait until all stand at ``revision`` or later: heartbeats bring there whom it does not concern."""
        deadline = time.monotonic() + 300
        while self.ask(f"settled {revision}") < HOSTS:
            if time.monotonic() > deadline:
                raise SystemExit(f"{HOSTS - self.ask(f'settled {revision}')} hosts are not at revision {revision}")
            time.sleep(0.2)

    def arrivals(self) -> dict[int, dict[str, float]]:
        """When each revision came to which host, since the last call."""
        found: dict[int, dict[str, float]] = defaultdict(dict)
        for host, revision, seconds in self.ask("heard")["lines"]:
            found[revision][host] = seconds
        return found

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(10)


class Caller:
    """A client of the API on one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def call(self, method: str, path: str, body: object) -> tuple[int, float, Any]:
        """The answer's revision, when the request was begun, and the document."""
        text = json.dumps(body)
        begun = time.monotonic()
        self._connection.request(method, path, text, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        raw = answer.read()
        if answer.status >= 400:
            raise SystemExit(f"{method} {path}: {answer.status} {raw[:500]!r}")
        return int(answer.headers["X-Floatway-Revision"]), begun, json.loads(raw) if raw else None


class Project(msgspec.Struct):
    """What is changed in one."""

    hosts: frozenset[str]
    group: str
    ports: list[dict[str, Any]]
    floating_ips: list[str]


def bench_fanout() -> Iterator[Figure]:
    """Changes one after another, each to its last host."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    with api_server.scratch() as directory:
        door = api_server.free_port()
        with api_server.serving(f"sqlite://{directory}/floatway.db", directory, AGENTS.format(port=door)) as api:
            keys = joined(api, door)
            described(door, keys)
            projects = filled(api)
            begun, spent = time.monotonic(), api.cpu_seconds()
            with following(door, keys) as fleet:
                fleet.settle(api.call("GET", "/floatway/v1/revision")["revision"])
                taken, cpu = 1000 * (time.monotonic() - begun), round(1000 * (api.cpu_seconds() - spent))
                yield _once("1,000 agents come at once: all have their part", taken, server_cpu_ms=cpu)
                yield from measured(api, fleet, projects, door, keys)
                yield from idle(api)


@contextlib.contextmanager
def following(door: int, keys: dict[str, str]) -> Iterator[Fleet]:
    """The agents, until the block ends."""
    fleet = Fleet(door, keys)
    try:
        yield fleet
    finally:
        fleet.stop()


def joined(api: api_server.Api, door: int) -> dict[str, str]:
    """Every host's key."""
    keys = {}
    connection = http.client.HTTPConnection("127.0.0.1", door, timeout=60)
    for number in range(HOSTS):
        name = f"h{number}"
        secret = api.call("POST", f"/floatway/v1/hosts/{name}/tokens")["token"]["secret"]
        connection.request("POST", "/v1/join", json.dumps({"host": name, "secret": secret}))
        keys[name] = json.loads(connection.getresponse().read())["key"]
    return keys


def described(door: int, keys: dict[str, str]) -> None:
    """Let every host say what runs there, before anybody listens."""
    for number, (name, key) in enumerate(keys.items()):
        describe(door, name, key, f"172.16.{number // 250}.{number % 250 + 1}")


def describe(door: int, name: str, key: str, tunnel_ip: str) -> float:
    """When it was begun to say."""
    layer2 = {
        "bridge_mappings": {"public": "br-ex"},
        "integration_bridge": "br-int",
        "ovs_hybrid_plug": True,
        "tunneling_ip": tunnel_ip,
        "tunnel_types": ["vxlan"],
    }
    agents = [
        {"agent_type": "Open vSwitch agent", "configurations": layer2},
        {"agent_type": "L3 agent", "configurations": {"agent_mode": "dvr_snat" if name == "h0" else "dvr"}},
    ]
    connection = http.client.HTTPConnection("127.0.0.1", door, timeout=60)
    begun = time.monotonic()
    body = json.dumps({"applied": 0, "agents": agents})
    connection.request("POST", f"/v1/hosts/{name}/reports", body, {"Authorization": f"Bearer {key}"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"{name}: {answer.status} {answer.read()[:300]!r}")
    connection.close()
    return begun


def filled(api: api_server.Api) -> list[Project]:
    """The cloud."""
    public = {"name": "public", "router:external": True, "provider:network_type": "flat"}
    public |= {"provider:physical_network": "public"}
    outside = api.call("POST", "/v2.0/networks", {"network": public})["network"]["id"]
    subnet = {"network_id": outside, "ip_version": 4, "cidr": "203.0.0.0/16", "enable_dhcp": False}
    api.call("POST", "/v2.0/subnets", {"subnet": subnet})
    return [project(api, number, outside) for number in range(PROJECTS)]


def project(api: api_server.Api, number: int, outside: str) -> Project:
    """One project: its hosts are those that its number and the next ones share with others."""
    network = api.call("POST", "/v2.0/networks", {"network": {"name": f"net{number}"}})["network"]["id"]
    asked = {"network_id": network, "ip_version": 4, "cidr": f"10.{number}.0.0/16"}
    subnet = api.call("POST", "/v2.0/subnets", {"subnet": asked})["subnet"]["id"]
    group = api.call("POST", "/v2.0/security-groups", {"security_group": {"name": f"g{number}"}})["security_group"][
        "id"
    ]
    rule = {"security_group_id": group, "direction": "ingress", "remote_group_id": group}
    api.call("POST", "/v2.0/security-group-rules", {"security_group_rule": rule})
    asked = {"distributed": True, "external_gateway_info": {"network_id": outside}}
    router = api.call("POST", "/v2.0/routers", {"router": asked})["router"]["id"]
    api.call("PUT", f"/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet})
    hosts = [f"h{(number * 10 + n) % HOSTS}" for n in range(HOSTS_OF_ONE)]
    wanted = [
        {
            "network_id": network,
            "binding:host_id": host,
            "device_owner": "compute:nova",
            "device_id": f"{number}-{host}-{n}",
            "security_groups": [group],
        }
        for host in hosts
        for n in range(PORTS_ON_ONE)
    ]
    ports = api.call("POST", "/v2.0/ports", {"ports": wanted})["ports"]
    floating_ips = [
        api.call("POST", "/v2.0/floatingips", {"floatingip": {"floating_network_id": outside}})["floatingip"]["id"]
        for _ in range(4)
    ]
    return Project(frozenset(hosts), group, ports, floating_ips)


Change = Callable[[Caller, Project, int], tuple[int, float, frozenset[str]]]


def rule_added(caller: Caller, one: Project, number: int) -> tuple[int, float, frozenset[str]]:
    """A rule: for the hosts of the group's ports."""
    rule: dict[str, object] = {"security_group_id": one.group, "direction": "ingress", "protocol": "tcp"}
    rule |= {"ethertype": "IPv4", "port_range_min": 1000 + number, "port_range_max": 1000 + number}
    revision, begun, _ = caller.call("POST", "/v2.0/security-group-rules", {"security_group_rule": rule})
    return revision, begun, one.hosts


def port_changed(caller: Caller, one: Project, number: int) -> tuple[int, float, frozenset[str]]:
    """An allowed pair: for all hosts of the network."""
    port = one.ports[number % len(one.ports)]["id"]
    pairs = [{"ip_address": f"192.0.2.{number % 250 + 1}"}]
    revision, begun, _ = caller.call("PUT", f"/v2.0/ports/{port}", {"port": {"allowed_address_pairs": pairs}})
    return revision, begun, one.hosts


def floating_ip_moved(caller: Caller, one: Project, number: int) -> tuple[int, float, frozenset[str]]:
    """A floating IP from one instance to another: for the hosts of both, and where its agent gateway changes."""
    floating_ip = one.floating_ips[0]
    port = one.ports[number % len(one.ports)]
    path = f"/v2.0/floatingips/{floating_ip}"
    revision, begun, _ = caller.call("PUT", path, {"floatingip": {"port_id": port["id"]}})
    return revision, begun, frozenset({port["binding:host_id"]})


def measured(
    api: api_server.Api, fleet: Fleet, projects: list[Project], door: int, keys: dict[str, str]
) -> Iterator[Figure]:
    """Each kind of change, and one that concerns everybody."""
    caller, chance = Caller(api.port), random.Random(4)
    kinds: dict[str, Change] = {
        "a rule, 20 hosts": rule_added,
        "a port, 20 hosts": port_changed,
        "a floating IP": floating_ip_moved,
    }
    for what, change in kinds.items():
        fleet.arrivals()
        made = []
        for number in range(CHANGES):
            made.append(change(caller, chance.choice(projects), number))
            time.sleep(chance.uniform(0.0, 0.04))
        fleet.settle(made[-1][0])
        yield _figure(what, made, fleet.arrivals())
    made = []
    for number in range(CHANGES_OF_ALL):
        name = f"h{chance.randrange(1, HOSTS)}"
        before = api.call("GET", "/floatway/v1/revision")["revision"]  # heartbeats make revisions too, afterwards
        begun = describe(door, name, keys[name], f"172.20.0.{number + 1}")
        made.append((before + 1, begun, frozenset(keys)))
        fleet.settle(api.call("GET", "/floatway/v1/revision")["revision"])
    yield _figure("a tunnel's end, 1,000 hosts", made, fleet.arrivals())


def _figure(what: str, made: list[tuple[int, float, frozenset[str]]], arrivals: dict[int, dict[str, float]]) -> Figure:
    """Of every change and host: from the request's begin to the line. A host that was told of a later revision was told of both."""
    taken, last = [], []
    for revision, begun, hosts in made:
        came: dict[str, float] = {}
        for near in range(revision - 50, revision + 50):  # heartbeats are revisions too, and an answer names the newest
            for host, seconds in arrivals.get(near, {}).items():
                if host in hosts and seconds > begun:
                    came.setdefault(host, seconds)
            if len(came) == len(hosts):
                break
        if missing := hosts - came.keys():
            raise SystemExit(f"{what}: revision {revision} never came to {sorted(missing)[:5]}")
        taken += [1000 * (seconds - begun) for seconds in came.values()]
        last.append(1000 * (max(came.values()) - begun))
    taken.sort()
    return Figure(
        bench="fanout",
        what=f"{what}: request begun to line at each host",
        median_ms=round(statistics.median(taken), 2),
        best_ms=round(taken[0], 2),
        runs=len(made),
        aim_ms=AIM_MS,
        counts={"hosts": len(taken)},
        phases_ms={
            "p99": round(taken[int(len(taken) * 0.99)], 1),
            "worst": round(taken[-1], 1),
            "the last host, median": round(statistics.median(last), 1),
        },
    )


def idle(api: api_server.Api) -> Iterator[Figure]:
    """What a thousand agents cost that have nothing to do, and what the server holds."""
    before = api.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    spent = 1000 * (api.cpu_seconds() - before) / IDLE_SECONDS
    yield _once("1,000 idle agents: milliseconds of a core in a second", spent, server_mib=round(api.rss_mib()))


def _once(what: str, value: float, **counts: int) -> Figure:
    """Of what is measured once."""
    value = round(value, 1)
    return Figure(bench="fanout", what=what, median_ms=value, best_ms=value, runs=1, counts=counts)
