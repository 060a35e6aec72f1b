"""Laws L1, L2 and L9 of the plan, on the in-memory host."""

from hypothesis import given, settings

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
@settings(max_examples=30, deadline=None)
def test_l1_a_plan_for_what_is_there_is_empty(cloud: Cloud) -> None:
    desired = compiled(cloud)
    assert not plan(done(bare(desired), desired), desired)


@given(clouds(), clouds())
@settings(max_examples=60, deadline=None)
def test_l2_a_plan_leads_there_and_no_prefix_of_it_dangles(before: Cloud, after: Cloud) -> None:
    first = compiled(before)
    nothing = bare(first, compiled(after))
    have = done(nothing, first)
    want = compiled(after, have)
    for state in walked(have, plan(have, want)):
        assert references(state, want) == []
    assert difference(state, want) == ""
    assert foreign_of(state) == set(FOREIGN)
