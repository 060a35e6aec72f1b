"""Real packets through the reference cloud, loaded through the API, and the walk that foretells them.

                  cy2-compute02                                 outside
test 172.12.10.4 -- qbr -- br-int -- qrouter -- fip -- br-ex -- 192.168.0.1
                                     192.168.10.106
"""

import json
from collections.abc import Callable, Iterator

import msgspec
import pytest

from floatway.lab import enter, lab
from floatway.lab.world import observe_world
from floatway.model.cloud import Cloud
from floatway.model.load import load_cloud
from floatway.model.resources import SecurityGroupRule
from floatway.trace.question import Question
from floatway.trace.result import Disposition
from floatway.trace.walk import walk
from lab.support import REFERENCE, Sh, lab_name

pytestmark = pytest.mark.lab

HOST, INSTANCE, OUTSIDE = "cy2-compute02", "test", "outside"
FIXED, FLOATING, GATEWAY = "172.12.10.4", "192.168.10.106", "192.168.0.1"


@pytest.fixture(scope="module")
def cloud() -> Cloud:
    return load_cloud(REFERENCE)


@pytest.fixture(scope="module")
def sh(cloud: Cloud) -> Iterator[Sh]:
    yield Sh(lab.up(cloud, name=lab_name("packets"), with_server=True))
    lab.down(lab_name("packets"))


Applied = Callable[[Cloud], None]


@pytest.fixture
def restored(sh: Sh, cloud: Cloud) -> Iterator[Applied]:
    """Apply a changed cloud for one test; the reference comes back afterwards."""

    def change(changed: Cloud) -> None:
        lab.apply(sh.lab, changed)

    yield change
    lab.apply(sh.lab, cloud)


def tcp(sh: Sh, client: str, server: str, target: str, port: int) -> str:
    """What the client hears from a server that answers each connection with its peer's address."""
    script = (
        f"import socket;s=socket.create_server(('0.0.0.0',{port}));print('ready',flush=True);"
        "c,a=s.accept();c.sendall((a[0]+'\\n').encode()+b'x'*200000);c.close()"
    )
    with enter.popen(sh.lab.nodes[server], ["python3", "-c", script]) as listening:
        assert listening.stdout is not None
        assert listening.stdout.readline().strip() == b"ready"
        status, heard = sh.run(client, f"nc -w 3 {target} {port} </dev/null")
        listening.kill()
    if status != 0 and not heard:
        return ""
    peer, _, body = heard.partition("\n")
    assert len(body) == 200000, f"TCP stalled after {len(body)} bytes"
    return peer


def udp(sh: Sh, client: str, server: str, target: str, port: int) -> str:
    script = (
        f"import socket;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.bind(('0.0.0.0',{port}));"
        "print('ready',flush=True);d,a=s.recvfrom(99);s.sendto(a[0].encode(),a)"
    )
    ask = (
        "import socket;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.settimeout(1);"
        f"s.sendto(b'?',('{target}',{port}));print(s.recv(99).decode())"
    )
    with enter.popen(sh.lab.nodes[server], ["python3", "-c", script]) as listening:
        assert listening.stdout is not None
        assert listening.stdout.readline().strip() == b"ready"
        status, heard = sh.run(client, f'python3 -c "{ask}"')
        listening.kill()
    return heard.strip() if status == 0 else ""


def test_icmp_both_ways(sh: Sh) -> None:
    assert sh.ping(INSTANCE, GATEWAY)
    assert sh.ping(OUTSIDE, FLOATING)


def test_tcp_both_ways_with_the_right_addresses(sh: Sh) -> None:
    assert tcp(sh, INSTANCE, OUTSIDE, GATEWAY, 8080) == FLOATING
    assert tcp(sh, OUTSIDE, INSTANCE, FLOATING, 8081) == GATEWAY


def test_udp_out_is_answered_and_udp_in_is_filtered(sh: Sh) -> None:
    assert udp(sh, INSTANCE, OUTSIDE, GATEWAY, 5353) == FLOATING
    assert udp(sh, OUTSIDE, INSTANCE, FLOATING, 5354) == ""


def test_udp_in_passes_once_a_rule_opens_it(sh: Sh, cloud: Cloud, restored: Applied) -> None:
    opened = SecurityGroupRule(id="5ec00000-0000-4000-8000-000000000001", direction="ingress", protocol="udp",
                               port_range_min=5354, port_range_max=5354)  # fmt: skip
    restored(with_rules(cloud, lambda rules: (*rules, opened)))
    assert udp(sh, OUTSIDE, INSTANCE, FLOATING, 5354) == GATEWAY


def with_rules(cloud: Cloud, change: Callable[[tuple[SecurityGroupRule, ...]], tuple[SecurityGroupRule, ...]]) -> Cloud:
    groups = {
        key: msgspec.structs.replace(group, rules=change(group.rules)) for key, group in cloud.security_groups.items()
    }
    return msgspec.structs.replace(cloud, security_groups=groups)


def test_a_removed_rule_blocks_even_a_running_flow(sh: Sh, cloud: Cloud, restored: Applied) -> None:
    flow = ["ping", "-n", "-i", "0.2", "-W", "1", "-O", FLOATING]
    with enter.popen(sh.lab.nodes[OUTSIDE], flow) as running_ping:
        assert running_ping.stdout is not None
        wait_for_line(running_ping.stdout, b"icmp_seq=3 ttl")
        restored(with_rules(cloud, lambda rules: tuple(r for r in rules if r.protocol != "icmp")))
        wait_for_line(running_ping.stdout, b"no answer yet")
        running_ping.kill()
    assert not sh.ping(OUTSIDE, FLOATING)
    assert sh.ping(INSTANCE, GATEWAY), "answers to what the instance started still pass"


def wait_for_line(stream: object, wanted: bytes) -> None:
    for line in stream:  # type: ignore[attr-defined]
        if wanted in line:
            return
    raise AssertionError(f"the command ended before it printed {wanted!r}")


@pytest.mark.parametrize(
    ("change", "restore"),
    [
        ("ip link set eth0 address fa:16:3e:00:00:99", "ip link set eth0 address fa:16:3e:ae:b3:e7"),
        ("ip addr add 172.12.10.99/24 dev eth0", "ip addr del 172.12.10.99/24 dev eth0"),
    ],
    ids=["mac", "ip"],
)
def test_a_spoofed_source_is_dropped(sh: Sh, change: str, restore: str) -> None:
    source = "-I 172.12.10.99" if "99/24" in change else ""
    neighbour = "ip neigh replace 172.12.10.1 lladdr fa:16:3e:78:d6:60 dev eth0"
    default = "ip route replace default via 172.12.10.1 dev eth0"
    status, out = sh.run(INSTANCE, f"{change} && {default} && {neighbour}")
    assert status == 0, out
    try:
        assert not sh.ping(INSTANCE, GATEWAY, source)
    finally:
        sh.run(INSTANCE, f"{restore}; {default}; ip neigh flush dev eth0")
    assert sh.ping(INSTANCE, GATEWAY)


def test_the_fixed_address_cannot_be_reached_from_outside(sh: Sh) -> None:
    route = "ip route replace 172.12.10.0/24 via 192.168.10.103"
    assert sh.run(OUTSIDE, route)[0] == 0
    try:
        assert not sh.ping(OUTSIDE, FIXED)
    finally:
        sh.run(OUTSIDE, "ip route del 172.12.10.0/24 via 192.168.10.103")


def test_without_floating_ip_nothing_comes_in(sh: Sh, cloud: Cloud, restored: Applied) -> None:
    restored(msgspec.structs.replace(cloud, floating_ips={}))
    assert not sh.ping(OUTSIDE, FLOATING)


def test_mtu_1450_end_to_end(sh: Sh) -> None:
    assert sh.ping(INSTANCE, GATEWAY, "-M do", "-s 1422")
    assert sh.ping(OUTSIDE, FLOATING, "-M do", "-s 1422")
    _, said = sh.run(OUTSIDE, f"ping -n -c 1 -W 1 -M do -s 1423 {FLOATING}")
    assert "Frag needed" in said or "frag needed" in said or "Message too long" in said, said


@pytest.mark.parametrize(
    ("question", "really"),
    [
        (Question(source=INSTANCE, target=GATEWAY), lambda sh: sh.ping(INSTANCE, GATEWAY)),
        (Question(source=OUTSIDE, target=FLOATING), lambda sh: sh.ping(OUTSIDE, FLOATING)),
        (Question(source=OUTSIDE, target=FLOATING, proto="tcp", dport=8090), lambda sh: bool(tcp(sh, OUTSIDE, INSTANCE, FLOATING, 8090))),
        (Question(source=OUTSIDE, target=FLOATING, proto="udp", dport=5390), lambda sh: bool(udp(sh, OUTSIDE, INSTANCE, FLOATING, 5390))),
        (Question(source=INSTANCE, target="172.12.10.1"), lambda sh: sh.ping(INSTANCE, "172.12.10.1")),
        (Question(source=INSTANCE, target="192.168.77.77"), lambda sh: sh.ping(INSTANCE, "192.168.77.77")),
        (Question(source=OUTSIDE, target=FLOATING, size=1451), lambda sh: sh.ping(OUTSIDE, FLOATING, "-M do", "-s 1423")),
    ],
    ids=["out", "in", "tcp-in", "udp-in", "router", "nobody", "too-big"],
)  # fmt: skip
def test_l8_trace_says_what_packets_do(sh: Sh, question: Question, really: Callable[[Sh], bool]) -> None:
    said = walk(observe_world(sh.lab), question)
    assert said.ok == really(sh), f"{said.forward.disposition}: {said.forward.reason}"


def test_too_big_is_named(sh: Sh) -> None:
    said = walk(observe_world(sh.lab), Question(source=OUTSIDE, target=FLOATING, size=1451))
    assert said.forward.disposition is Disposition.MTU_EXCEEDED
    assert json.dumps(msgspec.to_builtins(said))
