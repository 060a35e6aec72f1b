"""Two compute hosts under one distributed router, through the API: real packets between them, and the walk that foretells them.

a 10.1.0.11 (192.168.10.111) -- compute1 ══ VXLAN ══ compute2 -- b 10.1.0.12
                                    └──── outside ────┘     └── c 10.2.0.13 (192.168.10.113)
"""

import re
from collections.abc import Iterator

import pytest

from floatway.lab import enter, lab
from floatway.lab.api import wait_until
from floatway.lab.probe import probe
from floatway.lab.world import observe_world
from floatway.model.load import load_cloud
from floatway.trace import render
from floatway.trace.question import Question
from floatway.trace.walk import walk
from lab.support import TWO_HOSTS, Told, lab_name

pytestmark = pytest.mark.lab

NAME = lab_name("two-hosts")
A, B, C, OUTSIDE = "10.1.0.11", "10.1.0.12", "10.2.0.13", "192.168.0.1"
FLOATING_A, FLOATING_C = "192.168.10.111", "192.168.10.113"
PORT_A, PORT_B, PORT_C = (
    "a0000000-0b4d-4c3d-8e4f-5a6b7c8d9001",
    "b0000000-0c4d-4c3d-8e4f-5a6b7c8d9002",
    "c0000000-0d4d-4c3d-8e4f-5a6b7c8d9003",
)
FIP_A = "c6e7f809-5d6e-4f70-9182-8d9e0f102001"
MAC_A = "fa:16:3e:01:00:0b"
GROUP = "b5d6e7f8-4c5d-4e6f-8071-7c8d9e0f1001"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Told]:
    try:
        yield Told(lab.up(load_cloud(TWO_HOSTS), name=NAME, with_server=True))
    finally:
        lab.down(NAME)


@pytest.fixture(autouse=True)
def whole(cloud: Told) -> Iterator[None]:
    """Every test begins and ends with the cloud as it was told."""
    yield
    lab.up(load_cloud(TWO_HOSTS), name=NAME)
    assert cloud.flows("a", B) and cloud.flows("a", C) and cloud.flows("outside", FLOATING_A)


QUESTIONS = {
    "one network, through the tunnel": Question(source="a", target=B),
    "routed on the sender's host": Question(source="a", target=C),
    "and back, routed on the other": Question(source="c", target=A),
    "from floating IP to floating IP": Question(source="a", target=FLOATING_C),
    "to its own floating IP": Question(source="c", target=FLOATING_C),
    "in": Question(source="outside", target=FLOATING_A),
    "in, on the other host": Question(source="outside", target=FLOATING_C),
    "out": Question(source="c", target=OUTSIDE),
    "the greatest that fits the tunnel": Question(source="a", target=B, size=1450),
    "one byte more": Question(source="a", target=B, size=1451),
    "without a floating IP": Question(source="b", target=OUTSIDE),
    "a port that is let in": Question(source="a", target=C, proto="tcp", dport=22),
    "an address of nobody": Question(source="a", target="10.2.0.99"),
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_the_walk_is_the_packets_way(cloud: Told, question: Question) -> None:
    world = observe_world(cloud.lab)
    said = walk(world, question)
    real = probe(cloud.lab, world, said)
    assert real.agrees, f"{real.disagreement}\n{render.text(said, colour=False)}"
    refused = {"one byte more", "without a floating IP", "an address of nobody"}
    assert said.ok != (question in [QUESTIONS[name] for name in refused]), render.text(said, colour=False)


def test_a_floating_ip_moves_to_the_other_host(cloud: Told) -> None:
    """Outside still has the first host's MAC when it asks: only an announcement can correct that."""
    assert cloud.flows("outside", FLOATING_A)
    before = neighbour(cloud, FLOATING_A)
    cloud.put("floatingip", FIP_A, port_id=PORT_B)
    assert cloud.flows("outside", FLOATING_A) and neighbour(cloud, FLOATING_A) != before
    assert cloud.flows("b", OUTSIDE)
    assert cloud.dead("a", OUTSIDE)
    assert cloud.status("floatingip", FIP_A) == "ACTIVE"
    cloud.put("floatingip", FIP_A, port_id=PORT_A)
    assert cloud.flows("outside", FLOATING_A) and cloud.flows("a", OUTSIDE) and cloud.dead("b", OUTSIDE)


def neighbour(cloud: Told, address: str) -> str:
    """The MAC that outside has for it."""
    found = re.search(r"lladdr (\S+)", cloud.sh.text("outside", f"ip neigh show {address}"))
    assert found, f"outside knows no MAC of {address}"
    return found[1]


def test_an_instance_moves_to_the_other_host(cloud: Told) -> None:
    """As a migration does: the tap appears there, then the binding follows. Its floating IP goes with it."""
    tap = f"tap{PORT_A[:11]}"
    cloud.sh.text("a", "ip link set eth0 down")
    cloud.sh.text(
        "compute2",
        f"ip netns add moved && ip link add {tap} type veth peer name eth0 netns moved address {MAC_A} mtu 1450 && ip link set {tap} up"
        f" && ip -n moved address add {A}/24 dev eth0 && ip -n moved link set eth0 up && ip -n moved route add default via 10.1.0.1"
        " && ip netns exec moved ethtool -K eth0 tx off",
    )
    try:
        cloud.put("port", PORT_A, **{"binding:host_id": "compute2"})
        wait_until(lambda: cloud.status("port", PORT_A) == "ACTIVE", "the port is ACTIVE where it went")
        assert cloud.flows("b", A) and cloud.flows("c", A) and cloud.flows("outside", FLOATING_A)
        assert PORT_A[:10] not in cloud.sh.text("compute1", "iptables -S; ovs-vsctl list-ports br-int")
    finally:
        cloud.sh.text("compute2", "ip netns del moved")
        cloud.sh.text("a", "ip link set eth0 up && ip route replace default via 10.1.0.1")
        cloud.put("port", PORT_A, **{"binding:host_id": "compute1"})
    assert cloud.flows("b", A) and cloud.flows("c", A) and cloud.flows("outside", FLOATING_A)


def test_membership_of_a_group_counts_on_every_host(cloud: Told) -> None:
    """c lets in whatever is of its own group; a leaves the group on one host, and c's host on the other hears of it."""
    serve = "import socket, time; s = socket.create_server(('', 8000)); print('ready', flush=True); time.sleep(60)"
    connect = f"nc -z -w 1 {C} 8000"
    with enter.popen(cloud.lab.nodes["c"], ["python3", "-c", serve]) as serving:
        assert serving.stdout is not None and serving.stdout.readline() == b"ready\n"
        assert cloud.sh.run("a", connect)[0] == 0
        assert cloud.sh.run("outside", f"nc -z -w 1 {FLOATING_C} 8000")[0] != 0
        other = cloud.ask("POST", "security-groups", {"security_group": {"name": "other"}})["security_group"]
        cloud.put("port", PORT_A, security_groups=[other["id"]])
        assert cloud.sh.run("a", connect)[0] != 0
        cloud.put("port", PORT_A, security_groups=[GROUP])
        assert cloud.sh.run("a", connect)[0] == 0
        serving.kill()


def test_a_port_that_is_gone_is_forgotten_on_the_other_host(cloud: Told) -> None:
    """But for what the tunnel bridge learned by itself, which is for 300 s and below what it is told (priority 2)."""
    told = re.compile(rf"priority=2,dl_vlan=\d+,dl_dst={MAC_A} ")

    def known() -> bool:
        return bool(told.search(cloud.sh.text("compute2", "ovs-ofctl dump-flows br-tun")))

    assert known()
    cloud.put("port", PORT_A, **{"binding:host_id": ""})
    assert not known()
    cloud.put("port", PORT_A, **{"binding:host_id": "compute1"})
    assert known()


@pytest.mark.parametrize(
    "damage",
    [
        "ovs-ofctl del-flows br-tun",
        "ovs-vsctl del-port br-tun vxlan-0a0a140c",
        "ovs-vsctl del-port br-int patch-tun",
        "ovs-vsctl del-br br-tun",
        "ip netns exec qrouter-81c3d5e7-2f4a-4c6b-8d9e-0f1a2b3c4001 ip neigh flush all nud permanent",
    ],
)
def test_what_leads_to_the_other_host_is_mended(cloud: Told, damage: str) -> None:
    cloud.sh.text("compute1", damage)
    wait_until(lambda: cloud.sh.ping("a", B) and cloud.sh.ping("a", C), f"packets flow again after: {damage}")


def test_killed_agents_are_no_outage_between_hosts(cloud: Told) -> None:
    """What changed meanwhile is done once they are back."""
    ping = f"ping -n -i 0.005 -c 1000 -q {C}"
    with enter.popen(cloud.lab.nodes["a"], ["sh", "-c", ping], text=True) as running:
        for host in ("compute1", "compute2"):
            cloud.sh.text(host, "pkill -KILL -f '^[^ ]*python[^ ]* -m [f]loatway agent'")
        cloud.put("floatingip", FIP_A, port_id=PORT_B)
        assert cloud.flows("outside", FLOATING_A)
        said = running.communicate()[0]
    assert ", 0% packet loss" in said, said
