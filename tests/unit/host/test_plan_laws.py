"""Laws L1, L2 and L9 of the plan, on the in-memory host."""

from hypothesis import given
from hypothesis import strategies as st

from effort import examples
from floatway.host.plan import plan
from floatway.host.records import Netns
from floatway.host.references import dangling
from floatway.host.state import HostState
from floatway.model.cloud import Cloud
from strategies import clouds
from unit.host.worlds import FOREIGN, bare, compiled, difference, done, foreign_of, small_cloud, walked


def references(state: HostState, want: HostState) -> list[str]:
    """References to nothing; the rules of a namespace that is about to go with all in it do no harm."""
    going = [netns.name for netns in state.table(Netns).values() if want.get(Netns, netns.name) is None]
    return [line for line in dangling(state) if not (line.startswith("rule") and any(name in line for name in going))]


def test_from_nothing_to_everything_and_back() -> None:
    desired = compiled(small_cloud())
    up = done(bare(desired), desired)
    assert difference(up, desired) == ""
    assert not plan(up, desired)
    nothing = HostState({})
    down = done(up, nothing)
    assert difference(down, nothing) == ""
    assert foreign_of(down) == set(FOREIGN)


@given(clouds())
@examples(30)
def test_l1_a_plan_for_what_is_there_is_empty(cloud: Cloud) -> None:
    desired = compiled(cloud)
    assert not plan(done(bare(desired), desired), desired)


@given(clouds(), clouds())
@examples(60)
def test_l2_a_plan_leads_there_and_no_prefix_of_it_dangles(before: Cloud, after: Cloud) -> None:
    first = compiled(before)
    nothing = bare(first, compiled(after))
    have = done(nothing, first)
    want = compiled(after, have)
    for state in walked(have, plan(have, want)):
        assert references(state, want) == []
    assert difference(state, want) == ""
    assert foreign_of(state) == set(FOREIGN)


@given(clouds(), clouds(), st.data())
@examples(40)
def test_l9_cut_short_anywhere_and_planned_anew_the_end_is_the_same(
    before: Cloud, after: Cloud, data: st.DataObject
) -> None:
    first = compiled(before)
    have = done(bare(first, compiled(after)), first)
    want = compiled(after, have)
    stages = list(walked(have, plan(have, want)))
    for _ in range(4):
        stopped = stages[data.draw(st.integers(0, len(stages) - 1))]
        assert difference(done(stopped, want), want) == ""
        # or the cloud has changed back meanwhile
        assert difference(done(stopped, first), first) == ""


def test_l9_cut_short_after_every_operation() -> None:
    desired = compiled(small_cloud(ports=1, routers=1, floating_ips=1))
    start = bare(desired)
    stages = list(walked(start, plan(start, desired)))
    for stopped in stages:
        assert difference(done(stopped, desired), desired) == ""
    nothing = HostState({})
    for stopped in walked(stages[-1], plan(stages[-1], nothing)):
        assert difference(done(stopped, nothing), nothing) == ""
        assert difference(done(stopped, desired), desired) == ""


def test_a_big_host_is_reached_by_one_plan_and_then_left_alone() -> None:
    desired = compiled(small_cloud(ports=200, routers=20, floating_ips=200))
    assert not plan(done(bare(desired), desired), desired)
