"""What is told at once, what later, and what not at all."""

import asyncio
from collections.abc import Awaitable, Callable

from floatway.host.ownership import COOKIE, LEARN_COOKIE
from floatway.host.records import Flow
from floatway.host.steps import OfBundle, Plan, Restore
from floatway.linux.touched import EVERYTHING, NOTHING, Touched
from floatway.linux.watch_gather import Gathering
from floatway.linux.watch_ovs import changes

FLOW = Flow(bridge="br-int", table=0, priority=1, match="udp", actions="drop", cookie=COOKIE)


class Patient(asyncio.SelectorEventLoop):
    """A loop whose clock goes on only when there is nothing to do, and then at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def skip(timeout: float | None) -> object:
            self.now += timeout or 0.0
            return select(0)

        self._selector.select = skip  # type: ignore[attr-defined]

    def time(self) -> float:
        """Seconds."""
        return self.now


def gathered(story: Callable[[Gathering], Awaitable[None]]) -> None:
    """Run a story with nobody to listen to."""

    async def run() -> None:
        gathering = Gathering(lambda: None)
        try:
            async with asyncio.timeout(10):
                await story(gathering)
        finally:
            gathering.close()

    with asyncio.Runner(loop_factory=Patient) as runner:
        runner.run(run())


def test_all_that_was_heard_is_told_at_once() -> None:
    async def story(gathering: Gathering) -> None:
        gathering.heard("links", "tap1")
        gathering.heard("links", "tap2")
        gathering.heard("database", "")
        assert await gathering.next() == Touched(links=frozenset({"tap1", "tap2"}), database=True)

    gathered(story)


def test_what_we_did_comes_after_what_others_do() -> None:
    async def story(gathering: Gathering) -> None:
        with gathering.ours():
            gathering.heard("addressing", "fip-1")
        gathering.put(Touched(chains=frozenset({"qrouter-1"})))
        assert await gathering.next() == Touched(chains=frozenset({"qrouter-1"}))
        assert await gathering.next() == Touched(addressing=frozenset({"fip-1"}))

    gathered(story)


def test_an_expected_device_is_told_at_once_whoever_works() -> None:
    async def story(gathering: Gathering) -> None:
        gathering.expect({"tap1"})
        with gathering.ours():
            gathering.heard("links", "tap2")
            gathering.heard("links", "tap1")
            assert await gathering.next() == Touched(links=frozenset({"tap1"}))
            gathering.expect({"tap2"})
            assert await gathering.next() == Touched(links=frozenset({"tap2"}))

    gathered(story)


def test_as_many_changes_as_we_made_are_ours() -> None:
    plan = Plan(
        steps=(
            OfBundle(bridge="br-int", delete=(FLOW,), add=(FLOW, FLOW)),
            Restore(netns="qrouter-1", text="*filter\nCOMMIT\n*nat\nCOMMIT\n", chains=()),
        )
    )

    async def story(gathering: Gathering) -> None:
        with gathering.ours() as did:
            gathering.heard("bridges", "br-int", 2)
            gathering.heard("bridges", "br-int", 1)
            gathering.heard("chains", "qrouter-1", 2)
            gathering.heard("links", "qbr1")
            did(plan)
        assert await gathering.next() == Touched(links=frozenset({"qbr1"}))

    gathered(story)


def test_one_change_more_than_ours_is_looked_at() -> None:
    async def story(gathering: Gathering) -> None:
        with gathering.ours() as did:
            gathering.heard("bridges", "br-int", 2)
            did(Plan(steps=(OfBundle(bridge="br-int", add=(FLOW,)),)))
        assert await gathering.next() == Touched(bridges=frozenset({"br-int"}))
        with gathering.ours() as did:
            gathering.heard("bridges", "br-int", 1)
            gathering.heard("bridges", "br-int")  # and something that cannot be counted
            did(Plan(steps=(OfBundle(bridge="br-int", add=(FLOW,)),)))
        assert await gathering.next() == Touched(bridges=frozenset({"br-int"}))

    gathered(story)


def test_who_worked_rests_but_not_from_what_is_expected() -> None:
    async def story(gathering: Gathering) -> None:
        loop = asyncio.get_running_loop()
        gathering.expect({"tap1"})
        with gathering.ours():
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.05)
        worked = loop.time()
        gathering.heard("chains", "", 1)
        gathering.heard("links", "tap1")
        assert await gathering.next() == Touched(links=frozenset({"tap1"}))
        assert loop.time() == worked
        assert await gathering.next() == Touched(chains=frozenset({""}))
        assert 0.1 < loop.time() - worked < 0.2
        gathering.heard("chains", "", 1)
        assert await gathering.next() == Touched(chains=frozenset({""}))
        assert loop.time() - worked < 0.2

    gathered(story)


def test_nothing_is_kept_for_long_however_busy_we_are() -> None:
    async def story(gathering: Gathering) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        with gathering.ours():
            gathering.heard("sets", "")
            for _ in range(20):
                await asyncio.sleep(0.1)
                gathering.heard("links", "qbr1")
                if gathering.pending:
                    break
        assert loop.time() - begin < 0.7
        assert (await gathering.next()).sets

    gathered(story)


def test_touched_adds_up() -> None:
    one, other = Touched(links=frozenset({"a"}), database=True), Touched(links=frozenset({"b"}))
    assert one | other == Touched(links=frozenset({"a", "b"}), database=True)
    assert one | NOTHING == one
    assert not NOTHING
    assert EVERYTHING


def update(event: int, cookie: int) -> bytes:
    """A full update (OpenFlow 1.4, ofp_flow_update_full) with an empty match."""
    head = (32).to_bytes(2, "big") + event.to_bytes(2, "big") + bytes(12)
    return head + cookie.to_bytes(8, "big") + bytes.fromhex("0001000400000000")


def test_learned_flows_are_not_counted() -> None:
    paused = bytes.fromhex("0008000500000000")
    assert changes(update(1, LEARN_COOKIE) + paused + update(2, LEARN_COOKIE)) == 0
    assert changes(update(1, LEARN_COOKIE) + update(2, COOKIE) + update(1, 0x77)) == 2
    assert changes(b"") == 0
