"""Guessing takes ever longer: after a few failures, one try, then 1 s, 2 s, 4 s … up to a minute without any.

wrong wrong wrong wrong wrong │ 1 s │ wrong │ 2 s │ wrong │ 4 s │ …          ten minutes of quiet: forgotten
"""

import time
from collections.abc import Callable, Hashable
from typing import Final

__all__ = ["Throttle"]

_LONGEST: Final = 60.0
_FORGOTTEN: Final = 600.0
_KEPT: Final = 10_000


class Throttle:
    """Failures by whom they are counted for."""

    def __init__(self, free: int = 5, clock: Callable[[], float] = time.monotonic) -> None:
        """``free`` failures cost nothing."""
        self._free = free
        self._clock = clock
        self._failures: dict[Hashable, tuple[int, float]] = {}

    def wait(self, key: Hashable) -> float:
        """Seconds until ``key`` may try again; 0.0 for now."""
        count, at = self._failures.get(key, (0, 0.0))
        if count < self._free:
            return 0.0
        return max(0.0, at + min(_LONGEST, 2.0 ** min(count - self._free, 10)) - self._clock())

    def failed(self, key: Hashable) -> None:
        """``key`` was wrong."""
        count, at = self._failures.pop(key, (0, 0.0))
        now = self._clock()
        if len(self._failures) >= _KEPT:
            del self._failures[next(iter(self._failures))]
        self._failures[key] = (count + 1 if now - at < _FORGOTTEN else 1, now)

    def succeeded(self, key: Hashable) -> None:
        """``key`` was right: what was wrong before does not count."""
        self._failures.pop(key, None)
