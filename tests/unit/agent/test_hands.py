"""The hands' own rules, with a watch that hears what it is told and an agent that only writes down what it is asked."""

import asyncio
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import pytest

from floatway.agent import hands as module
from floatway.agent.hands import HostHands
from floatway.agent.reconcile import Outcome
from floatway.compile.allocations import Allocations
from floatway.host.state import HostState
from floatway.host.steps import Plan
from floatway.linux.touched import Touched

OUTCOME = Outcome(
    plan=Plan(), observed=HostState({}), desired=HostState({}), allocations=Allocations(), seconds={}, waiting=()
)


class Watch:
    """Tells what was put."""

    def __init__(self, conn: object) -> None:
        self.told: asyncio.Queue[Touched] = asyncio.Queue()

    async def next(self) -> Touched:
        return await self.told.get()

    @contextmanager
    def ours(self) -> Iterator[Callable[[Plan], None]]:
        yield lambda plan: None

    def expect(self, devices: Collection[str]) -> None:
        assert not devices


class Agent:
    """Looks nowhere."""

    def __init__(self, host: str, conn: object) -> None:
        self.verified: list[Touched] = []

    def verify(self, touched: Touched) -> Outcome:
        self.verified.append(touched)
        return OUTCOME


def test_what_was_looked_at_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was once: the waiting for the next damage remembered what had been touched when the waiting began."""
    monkeypatch.setattr(module, "Watch", Watch)
    monkeypatch.setattr(module, "Agent", Agent)
    touches = [Touched(links=frozenset({f"tap{number}"})) for number in range(3)]

    async def live() -> list[Touched]:
        hands = HostHands("compute1")
        watch, agent = hands._watch, hands._agent
        assert isinstance(watch, Watch) and isinstance(agent, Agent)
        for touched in touches:
            waiting = asyncio.create_task(hands.damaged())
            await asyncio.sleep(0)
            await hands.mend()  # while somebody waits for damage
            watch.told.put_nowait(touched)
            await waiting
        await hands.mend()
        return [one for one in agent.verified if one]

    assert asyncio.run(live()) == touches
