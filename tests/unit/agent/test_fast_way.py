"""The fast way, change after change on one agent's memory, leads where a look at everything would."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from effort import examples
from floatway.agent.agent import Agent
from floatway.agent.body import Memory
from floatway.compile.allocations import allocate
from floatway.compile.host import Memo, compile_host
from floatway.host.plan import plan
from floatway.host.records import Link
from floatway.host.state import HostState, apart
from floatway.model.cloud import Cloud
from floatway.model.stream import TABLES, Delta, applied
from strategies import HOSTS, clouds
from unit.host.worlds import small_cloud

HOST = HOSTS[0]


def between(before: Cloud, after: Cloud) -> Delta:
    """What a server would send."""
    puts, removed = {}, {}
    for table in TABLES:
        old, new = getattr(before, table), getattr(after, table)
        puts[table] = tuple(one for key, one in new.items() if old.get(key) != one)
        if gone := tuple(key for key in old if key not in new):
            removed[table] = gone
    return Delta(revision=1, removed=removed, **puts)


def taps(*versions: Cloud) -> list[Link]:
    """The devices that others make, all of them."""
    found: dict[object, Link] = {}
    for cloud in versions:
        for link in compile_host(cloud, HOST, allocate(cloud, HOST)).records(Link, lambda one: one.kind == "foreign"):
            found[link.key] = Link(netns=link.netns, name=link.name, kind="foreign", up=True)
    return list(found.values())


@examples(30)
@given(st.lists(clouds(), min_size=2, max_size=5), st.data())
def test_change_after_change(versions: list[Cloud], data: st.DataObject) -> None:
    plugged = [link for link in taps(*versions) if data.draw(st.integers(0, 3))]
    body = Memory(HostState.of(plugged))
    with Agent(HOST, body=body) as agent:
        cloud = versions[0]
        agent.reconcile(cloud)
        for version in versions[1:]:
            cloud = applied(cloud, between(cloud, version))
            outcome = agent.apply(cloud)
            allocations = allocate(version, HOST, outcome.allocations)
            assert allocations == outcome.allocations
            assert outcome.desired == compile_host(version, HOST, allocations)
            assert not plan(HostState.of(body.state), HostState.of(outcome.desired))


@examples(30)
@given(st.lists(clouds(), min_size=2, max_size=5))
def test_l5_through_clouds_that_descend_from_each_other(versions: list[Cloud]) -> None:
    memo, cloud = Memo(), versions[0]
    allocations = allocate(cloud, HOST)
    compile_host(cloud, HOST, allocations, memo)
    for version in versions[1:]:
        whole = between(cloud, version)
        for (
            table
        ) in TABLES:  # one table after the other, as far as what remains makes sense: all but the last are only put
            one = Delta(revision=1, **{table: getattr(whole, table)})
            cloud = applied(cloud, one)
        cloud = applied(cloud, Delta(revision=1, removed=whole.removed))
        allocations = allocate(cloud, HOST, allocations)
        assert allocations == allocate(version, HOST, allocations)
        assert compile_host(cloud, HOST, allocations, memo) == compile_host(version, HOST, allocations)


def test_what_a_floating_ip_changes_is_all_that_is_looked_at() -> None:
    cloud = small_cloud()
    host = next(iter(cloud.hosts))
    fip = next(one for one in cloud.floating_ips.values() if one.port_id)
    away = msgspec.structs.replace(fip, port_id=None, router_id=None, fixed_ip_address=None)
    memo, allocations = Memo(), allocate(cloud, host)
    before = compile_host(cloud, host, allocations, memo)
    without = applied(cloud, Delta(revision=1, floating_ips=(away,)))
    after = compile_host(without, host, allocate(without, host, allocations), memo)
    assert 0 < len(apart(before, after) or {}) < 12
    again = compile_host(applied(without, Delta(revision=2, floating_ips=(fip,))), host, allocations, memo)
    assert again == before
