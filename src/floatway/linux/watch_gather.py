"""What was heard and is not told yet, and when to tell it.

heard by anybody's doing ───────────────▶ now    ─▶ next()
heard while we work ─▶ later ─ quiet ───▶ now
an expected device  ────────────────────▶ now    whoever works
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from floatway.host.steps import OfBundle, Plan, Restore
from floatway.linux.touched import Touched

_QUIET, _QUIET_AT_MOST = 0.2, 0.5  # seconds
_UNKNOWN = 1 << 32
_REST, _REST_AT_MOST = 2, 0.3  # times the work; seconds
_AFTER = 0.03  # seconds in which the kernel and vswitchd still speak of what we have just done


class Gathering:
    """For one asyncio loop. ``ready`` reads what was said and not yet heard."""

    def __init__(self, ready: Callable[[], None]) -> None:
        self._ready = ready
        self._loop = asyncio.get_running_loop()
        self._now: dict[str, set[str]] = {}
        self._later: dict[str, set[str]] = {}
        self._counted: Counter[tuple[str, str]] = Counter()
        self._expected: frozenset[str] = frozenset()
        self._owners = 0
        self._own_until = self._rest_until = self._later_since = self._due = 0.0
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Tell nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def clear(self) -> None:
        """Forget what was heard so far."""
        self._now.clear()
        self._later.clear()

    @property
    def pending(self) -> bool:
        """Is there something to be told?"""
        return bool(self._now)

    async def next(self) -> Touched:
        """All that was heard and may be told; waits for something."""
        while not self._now:
            self._wake.clear()
            await self._wake.wait()
        heard, self._now = self._now, {}
        flags = ("database", "everything")
        fields: dict[str, Any] = {field: field in flags or frozenset(names) for field, names in heard.items()}
        return Touched(**fields)

    @contextmanager
    def ours(self) -> Iterator[Callable[[Plan], None]]:
        """See ``Watch.ours``."""
        self._ready()
        self._owners += 1
        begin = self._loop.time()
        try:
            yield self._did
        finally:
            self._ready()
            self._owners -= 1
            now = self._loop.time()
            self._own_until = now + _AFTER
            self._rest_until = now + min(_REST * (now - begin), _REST_AT_MOST)

    def expect(self, devices: Collection[str]) -> None:
        """See ``Watch.expect``."""
        self._expected = frozenset(devices)
        for name in self._later.get("links", set()) & self._expected:
            self.tell("links", name)

    def put(self, touched: Touched) -> None:
        """Tell all of this."""
        for field in touched.__struct_fields__:
            value = getattr(touched, field)
            for name in [""] if value is True else value or ():
                self.tell(field, name)

    def _did(self, plan: Plan) -> None:
        for step in plan.steps:
            match step:
                case OfBundle(bridge=bridge, delete=delete, add=add):
                    self._counted["bridges", bridge] -= len(delete) + len(add)
                case Restore(netns=netns, text=text):
                    self._counted["chains", netns] -= text.splitlines().count("COMMIT")
                case _:
                    pass

    def heard(self, field: str, name: str, changes: int = 0) -> None:
        """Tell this now or, if it is most likely our own doing, when things are quiet. ``changes`` is how many there were; 0:
        nobody knows."""
        now = self._loop.time()
        own = self._owners > 0 or now < self._own_until
        if (field == "links" and name in self._expected) or not (own or now < self._rest_until):
            self.tell(field, name)
            return
        if not self._later:
            self._later_since = now
        self._later.setdefault(field, set()).add(name)
        self._counted[field, name] += changes if own and changes else _UNKNOWN
        self._due = max(self._due, now + _QUIET if own else self._rest_until)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(min(self._due, self._later_since + _QUIET_AT_MOST), self._release)

    def tell(self, field: str, name: str) -> None:
        """Tell this now."""
        self._now.setdefault(field, set()).add(name)
        self._wake.set()

    def _release(self) -> None:
        later, self._later = self._later, {}
        counted, self._counted = self._counted, Counter()
        for field, names in later.items():
            for name in names:
                if counted[field, name]:
                    self.tell(field, name)
