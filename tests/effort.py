"""How hard the property tests try: a quick set in every run, many more with ``bin/test --long`` (FLOATWAY_TEST_PROFILE=long).

A failure prints its example, and what replays it; pytest --hypothesis-seed=N chooses another set, FLOATWAY_SEEDS=N how many
real hosts and labs are tried.
"""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

LONG = os.environ.get("FLOATWAY_TEST_PROFILE") == "long"
FACTOR = 20 if LONG else 1


def examples(count: int) -> Callable[[Any], Any]:
    """This many examples, or twenty times as many in a long run; slowness is the machine's matter."""
    unhurried = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=count * FACTOR, deadline=None, suppress_health_check=unhurried, print_blob=True)


def seeds(count: int) -> range:
    """Seeds 0 … for what raises real hosts."""
    return range(int(os.environ.get("FLOATWAY_SEEDS", str(count * FACTOR))))
