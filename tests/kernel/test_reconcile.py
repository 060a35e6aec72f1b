"""Law L7 on a real kernel: what compile wants is what observe finds after one apply, and applying again does nothing."""

import random

import msgspec
import pytest

from floatway.agent.agent import Agent
from floatway.agent.reconcile import ReconcileError, reconcile
from floatway.host.commands import commands
from floatway.host.ownership import COOKIE, owned
from floatway.host.records import (
    Address,
    Chain,
    Flow,
    Ipset,
    Link,
    Neighbour,
    Netns,
    OvsBridge,
    OvsPort,
    Route,
    Rule,
)  # fmt: skip
from floatway.host.state import HostState
from floatway.host.steps import Plan
from floatway.linux import by_commands
from floatway.linux.connection import HostConnection
from floatway.linux.execute import execute
from floatway.linux.observe import observe
from floatway.model.cloud import Cloud
from kernel.damage import damages
from kernel.reference_host import HOST, differences, reference, start, taps
from kernel.support import kill_vswitchd, sh, start_vswitchd

pytestmark = pytest.mark.kernel
FOREIGN = """
set -e
ip netns add foreign; ip -n foreign link set lo up; ip -n foreign addr add 10.8.0.1/24 dev lo
ip link add docker0 type bridge; ip link set docker0 up; ip addr add 172.17.0.1/16 dev docker0
ip rule add from 10.7.0.0/16 lookup 77 prio 700; ip route add 10.6.0.0/16 dev docker0
iptables -N FOREIGN; iptables -A FOREIGN -s 10.9.0.0/16 -j DROP; iptables -I FORWARD -j FOREIGN
iptables -t nat -A POSTROUTING -s 10.5.0.0/16 -j MASQUERADE
ipset create foreign hash:ip; ipset add foreign 10.4.0.1
ovs-vsctl add-br br-foreign -- set bridge br-foreign datapath_type=netdev \\
  -- add-port br-foreign p0 -- set interface p0 type=internal
ovs-ofctl -O OpenFlow14 add-flow br-foreign cookie=0x77,priority=5,tcp,actions=drop
"""


def printed(plan: object) -> list[str]:
    return [line for step in plan.steps for line in commands(step)]  # type: ignore[attr-defined]


def converged(conn: HostConnection, cloud: Cloud) -> HostState:
    """Reconcile, then prove that a second one has nothing to do and that what is ours is what is wanted."""
    first = reconcile(conn, cloud, HOST)
    second = reconcile(conn, cloud, HOST, dry_run=True)
    assert printed(second.plan) == []
    assert first.allocations == second.allocations
    return first.observed


def test_the_reference_is_reached_in_one_round_and_kept() -> None:
    cloud = reference()
    start(cloud)
    with HostConnection() as conn:
        first = reconcile(conn, cloud, HOST)
        assert first.rounds == 1, printed(first.plan)
        assert first.waiting == ()
        second = reconcile(conn, cloud, HOST)
        assert printed(second.plan) == []
        # Owned and wanted, but for built-in chains that hold our jumps and devices that somebody else makes.
        ours = owned(second.observed)
        for kind in (Netns, Address, Neighbour, Route, Rule, Ipset, OvsBridge, OvsPort, Flow):
            assert ours.table(kind) == second.desired.table(kind), kind.__name__
    with HostConnection() as conn:  # a restarted agent, with no memory
        third = reconcile(conn, cloud, HOST)
        assert printed(third.plan) == []
        assert third.allocations == first.allocations


def test_flows_are_printed_as_compile_writes_them() -> None:
    cloud = reference()
    start(cloud)
    with HostConnection() as conn:
        desired = reconcile(conn, cloud, HOST).desired
        found = {flow.key: flow for flow in observe(conn).records(Flow, lambda flow: flow.cookie == COOKIE)}
        assert found == dict(desired.table(Flow))


def test_a_dry_run_changes_nothing() -> None:
    cloud = reference()
    start(cloud)
    with HostConnection() as conn:
        before = observe(conn)
        outcome = reconcile(conn, cloud, HOST, dry_run=True)
        assert outcome.plan
        assert observe(conn) == before


def test_a_tap_is_waited_for_and_then_taken() -> None:
    cloud = reference()
    start(cloud)
    (tap, *_) = taps(cloud)
    sh(f"ip link del {tap}")
    with HostConnection() as conn:
        assert reconcile(conn, cloud, HOST).waiting == (tap,)
        sh(f"ip link add {tap} type veth peer name other && ip link set {tap} up")
        outcome = reconcile(conn, cloud, HOST)
        assert outcome.waiting == ()
        assert observe(conn).get(Link, "", tap).master == f"qbr{tap[3:]}"


def test_an_unknown_host_is_named() -> None:
    with HostConnection() as conn, pytest.raises(ReconcileError, match="no host nowhere"):
        reconcile(conn, reference(), "nowhere")


def test_foreign_things_next_to_ours_stay_as_they_are() -> None:
    cloud = reference()
    start(cloud)
    sh(FOREIGN)
    kinds = (Netns, Link, Address, Route, Rule, Neighbour, Chain, Ipset, OvsBridge, OvsPort, Flow)

    def foreign(state: HostState) -> set[object]:
        ours = owned(state)
        mine = {record for kind in kinds for record in ours.records(kind)}
        builtin = {"FORWARD", "INPUT", "OUTPUT", "PREROUTING", "POSTROUTING"}
        volatile = ("tap", "eth", "br-", "ovs-netdev")
        return {
            record
            for kind in kinds
            for record in state.records(kind)
            if record not in mine
            and not (isinstance(record, Chain) and record.name in builtin)
            and not (isinstance(record, Link) and record.name.startswith(volatile))
            and not getattr(record, "netns", "").startswith(("qrouter-", "fip-"))
        }

    with HostConnection() as conn:
        before = foreign(observe(conn))
        converged(conn, cloud)
        after = foreign(observe(conn))
        assert before <= after, before - after
        forward = observe(conn).get(Chain, "", "filter", "FORWARD")
        assert "-j FOREIGN" in forward.rules
        empty = msgspec.structs.replace(cloud, ports={}, floating_ips={}, servers={}, routers={})
        reconcile(conn, empty, HOST)
        assert before <= foreign(observe(conn))
        assert "-j FOREIGN" in observe(conn).get(Chain, "", "filter", "FORWARD").rules
        assert sh("ovs-ofctl -O OpenFlow14 --no-stats dump-flows br-foreign").count("cookie=0x77") == 1


def test_every_kind_of_damage_is_repaired() -> None:
    """One of each kind, by itself."""
    cloud = reference()
    start(cloud)
    chance = random.Random(1)
    with HostConnection() as conn:
        whole = converged(conn, cloud)
        for kind, choices in damages(whole).items():
            if not choices:
                continue
            command = chance.choice(choices)
            sh(command)
            mended = reconcile(conn, cloud, HOST)
            assert mended.plan, f"{kind}: {command}: not noticed"
            assert differences(whole, mended.observed) == "", f"{kind}: {command}"


@pytest.mark.parametrize("seed", range(3))
def test_random_damage_is_repaired(seed: int) -> None:
    """Many at once, in any mixture; commands that fail because an earlier one took their object are part of it."""
    cloud = reference()
    start(cloud)
    chance = random.Random(seed)
    with HostConnection() as conn:
        whole = converged(conn, cloud)
        for number in (2, 6, 20):
            choices = {kind: commands for kind, commands in damages(whole).items() if commands}
            done = [chance.choice(choices[kind]) for kind in chance.choices(list(choices), k=number)]
            for command in done:
                sh(f"{command} || true")
            mended = reconcile(conn, cloud, HOST)
            assert differences(whole, mended.observed) == "", done


def test_a_crash_after_any_step_is_recovered_from() -> None:
    """Law L9 on a real kernel: the plan is cut off after its N-th step, and a new agent goes on."""
    cloud = reference()
    start(cloud)
    empty = Cloud(hosts=cloud.hosts)
    with HostConnection() as conn:
        whole = converged(conn, cloud)
        reconcile(conn, empty, HOST)
        steps = reconcile(conn, cloud, HOST, dry_run=True).plan.steps
    for number in range(1, len(steps), 2):
        with HostConnection() as conn:
            execute(conn, Plan(steps=reconcile(conn, cloud, HOST, dry_run=True).plan.steps[:number]))
        with HostConnection() as conn:
            mended = reconcile(conn, cloud, HOST)
            assert differences(whole, mended.observed) == "", f"after step {number}: {steps[number - 1]}"
            reconcile(conn, empty, HOST)


def test_a_killed_vswitchd_is_recovered_from() -> None:
    cloud = reference()
    start(cloud)
    with HostConnection() as conn:
        whole = converged(conn, cloud)
        kill_vswitchd()
        start_vswitchd()
        mended = reconcile(conn, cloud, HOST)
        assert differences(whole, mended.observed) == ""


def test_the_printed_commands_do_the_same() -> None:
    cloud = reference()
    start(cloud)
    with HostConnection() as conn:
        by_commands.execute(conn, reconcile(conn, cloud, HOST, dry_run=True).plan)
        assert printed(reconcile(conn, cloud, HOST, dry_run=True).plan) == []
        empty = Cloud(hosts=cloud.hosts)
        by_commands.execute(conn, reconcile(conn, empty, HOST, dry_run=True).plan)
        assert printed(reconcile(conn, empty, HOST, dry_run=True).plan) == []


def test_everything_goes_when_the_cloud_is_empty() -> None:
    cloud = reference()
    start(cloud)
    with HostConnection() as conn:
        converged(conn, cloud)
        empty = Cloud(hosts=cloud.hosts)
        converged(conn, empty)
        left = owned(observe(conn))
        assert not left.records(Netns)
        assert not [link for link in left.records(Link) if link.alias == "floatway"]
        assert not [port for port in left.records(OvsPort) if port.name.startswith(("qvo", "qr-", "fg-"))]


def test_the_agent_applies_a_change_without_looking_first() -> None:
    cloud = reference()
    start(cloud)
    without = msgspec.structs.replace(cloud, floating_ips={})
    with Agent(HOST) as agent:
        agent.reconcile(without)
        applied = agent.apply(cloud)
        assert applied.plan
        assert "observe" not in applied.seconds
        assert printed(agent.reconcile(cloud).plan) == []
        agent.apply(without)
        assert printed(agent.reconcile(without).plan) == []
