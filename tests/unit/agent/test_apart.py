"""A host that refuses something of one object is given everything else, says what it refused, and is asked again."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from effort import examples
from floatway.agent.agent import Agent
from floatway.agent.apart import blamed
from floatway.agent.body import Memory
from floatway.agent.reconcile import ReconcileError
from floatway.compile import names
from floatway.compile.host import compile_host
from floatway.host.commands import commands
from floatway.host.ownership import owned
from floatway.host.partial import Ref, concerned
from floatway.host.records import Chain, Flow, Ipset, Link
from floatway.host.references import dangling
from floatway.host.restore import chain_restore, set_restore
from floatway.host.state import HostState
from floatway.host.steps import ConntrackDelete, OfBundle, Plan, Step
from floatway.linux.errors import StepFailed
from floatway.linux.touched import EVERYTHING
from floatway.model.cloud import Cloud, put
from floatway.model.resources import OWNER_COMPUTE, OWNER_ROUTER_INTERFACE, HostRoute, Port
from strategies import clouds
from unit.host.worlds import HOST, bare, compiled, difference, small_cloud


def naming(*texts: str) -> Callable[[Step], str]:
    """Refuses each step that speaks of one of these."""
    return lambda step: "Invalid argument" if any(text in line for line in commands(step) for text in texts) else ""


def raised(cloud: Cloud, refuses: Callable[[Step], str] | None = None) -> tuple[Agent, Memory]:
    body = Memory(bare(compiled(cloud)), refuses)
    return Agent(HOST, body=body), body


def instances(cloud: Cloud) -> list[Port]:
    return sorted(
        (p for p in cloud.ports.values() if p.binding_host_id == HOST and p.device_owner == OWNER_COMPUTE),
        key=lambda port: port.id,
    )


def as_wanted(agent: Agent, body: Memory) -> str:
    assert agent.last is not None
    return difference(body.state, agent.last.desired)


def test_a_port_that_is_refused_is_left_out_whole_and_all_else_is_there() -> None:
    cloud = small_cloud(ports=8)
    bad, *good = instances(cloud)
    agent, body = raised(cloud, naming(names.device("qvo", bad.id)))
    outcome = agent.reconcile(cloud)
    assert {origin: reason for origin, reason in outcome.blocked.items() if origin[0] == "port"}.keys() == {
        ("port", bad.id)
    }
    assert "Invalid argument" in outcome.blocked["port", bad.id]
    without = msgspec.structs.replace(cloud, ports={i: p for i, p in cloud.ports.items() if i != bad.id})
    have = set(owned(body.state, outcome.desired))
    want = compile_host(without, HOST, outcome.allocations)
    missing = [record for record in want if record not in have and type(record).__name__ not in {"Chain", "Ipset"}]
    assert missing == []
    assert dangling(owned(body.state, outcome.desired)) == ()
    for port in good:
        assert names.device("tap", port.id) not in outcome.waiting
    tap, bridge = names.device("tap", bad.id), names.device("qbr", bad.id)
    assert not [
        link for link in body.state if (getattr(link, "master", "") == bridge and getattr(link, "name", "") == tap)
    ]


def test_once_it_is_no_longer_refused_the_next_look_takes_it_in() -> None:
    cloud = small_cloud(ports=4)
    bad = instances(cloud)[0]
    agent, body = raised(cloud, naming(names.device("qvo", bad.id)))
    assert agent.reconcile(cloud).blocked
    assert agent.verify(EVERYTHING).blocked, "a look is no new try"
    body.refuses = naming()
    assert not agent.reconcile(cloud).blocked
    assert as_wanted(agent, body) == ""


def test_what_is_wanted_otherwise_is_tried_at_once() -> None:
    cloud = small_cloud()
    router = next(iter(cloud.routers.values()))
    bad = HostRoute(destination="10.99.0.0/16", nexthop="10.0.0.77")
    agent, body = raised(cloud, naming("10.99.0.0/16"))
    worse = put(cloud, msgspec.structs.replace(router, routes=(bad,)))
    agent.reconcile(cloud)
    outcome = agent.apply(worse)
    assert outcome.blocked.keys() == {("router", router.id)}
    assert "10.99.0.0/16" in outcome.blocked["router", router.id]
    better = put(
        cloud, msgspec.structs.replace(router, routes=(HostRoute(destination="10.98.0.0/16", nexthop="10.0.0.77"),))
    )
    assert not agent.apply(better).blocked
    assert as_wanted(agent, body) == ""


def test_beside_what_is_refused_changes_take_the_fast_way() -> None:
    cloud = small_cloud(ports=4)
    bad = instances(cloud)[0]
    agent, body = raised(cloud, naming(names.device("qvo", bad.id)))
    agent.reconcile(cloud)
    fip = next(fip for fip in cloud.floating_ips.values() if fip.port_id != bad.id)
    looks = 0
    look = body.look

    def counted() -> HostState:
        nonlocal looks
        looks += 1
        return look()

    body.look = counted  # type: ignore[method-assign]
    gone = msgspec.structs.replace(cloud, floating_ips={i: f for i, f in cloud.floating_ips.items() if i != fip.id})
    outcome = agent.apply(gone)
    assert looks == 0
    assert ("port", bad.id) in outcome.blocked
    assert not [line for record in body.state if fip.floating_ip_address in (line := str(record)) and "qrouter" in line]


def test_what_cannot_be_removed_does_not_hold_up_the_rest() -> None:
    cloud = small_cloud(ports=4)
    gone, *_ = instances(cloud)
    agent, body = raised(cloud)
    agent.reconcile(cloud)
    body.refuses = naming(f"link delete {names.device('qvb', gone.id)}", f"link delete {names.device('qvo', gone.id)}",
                          f"link delete {names.device('qbr', gone.id)}")  # fmt: skip
    after = msgspec.structs.replace(
        cloud,
        ports={i: p for i, p in cloud.ports.items() if i != gone.id},
        floating_ips={i: f for i, f in cloud.floating_ips.items() if f.port_id != gone.id},
    )
    outcome = agent.apply(after)
    assert {kind for kind, _ in outcome.blocked} == {"leftover"}
    body.refuses = naming()
    assert not agent.reconcile(after).blocked
    assert as_wanted(agent, body) == ""


def test_connections_are_forgotten_even_if_the_plan_was_cut_short() -> None:
    cloud = small_cloud(ports=2, floating_ips=2)
    agent, body = raised(cloud)
    agent.reconcile(cloud)
    fip, other = sorted(cloud.floating_ips.values(), key=lambda one: one.id)
    after = msgspec.structs.replace(cloud, floating_ips={other.id: other})
    failed = False

    def once(step: Step) -> str:
        nonlocal failed
        if isinstance(step, ConntrackDelete) and not failed:
            failed = True
            return "Resource temporarily unavailable"
        return ""

    body.refuses = once
    agent.apply(after)
    assert failed
    assert fip.floating_ip_address in {step.address for step in body.forgotten}


def test_a_host_that_undoes_everything_is_said_to() -> None:
    cloud = small_cloud()

    class Stubborn(Memory):
        def run(self, plan: Plan) -> None:
            """Says yes and does nothing."""

    agent = Agent(HOST, body=Stubborn(bare(compiled(cloud))))
    try:
        outcome = agent.reconcile(cloud)
    except ReconcileError:
        pytest.fail("it is set apart")
    assert outcome.blocked


def test_the_line_that_a_tool_names_is_the_culprits() -> None:
    chain = Chain(netns="", table="filter", name="b", rules=("-p tcp --dport 70000 -j RETURN",))
    restore = chain_restore("", {}, [Chain(netns="", table="filter", name="a", rules=("-j DROP",)), chain], ())
    said = "iptables-restore v1.8.9: invalid port/service `70000' specified\nError occurred at line: 5"
    assert restore.text.splitlines()[4].startswith("-A b")
    assert blamed(StepFailed(restore, "", said)) == (Chain, chain.key)
    assert blamed(StepFailed(restore, "", "iptables-restore: line 6 failed")) is None, "COMMIT is nobody's"
    assert blamed(StepFailed(restore, "", "iptables-restore: line 700 failed")) is None
    flows = tuple(Flow(bridge="b", table=0, priority=n, match="", actions="drop") for n in range(3))
    bundle = OfBundle(bridge="b", delete=flows[:1], add=flows[1:])
    assert blamed(StepFailed(bundle, "", "ovs-ofctl: -:2: nonsense: unknown keyword nonsense")) == (Flow, flows[1].key)
    one = Ipset(netns="", name="s", members=("10.0.0.1", "10.0.0.2"))
    ipset = set_restore("", [(None, one)])
    said = "ipset v7.17: Error in line 2: Element cannot be added to the set: it's already added"
    assert blamed(StepFailed(ipset, "", said)) == (Ipset, one.key)
    assert blamed(StepFailed(ipset, "", "killed")) is None


def test_an_interface_whose_port_cannot_be_plugged_anew_stays_where_it_is() -> None:
    """It goes to another router: the port itself is as wanted, only its device is not."""
    cloud = small_cloud()
    one, other = cloud.routers.values()
    interface = next(p for p in cloud.ports_by_device[one.id] if p.device_owner == OWNER_ROUTER_INTERFACE)
    device = names.device("qr-", interface.id)
    agent, body = raised(cloud)
    agent.reconcile(cloud)
    body.refuses = naming(f"del-port br-int {device}")
    moved = put(cloud, msgspec.structs.replace(interface, device_id=other.id))
    outcome = agent.apply(moved)
    assert f"del-port br-int {device}" in outcome.blocked["port", interface.id]
    assert body.state.get(Link, names.qrouter(one.id), device) is not None
    assert dangling(owned(body.state, outcome.desired)) == ()
    body.refuses = naming()
    assert not agent.reconcile(moved).blocked
    assert as_wanted(agent, body) == ""


@given(clouds(), clouds(), st.data())
@examples(25)
def test_whatever_is_refused_the_rest_is_done_and_afterwards_all_of_it(
    before: Cloud, after: Cloud, data: st.DataObject
) -> None:
    body = Memory(bare(compiled(before), compiled(after)))
    agent = Agent(HOST, body=body)
    agent.reconcile(before)
    agent_of_now = compiled(after, body.state)
    refs: list[Ref] = sorted(
        {(type(record), record.key) for state in (agent_of_now, owned(body.state, agent_of_now)) for record in state},
        key=str,
    )
    refused = data.draw(st.sets(st.sampled_from(refs), min_size=1, max_size=3))
    body.refuses = lambda step: "no" if not refused.isdisjoint(concerned(step)) else ""
    outcome = agent.apply(after)
    assert bool(outcome.blocked) == bool(as_wanted(agent, body))
    assert not (set(dangling(owned(body.state, outcome.desired))) - set(dangling(outcome.desired)))
    body.refuses = lambda step: ""
    assert not agent.reconcile(after).blocked
    assert as_wanted(agent, body) == ""
