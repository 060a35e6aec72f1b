"""Law L7 for random clouds: reached in one apply, from nothing and from another cloud, and nothing is left to do after it."""

import pytest

from effort import seeds
from floatway.agent.agent import Agent
from floatway.agent.reconcile import reconcile
from floatway.host.commands import commands
from floatway.linux.connection import HostConnection
from floatway.model.cloud import Cloud
from floatway.model.validate import validate
from kernel.random_clouds import random_cloud
from kernel.reference_host import HOST, far_end, plug, taps
from kernel.support import sh, start_ovs

pytestmark = pytest.mark.kernel
SEEDS = seeds(4)
"""More on demand: FLOATWAY_SEEDS=200."""


def use(cloud: Cloud) -> Cloud:
    """The cloud, once the model has found nothing wrong with it; its taps stand ready."""
    assert validate(cloud) == ()
    for tap in taps(cloud):
        sh(f"ip tuntap add {tap} mode tap && ip link set {tap} up")
    return cloud


def left(conn: HostConnection, cloud: Cloud) -> list[str]:
    return [line for step in reconcile(conn, cloud, HOST, dry_run=True).plan.steps for line in commands(step)]


@pytest.mark.parametrize("seed", SEEDS)
def test_one_apply_reaches_any_cloud(seed: int) -> None:
    first, second = random_cloud(2 * seed), random_cloud(2 * seed + 1)
    start_ovs()
    pid = far_end()
    for number, nic in enumerate(first.hosts[HOST].bridge_nics.values()):
        plug(nic, pid, number)
    use(first)
    with Agent(HOST) as agent:
        assert agent.reconcile(first).rounds == 1
        assert left(agent.conn, first) == []
        use(second)
        assert agent.reconcile(second).rounds == 1
        assert left(agent.conn, second) == []
        agent.apply(first)
        assert left(agent.conn, first) == []
        nothing = Cloud(hosts=first.hosts)
        agent.apply(nothing)
        assert left(agent.conn, nothing) == []
