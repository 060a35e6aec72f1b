"""What is not ours stays as it is, whatever is built and torn down beside it; and what we gave out is never renumbered."""

import msgspec
from hypothesis import given

from effort import examples
from floatway.compile.allocations import allocate, recover
from floatway.compile.host import compile_host
from floatway.host.fake import run_all
from floatway.host.plan import plan
from floatway.host.records import Chain, Flow, Ipset, Link, Netns, OvsBridge, Record, Route, Rule
from floatway.host.state import HostState
from floatway.model.cloud import Cloud
from floatway.model.validate import validate
from strategies import HOSTS, clouds

HOST = HOSTS[0]
quick = examples(40)

FOREIGN: list[Record] = [
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


def reach(state: HostState, desired: HostState) -> HostState:
    """Plan and run until there is nothing left to do."""
    for _ in range(3):
        state = run_all(state, plan(state, desired).steps)
    assert not plan(state, desired)
    return state


@quick
@given(clouds())
def test_random_clouds_are_valid(cloud: Cloud) -> None:
    assert validate(cloud) == ()


@quick
@given(clouds())
def test_what_is_not_ours_is_left_alone(cloud: Cloud) -> None:
    desired = compile_host(cloud, HOST, allocate(cloud, HOST))
    others = desired.records(Link, lambda link: link.kind == "foreign")
    down = [msgspec.structs.replace(link, up=False, master="", mtu=1500) for link in others]
    state = reach(HostState.of([*FOREIGN, *down]), desired)
    state = reach(state, HostState.of(down))
    for record in FOREIGN:
        assert state.get(type(record), *record.key) == record, record


@quick
@given(clouds(), clouds())
def test_l6_nothing_kept_is_renumbered(before: Cloud, after: Cloud) -> None:
    kept = recover(compile_host(before, HOST, allocate(before, HOST)), after, HOST)
    given_out = allocate(after, HOST, kept)
    for old, new in ((kept.local_vlans, given_out.local_vlans), (kept.link_local, given_out.link_local)):
        assert all(new[key] == value for key, value in old.items())
    for numbers in (given_out.local_vlans, given_out.link_local, given_out.floating_ip_priorities):
        assert len(set(numbers.values())) == len(numbers)
