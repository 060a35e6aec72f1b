"""The units of packaging/ under a real systemd: server and agent on one host, beside Debian's Open vSwitch.

boot.sh ── systemd (first process of its namespaces)
             ├─ ovsdb-server, ovs-vswitchd         Debian's units
             ├─ floatway-server                    user floatway
             └─ floatway-agent                     joined by a token, over /run/floatway/agents.sock
a  eth0 ==== tap… br-int …tap ==== eth0  b         plugged with floatway plug
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from floatway.lab import enter, ovs
from floatway.lab.api import wait_until
from floatway.lab.node import Node, die_with_parent, kill, start_time

pytestmark = pytest.mark.lab

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
GATEWAY, A, B = "10.9.0.1", "10.9.0.11", "10.9.0.12"
CAPABILITIES = sum(1 << bit for bit in (1, 12, 13, 21))  # DAC_OVERRIDE, NET_ADMIN, NET_RAW, SYS_ADMIN (capabilities(7))

OWNERS = [
    "/run/floatway floatway 755",
    "/run/floatway/agents.sock floatway 700",
    "/run/floatway-agent root 755",
    "/run/floatway-agent/agent.lock root 600",
    "/var/lib/floatway floatway 700",
    "/etc/floatway/agent.key root 600",
]


class Host:
    """A booted host, and what a person types there."""

    def __init__(self, pid: int) -> None:
        self.node = Node(name="compute1", role="compute", pid=pid, started=start_time(pid))

    def run(self, script: str) -> "subprocess.CompletedProcess[str]":
        return enter.run(self.node, ["bash", "-ec", script], capture_output=True, text=True, timeout=60)

    def sh(self, script: str) -> str:
        done = self.run(script)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}{self.logs()}"
        return done.stdout

    def logs(self) -> str:
        return self.run("tail -n 30 /run/systemd.log /run/*.log").stdout

    def show(self, unit: str, *names: str) -> dict[str, str]:
        said = self.sh(f"systemctl show {unit} {' '.join(f'-p {name}' for name in names)}")
        return dict(line.split("=", 1) for line in said.splitlines())

    def process(self, unit: str) -> dict[str, str]:
        """The /proc/PID/status of its main process (proc_pid_status(5))."""
        text = self.sh(f"cat /proc/{self.show(unit, 'MainPID')['MainPID']}/status")
        return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)

    def owners(self) -> list[str]:
        """Owner and mode of all that the two have."""
        return self.sh(f"stat -c '%n %U %a' {' '.join(one.split()[0] for one in OWNERS)}").splitlines()

    def pids(self) -> tuple[str, str]:
        """The main processes of agent and server; 0 for none."""
        return tuple(self.show(f"floatway-{one}", "MainPID")["MainPID"] for one in ("agent", "server"))

    def follows(self, before: tuple[str, str], what: str) -> bool:
        """Does another process than before do the work, ready by its own word (sd_notify(3)), and follow?"""
        now = self.pids()
        renewed = all(
            new not in ("0", old) or name not in what
            for name, new, old in zip(("agent", "server"), now, before, strict=True)
        )
        state = [self.show(f"floatway-{one}", "ActiveState")["ActiveState"] for one in ("agent", "server")]
        if not renewed or state != ["active", "active"]:
            return False
        told = self.run("floatway agent status compute1")  # ends with 1 while it does not follow
        return told.returncode == 0 and "follows" in told.stdout

    def post(self, plural: str, **fields: object) -> dict[str, object]:
        noun = plural.removesuffix("s").replace("-", "_")
        script = (
            "import sys, json, urllib.request as u;"
            "print(u.urlopen(u.Request(sys.argv[1], sys.argv[2].encode(), {'content-type': 'application/json'})).read().decode())"
        )
        argv = [sys.executable, "-c", script, f"http://127.0.0.1:9696/v2.0/{plural}", json.dumps({noun: fields})]
        done = enter.run(self.node, argv, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout)[noun])


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    argv = [str(HERE / "boot.sh"), str(CHECKOUT), sys.executable]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(argv, preexec_fn=die_with_parent, **piped) as boot:  # noqa: PLW1509
        assert boot.stdout is not None and boot.stderr is not None
        word = boot.stdout.readline().strip()
        assert word.isdigit(), boot.stderr.read()
        booted = Host(int(word))
        try:
            wait_until(
                lambda: booted.run("systemctl is-active multi-user.target").returncode == 0, "systemd is up", seconds=20
            )
            yield _with_units(booted)
        finally:
            kill(int(word))
            boot.wait(30)


def _with_units(host: Host) -> Host:
    """As docs/how-to/real-host.md and join-a-host.md have it, then two namespaces on one network."""
    page = (CHECKOUT / "docs" / "how-to" / "real-host.md").read_text()
    host.sh("\n".join(re.findall(r"^ *((?:mkdir|printf).*ovs-vswitchd\.service\.d.*)", page, re.MULTILINE)))
    host.sh("""printf '[agents]\\nsocket = "/run/floatway/agents.sock"\\n' >/etc/floatway/server.toml""")
    host.sh("systemctl enable --now openvswitch-switch floatway-server")
    host.sh("floatway agent token compute1 | floatway agent join -")
    host.sh(
        "ip link add eth1 type veth peer name cable && ip link set eth1 up && ip address add 10.10.20.21/24 dev eth1"
    )
    said = 'tunnel_ip = "10.10.20.21"' + ('\ndatapath_type = "netdev"' if ovs.datapath() == "netdev" else "")
    host.sh(
        f"printf '%s\n' '{said}' | cat - /etc/floatway/agent.toml >/run/new && cp /run/new /etc/floatway/agent.toml"
    )
    host.sh("systemctl enable --now floatway-agent")
    network = host.post("networks", name="net", port_security_enabled=False)["id"]
    subnet = host.post("subnets", network_id=network, ip_version=4, cidr="10.9.0.0/24", gateway_ip=GATEWAY)["id"]
    for name, address in (("a", A), ("b", B)):
        host.post("ports", network_id=network, name=name, fixed_ips=[{"subnet_id": subnet, "ip_address": address}])
        host.sh(f"ip netns add {name} && floatway plug {name} --netns {name}")
    return host


def test_both_run_as_their_units_say(host: Host) -> None:
    server, agent = host.process("floatway-server"), host.process("floatway-agent")
    for status in (server, agent):
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), "a filter of system calls (seccomp(2))"
    assert (int(server["CapEff"], 16), int(server["CapBnd"], 16)) == (0, 0)
    assert (int(agent["CapEff"], 16), int(agent["CapBnd"], 16)) == (CAPABILITIES, CAPABILITIES)
    assert server["Uid"].split() == [host.sh("id -u floatway").strip()] * 4
    assert agent["Uid"].split() == ["0"] * 4
    assert host.owners() == OWNERS
    # modules are loaded with root's own powers, and nothing there is no reason not to start
    (loaded,) = host.sh("cat /run/modules.log").splitlines()
    words, _, powers = loaded.partition(" CapEff:\t")
    assert words == "/usr/local/sbin/modprobe -qa br_netfilter openvswitch ip_tables"
    assert int(powers, 16) & 1 << 16, "CAP_SYS_MODULE"
    assert host.show("floatway-server", "ExecStartPre")["ExecStartPre"].rpartition("status=")[2] == "0/0 }"


def test_the_allocator_of_the_drop_in_is_the_one_that_runs(host: Host) -> None:
    assert "libjemalloc" in host.sh("cat /proc/$(cat /run/openvswitch/ovs-vswitchd.pid)/maps")


SECONDS = 3


@pytest.mark.parametrize(
    "what",
    [
        "systemctl restart floatway-agent",
        "systemctl kill --signal=KILL floatway-agent",
        "systemctl restart floatway-server",
        "systemctl kill --signal=KILL floatway-server",
        "systemctl stop floatway-agent floatway-server; systemctl start floatway-server floatway-agent",
    ],
)
def test_no_packet_is_lost(host: Host, what: str) -> None:
    host.sh(f"ip netns exec a ping -n -c 1 -W 2 {B}")
    before = host.pids()
    ping = ["ping", "-n", "-q", "-i", "0.005", "-c", str(SECONDS * 200), "-W", "1", B]
    with enter.popen(host.node, ping, netns="a", text=True) as pinging:
        host.sh(what)
        wait_until(lambda: host.follows(before, what), f"server and agent are there again, after: {what}", seconds=20)
        said = pinging.communicate()[0]
    assert " 0% packet loss" in said, f"{said}\n{host.logs()}"
    assert host.owners() == OWNERS, "whoever starts leaves the other's alone"
    host.sh("ovs-ofctl del-flows br-int")
    wait_until(lambda: host.run(f"ip netns exec a ping -n -c 1 -W 1 {B}").returncode == 0, "the new agent mends")
