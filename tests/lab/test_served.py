"""Through the API, end to end: what a client changes, packets obey, and the statuses say so, before the next line of the test.

outside 192.168.0.1 -- br-ex -- br-int -- fip -- qrouter -- br-int -- qbr -- test 172.12.10.4 (192.168.10.106)
                                                                         └── second 172.12.10.9
"""

import os
import signal
import subprocess
from collections.abc import Iterator

import msgspec
import pytest

from floatway.lab import enter, lab, node
from floatway.lab.api import RefusedError, wait_applied, wait_until
from floatway.lab.served import VAR
from floatway.model.cloud import Cloud
from floatway.model.load import load_cloud
from lab.support import REFERENCE, Sh, Told, lab_name

pytestmark = pytest.mark.lab

NAME = lab_name("served")
HOST, TEST, SECOND = "cy2-compute02", "172.12.10.4", "172.12.10.9"
FLOATING, GATEWAY = "192.168.10.106", "192.168.0.1"
PORT, FLOATING_IP = "8aa5e3b4-6c0b-4d77-8c45-146cacf576ec", "2e9b7c41-0d5f-4b8a-93c6-7f1e2d3c4b06"
ROUTER, GROUP = "d3218b9c-73bb-4788-87e4-5828625fe586", "15ca6cb4-09b4-418e-aee4-3c0f9d5b7e10"
EXTERNAL, SUBNET = "eddc07d8-7544-4f3a-b9f4-27f005fb114f", "39f6cf8d-0dc7-45c1-b63b-8cd83623b68d"
PORT_2 = "9bb5e3b4-6c0b-4d77-8c45-146cacf57602"


def with_second(cloud: Cloud) -> Cloud:
    first = cloud.ports[PORT]
    server = next(iter(cloud.servers.values()))
    second = msgspec.structs.replace(server, id="bbc0a6c0-4235-4543-b80d-bf7dcd349f02", name="second")
    fixed = (msgspec.structs.replace(first.fixed_ips[0], ip_address=SECOND),)
    port = msgspec.structs.replace(
        first, id=PORT_2, mac_address="fa:16:3e:ae:b3:02", fixed_ips=fixed, device_id=second.id
    )
    return msgspec.structs.replace(
        cloud, ports={**cloud.ports, port.id: port}, servers={**cloud.servers, second.id: second}
    )


class Served(Told):
    def out(self) -> bool:
        return self.flows("test", GATEWAY)

    def inwards(self, address: str = FLOATING) -> bool:
        return self.flows("outside", address)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    yield Served(lab.up(with_second(load_cloud(REFERENCE)), name=NAME, with_server=True))
    lab.down(NAME)


@pytest.fixture(autouse=True)
def whole(served: Served) -> Iterator[None]:
    """Every test begins and ends with the cloud as it was told."""
    yield
    cloud = with_second(load_cloud(REFERENCE))
    lab.up(cloud, name=NAME)
    assert served.out() and served.inwards()


def test_it_comes_up_with_its_statuses(served: Served) -> None:
    assert served.out() and served.inwards() and served.flows("second", TEST)
    ports = {port["device_owner"]: port["status"] for port in served.ask("GET", "ports")["ports"]}
    assert ports["compute:nova"] == ports["network:router_interface_distributed"] == "ACTIVE"
    assert ports["network:floatingip_agent_gateway"] == "ACTIVE"
    assert served.status("floatingip", FLOATING_IP) == served.status("router", ROUTER) == "ACTIVE"
    agents = [agent for agent in served.ask("GET", "agents")["agents"] if agent["host"] == HOST]
    assert {agent["agent_type"] for agent in agents} == {"Open vSwitch agent", "L3 agent"}
    assert all(agent["alive"] and agent["started_at"] for agent in agents)
    others = [agent for agent in served.ask("GET", "agents")["agents"] if agent["host"] != HOST]
    assert others and not any(agent["alive"] for agent in others), "hosts that are only described"
    assert any(agent["configurations"].get("bridge_mappings") == {"physnet1": "br-ex"} for agent in agents)


def test_a_floating_ip_goes_comes_and_moves(served: Served) -> None:
    served.put("floatingip", FLOATING_IP, port_id=None)
    assert served.dead("outside", FLOATING) and served.status("floatingip", FLOATING_IP) == "DOWN"
    served.put("floatingip", FLOATING_IP, port_id=PORT)
    assert served.inwards() and served.status("floatingip", FLOATING_IP) == "ACTIVE"
    served.put("floatingip", FLOATING_IP, port_id=PORT_2)
    mac = served.sh.text("second", "cat /sys/class/net/eth0/statistics/rx_packets")
    assert served.inwards()
    assert int(served.sh.text("second", "cat /sys/class/net/eth0/statistics/rx_packets")) > int(mac)
    assert served.status("floatingip", FLOATING_IP) == "ACTIVE"


def test_a_new_floating_ip_is_there_at_once_and_gone_when_deleted(served: Served) -> None:
    body = {"floatingip": {"floating_network_id": EXTERNAL, "port_id": PORT_2}}
    made = served.change("POST", "floatingips", body)["floatingip"]
    assert served.inwards(made["floating_ip_address"])
    served.change("DELETE", f"floatingips/{made['id']}")
    assert served.dead("outside", made["floating_ip_address"])


def test_a_rule_opens_and_closes(served: Served) -> None:
    rules = served.ask("GET", f"security-group-rules?security_group_id={GROUP}&protocol=icmp&direction=ingress")
    (rule,) = rules["security_group_rules"]
    served.change("DELETE", f"security-group-rules/{rule['id']}")
    assert served.dead("outside", FLOATING)
    body = {"security_group_id": GROUP, "direction": "ingress", "protocol": "icmp"}
    served.change("POST", "security-group-rules", {"security_group_rule": body})
    assert served.inwards()


def test_port_security_off_and_on(served: Served) -> None:
    spoofed = f"ip address add 172.12.10.77/32 dev lo; ping -n -c 1 -W 1 -I 172.12.10.77 {TEST}"
    route = "ip route replace 172.12.10.77 via 172.12.10.9"
    served.sh.text("test", route)
    assert served.sh.run("second", spoofed)[0] != 0
    served.put("port", PORT_2, security_groups=[], port_security_enabled=False)
    assert served.sh.run("second", f"ping -n -c 1 -W 1 -I 172.12.10.77 {TEST}")[0] == 0
    served.put("port", PORT_2, port_security_enabled=True, security_groups=[GROUP])
    assert served.sh.run("second", f"ping -n -c 1 -W 1 -I 172.12.10.77 {TEST}")[0] != 0
    served.put("port", PORT_2, allowed_address_pairs=[{"ip_address": "172.12.10.77"}])
    assert served.sh.run("second", f"ping -n -c 1 -W 1 -I 172.12.10.77 {TEST}")[0] == 0
    served.put("port", PORT_2, allowed_address_pairs=[])
    served.sh.text("second", "ip address del 172.12.10.77/32 dev lo")
    served.sh.text("test", "ip route del 172.12.10.77")


def test_a_gateway_is_cleared_and_set(served: Served) -> None:
    served.put("floatingip", FLOATING_IP, port_id=None)
    served.put("router", ROUTER, external_gateway_info=None)
    assert served.dead("test", GATEWAY)
    served.put("router", ROUTER, external_gateway_info={"network_id": EXTERNAL})
    served.put("floatingip", FLOATING_IP, port_id=PORT)
    assert served.out() and served.inwards()
    with pytest.raises(RefusedError):
        served.put("router", ROUTER, external_gateway_info=None)


@pytest.mark.parametrize("noun", ["port", "router"])
def test_what_is_down_is_down(served: Served, noun: str) -> None:
    id_ = PORT if noun == "port" else ROUTER
    served.put(noun, id_, admin_state_up=False)
    assert served.dead("test", GATEWAY)
    if noun == "port":
        assert served.status(noun, id_) == "DOWN"
    served.put(noun, id_, admin_state_up=True)
    assert served.out()
    assert served.status(noun, id_) == "ACTIVE"


def readdress(address: str) -> str:
    """As DHCP would, in the instance."""
    return f"ip address flush dev eth0; ip address add {address}/24 dev eth0; ip route replace default via 172.12.10.1"


def test_an_address_changes(served: Served) -> None:
    served.put("floatingip", FLOATING_IP, port_id=None)
    served.put("port", PORT_2, fixed_ips=[{"subnet_id": SUBNET, "ip_address": "172.12.10.10"}])
    served.sh.text("second", readdress("172.12.10.10"))
    served.put("floatingip", FLOATING_IP, port_id=PORT_2)
    assert served.inwards() and served.flows("test", "172.12.10.10")
    served.put("floatingip", FLOATING_IP, port_id=None)
    served.put("port", PORT_2, fixed_ips=[{"subnet_id": SUBNET, "ip_address": SECOND}])
    served.sh.text("second", readdress(SECOND))
    assert served.flows("second", TEST)


def test_a_mac_changes_while_the_port_is_nowhere(served: Served) -> None:
    with pytest.raises(RefusedError):  # an instance has it
        served.put("port", PORT_2, mac_address="fa:16:3e:ae:b3:77")
    for mac in ("fa:16:3e:ae:b3:77", "fa:16:3e:ae:b3:02"):
        served.put("port", PORT_2, **{"binding:host_id": ""})
        assert served.dead("second", TEST)
        served.put("port", PORT_2, mac_address=mac)
        served.sh.text("second", f"ip link set eth0 address {mac}; ip route replace default via 172.12.10.1")
        served.put("port", PORT_2, **{"binding:host_id": HOST})
        assert served.flows("second", TEST) and served.status("port", PORT_2) == "ACTIVE"


def test_a_network_is_shared_and_another_project_is_on_it(served: Served) -> None:
    network = served.ask("GET", f"ports/{PORT}")["port"]["network_id"]
    served.put("network", network, shared=True)
    assert served.out() and served.inwards()
    values = {"network_id": network, "project_id": "others", "device_owner": "compute:nova", "binding:host_id": HOST}
    made = served.change("POST", "ports", {"port": values})["port"]
    assert served.status("port", made["id"]) == "DOWN"  # nobody has plugged it
    tap = f"tap{made['id'][:11]}"
    served.sh.text(HOST, f"ip tuntap add dev {tap} mode tap && ip link set {tap} up")
    wait_until(lambda: served.status("port", made["id"]) == "ACTIVE", "the plugged port is ACTIVE")
    assert f"neutron-openvswi-i{made['id'][:10]}" in served.sh.text(HOST, "iptables -S")
    served.sh.text(HOST, f"ip link del {tap}")
    served.change("DELETE", f"ports/{made['id']}")
    assert made["id"][:10] not in served.sh.text(HOST, "iptables -S")
    served.put("network", network, shared=False)


def test_a_killed_agent_is_no_outage_and_what_came_meanwhile_is_done(served: Served) -> None:
    ping = f"ping -n -i 0.005 -c 1000 -q {GATEWAY}"
    with enter.popen(served.lab.nodes["test"], ["sh", "-c", ping], text=True) as running:
        # the process itself, not the shell that starts it again, nor this one
        served.sh.text(HOST, "pkill -KILL -f '^[^ ]*python[^ ]* -m [f]loatway agent'")
        body = {"floatingip": {"floating_network_id": EXTERNAL, "port_id": PORT_2}}
        made = served.ask("POST", "floatingips", body)["floatingip"]
        wait_until(lambda: served.inwards(made["floating_ip_address"]), "the new floating IP answers")
        said = running.communicate()[0]
    assert ", 0% packet loss" in said, said
    served.change("DELETE", f"floatingips/{made['id']}")


def test_a_killed_server_is_no_outage_and_forgets_nothing(served: Served) -> None:
    body = {"floatingip": {"floating_network_id": EXTERNAL, "port_id": PORT_2}}
    made = served.ask("POST", "floatingips", body)["floatingip"]
    server = lab.load(NAME).server
    assert server is not None
    ping = f"ping -n -i 0.005 -c 800 -q {GATEWAY}"
    with enter.popen(served.lab.nodes["test"], ["sh", "-c", ping], text=True) as running:
        os.kill(server.pid, signal.SIGKILL)
        assert served.inwards()
        lab.up(None, name=NAME)
        said = running.communicate()[0]
    assert ", 0% packet loss" in said, said
    assert served.ask("GET", f"floatingips/{made['id']}")["floatingip"]["port_id"] == PORT_2
    wait_applied(served.url)
    assert served.inwards(made["floating_ip_address"])
    served.change("DELETE", f"floatingips/{made['id']}")


@pytest.mark.parametrize("victims", [[HOST], ["fabric", "server"]], ids="-".join)
def test_a_dead_machine_takes_nothing_along_that_the_api_was_told(served: Served, victims: list[str]) -> None:
    body = {"floatingip": {"floating_network_id": EXTERNAL, "port_id": PORT_2}}
    made = served.ask("POST", "floatingips", body)["floatingip"]
    raised = lab.load(NAME)
    assert raised.server is not None
    pids = {"fabric": raised.fabric.pid, "server": raised.server.pid, HOST: raised.nodes[HOST].pid}
    for victim in victims:
        node.kill(pids[victim])
    served.lab = lab.up(None, name=NAME)
    served.sh = Sh(served.lab)
    assert served.status("port", PORT_2) == served.status("floatingip", made["id"]) == "ACTIVE"
    assert served.inwards(made["floating_ip_address"]) and served.inwards() and served.flows("second", TEST)
    served.change("DELETE", f"floatingips/{made['id']}")


@pytest.mark.parametrize(
    "damage",
    [
        f"ip -n qrouter-{ROUTER} rule del pref 57481",
        f"ip -n qrouter-{ROUTER} route flush table 16",
        f"ip netns exec qrouter-{ROUTER} iptables -t nat -F",
        "ovs-ofctl del-flows br-int",
        "ip link set qbr8aa5e3b4-6c down",
        "ovs-vsctl del-port br-int qvo8aa5e3b4-6c",
        f"ip netns delete qrouter-{ROUTER}",
    ],
)
def test_what_is_broken_by_hand_is_mended(served: Served, damage: str) -> None:
    def told() -> int:
        return (VAR / NAME / f"{HOST}.log").read_text().count('"event":"repaired"')

    before = told()
    served.sh.text(HOST, damage)
    wait_until(lambda: told() > before, f"the agent says that it mended: {damage}", seconds=20)
    assert served.out(), f"packets flow again after: {damage}"


def test_a_second_agent_is_refused(served: Served) -> None:
    config = VAR / NAME / f"{HOST}.toml"
    command = f"{os.sys.executable} -m floatway agent --config {config}"  # type: ignore[attr-defined]
    status, said = served.sh.run(HOST, command)
    assert status == 1 and "an agent runs on this host already, process" in said


def test_a_host_reads_and_reports_its_own_part_alone(served: Served) -> None:
    key = (VAR / NAME / f"{HOST}.key").read_text().strip()
    curl = ["curl", "-s", "--unix-socket", str(VAR / NAME / "agents.sock"), "-H", f"Authorization: Bearer {key}"]
    for path, how in (("hosts/other/stream", ["-N"]), ("hosts/other/reports", ["-d", '{"applied":1}'])):
        said = subprocess.run([*curl, *how, f"http://x/v1/{path}"], capture_output=True, text=True, check=True).stdout
        assert "NotThisHost" in said
