"""One plan repairs any damage: each kind by itself, and many at once."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effort import examples
from floatway.host.plan import plan
from floatway.host.records import Link, OvsPort
from floatway.host.state import HostState
from unit.host.damage import DAMAGES
from unit.host.worlds import bare, compiled, difference, done, foreign_of, small_cloud

DESIRED = compiled(small_cloud())
WHOLE = done(bare(DESIRED), DESIRED)


def repaired(state: HostState) -> None:
    """In one go, though what is waited for may be missing."""
    after = done(state, DESIRED)
    absent = [one for one in DESIRED.records(Link) if one.kind == "foreign" and not state.get(Link, "", one.name)]
    wanted = DESIRED.without(*absent, *(OvsPort(bridge="", name=one.name) for one in absent if one.name == "eth4"))
    assert difference(after, wanted) == ""
    assert not plan(after, DESIRED).steps
    assert foreign_of(after) == foreign_of(state)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_each_kind_of_damage_is_repaired_by_one_plan(damage: Callable[[HostState, Random], HostState]) -> None:
    for seed in range(12):
        repaired(damage(WHOLE, Random(seed)))


@given(st.lists(st.tuples(st.sampled_from(DAMAGES), st.randoms(use_true_random=False)), min_size=2, max_size=6))
@examples(120)
def test_many_at_once_are_repaired_by_one_plan(
    damages: list[tuple[Callable[[HostState, Random], HostState], Random]],
) -> None:
    state = WHOLE
    for damage, chance in damages:
        state = damage(state, chance)
    repaired(state)
