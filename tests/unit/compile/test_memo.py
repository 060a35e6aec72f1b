"""What a memo saves is work: the states are those of a compile without it, earlier ones stay as they were, and a table in which
nothing changed is the very same object."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from effort import examples
from floatway.compile.allocations import Allocations, allocate
from floatway.compile.host import Memo, compile_host
from floatway.host.records import Chain, Flow, Link, OvsPort, Route, Rule
from floatway.host.state import HostState
from floatway.lab.sample import big_cloud
from floatway.model.cloud import Cloud
from strategies import HOSTS, clouds


@given(st.lists(clouds(), min_size=2, max_size=4))
@examples(25)
def test_one_cloud_after_another_and_back(those: list[Cloud]) -> None:
    memo, numbers = Memo(), Allocations()
    earlier: list[tuple[HostState, HostState]] = []
    for cloud in [*those, *those[::-1]]:
        numbers = allocate(cloud, HOSTS[0], numbers)
        state = compile_host(cloud, HOSTS[0], numbers, memo)
        assert state == compile_host(cloud, HOSTS[0], numbers)
        earlier.append((state, HostState.of(list(state))))
    assert all(kept == as_it_was for kept, as_it_was in earlier)


def test_tables_without_a_change_are_the_same_objects() -> None:
    cloud = big_cloud(ports=6, routers=2, floating_ips=6)
    memo = Memo()
    numbers = allocate(cloud, "h1")
    before = compile_host(cloud, "h1", numbers, memo)
    gone = next(iter(cloud.floating_ips))
    fewer = msgspec.structs.replace(cloud, floating_ips={i: f for i, f in cloud.floating_ips.items() if i != gone})
    after = compile_host(fewer, "h1", allocate(fewer, "h1", numbers), memo)
    for kind in (Link, Flow, OvsPort):
        assert after.table(kind) is before.table(kind)
    for kind in (Rule, Route, Chain):
        assert after.table(kind) != before.table(kind)
