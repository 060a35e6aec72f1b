"""The agent with what its systemd unit leaves it: all that an agent does is done with these capabilities, and no others are there.

packaging/floatway-agent.service ── CapabilityBoundingSet ──▶ setpriv ── floatway agent, on a host whose Open vSwitch is another user's
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from floatway.lab import enter, lab
from floatway.lab.api import wait_applied, wait_until
from floatway.lab.served import VAR
from floatway.model.load import load_cloud
from lab.support import REFERENCE, Told, lab_name

pytestmark = pytest.mark.lab

NAME = lab_name("privileges")
UNIT = Path(__file__).parents[2] / "packaging" / "floatway-agent.service"
HOST, GATEWAY, FLOATING = "cy2-compute02", "192.168.0.1", "192.168.10.106"
PORT, FLOATING_IP = "8aa5e3b4-6c0b-4d77-8c45-146cacf576ec", "2e9b7c41-0d5f-4b8a-93c6-7f1e2d3c4b06"
ROUTER, GROUP = "d3218b9c-73bb-4788-87e4-5828625fe586", "15ca6cb4-09b4-418e-aee4-3c0f9d5b7e10"


def bounded() -> list[str]:
    """``setpriv`` for what the unit says."""
    said = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line and line[0] != "#")
    assert said["NoNewPrivileges"] == "yes"
    names = ["+" + name.removeprefix("CAP_").lower() for name in said["CapabilityBoundingSet"].split()]
    kept = ",".join(["-all", *names])
    return ["setpriv", "--bounding-set", kept, "--inh-caps", "-all", "--no-new-privs"]


@pytest.fixture(scope="module")
def cloud() -> Iterator[Told]:
    try:
        told = Told(lab.up(load_cloud(REFERENCE), name=NAME, with_server=True))
        # the one that the lab keeps running goes, with the shell that starts it again
        told.sh.text(
            HOST, "pkill -KILL -f '^[s]h -c while :; do' ; pkill -KILL -f '^[^ ]*python[^ ]* -m [f]loatway agent'"
        )
        # as Debian has it: Open vSwitch's sockets are not root's
        told.sh.text(
            HOST, "chown -R 64055:64055 /run/openvswitch && chmod 700 /run/openvswitch && chmod 600 /run/openvswitch/*"
        )
        argv = [*bounded(), sys.executable, "-m", "floatway", "agent", "--config", str(VAR / NAME / f"{HOST}.toml")]
        with (
            (VAR / NAME / "bounded.log").open("ab") as log,
            enter.popen(told.lab.nodes[HOST], argv, stdout=log, stderr=log) as agent,
        ):
            wait_until(lambda: following(told), "the bounded agent follows")
            yield told
            assert agent.poll() is None, "it ended by itself"
            agent.terminate()
    finally:
        lab.down(NAME)


def following(told: Told) -> bool:
    # the killed one's connection may still stand
    return told.sh.run(HOST, "pgrep -f '[s]etpriv|[f]loatway agent'")[0] == 0 and _stands(told)


def _stands(told: Told) -> bool:
    wait_applied(told.url)
    return "following" in (VAR / NAME / "bounded.log").read_text()


def test_it_has_these_capabilities_alone(cloud: Told) -> None:
    status = cloud.sh.text(HOST, "cat /proc/$(pgrep -f '[f]loatway agent' | tail -1)/status")
    bits = {line.split()[0]: int(line.split()[1], 16) for line in status.splitlines() if line.startswith("Cap")}
    assert bits["CapEff:"] == bits["CapBnd:"] == sum(1 << bit for bit in (1, 12, 13, 21))  # capabilities(7)
    assert "NoNewPrivs:\t1" in status


def test_what_comes_through_the_api_is_done(cloud: Told) -> None:
    assert cloud.flows("test", GATEWAY) and cloud.flows("outside", FLOATING)
    cloud.put("floatingip", FLOATING_IP, port_id=None)  # the fip namespace goes
    assert cloud.dead("outside", FLOATING)
    cloud.put(
        "floatingip", FLOATING_IP, port_id=PORT
    )  # and is made: namespace, veth, gratuitous ARP by a packet socket
    assert cloud.flows("outside", FLOATING)
    cloud.put("router", ROUTER, admin_state_up=False)
    cloud.put("router", ROUTER, admin_state_up=True)
    body = {
        "security_group_id": GROUP,
        "direction": "ingress",
        "protocol": "tcp",
        "port_range_min": 7,
        "port_range_max": 9,
    }
    rule = cloud.change("POST", "security-group-rules", {"security_group_rule": body})["security_group_rule"]
    cloud.change("DELETE", f"security-group-rules/{rule['id']}")
    assert cloud.flows("test", GATEWAY) and cloud.flows("outside", FLOATING)
    for noun, id_ in (("port", PORT), ("floatingip", FLOATING_IP), ("router", ROUTER)):
        assert cloud.status(noun, id_) == "ACTIVE"


@pytest.mark.parametrize(
    "damage",
    [
        f"ip netns delete qrouter-{ROUTER}",
        "ovs-ofctl del-flows br-int",
        "iptables -F",
        f"ip link delete qvb{PORT[:11]}",
        f"ip netns exec qrouter-{ROUTER} sysctl -qw net.ipv4.ip_forward=0",
    ],
)
def test_what_is_broken_by_hand_is_mended(cloud: Told, damage: str) -> None:
    settings = (
        f"sysctl -n net.bridge.bridge-nf-call-iptables; ip netns exec qrouter-{ROUTER} sysctl -n net.ipv4.ip_forward"
    )
    shown = f"iptables -S | sort; {settings}"
    before = cloud.sh.text(HOST, shown)
    cloud.sh.text(HOST, damage)
    wait_until(
        lambda: cloud.sh.run(HOST, shown)[1] == before and cloud.flows("outside", FLOATING),
        f"all is as it was, after: {damage}",
        seconds=20,
    )
