"""The command line against a running lab: what the quickstart and the tutorial tell people to type.

outside 192.168.0.1 -- br-ex -- br-int -- fip -- qrouter -- br-int -- qbr -- test 172.12.10.4 (192.168.10.106)
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from floatway.lab import lab as labs
from floatway.lab import node
from floatway.lab.api import ask, wait_until

pytestmark = pytest.mark.lab

LAB = f"cli-{os.getpid()}"
ROUTER = "qrouter-d3218b9c-73bb-4788-87e4-5828625fe586"
HOST = "cy2-compute02"
PORT, FLOATING_IP = "8aa5e3b4-6c0b-4d77-8c45-146cacf576ec", "2e9b7c41-0d5f-4b8a-93c6-7f1e2d3c4b06"
GROUP = "15ca6cb4-09b4-418e-aee4-3c0f9d5b7e10"


def floatway(*argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "floatway", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def lab(verb: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return floatway("lab", verb, "--lab", LAB, *argv)


@pytest.fixture(scope="module", autouse=True)
def running() -> Iterator[None]:
    raised = lab("up")
    assert raised.returncode == 0, raised.stderr
    yield
    assert lab("down").returncode == 0


def test_status_names_machines_and_addresses() -> None:
    found = json.loads(lab("status", "--json").stdout)
    assert {node["name"] for node in found["nodes"]} == {HOST, "test", "outside"}
    said = lab("status").stdout
    assert "192.168.10.106" in said
    assert "Open vSwitch runs" in said


@pytest.mark.parametrize(
    ("script", "status"), [("exit 7", 7), ("true", 0), ("kill -9 $$", 137), ("no-such-command", 127)]
)
def test_exec_passes_the_exit_status_on(script: str, status: int) -> None:
    assert lab("exec", "test", "--", "sh", "-c", script).returncode == status


def test_exec_in_a_namespace_and_by_wrong_names() -> None:
    rules = lab("exec", HOST, "--netns", ROUTER, "--", "ip", "rule").stdout
    assert "57481:\tfrom 172.12.10.4 lookup 16" in rules
    nobody = lab("exec", "nobody", "--", "true")
    assert nobody.returncode == 2
    assert HOST in nobody.stderr
    nowhere = lab("exec", HOST, "--netns", "nowhere", "--", "true")
    assert nowhere.returncode != 0
    assert ROUTER in nowhere.stderr
    assert lab("exec", "test", "--", "no-such-command").returncode == 127


@pytest.mark.parametrize(
    ("question", "status"),
    [
        (["test", "--to", "192.168.0.1"], 0),
        (["--from", "192.168.0.1", "--to", "192.168.10.106"], 0),
        (["--from", "192.168.0.1", "--to", "192.168.10.106", "--tcp", "--dport", "22"], 0),
        (["--from", "192.168.0.1", "--to", "192.168.10.106", "--udp", "--dport", "53"], 1),
        (["test", "--to", "192.168.0.1", "--size", "1422"], 0),
        (["test", "--to", "192.168.0.1", "--size", "1423"], 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_l8_probe_agrees(question: list[str], status: int) -> None:
    result = floatway("trace", "--lab", LAB, *question, "--probe", "--json")
    said = json.loads(result.stdout)
    assert said["probe"]["disagreement"] == ""
    assert result.returncode == status
    assert said["ok"] is (status == 0)
    if said["ok"]:
        marks = said["probe"]["forward"] + said["probe"]["reply"]
        assert len(said["forward"]["hops"]) == len(said["reply"]["hops"]) == 8
        assert all(mark["ingress"] is not None or not mark["ingress_watched"] for mark in marks)
        assert all(mark["egress"] is not None or not mark["egress_watched"] for mark in marks)


def test_unknown_instance_is_bad_input() -> None:
    result = floatway("trace", "--lab", LAB, "tset", "--to", "192.168.0.1")
    assert result.returncode == 2
    assert "is no machine, instance, port or address here\n  known are " in result.stderr
    assert "\n  did you mean test?\n" in result.stderr


@pytest.mark.parametrize(
    ("who", "is_"),
    [
        ("aac0a6c0-4235-4543-b80d-bf7dcd349f77", "test"),
        ("8aa5e3b4-6c0b-4d77-8c45-146cacf576ec", "test"),
        ("2e9b7c41-0d5f-4b8a-93c6-7f1e2d3c4b06", "192.168.10.106"),
    ],
    ids=["instance", "port", "floating IP"],
)
def test_the_apis_ids_say_who_is_meant(who: str, is_: str) -> None:
    found = json.loads(floatway("trace", "--lab", LAB, "outside", "--to", who, "--json").stdout)
    assert found["forward"]["disposition"] == "DELIVERED"
    assert found["target"] == is_
    assert found["intent"] == []


def test_wait_ends_when_hosts_have_applied_it() -> None:
    url = json.loads(lab("status", "--json").stdout)["url"]
    done = floatway("wait", "--url", url, "--json")
    assert (done.returncode, json.loads(done.stdout)["applied"]) == (0, True)
    late = floatway("wait", "--url", url, "--revision", "999999")
    assert late.returncode == 1 and "still to come" in late.stderr


def test_status_of_a_host_says_what_it_repaired() -> None:
    api = {**os.environ, "OS_AUTH_TYPE": "none", "OS_ENDPOINT": url()}
    argv = [sys.executable, "-m", "floatway", "agent", "status", HOST]

    def said() -> str:
        return subprocess.run(argv, capture_output=True, text=True, check=True, env=api).stdout

    lab("exec", HOST, "--", "ip", "-n", ROUTER, "rule", "del", "pref", "57481")
    wait_until(lambda: "repaired" in said(), "the agent tells what it mended")
    assert f" ago: ip -n {ROUTER} rule add priority 57481 from 172.12.10.4 lookup 16\n" in said()


def test_break_find_plan_mend() -> None:
    assert lab("plan", "--detailed-exitcode").returncode == 0
    assert lab("pause").stdout == f"paused: the agent of {HOST}\n"
    assert "Open vSwitch runs, agent paused\n" in lab("status").stdout
    assert json.loads(lab("status", "--json").stdout)["nodes"][0]["paused"] is True
    refused = lab("load", "--example", "reference")
    assert refused.returncode == 1 and "floatway lab resume" in refused.stderr
    lab("exec", HOST, "--", "ip", "-n", ROUTER, "rule", "del", "pref", "57481")
    lost = floatway("trace", "--lab", LAB, "test", "--to", "192.168.0.1", "--brief", "--probe")
    assert lost.returncode == 1
    assert "as the walk says" in lost.stdout
    assert f"Intent: {HOST} is not as the cloud wants it, 1 difference" in lost.stdout
    assert "  floating_ip 2e9b7c41-0d5f-4b8a-93c6-7f1e2d3c4b06\n    $ ip -n" in lost.stdout
    planned = lab("plan", "--detailed-exitcode")
    assert planned.returncode == 3
    assert f"ip -n {ROUTER} rule add priority 57481 from 172.12.10.4 lookup 16" in planned.stdout
    assert "1 step done" in lab("apply").stdout
    assert "nothing to do" in lab("plan").stdout
    assert floatway("trace", "--lab", LAB, "test", "--to", "192.168.0.1", "--brief", "--probe").returncode == 0
    assert lab("resume").stdout == f"going on: the agent of {HOST}\n"


def test_the_repair_of_a_closed_door_can_be_typed_as_it_stands() -> None:
    found = floatway("trace", "--lab", LAB, "outside", "--to", "192.168.10.106", "--udp", "--dport", "53", "--json")
    repair = json.loads(found.stdout)["forward"]["repair"]
    assert repair == f"openstack security group rule create --protocol udp --dst-port 53 {GROUP}"


def url() -> str:
    return str(json.loads(lab("status", "--json").stdout)["url"])


def rules_for_icmp() -> list[str]:
    found = ask(url(), "GET", f"/v2.0/security-group-rules?security_group_id={GROUP}&protocol=icmp&direction=ingress")
    return [rule["id"] for rule in found["security_group_rules"]]


def test_what_is_not_wanted_any_more_is_named_beside_the_way() -> None:
    lab("pause")
    ask(url(), "PUT", f"/v2.0/floatingips/{FLOATING_IP}", {"floatingip": {"port_id": None}})
    still = floatway("trace", "--lab", LAB, "outside", "--to", "192.168.10.106", "--brief")
    assert still.returncode == 0, "packets obey the host, not the API"
    _, _, intent = still.stdout.partition("Intent: ")
    assert "what nothing in the cloud wants any more\n    $ ip -n qrouter-" in intent
    assert not {"arping", "conntrack"} & set(intent.split()), "what follows from other steps is no difference"
    assert all(line.startswith("  ") for line in intent.splitlines()[1:])
    late = floatway("wait", "--url", url(), "--timeout", "0")
    assert late.returncode == 1 and f"Not applied: {HOST} stands at revision" in late.stderr
    lab("resume")
    ask(url(), "PUT", f"/v2.0/floatingips/{FLOATING_IP}", {"floatingip": {"port_id": PORT}})
    assert floatway("wait", "--url", url()).returncode == 0


def test_a_dead_server_is_said_and_what_it_was_told_outlives_it() -> None:
    (rule,) = rules_for_icmp()
    ask(url(), "DELETE", f"/v2.0/security-group-rules/{rule}")
    server = labs.load(LAB).server
    assert server is not None
    node.kill(server.pid)
    dead = lab("status")
    assert dead.returncode == 1 and "floatway lab up" in dead.stderr
    for verb in ("plan", "apply"):
        refused = lab(verb)
        assert (refused.returncode, refused.stdout) == (1, ""), "nobody knows what the hosts are to be"
        assert "the lab's server is dead" in refused.stderr and "floatway lab up" in refused.stderr
    traced = floatway("trace", "--lab", LAB, "test", "--to", "192.168.0.1", "--brief")
    assert traced.returncode == 0 and "Intent: not known, since the lab's server is dead" in traced.stdout
    assert lab("up").returncode == 0
    assert lab("status").returncode == 0
    assert rules_for_icmp() == []
    assert lab("load", "--example", "reference").returncode == 0
    assert rules_for_icmp() == [rule]


def test_down_says_when_there_was_nothing() -> None:
    nothing = floatway("lab", "down", "--lab", f"{LAB}-other")
    assert nothing.returncode == 0 and "there is no lab" in nothing.stderr
