"""The laws of docs/laws.md that need neither root nor a kernel, on random clouds, with the strict fake host."""

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from floatway.compile.allocations import allocate, recover
from floatway.compile.host import Memo, compile_host
from floatway.host.fake import FakeError, run, run_all
from floatway.host.ownership import owned
from floatway.host.plan import plan
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
    Record,
    Route,
    Rule,
    Sysctl,
)
from floatway.host.state import HostState
from floatway.host.steps import Step
from floatway.model.cloud import Cloud
from floatway.model.validate import validate
from strategies import HOSTS, clouds

HOST = HOSTS[0]
quick = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def wanted(cloud: Cloud, memo: Memo | None = None, observed: HostState = HostState({})) -> HostState:  # noqa: B008
    return compile_host(cloud, HOST, allocate(cloud, HOST, recover(observed, cloud, HOST)), memo)


def bare(*states: HostState) -> HostState:
    """A host with nothing of ours, but with all the devices that others make."""
    foreign = {link.name: link for state in states for link in state.records(Link, lambda link: link.kind == "foreign")}
    return HostState.of(msgspec.structs.replace(link, up=False, master="", mtu=1500) for link in foreign.values())


def reach(state: HostState, desired: HostState, rounds: int = 3) -> HostState:
    """Plan and run until there is nothing left to do."""
    for _ in range(rounds):
        steps = plan(state, desired)
        if not steps:
            return state
        state = run_all(state, steps.steps)
    assert not plan(state, desired), plan(state, desired).steps
    return state


@quick
@given(clouds())
def test_random_clouds_are_valid(cloud: Cloud) -> None:
    assert validate(cloud) == ()


@quick
@given(clouds())
def test_l1_nothing_to_do_where_all_is_as_wanted(cloud: Cloud) -> None:
    state = wanted(cloud)
    assert not plan(state, state)


@quick
@given(clouds(), clouds())
def test_l2_a_plan_leads_from_any_state_to_any_other(before: Cloud, after: Cloud) -> None:
    first = wanted(before)
    second = wanted(after, observed=first)
    state = reach(bare(first, second), first)
    assert owned(state, first) == first
    state = run_all(state, plan(state, second).steps)  # the fake refuses every dangling reference on the way
    assert owned(state, second) == second
    assert not plan(state, second)


@quick
@given(clouds())
def test_l4_the_order_of_the_cloud_does_not_matter(cloud: Cloud) -> None:
    turned = msgspec.structs.replace(
        cloud,
        **{
            field: dict(reversed(getattr(cloud, field).items()))
            for field in ("networks", "subnets", "ports", "routers", "floating_ips", "hosts")
        },
    )
    first, second = wanted(cloud), wanted(turned)
    assert _unordered(first) == _unordered(second)


def _unordered(state: HostState) -> HostState:
    """Chains shared by all ports list the ports in the cloud's order, which has no meaning: each rule is for one port."""
    shared = [
        c
        for c in state.table(Chain).values()
        if (not c.netns and "PREROUTING" in c.name) or c.name.endswith(("FORWARD", "INPUT", "sg-chain"))
    ]
    return state.replaced(*(msgspec.structs.replace(chain, rules=tuple(sorted(chain.rules))) for chain in shared))


@quick
@given(clouds(), clouds())
def test_l5_remembered_is_as_computed(before: Cloud, after: Cloud) -> None:
    memo = Memo()
    wanted(before, memo)
    assert wanted(after, memo) == wanted(after)
    assert wanted(before, memo) == wanted(before)


@quick
@given(clouds())
def test_l6_allocations_are_read_back(cloud: Cloud) -> None:
    given_out = allocate(cloud, HOST)
    assert recover(compile_host(cloud, HOST, given_out), cloud, HOST) == given_out


@quick
@given(clouds(), clouds(), st.randoms(use_true_random=False))
def test_l6_nothing_kept_is_renumbered(before: Cloud, after: Cloud, _: object) -> None:
    first = allocate(before, HOST)
    kept = recover(compile_host(before, HOST, first), after, HOST)
    second = allocate(after, HOST, kept)
    for old, new in ((kept.local_vlans, second.local_vlans), (kept.link_local, second.link_local)):
        assert all(new[key] == value for key, value in old.items())
    assert len(set(second.local_vlans.values())) == len(second.local_vlans)
    assert len(set(second.floating_ip_priorities.values())) == len(second.floating_ip_priorities)


@quick
@given(clouds(), st.data())
def test_l9_a_plan_cut_short_anywhere_is_gone_on_with(cloud: Cloud, data: st.DataObject) -> None:
    desired = wanted(cloud)
    start = bare(desired)
    steps = plan(start, desired).steps
    stop = data.draw(st.integers(0, len(steps)))
    state = run_all(start, steps[:stop])
    assert owned(reach(state, desired), desired) == desired


DAMAGE: tuple[type[Record], ...] = (Netns, Link, Address, Neighbour, Route, Rule, Sysctl, Ipset, Chain, Flow, OvsPort)


@quick
@given(clouds(), st.data())
def test_damage_is_repaired(cloud: Cloud, data: st.DataObject) -> None:
    desired = wanted(cloud)
    state = reach(bare(desired), desired)
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(DAMAGE))
        records = sorted(owned(state, desired).records(kind), key=lambda record: str(record.key))
        if records:
            state = damaged(state, data.draw(st.sampled_from(records)))
    assert owned(reach(state, desired), desired) == desired


def damaged(state: HostState, record: Record) -> HostState:
    """What a person's command leaves behind; a foreign device stays."""
    from floatway.host.steps import Ip, LinkDelete, NetnsDelete, OvsTransaction, PortDelete

    step: Step | None = None
    match record:
        case Netns(name=name):
            step = NetnsDelete(name=name)
        case Link(kind="foreign"):
            return state
        case Link(netns=netns):
            step = Ip(netns=netns, ops=(LinkDelete(link=record),))
        case OvsPort(bridge=bridge, name=name):
            step = OvsTransaction(ops=(PortDelete(bridge=bridge, name=name),))
        case Chain():
            return state.replaced(msgspec.structs.replace(record, rules=record.rules[1:]))
        case Sysctl():
            return state.replaced(msgspec.structs.replace(record, value="7"))
        case Ipset():
            return state.replaced(msgspec.structs.replace(record, members=record.members[1:]))
        case _:
            return state.without(record)
    try:
        return run(state, step)
    except FakeError:
        return state


@quick
@given(clouds(), clouds())
def test_no_instance_is_ever_bridged_without_its_chains(before: Cloud, after: Cloud) -> None:
    """At every prefix of the plan: where tap and qvb are up on a qbr, and qvo on br-int, the port's chains are jumped to."""
    first = wanted(before)
    second = wanted(after, observed=first)
    state = reach(bare(first, second), first)
    filtered = [port.id for cloud in (before, after) for port in cloud.ports.values() if port.port_security_enabled]
    both = {p for p in filtered if all(p not in c.ports or c.ports[p].port_security_enabled for c in (before, after))}
    for step in plan(state, second).steps:
        state = run(state, step)
        for port in both:
            qvb, qvo = state.get(Link, "", f"qvb{port}"[:14]), state.get(OvsPort, f"qvo{port}"[:14])
            if qvb and qvb.up and qvb.master and qvo:
                jumps = state.get(Chain, "", "filter", "neutron-openvswi-sg-chain")
                assert jumps and any(f"tap{port}"[:14] in rule for rule in jumps.rules), (port, step)
                assert state.get(Chain, "", "filter", f"neutron-openvswi-i{port}"[:28]), (port, step)


@quick
@given(clouds())
def test_what_is_not_ours_is_left_alone(cloud: Cloud) -> None:
    desired = wanted(cloud)
    foreign: list[Record] = [
        Netns(name="customer"),
        Netns(name="qrouter-not-a-uuid"),
        Link(netns="", name="docker0", kind="bridge"),
        Link(netns="", name="qbrdeadbeef-00", kind="bridge"),
        Chain(netns="", table="filter", name="FORWARD", policy="DROP", rules=("-i docker0 -j ACCEPT",)),
        Chain(netns="", table="filter", name="DOCKER", rules=("-j RETURN",)),
        Ipset(netns="", name="blocklist", members=("10.0.0.1",)),
        OvsBridge(name="br-customer"),
        Flow(bridge="br-customer", table=0, priority=7, match="", actions="drop", cookie=5),
        Rule(netns="", priority=100, table=100),
        Route(netns="", prefix="10.0.0.0/8", dev="docker0"),
    ]
    start = bare(desired).merged(HostState.of(foreign))
    state = reach(start, desired)
    state = reach(state, HostState.of(link for link in bare(desired).records(Link)))
    for record in foreign:
        assert state.get(type(record), *record.key) == record, record
