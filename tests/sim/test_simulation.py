"""Seeded runs of the whole: ``bin/simulate`` does thousands."""

import pytest

from effort import seeds
from sim.loop import run
from sim.world import story


@pytest.mark.parametrize("seed", seeds(12))
def test_at_rest_everything_is_as_it_was_told(seed: int) -> None:
    run(story(seed))


def test_a_seed_replays() -> None:
    assert [commit.changes for commit in run(story(3)).store.commits] != []
