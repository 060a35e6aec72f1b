"""L8: the walk foretells the packet. Random clouds are raised, random packets are walked and sent, hop by hop they must agree.

``FLOATWAY_SEEDS=50 pytest tests/lab/test_l8_random.py`` for a longer campaign; a failing seed is in the test's name.
"""

from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from effort import seeds
from floatway.lab import lab, machines
from floatway.lab.probe import probe
from floatway.lab.world import observe_world
from floatway.model.cloud import Cloud
from floatway.trace import render
from floatway.trace.question import Question
from floatway.trace.walk import walk
from lab.support import lab_name
from strategies import clouds

pytestmark = pytest.mark.lab

QUESTIONS = 6
HOSTS = ("h1", "h2")


def draw_cloud(number: int) -> Cloud:
    """The cloud of a seed: on one host, every instance of it raised."""
    drawn: list[Cloud] = []

    @seed(number)
    @settings(
        max_examples=1, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(st.data())
    def once(data: st.DataObject) -> None:
        drawn.append(data.draw(clouds(hosts=HOSTS, max_ports=5)))

    once()
    return drawn[-1]


def draw_question(random: Random, cloud: Cloud) -> Question:
    """From an instance or outside, to any address that means something, and some that do not."""
    names = [machines.node_name(server) for server in cloud.servers.values()]
    fixed = [f.ip_address for port in cloud.ports.values() for f in port.fixed_ips]
    floating = [fip.floating_ip_address for fip in cloud.floating_ips.values()]
    source = random.choice([*names, machines.OUTSIDE])
    targets = (
        ["192.168.0.1", "192.168.77.7", *floating, *fixed]
        if source != machines.OUTSIDE
        else [*floating, "192.168.77.7", "192.168.255.1"]
    )
    proto = random.choice(["icmp", "icmp", "tcp", "udp"])
    port = random.choice([22, 80, 5000, 65535]) if proto != "icmp" else None
    size = random.choice([None, None, 1400, 1450, 1451, 1500]) if proto == "icmp" else None
    return Question(source=source, target=random.choice(targets), proto=proto, dport=port, size=size)


@pytest.mark.parametrize("number", seeds(3))
def test_l8_trace_is_packets(number: int) -> None:
    cloud, random = draw_cloud(number), Random(number)
    name = lab_name(f"l8-{number}")
    try:
        raised = lab.up(cloud, name=name)
        for _ in range(QUESTIONS):
            question = draw_question(random, cloud)
            world = observe_world(raised)
            said = walk(world, question)
            real = probe(raised, world, said)
            assert real.agrees, (
                f"seed {number}, {question}: {real.disagreement}\n{render.text(said, colour=False)}\n{real}"
            )
    finally:
        lab.down(name)
