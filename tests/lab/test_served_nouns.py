"""Each noun of the API from its making to its end, and the other way: packets and statuses, and what a word that hosts do not read
touches there (nothing).

outside 192.168.0.1 -- br-ex -- fip -- qrouter(new) 10.99.0.1 -- br-int -- web 10.99.0.x        made here, and gone again
                                    \\-- qrouter(reference) 172.12.10.1 -- br-int -- test 172.12.10.4, second 172.12.10.9
"""

import re
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from floatway.lab import enter, lab
from floatway.lab.api import wait_until
from floatway.model.load import load_cloud
from lab.support import REFERENCE, Told, lab_name

pytestmark = pytest.mark.lab

NAME = lab_name("nouns")
HOST, TEST, OUTSIDE, GATEWAY = "cy2-compute02", "172.12.10.4", "192.168.0.1", "172.12.10.1"
PORT, FLOATING_IP, FLOATING = (
    "8aa5e3b4-6c0b-4d77-8c45-146cacf576ec",
    "2e9b7c41-0d5f-4b8a-93c6-7f1e2d3c4b06",
    "192.168.10.106",
)
ROUTER, GROUP = "d3218b9c-73bb-4788-87e4-5828625fe586", "15ca6cb4-09b4-418e-aee4-3c0f9d5b7e10"
EXTERNAL, NETWORK = "eddc07d8-7544-4f3a-b9f4-27f005fb114f", "5f1c2a9e-7d34-4a0b-9c55-2f6f3f8f7a01"
SUBNET = "39f6cf8d-0dc7-45c1-b63b-8cd83623b68d"


class Nouns(Told):
    """What is made through the API, and instances that are namespaces of the host: a tap of the right name is all it takes."""

    def post(self, noun: str, **values: Any) -> dict[str, Any]:
        return dict(self.change("POST", f"{noun}s".replace("_", "-"), {noun: values})[noun])

    def delete(self, noun: str, id_: str) -> None:
        self.change("DELETE", f"{noun}s/{id_}")

    def instance(self, port: dict[str, Any], gateway: str) -> str:
        """Plug the port; the namespace of its instance."""
        netns, tap = f"i-{port['id'][:8]}", f"tap{port['id'][:11]}"
        assert self.status("port", port["id"]) == "DOWN"  # nobody has plugged it
        commands = [
            f"ip netns add {netns}",
            f"ip link add {tap} type veth peer name eth0 netns {netns} address {port['mac_address']}",
            f"ip -n {netns} address add {port['fixed_ips'][0]['ip_address']}/24 dev eth0",
            f"ip -n {netns} link set eth0 up",
            f"ip -n {netns} link set lo up",
            f"ip -n {netns} route add default via {gateway}",
            f"ip link set {tap} up",
        ]
        self.sh.text(HOST, " && ".join(commands))
        wait_until(lambda: self.status("port", port["id"]) == "ACTIVE", "the plugged port is ACTIVE")
        return netns

    def gone(self, netns: str) -> None:
        self.sh.text(HOST, f"ip netns delete {netns}")

    def pings(self, netns: str, target: str) -> bool:
        return any(self.sh.run(HOST, f"ping -n -c 1 -W 1 {target}", netns=netns)[0] == 0 for _ in range(4))


@pytest.fixture(scope="module")
def cloud() -> Iterator[Nouns]:
    try:
        yield Nouns(lab.up(load_cloud(REFERENCE), name=NAME, with_server=True))
    finally:
        lab.down(NAME)


@pytest.fixture(autouse=True)
def whole(cloud: Nouns) -> Iterator[None]:
    """Every test leaves the reference as it was."""
    yield
    assert cloud.flows("test", OUTSIDE) and cloud.flows("outside", FLOATING)
    for noun, id_ in (("port", PORT), ("floatingip", FLOATING_IP), ("router", ROUTER)):
        assert cloud.status(noun, id_) == "ACTIVE"


def test_a_cloud_is_made_and_deleted(cloud: Nouns) -> None:
    network = cloud.post("network", name="new")
    subnet = cloud.post("subnet", network_id=network["id"], ip_version=4, cidr="10.99.0.0/24")
    router = cloud.post("router", external_gateway_info={"network_id": EXTERNAL})
    attached = cloud.change("PUT", f"routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
    assert cloud.status("port", attached["port_id"]) == "DOWN"  # no host has it
    binding = {"binding:host_id": HOST, "device_owner": "compute:nova", "device_id": "web", "security_groups": [GROUP]}
    port = cloud.post("port", network_id=network["id"], **binding)
    web = cloud.instance(port, "10.99.0.1")
    assert cloud.pings(web, "10.99.0.1")
    assert cloud.status("router", router["id"]) == cloud.status("port", attached["port_id"]) == "ACTIVE"
    floating = cloud.post("floatingip", floating_network_id=EXTERNAL, port_id=port["id"])
    assert cloud.flows("outside", floating["floating_ip_address"]) and cloud.pings(web, OUTSIDE)
    assert cloud.status("floatingip", floating["id"]) == "ACTIVE"
    cloud.delete("floatingip", floating["id"])
    assert cloud.dead("outside", floating["floating_ip_address"])
    cloud.delete("port", port["id"])
    assert cloud.sh.run(HOST, "ping -n -c 1 -W 1 10.99.0.1", netns=web)[0] != 0
    assert cloud.status("port", attached["port_id"]) == "DOWN"  # its last port here is gone, and with it the router
    assert f"qrouter-{router['id']}" not in cloud.sh.text(HOST, "ip netns")
    assert port["id"][:10] not in cloud.sh.text(HOST, "iptables -S; ip -o link; ovs-vsctl show").replace(
        f"tap{port['id'][:11]}", ""
    )
    cloud.change("PUT", f"routers/{router['id']}/remove_router_interface", {"subnet_id": subnet["id"]})
    for noun, one in (("router", router), ("subnet", subnet), ("network", network)):
        cloud.delete(noun, one["id"])
    cloud.gone(web)


def test_an_extra_route_carries_packets_there_and_back(cloud: Nouns) -> None:
    binding = {"binding:host_id": HOST, "device_owner": "compute:nova", "device_id": "web", "security_groups": [GROUP]}
    pairs = [{"ip_address": "10.77.0.0/24"}]
    port = cloud.post("port", network_id=NETWORK, allowed_address_pairs=pairs, **binding)
    web = cloud.instance(port, GATEWAY)
    cloud.sh.text(HOST, f"ip -n {web} address add 10.77.0.1/32 dev lo")
    assert cloud.dead("test", "10.77.0.1")
    routes = [{"destination": "10.77.0.0/24", "nexthop": port["fixed_ips"][0]["ip_address"]}]
    cloud.put("router", ROUTER, routes=routes)
    assert cloud.flows("test", "10.77.0.1") and cloud.status("router", ROUTER) == "ACTIVE"
    cloud.put("port", port["id"], allowed_address_pairs=[])
    assert cloud.dead("test", "10.77.0.1") and cloud.status("port", port["id"]) == "ACTIVE"
    cloud.put("port", port["id"], allowed_address_pairs=pairs)
    assert cloud.flows("test", "10.77.0.1")
    cloud.put("router", ROUTER, routes=[])
    assert cloud.dead("test", "10.77.0.1")
    cloud.delete("port", port["id"])
    cloud.gone(web)


def test_another_projects_instance_on_a_shared_network_has_its_own_rules(cloud: Nouns) -> None:
    cloud.put("network", NETWORK, shared=True)
    binding = {"binding:host_id": HOST, "device_owner": "compute:nova", "device_id": "theirs"}
    port = cloud.post("port", network_id=NETWORK, project_id="0fe0fe0fe0fe4f70918f8d9e0f102001", **binding)
    address = port["fixed_ips"][0]["ip_address"]
    theirs = cloud.instance(port, GATEWAY)
    assert cloud.pings(theirs, GATEWAY) and cloud.pings(theirs, TEST)  # the reference's rules let ICMP in
    assert cloud.dead("test", address)  # theirs do not
    (group,) = port["security_groups"]
    rule = {"direction": "ingress", "protocol": "icmp", "project_id": port["project_id"]}
    made = cloud.post("security_group_rule", security_group_id=group, **rule)
    assert cloud.flows("test", address)
    cloud.change("DELETE", f"security-group-rules/{made['id']}")
    assert cloud.dead("test", address) and cloud.status("port", port["id"]) == "ACTIVE"
    cloud.delete("port", port["id"])
    cloud.gone(theirs)
    cloud.put("network", NETWORK, shared=False)


def test_a_router_that_is_down_takes_what_goes_through_it(cloud: Nouns) -> None:
    (interface,) = cloud.ask("GET", f"ports?device_id={ROUTER}&device_owner=network:router_interface_distributed")[
        "ports"
    ]
    cloud.put("router", ROUTER, admin_state_up=False)
    assert cloud.dead("test", GATEWAY) and cloud.dead("outside", FLOATING)
    assert cloud.status("router", ROUTER) == "ACTIVE"  # as in Neutron: it is in order, and told to be down
    assert cloud.status("floatingip", FLOATING_IP) == cloud.status("port", interface["id"]) == "DOWN"
    assert cloud.status("port", PORT) == "ACTIVE"
    cloud.put("router", ROUTER, admin_state_up=True)
    assert cloud.status("port", interface["id"]) == "ACTIVE"


def test_a_port_that_is_down_takes_its_floating_ip_no_status(cloud: Nouns) -> None:
    cloud.put("port", PORT, admin_state_up=False)
    assert cloud.status("port", PORT) == "DOWN"
    assert cloud.dead("test", GATEWAY) and cloud.dead("outside", FLOATING)
    cloud.put("port", PORT, admin_state_up=True)


def test_a_gateway_that_is_cleared_and_set_is_told(cloud: Nouns) -> None:
    def way_out() -> list[dict[str, Any]]:
        owner = "network:floatingip_agent_gateway"
        return list(cloud.ask("GET", f"ports?network_id={EXTERNAL}&device_owner={owner}")["ports"])

    assert [port["status"] for port in way_out()] == ["ACTIVE"]
    cloud.put("floatingip", FLOATING_IP, port_id=None)
    assert way_out() == [] and cloud.status("floatingip", FLOATING_IP) == "DOWN"
    cloud.put("router", ROUTER, external_gateway_info=None)
    assert cloud.dead("test", OUTSIDE) and cloud.status("router", ROUTER) == "ACTIVE"
    assert "fip-" not in cloud.sh.text(HOST, "ip netns")
    cloud.put("router", ROUTER, external_gateway_info={"network_id": EXTERNAL})
    cloud.put("floatingip", FLOATING_IP, port_id=PORT)
    assert [port["status"] for port in way_out()] == ["ACTIVE"]


class Marks:
    """What changes with every write to the host, and with nothing else: the generation of the rules, the version of each row of Open
    vSwitch's database, since when each flow is there, indexes of links."""

    def __init__(self, cloud: Nouns) -> None:
        node, qrouter = cloud.lab.nodes[HOST], f"qrouter-{ROUTER}"
        self.rules = [enter.call(node, generation, netns=netns) for netns in ("", qrouter)]
        versions = (
            "for t in Bridge Port Interface; do ovs-vsctl --format=csv --columns=_version,name list $t; done | sort"
        )
        self.rows = cloud.sh.text(HOST, versions)
        links = "ip -o link | cut -d: -f1,2; ip -o address; ip rule; ip route show table all"
        self.links = [re.sub(r"valid_lft.*", "", cloud.sh.text(HOST, links, netns=netns)) for netns in ("", qrouter)]
        self.flows: dict[str, float] = {}
        for bridge in ("br-int", "br-ex", "br-tun"):
            for line in cloud.sh.text(HOST, f"ovs-ofctl --no-names dump-flows {bridge}").splitlines():
                if found := re.search(r"duration=([\d.]+)s, (table=\d+),.*?(priority=.*)", line):
                    self.flows[f"{bridge} {found[2]} {found[3]}"] = float(found[1])


def generation() -> int:
    """The generation of the namespace's nf_tables (NFT_MSG_GETGEN): each transaction makes a new one."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as asking:  # NETLINK_NETFILTER
        asking.send(struct.pack("=IHHIIBBH", 20, 10 << 8 | 16, 1, 1, 0, 0, 0, 0))
        answer = asking.recv(4096)
    return int.from_bytes(answer[24:28], "big")  # the first attribute, NFTA_GEN_ID


def test_a_new_name_touches_nothing_on_the_host(cloud: Nouns) -> None:
    before = Marks(cloud)
    for noun, id_ in (("port", PORT), ("router", ROUTER), ("network", NETWORK), ("subnet", SUBNET)):
        cloud.put(noun, id_, name="renamed", description="and described")
    cloud.put("floatingip", FLOATING_IP, description="and described")
    cloud.change("PUT", f"security-groups/{GROUP}", {"security_group": {"description": "and described"}})
    after = Marks(cloud)
    assert (after.rules, after.rows, after.links) == (before.rules, before.rows, before.links)
    assert after.flows.keys() == before.flows.keys() and len(after.flows) > 20
    assert all(after.flows[flow] >= since for flow, since in before.flows.items())


def test_a_network_that_is_down_is_as_in_neutron(cloud: Nouns) -> None:
    """Neutron's Open vSwitch agent asks a port whether it is up, never its network: packets go on, and ports are what they were."""
    before = Marks(cloud)
    cloud.put("network", NETWORK, admin_state_up=False)
    assert cloud.flows("test", OUTSIDE) and cloud.flows("outside", FLOATING)
    assert cloud.status("port", PORT) == "ACTIVE"
    cloud.put("network", NETWORK, admin_state_up=True)
    assert Marks(cloud).rules == before.rules


def test_the_marks_do_change(cloud: Nouns) -> None:
    """That a rename leaves them as they are says something."""
    before = Marks(cloud)
    cloud.put("port", PORT, allowed_address_pairs=[{"ip_address": "10.78.0.0/24"}])
    assert Marks(cloud).rules[0] != before.rules[0]
    cloud.put("floatingip", FLOATING_IP, port_id=None)
    assert Marks(cloud).links[1] != before.links[1]
    cloud.put("floatingip", FLOATING_IP, port_id=PORT)
    cloud.put("port", PORT, allowed_address_pairs=[])
    again = Marks(cloud)
    cloud.sh.text(HOST, f"ip link delete qvb{PORT[:11]}")
    wait_until(lambda: cloud.flows("test", OUTSIDE), "it is mended")
    mended = Marks(cloud)
    assert mended.rows != again.rows or mended.links[0] != again.links[0]
