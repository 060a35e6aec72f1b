"""``bin/storm``: a served lab under a storm of changes, while everything that it is made of is killed at random.

    clients ─▶ API: networks, routers, ports, floating IPs, groups and rules made, changed, moved and deleted in drawn order
    killed: the agents, the server, ovs-vswitchd, ovsdb-server, in the middle of requests; started again as systemd would

At rest each host is what the cloud compiles to, nothing is left over, nothing that was acknowledged is lost, statuses are true and
packets flow in, out and between the hosts. A seed replays the order of requests and deaths.
"""

import argparse
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import resources

from floatway.cli.progress import lines
from floatway.host.state import HostState, decode, encode
from floatway.lab import enter, intent, lab, ovs, served
from floatway.lab.api import ask, wait_applied, wait_until
from floatway.lab.lab import with_datapath
from floatway.linux.connection import HostConnection
from floatway.linux.observe import observe
from floatway.model.load import cloud_from_text
from storm.acts import POOL_END, Clients
from storm.told import Told, differences

VICTIMS = ("agent", "server", "ovs-vswitchd", "ovsdb-server")
LATE = 0.06
"""Seconds into an act in which a death comes, at most: several requests' time."""
PINGS = {
    1: [("test", "192.168.0.1"), ("outside", "192.168.10.106")],
    2: [("a", "192.168.0.1"), ("outside", "192.168.10.111"), ("outside", "192.168.10.113"), ("a", "10.1.0.12"), ("c", "10.1.0.11")],
}  # fmt: skip
"""Who reaches whom at rest, for so many hosts."""
EPILOG = """examples:
  sudo bin/storm                                  500 ports, 50 routers, 200 floating IPs on two hosts
  sudo bin/storm --ports 40 --routers 5 --floating-ips 20 --kills 8 --seed 7

ends with 1 if anything is not as it was told, and says what"""


class Storm:
    """One lab, its clients and their chances."""

    def __init__(self, asked: argparse.Namespace, tell: Callable[[str], None]) -> None:
        self.asked, self.tell = asked, tell
        self.chance = random.Random(asked.seed)
        self.name = f"storm-{os.getpid()}"
        name = "reference.yaml" if asked.hosts == 1 else "two-hosts.yaml"
        self.cloud = cloud_from_text((resources.files("floatway.lab") / "clouds" / name).read_text(), name)
        self.hosts = sorted({server.host for server in self.cloud.servers.values()})
        self.deaths: Counter[str] = Counter()
        self._killer = ThreadPoolExecutor(1, thread_name_prefix="killer")
        self._killing: list[Future[None]] = []

    def up(self) -> None:
        self.told = Told(lab.up(self.cloud, name=self.name, with_server=True))
        (external,) = (net for net in self.cloud.networks.values() if net.router_external)
        (outer,) = (subnet for subnet in self.cloud.subnets.values() if subnet.network_id == external.id)
        self.clients = Clients(self.told, self.hosts, external.id, self.chance)
        nouns = ("network", "subnet", "router", "port", "floatingip", "security_group", "security_group_rule")
        project = self.told.ask("GET", "quotas/tenant")["tenant"]["tenant_id"]
        self.told.ask("PUT", f"quotas/{project}", {"quota": dict.fromkeys(nouns, -1)})
        pool = {"start": outer.allocation_pools[0].start, "end": POOL_END}
        self.told.ask("PUT", f"subnets/{outer.id}", {"subnet": {"allocation_pools": [pool]}})

    def kill(self, victim: str, host: str, after: float) -> None:
        """End it so many seconds from now, whatever goes on then."""
        threading.Event().wait(after)
        node, server = self.told.lab.nodes[host], self.told.server
        if victim == "server":
            if server.alive:
                os.kill(server.pid, signal.SIGKILL)
        elif victim == "agent":
            enter.run(node, ["pkill", "-KILL", "-f", "^[^ ]*python[^ ]* -m [f]loatway agent"], capture_output=True)
        else:
            enter.run(node, ["pkill", "-KILL", "-x", victim], capture_output=True)
            ovs.start(node)
        self.deaths[victim] += 1

    def rage(self) -> None:
        asked = self.asked
        acts = self.clients.plan(asked.ports, asked.routers, asked.floating_ips)
        deaths = set(self.chance.sample(range(len(acts)), min(asked.kills, len(acts))))
        for number, act in enumerate(acts):
            if number in deaths:
                victim, host, after = (
                    self.chance.choice(VICTIMS),
                    self.chance.choice(self.hosts),
                    self.chance.uniform(0, LATE),
                )
                self.tell(f"kill -9: {victim}" + ("" if victim == "server" else f" of {host}"))
                self._killing.append(self._killer.submit(self.kill, victim, host, after))
            self.clients.do(act)
            if number % 100 == 99:
                self.tell(f"{number + 1} of {len(acts)} acts")
        for killing in self._killing:
            killing.result()

    def rest(self) -> list[str]:
        """What is not as it shall be, once everybody is alive and has had time."""
        self.told.revive()
        for host in self.hosts:
            ovs.start(self.told.lab.nodes[host])
        server = self.told.server
        begin = time.monotonic()
        wait_until(lambda: served.following(server) >= set(self.hosts), "the agents are there", seconds=60)
        wait_applied(server.url, seconds=300)
        wrong = differences(self.told)
        deadline = time.monotonic() + 120
        while left := [*self.left(server), *self.untrue(server)]:
            if time.monotonic() > deadline:
                return wrong + left
            time.sleep(0.5)
        self.tell(f"at rest {time.monotonic() - begin:.1f} s after the last request")
        return wrong

    def left(self, server: served.Server) -> list[str]:
        """What the hosts still differ in, and pings that do not come back."""
        cloud, found = with_datapath(served.view(server), ovs.datapath()), []
        nodes = self.told.lab.nodes
        for host in self.hosts:
            differs = intent.differences(cloud, host, decode(enter.call(nodes[host], observed)))
            found += [f"{host}: {one.of or 'left over'}: {'; '.join(one.commands)[:200]}" for one in differs]
        for node, address in PINGS[self.asked.hosts]:
            if enter.run(nodes[node], ["ping", "-n", "-c", "1", "-W", "1", address], capture_output=True).returncode:
                found.append(f"{address} does not answer {node}")
        return found

    def untrue(self, server: served.Server) -> list[str]:
        """Statuses that are not what the hosts hold, which is what they shall hold."""

        def listed(collection: str, query: str = "") -> list[dict[str, object]]:
            answer: dict[str, list[dict[str, object]]] = ask(server.url, "GET", f"/v2.0/{collection}{query}")
            return answer[collection]

        found = []
        routers = {router["id"]: router for router in listed("routers")}
        for router in routers.values():
            if router["status"] != "ACTIVE":
                found.append(f"router {router['id']} is {router['status']}, not ACTIVE")
        for port in listed("ports", "?device_owner=compute:nova"):
            wanted = "ACTIVE" if port["admin_state_up"] else "DOWN"
            if port["status"] != wanted:
                found.append(f"port {port['id']} on {port['binding:host_id']} is {port['status']}, not {wanted}")
        for fip in listed("floatingips"):
            router = routers.get(fip["router_id"], {})
            wanted = "ACTIVE" if fip["port_id"] and router.get("admin_state_up") else "DOWN"
            if fip["status"] != wanted:
                found.append(f"floating IP {fip['id']} is {fip['status']}, not {wanted}")
        return found


def observed() -> bytes:
    with HostConnection() as connection:
        state: HostState = observe(connection)
        return encode(state)


def main() -> int:
    """Raise, rage, rest, tell."""
    parser = argparse.ArgumentParser(
        prog="bin/storm", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--hosts", type=int, choices=sorted(PINGS), default=2, help="1: the reference's; 2: two-hosts (2)"
    )
    parser.add_argument("--ports", type=int, default=500)
    parser.add_argument("--routers", type=int, default=50)
    parser.add_argument("--floating-ips", type=int, default=200)
    parser.add_argument("--kills", type=int, default=40, help="how many processes are killed (40)")
    parser.add_argument("--seed", type=int, default=0, help="a seed replays its storm")
    asked = parser.parse_args()
    tell = lines()
    storm = Storm(asked, tell)
    try:
        storm.up()
        storm.rage()
        wrong = storm.rest()
    finally:
        lab.down(storm.name)
    for line in wrong[:50]:
        print(line, file=sys.stderr)
    there = storm.told.there
    sizes = ", ".join(f"{len(known)} {noun}s" for noun, known in there.items())
    killed = ", ".join(f"{number} {victim}" for victim, number in sorted(storm.deaths.items()))
    ended = f"{len(wrong)} things are wrong" if wrong else "all as it was told"
    print(
        f"seed {asked.seed}: {sizes}, {len(storm.told.gone)} deleted; killed: {killed}, {storm.told.unanswered} times in the middle of a"
        f" request; {storm.clients.refused} refused: {ended}"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
