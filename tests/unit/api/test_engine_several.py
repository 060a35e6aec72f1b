"""Servers that share a store: nothing is decided, refused or shown on a state older than the client's last write.

The store here is a list; what a server hears of the others' commits can be held back, and a commit's answer can be lost.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from floatway.api.engine import Engine
from floatway.control.draft import Draft
from floatway.control.entities import Network
from floatway.control.errors import ApiError, conflict, not_found
from floatway.control.settings import Settings
from floatway.store.base import Damaged, Unreachable
from shared_store import Shared, Store


def put(name: str, id_: str = "n") -> Callable[[Draft], Network]:
    """A write that makes or renames a network; changes nothing when that is its name already."""

    def decide(draft: Draft) -> Network:
        old = draft.get(Network, id_)
        return old if old and old.name == name else draft.put(Network(id=id_, project_id="p", name=name))

    return decide


def remove(draft: Draft) -> None:
    """404 when it is not there."""
    network = draft.get(Network, "n")
    if network is None:
        raise not_found("NetworkNotFound", "no such network")
    draft.remove(network)


def make_first(draft: Draft) -> Network:
    """409 when there is one."""
    if draft.get(Network, "n"):
        raise conflict("Taken", "taken")
    return draft.put(Network(id="n", project_id="p", name="made"))


def story(told: Callable[[Engine, Store, Engine, Store], Awaitable[None]]) -> None:
    """Two servers, started."""

    async def run() -> None:
        shared = Shared()
        stores = [Store(shared), Store(shared)]
        engines = [Engine(store, Settings()) for store in stores]
        for engine in engines:
            await engine.start()
        async with asyncio.timeout(30):
            await told(engines[0], stores[0], engines[1], stores[1])
        for engine, store in zip(engines, stores, strict=True):
            store.hears.set()
            await engine.close()

    asyncio.run(run())


async def name_of(engine: Engine) -> str | None:
    network = (await engine.read()).get(Network, "n")
    return network.name if network else None


async def refused(engine: Engine, decide: Callable[[Draft], Any]) -> int:
    with pytest.raises(ApiError) as caught:
        await engine.write(decide)
    return caught.value.status


async def later(store: Store, waiting: Awaitable[Any], turns: int = 50) -> Any:
    """The answer, which must not come before the store's news were let through."""
    task = asyncio.ensure_future(waiting)
    for _ in range(turns):
        await asyncio.sleep(0)
    assert not task.done()
    store.hears.set()
    return await task


def test_a_read_waits_for_what_another_server_acknowledged() -> None:
    async def told(a: Engine, _: Store, b: Engine, store: Store) -> None:
        store.hears.clear()
        await a.write(put("new"))
        assert await later(store, name_of(b)) == "new"

    story(told)


def test_a_refusal_is_decided_on_the_newest_state() -> None:
    async def told(a: Engine, _: Store, b: Engine, store: Store) -> None:
        store.hears.clear()
        await a.write(put("new"))
        await later(store, b.write(remove))  # not a 404: it is there
        assert await refused(a, remove) == 404
        store.hears.clear()
        await a.write(make_first)
        assert await later(store, refused(b, make_first)) == 409

    story(told)


def test_news_that_come_while_the_head_is_asked_for_are_no_proof() -> None:
    async def told(a: Engine, _: Store, b: Engine, store: Store) -> None:
        store.hears.clear()
        await a.write(put("new"))
        store.hears_with_head = True
        await b.write(remove)  # not a 404: b's model is at the head, but was not when it refused

    story(told)


def test_a_write_that_changes_nothing_is_decided_on_the_newest_state() -> None:
    async def told(a: Engine, _: Store, b: Engine, store: Store) -> None:
        await a.write(put("old"))
        assert await name_of(b) == "old"
        store.hears.clear()
        await a.write(put("new"))
        await later(store, b.write(put("old")))  # to b, when it came, this changed nothing
        assert await name_of(a) == "old"

    story(told)


def test_what_queued_behind_a_lost_race_is_decided_anew() -> None:
    async def told(a: Engine, _: Store, b: Engine, store: Store) -> None:
        async def other_wins() -> None:
            await a.write(put("theirs"))
            queued.append(asyncio.create_task(b.write(remove)))  # after a acknowledged: must not be a 404
            await asyncio.sleep(0)

        queued: list[asyncio.Task[Any]] = []
        store.before = other_wins
        await b.write(put("ours", "m"))
        await queued[0]
        assert store.commits == [1, 2, 3]
        model = await a.read()
        assert model.get(Network, "n") is None
        assert model.get(Network, "m")

    story(told)


def test_a_commit_with_a_lost_answer_is_told_as_503_and_taken_in_all_the_same() -> None:
    async def told(a: Engine, store: Store, b: Engine, _: Store) -> None:
        store.fails = Unreachable("nobody answers")
        assert await refused(a, put("perhaps")) == 503
        assert await name_of(a) == await name_of(b) == "perhaps"
        await a.write(put("sure"))
        assert await name_of(b) == "sure"

    story(told)


def test_a_server_that_slept_too_long_loads_everything_anew() -> None:
    async def told(a: Engine, _: Store, b: Engine, store: Store) -> None:
        store.hears.clear()
        for number in range(5):
            await a.write(put(f"{number}"))
        await store.compact(6)
        assert await later(store, name_of(b)) == "4"
        await a.write(put("after"))
        assert await name_of(b) == "after"

    story(told)


def test_a_store_that_cannot_be_followed_is_told_not_waited_for() -> None:
    async def told(a: Engine, _: Store, b: Engine, store: Store) -> None:
        store.hears.clear()
        store.fails = Damaged("log entry 7: damaged")
        await a.write(put("new"))
        reading = asyncio.create_task(name_of(b))
        store.hears.set()
        with pytest.raises(ApiError, match="log entry 7: damaged"):
            await reading
        assert not b.healthy

    story(told)
