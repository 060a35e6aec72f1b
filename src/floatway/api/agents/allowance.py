"""How much work a host may make for the server: who asks for more waits, and nobody else does.

    2 MiB │██████████░░░░│ ── a report of 140 KiB ──▶ at once          refilled with 256 KiB a second
          │░░░░░░░░░░░░░░│ ── one more            ──▶ when it is made good

A well-behaved agent never notices; one that floods gets its answers at the rate of the refill.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

__all__ = ["Allowance"]

BURST: Final = 2 * 1024 * 1024.0
RATE: Final = 256 * 1024.0


class Allowance:
    """One host's. Units are bytes of a report; what costs otherwise is counted as so many."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Full."""
        self._clock = clock
        self._left = BURST
        self._at = clock()

    def owed(self, cost: float) -> float:
        """Take ``cost``; seconds after which that is made good, 0.0 mostly."""
        now = self._clock()
        self._left = min(BURST, self._left + (now - self._at) * RATE) - cost
        self._at = now
        return max(0.0, -self._left / RATE)

    async def spend(self, cost: float) -> None:
        """Take ``cost``, and wait until that is made good."""
        if (seconds := self.owed(cost)) > 0:
            await asyncio.sleep(seconds)
