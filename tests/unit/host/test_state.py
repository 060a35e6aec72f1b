"""States that know how they differ from what they were made from: what they say is what a look at everything would find."""

from hypothesis import given
from hypothesis import strategies as st

from effort import examples
from floatway.host.records import Netns, Record, Rule
from floatway.host.state import HostState, Ref, apart, diff, differing
from strategies import clouds
from unit.host.worlds import compiled

NAMES = [f"qrouter-{number}" for number in range(4)]


def records() -> st.SearchStrategy[Record]:
    rules = st.builds(
        Rule, netns=st.sampled_from(NAMES), priority=st.integers(1, 2), src=st.just("10.0.0.1"), table=st.just(16)
    )
    return st.builds(Netns, name=st.sampled_from(NAMES)) | rules


def cold(state: HostState) -> HostState:
    """The same records, of no known descent."""
    return HostState.of(state)


def sets(before: HostState, after: HostState) -> dict[str, tuple[set[Record], ...]]:
    """The difference without its order."""
    found = diff(before, after)
    return {d.kind.__name__: (set(d.added), set(d.removed), {new for _, new in d.changed}) for d in found}


@examples(200)
@given(st.lists(st.lists(st.tuples(st.booleans(), records()), max_size=3), max_size=12), st.data())
def test_what_is_known_of_a_difference_is_the_difference(
    changes: list[list[tuple[bool, Record]]], data: st.DataObject
) -> None:
    states = [HostState({})]
    for change in changes:
        put: dict[Ref, Record | None] = {(type(one), one.key): one if stays else None for stays, one in change}
        states.append(data.draw(st.sampled_from(states)).changed(put))  # a tree, not only a line
    for one in states:
        for other in states:
            assert sets(one, other) == sets(cold(one), cold(other))
            assert (one == other) == (cold(one) == cold(other))
            refs = apart(one, other)
            for kind in (Netns, Rule):
                missing = set(one.table(kind).values()) - set(other.table(kind).values())
                assert missing <= set(differing(kind, one, other))
                if refs is not None:
                    assert {(kind, each.key) for each in missing} <= refs.keys()


@examples(20)
@given(clouds())
def test_nothing_is_forgotten_on_the_way_back(cloud: object) -> None:
    state = compiled(cloud)  # type: ignore[arg-type]
    some = list(state)[::3]
    less = state.without(*some)
    again = less.replaced(*some)
    assert again == state
    assert cold(again) == cold(state)
    assert sets(less, again) == sets(cold(less), cold(again))


def test_a_long_descent_is_forgotten() -> None:
    first = state = HostState.of([Netns(name="qrouter-0")])
    for number in range(20):
        state = state.replaced(Netns(name=f"qrouter-{number}"))
    assert apart(first, state) is None
    assert len(state) == 20
