"""What the clients of a storm do, one drawn act at a time: everything is made, changed, moved and deleted.

network  subnet, router, interface, gateway     admin state, name, extra routes, gateway, interface; all of it goes
port     bound, with a tap                      name, admin state, groups, port security, pairs, addresses; moves; goes
floating IP                                     moves, leaves its port; goes
group    rules come and go                      ports take it and leave it; goes
"""

import random
from collections.abc import Callable
from typing import Any

from floatway.lab import enter
from floatway.lab.api import RefusedError
from storm.told import Told

__all__ = ["EXPECTED", "Clients"]

EXPECTED = {
    "ExternalGatewayForFloatingIPNotFound",
    "RouterExternalGatewayInUseByFloatingIp",
    "RouterInterfaceInUseByFloatingIP",
    "SecurityGroupInUse",
    "SecurityGroupRuleExists",
}
"""What clients may be told in a storm, for good reasons. Anything else is an error."""
GROUPS = 8
POOL_END = "192.168.19.254"
"""Of the external network: a storm needs more addresses than the lab has."""


class Clients:
    """Acts, drawn from one source of chance."""

    def __init__(self, told: Told, hosts: list[str], external: str, chance: random.Random) -> None:
        """``external`` is the network that floating IPs are of."""
        self.told, self.hosts, self.external, self.chance = told, hosts, external, chance
        self.subnets = 0
        self.refused = 0

    def plan(self, ports: int, routers: int, floating_ips: int) -> list[Callable[[], None]]:
        """All acts of a storm, in drawn order: a few networks and groups first, else there is nothing to storm about."""
        first = [self.group] * GROUPS + [self.network] * (routers // 5 + 1) + [self.port] * (ports // 10)
        rest = [
            *[self.network] * (routers - routers // 5 - 1 + routers // 5),
            *[self.network_gone] * (routers // 5),
            *[self.network_changed] * routers,
            *[self.port] * (ports - ports // 10 + ports // 5),
            *[self.port_gone] * (ports // 5),
            *[self.port_changed] * (ports // 2),
            *[self.port_moved] * (ports // 5 if len(self.hosts) > 1 else 0),
            *[self.floating] * (floating_ips + floating_ips // 4),
            *[self.floating_gone] * (floating_ips // 4),
            *[self.floating_moved] * (floating_ips // 2),
            *[self.rule] * (ports // 10),
            *[self.rule_gone] * (ports // 20),
            *[self.group] * 4,
            *[self.group_gone] * 8,
        ]
        self.chance.shuffle(rest)
        return [*first, *rest]

    def do(self, act: Callable[[], None]) -> None:
        """Do it; what must be refused may be."""
        try:
            act()
        except RefusedError as refused:
            error = (refused.document or {}).get("NeutronError") or {}
            if error.get("type") not in EXPECTED:
                raise
            self.refused += 1

    def _any(self, noun: str, keep: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any] | None:
        found = [one for one in self.told.there[noun].values() if keep(one)]
        return self.chance.choice(found) if found else None

    def _run(self, host: str, *argv: str) -> None:
        done = enter.run(self.told.lab.nodes[host], list(argv), capture_output=True, text=True)
        assert done.returncode == 0, f"{host}: {' '.join(argv)}: {done.stderr}"

    # --- networks and routers ---------------------------------------------------------------------

    def network(self) -> None:
        self.subnets += 1
        cidr = f"10.{100 + self.subnets // 250}.{self.subnets % 250}.0/24"
        net = self.told.make("network", name="n")
        subnet = {"network_id": net["id"], "cidr": cidr, "ip_version": 4}
        listed = f"subnets?network_id={net['id']}"
        net["_subnet"] = self.told.ask("POST", "subnets", {"subnet": subnet}, done=lambda: self._first(listed))[
            "subnet"
        ]["id"]
        gateway = {"network_id": self.external}
        net["_router"] = self.told.make("router", name="r", external_gateway_info=gateway)["id"]
        self._interface(net, there=True)

    def _first(self, path: str) -> dict[str, Any] | None:
        found = self.told.ask("GET", path)["subnets"]
        return {"subnet": found[0]} if found else None

    def _interface(self, net: dict[str, Any], *, there: bool) -> None:
        router, subnet = net["_router"], net["_subnet"]

        def done() -> object:
            listed = self.told.ask("GET", f"ports?device_id={router}&network_id={net['id']}")["ports"]
            return True if bool(listed) == there else None

        action = "add_router_interface" if there else "remove_router_interface"
        self.told.ask("PUT", f"routers/{router}/{action}", {"subnet_id": subnet}, done=done)
        net["_attached"] = there

    def network_changed(self) -> None:
        net = self._any("network")
        if net is None:
            return
        router = net["_router"]
        act = self.chance.choice(("down", "up", "name", "router name", "route", "no route", "no gateway", "detached"))
        routes = [{"destination": "10.9.0.0/24", "nexthop": f"{self._prefix(net)}.{self.chance.randrange(200, 250)}"}]
        match act:
            case "down" | "up":
                self.told.put("router", router, admin_state_up=act == "up")
            case "name":
                self.told.put("network", net["id"], name=f"n{self.chance.randrange(1000)}")
            case "router name":
                self.told.put("router", router, name=f"r{self.chance.randrange(1000)}")
            case "route" if net["_attached"]:
                self.told.put("router", router, routes=routes)
            case "no route":
                self.told.put("router", router, routes=[])
            case "no gateway":  # and back again, most times
                self.told.put("router", router, external_gateway_info={})
                if self.chance.random() < 0.8:
                    self.told.put("router", router, external_gateway_info={"network_id": self.external})
            case "detached":
                self.told.put("router", router, routes=[])
                self._interface(net, there=not net["_attached"])

    def _prefix(self, net: dict[str, Any]) -> str:
        cidr: str = self.told.ask("GET", f"subnets/{net['_subnet']}")["subnet"]["cidr"]
        return cidr.rpartition(".")[0]

    def network_gone(self) -> None:
        """With all that is on it, in the order in which an API lets it."""
        net = self._any("network")
        if net is None:
            return
        for port in [port for port in self.told.there["port"].values() if port["network_id"] == net["id"]]:
            self._delete_port(port)
        self.told.put("router", net["_router"], routes=[])
        if net["_attached"]:
            self._interface(net, there=False)
        self.told.delete("router", net["_router"])
        self.told.delete("network", net["id"])

    # --- ports ------------------------------------------------------------------------------------

    def port(self) -> None:
        net, group, host = self._any("network"), self._any("security_group"), self.chance.choice(self.hosts)
        if net is None:
            return
        groups = {"security_groups": [group["id"]]} if group else {}
        values = {
            "network_id": net["id"],
            "device_owner": "compute:nova",
            "device_id": "storm",
            "binding:host_id": host,
        }
        port = self.told.make("port", **values, **groups)
        self._plug(port["id"], host)

    def _plug(self, port: str, host: str) -> None:
        tap = f"tap{port[:11]}"
        self._run(host, "sh", "-c", f"ip tuntap add dev {tap} mode tap && ip link set {tap} up")

    def _unplug(self, port: str, host: str) -> None:
        self._run(host, "ip", "link", "del", f"tap{port[:11]}")

    def port_changed(self) -> None:
        port = self._any("port")
        if port is None:
            return
        group = self._any("security_group")
        pairs = [{"ip_address": f"10.99.0.{self.chance.randrange(1, 250)}"}]
        secured = {"port_security_enabled": True, "security_groups": [group["id"]] if group else []}
        floating = any(fip["port_id"] == port["id"] for fip in self.told.there["floatingip"].values())
        values: dict[str, Any] = self.chance.choice(
            [
                {"admin_state_up": False},
                {"admin_state_up": True},
                {"name": f"p{self.chance.randrange(1000)}"},
                {"allowed_address_pairs": pairs} if port["port_security_enabled"] else secured,
                {"allowed_address_pairs": []},
                secured,
                {"port_security_enabled": False, "security_groups": [], "allowed_address_pairs": []},
                {"name": "same"} if floating else {"fixed_ips": [{"subnet_id": port["fixed_ips"][0]["subnet_id"]}]},
            ]
        )
        self.told.put("port", port["id"], **values)

    def port_moved(self) -> None:
        """To the other host, as Nova does it: the tap is there first."""
        port = self._any("port")
        if port is None:
            return
        source, target = port["binding:host_id"], self.chance.choice(self.hosts)
        if source != target:
            self._plug(port["id"], target)
            self.told.put("port", port["id"], **{"binding:host_id": target})
            self._unplug(port["id"], source)

    def port_gone(self) -> None:
        if port := self._any("port"):
            self._delete_port(port)

    def _delete_port(self, port: dict[str, Any]) -> None:
        gone = self.told.delete("port", port["id"])
        self._unplug(gone["id"], gone["binding:host_id"])
        for fip in self.told.there["floatingip"].values():
            if fip["port_id"] == gone["id"]:
                fip["port_id"] = None

    # --- floating IPs -----------------------------------------------------------------------------

    def _without_one(self) -> dict[str, Any] | None:
        taken = {fip["port_id"] for fip in self.told.there["floatingip"].values()}
        return self._any("port", lambda port: port["id"] not in taken)

    def floating(self) -> None:
        if port := self._without_one():
            self.told.make("floatingip", floating_network_id=self.external, port_id=port["id"])

    def floating_moved(self) -> None:
        fip = self._any("floatingip")
        if fip is not None:
            target = self._without_one() if self.chance.random() < 0.8 else None
            self.told.put("floatingip", fip["id"], port_id=target["id"] if target else None)

    def floating_gone(self) -> None:
        if fip := self._any("floatingip"):
            self.told.delete("floatingip", fip["id"])

    # --- security groups --------------------------------------------------------------------------

    def group(self) -> None:
        self.told.make("security_group", name="g")

    def group_gone(self) -> None:
        """The rules go with it, those of other groups that name it too."""
        if group := self._any("security_group"):
            self.told.delete("security_group", group["id"])
            rules = self.told.there["security_group_rule"]
            for id_ in [
                id_
                for id_, rule in rules.items()
                if group["id"] in (rule["security_group_id"], rule["remote_group_id"])
            ]:
                del rules[id_]
                self.told.gone.add(id_)

    def rule(self) -> None:
        group, remote = self._any("security_group"), self._any("security_group")
        if group is None or remote is None:
            return
        kinds: list[dict[str, Any]] = [
            {"protocol": "icmp"},
            {"protocol": "tcp", "port_range_min": 1000 + self.chance.randrange(50), "port_range_max": 2000},
            {"remote_group_id": remote["id"]},
            {"protocol": "udp", "remote_ip_prefix": f"198.18.{self.chance.randrange(50)}.0/24"},
        ]
        direction = self.chance.choice(("ingress", "egress"))
        self.told.make(
            "security_group_rule", security_group_id=group["id"], direction=direction, **self.chance.choice(kinds)
        )

    def rule_gone(self) -> None:
        if rule := self._any("security_group_rule"):
            self.told.delete("security_group_rule", rule["id"])
