"""``bin/storm``: a served lab under a storm of changes, while everything that it is made of is killed at random.

    clients ─▶ API: networks, routers, ports, floating IPs made, changed, moved to the other host and deleted in drawn order
    killed: the agents, the server, ovs-vswitchd, ovsdb-server; started again as systemd would

At rest each host is what the cloud compiles to, nothing is left over, nothing that was acknowledged is lost, and packets flow
in, out and between the hosts. A seed replays the order of requests and deaths.
"""

import argparse
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from importlib import resources
from typing import Any

from floatway.cli.progress import lines
from floatway.host.state import HostState, decode, encode
from floatway.lab import enter, intent, lab, ovs, served
from floatway.lab.api import RefusedError, ask, wait_applied, wait_until
from floatway.lab.errors import LabError
from floatway.lab.lab import with_datapath
from floatway.linux.connection import HostConnection
from floatway.linux.observe import observe
from floatway.model.load import cloud_from_text

VICTIMS = ("agent", "server", "ovs-vswitchd", "ovsdb-server")
PINGS = {
    1: [("test", "192.168.0.1"), ("outside", "192.168.10.106")],
    2: [("a", "192.168.0.1"), ("outside", "192.168.10.111"), ("outside", "192.168.10.113"), ("a", "10.1.0.12"), ("c", "10.1.0.11")],
}  # fmt: skip
"""Who reaches whom at rest, for so many hosts."""
PAIRS = [{"ip_address": "10.99.0.1"}]
EPILOG = """examples:
  sudo bin/storm                                  500 ports, 50 routers, 200 floating IPs on two hosts
  sudo bin/storm --ports 40 --routers 5 --floating-ips 20 --kills 8 --seed 7

ends with 1 if anything is not as it was told, and says what"""


class Storm:
    """One lab, what was acknowledged, and the chances."""

    def __init__(self, asked: argparse.Namespace, tell: Callable[[str], None]) -> None:
        self.asked, self.tell = asked, tell
        self.chance = random.Random(asked.seed)
        self.name = f"storm-{os.getpid()}"
        self.there: dict[str, dict[str, dict[str, Any]]] = {
            "networks": {},
            "routers": {},
            "ports": {},
            "floatingips": {},
        }
        self.gone: set[str] = set()
        name = "reference.yaml" if asked.hosts == 1 else "two-hosts.yaml"
        self.cloud = cloud_from_text((resources.files("floatway.lab") / "clouds" / name).read_text(), name)
        self.hosts = sorted({server.host for server in self.cloud.servers.values()})
        self.external = next(net.id for net in self.cloud.networks.values() if net.router_external)

    def up(self) -> None:
        self.lab = lab.up(self.cloud, name=self.name, with_server=True)
        limits = dict.fromkeys(("network", "subnet", "router", "port", "floatingip"), -1)
        project = self.ask("GET", "quotas/tenant")["tenant"]["tenant_id"]
        self.ask("PUT", f"quotas/{project}", {"quota": limits})

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask until somebody answers: a server that was killed is started again. A request whose answer was lost may be done."""
        while True:
            server = self.lab.server
            assert server is not None
            try:
                return ask(server.url, method, f"/v2.0/{path}", body)
            except RefusedError as refused:
                if refused.status != 503:
                    raise
            except LabError:
                self.revive_server()

    def revive_server(self) -> None:
        known = lab.load(self.name)
        assert known.server is not None
        self.lab = lab.Lab(
            name=known.name, nodes=known.nodes, fabric=known.fabric, wires=known.wires,
            server=served.start_server(self.name, known.server),
        )  # fmt: skip
        lab._write(self.lab)

    # --- requests ---------------------------------------------------------------------------------

    def make(self, collection: str, noun: str, **values: Any) -> dict[str, Any]:
        made: dict[str, Any] = self.ask("POST", collection, {noun: values})[noun]
        self.there[collection][made["id"]] = made
        return made

    def put(self, collection: str, noun: str, id_: str, **values: Any) -> None:
        self.ask("PUT", f"{collection}/{id_}", {noun: values})
        self.there[collection][id_].update(values)

    def network(self) -> None:
        net = self.make("networks", "network", name=f"n{len(self.there['networks'])}")
        number = len(self.there["networks"])
        cidr = f"10.{number % 200}.{number // 200}.0/24"
        subnet = self.ask("POST", "subnets", {"subnet": {"network_id": net["id"], "cidr": cidr, "ip_version": 4}})[
            "subnet"
        ]
        router = self.make("routers", "router", name="r", external_gateway_info={"network_id": self.external})
        self.ask("PUT", f"routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
        net["router"] = router["id"]
        net["subnet"] = subnet["id"]

    def port(self) -> None:
        net = self.chance.choice(list(self.there["networks"].values()))
        host = self.chance.choice(self.hosts)
        port = self.make(
            "ports", "port", network_id=net["id"], device_owner="compute:nova", device_id=f"vm{len(self.there['ports'])}",
            **{"binding:host_id": host},
        )  # fmt: skip
        self.plug(port["id"], host)

    def plug(self, port: str, host: str) -> None:
        tap = f"tap{port[:11]}"
        self.run(host, "ip", "tuntap", "add", "dev", tap, "mode", "tap")
        self.run(host, "ip", "link", "set", tap, "up")

    def unplug(self, port: str, host: str) -> None:
        self.run(host, "ip", "link", "del", f"tap{port[:11]}")

    def run(self, host: str, *argv: str) -> int:
        return enter.run(self.lab.nodes[host], list(argv), capture_output=True).returncode

    def migrate(self) -> None:
        """To the other host, as Nova does it: the tap is there first."""
        if not self.there["ports"]:
            return
        port = self.chance.choice(list(self.there["ports"].values()))
        source, target = port["binding:host_id"], self.chance.choice(self.hosts)
        if source != target:
            self.plug(port["id"], target)
            self.put("ports", "port", port["id"], **{"binding:host_id": target})
            self.unplug(port["id"], source)

    def floating(self) -> None:
        ports = [port for port in self.there["ports"].values() if not port.get("floating")]
        if ports:
            port = self.chance.choice(ports)
            made = self.make("floatingips", "floatingip", floating_network_id=self.external, port_id=port["id"])
            port["floating"] = made["id"]

    def move(self) -> None:
        if not self.there["floatingips"]:
            return
        fip = self.chance.choice(list(self.there["floatingips"]))
        ports = [port for port in self.there["ports"].values() if not port.get("floating")]
        target = self.chance.choice([None, *ports[:5]])
        self.put("floatingips", "floatingip", fip, port_id=target["id"] if target else None)
        for port in self.there["ports"].values():
            if port.get("floating") == fip:
                port["floating"] = None
        if target:
            target["floating"] = fip

    def change(self) -> None:
        if self.there["ports"]:
            port = self.chance.choice(list(self.there["ports"]))
            values: dict[str, Any] = self.chance.choice(
                [
                    {"admin_state_up": False},
                    {"admin_state_up": True},
                    {"name": "x"},
                    {"allowed_address_pairs": PAIRS},
                ]
            )
            self.put("ports", "port", port, **values)

    def delete(self) -> None:
        collection = self.chance.choice(["ports", "floatingips"])
        if not self.there[collection]:
            return
        id_ = self.chance.choice(list(self.there[collection]))
        try:
            self.ask("DELETE", f"{collection}/{id_}")
        except RefusedError as refused:
            if refused.status != 404:  # the first try's answer was lost with the server
                raise
        gone = self.there[collection].pop(id_)
        self.gone.add(id_)
        if collection == "ports":
            self.unplug(id_, gone["binding:host_id"])
            if gone.get("floating"):
                self.there["floatingips"][gone["floating"]]["port_id"] = None
        else:
            for port in self.there["ports"].values():
                if port.get("floating") == gone["id"]:
                    port["floating"] = None

    # --- deaths -----------------------------------------------------------------------------------

    def kill(self) -> None:
        victim = self.chance.choice(VICTIMS)
        host = self.chance.choice(self.hosts)
        self.tell(f"kill -9: {victim}" + ("" if victim == "server" else f" of {host}"))
        if victim == "server":
            server = lab.load(self.name).server
            assert server is not None
            if server.alive:
                os.kill(server.pid, signal.SIGKILL)
        elif victim == "agent":
            self.run(host, "pkill", "-KILL", "-f", "^[^ ]*python[^ ]* -m [f]loatway agent")
        else:
            self.run(host, "pkill", "-KILL", "-x", victim)
            ovs.start(self.lab.nodes[host])

    # --- the whole --------------------------------------------------------------------------------

    def rage(self) -> None:
        asked = self.asked
        for _ in range(asked.routers):
            self.network()
        self.tell(f"{asked.routers} networks with routers")
        todo = [self.port] * asked.ports + [self.floating] * asked.floating_ips
        todo += (
            [self.move] * (asked.floating_ips // 2)
            + [self.change] * (asked.ports // 4)
            + [self.delete] * (asked.ports // 5)
            + [self.migrate] * (asked.ports // 5 if asked.hosts > 1 else 0)
        )
        first, rest = todo[: asked.ports // 10], todo[asked.ports // 10 :]
        self.chance.shuffle(rest)
        todo = [*first, *rest]
        deaths = set(self.chance.sample(range(len(todo)), min(asked.kills, len(todo))))
        for number, act in enumerate(todo):
            if number in deaths:
                self.kill()
            try:
                act()
            except RefusedError as refused:
                if refused.status not in {404, 409}:
                    raise
            if number % 100 == 99:
                self.tell(f"{number + 1} of {len(todo)} requests")

    def rest(self) -> list[str]:
        """What is not as it shall be, once everybody is alive and has had time."""
        self.revive_server()
        for host in self.hosts:
            ovs.start(self.lab.nodes[host])
        server = self.lab.server
        assert server is not None
        begin = time.monotonic()

        def connected() -> set[str]:
            return {one["host"] for one in ask(server.url, "GET", "/floatway/v1/hosts")["hosts"] if one["connected"]}

        wait_until(lambda: connected() >= set(self.hosts), "the agents are there", seconds=60)
        wait_applied(server.url, seconds=300)
        wrong = self.lost(server.url)
        deadline = time.monotonic() + 120
        while left := self.left(server):
            if time.monotonic() > deadline:
                return wrong + left
            time.sleep(0.5)
        self.tell(f"at rest {time.monotonic() - begin:.1f} s after the last request")
        return wrong

    def lost(self, url: str) -> list[str]:
        """Acknowledged, and not there, or not so; deleted, and there."""
        found = []
        told = ("binding:host_id", "admin_state_up", "allowed_address_pairs", "name", "port_id")
        for collection, known in self.there.items():
            listed = {one["id"]: one for one in ask(url, "GET", f"/v2.0/{collection}")[collection]}
            found += [f"{collection} {id_} is lost" for id_ in known if id_ not in listed]
            found += [f"{collection} {id_} is back" for id_ in listed if id_ in self.gone]
            for id_, one in known.items():
                for key in told:
                    if id_ in listed and key in one and said(one[key]) != said(listed[id_][key]):
                        found.append(f"{collection} {id_}: {key} is {listed[id_][key]}, was told {one[key]}")
        return found

    def left(self, server: served.Server) -> list[str]:
        """What the hosts still differ in, statuses that do not tell the truth, pings that do not come back."""
        cloud, found = with_datapath(served.view(server), ovs.datapath()), []
        for host in self.hosts:
            differs = intent.differences(cloud, host, decode(enter.call(self.lab.nodes[host], observed)))
            found += [f"{host}: {one.of or 'left over'}: {'; '.join(one.commands)[:200]}" for one in differs]
        for port in ask(server.url, "GET", "/v2.0/ports?device_owner=compute:nova")["ports"]:
            wanted = "ACTIVE" if port["admin_state_up"] else "DOWN"
            if port["status"] != wanted:
                found.append(f"port {port['id']} on {port['binding:host_id']} is {port['status']}, not {wanted}")
        for fip in ask(server.url, "GET", "/v2.0/floatingips")["floatingips"]:
            wanted = "ACTIVE" if fip["port_id"] else "DOWN"
            if fip["status"] != wanted:
                found.append(f"floating IP {fip['id']} is {fip['status']}, not {wanted}")
        for node, address in PINGS[self.asked.hosts]:
            if self.run(node, "ping", "-n", "-c", "1", "-W", "1", address):
                found.append(f"{address} does not answer {node}")
        return found


def said(value: object) -> object:
    """Allowed pairs come back with a MAC, which was not told."""
    return [pair["ip_address"] for pair in value] if isinstance(value, list) else value


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
    sizes = ", ".join(f"{len(known)} {collection}" for collection, known in storm.there.items())
    print(
        f"seed {asked.seed}: {sizes} at the end; {f'{len(wrong)} things are wrong' if wrong else 'all as it was told'}"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
