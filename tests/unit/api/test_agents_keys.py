"""A key that is good no more opens nothing: what is open with it ends at once, on every server, whoever took it back."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from agents_door import Door, line_of, run
from control_cloud import agent_of
from floatway.api.agents.hub import Hub
from floatway.api.agents.keys import Keys
from floatway.api.agents.listener import Listener
from floatway.api.engine import Engine
from floatway.control.errors import ApiError
from floatway.control.settings import Settings
from floatway.model.stream import Report, Status
from shared_store import Shared, Store


async def joined(keys: Keys, host: str) -> str:
    return str((await keys.join({"host": host, "secret": await keys.invite(host)}))["key"])


async def revoked(keys: Keys) -> None:
    assert await keys.revoke("h1")


async def joined_again(keys: Keys) -> None:
    await joined(keys, "h1")


@pytest.mark.parametrize("ends", [revoked, joined_again])
def test_the_stream_of_a_void_key_ends(ends: Callable[[Keys], Awaitable[None]]) -> None:
    async def story(door: Door) -> None:
        reader, _ = await door.follow("h1")
        await line_of(reader)
        other, _ = await door.follow("h2")
        first = await line_of(other)
        await ends(Keys(door.engine))
        assert await reader.read() == b"0\r\n\r\n"
        assert (await door.report("h1", Report(applied=0)))[0] == 401
        assert not door.hub.presences.get("h1") or not door.hub.presences["h1"].connected
        await door.rename("h2", "it goes on")
        assert (await line_of(other)).revision > first.revision

    run(story)


def test_an_invitation_ends_nothing() -> None:
    async def story(door: Door) -> None:
        reader, _ = await door.follow("h1")
        await line_of(reader)
        await Keys(door.engine).invite("h1")
        revision = await door.rename("h1", "it goes on")
        assert (await line_of(reader)).revision == revision

    run(story)


@pytest.mark.parametrize("ends", [revoked, joined_again])
def test_what_waits_with_a_key_that_becomes_void_gets_nothing(
    ends: Callable[[Keys], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who makes more work than his share waits after he was let in: time enough to be thrown out."""

    async def story(door: Door) -> None:
        waits, goes_on = asyncio.Event(), asyncio.Event()

        async def spend(self: Listener, host: str, cost: int) -> None:
            waits.set()
            await goes_on.wait()

        monkeypatch.setattr(Listener, "spend", spend)
        port = door.ports["h1"].id
        said = Report(applied=door.engine.model.revision, ports={port: Status("ACTIVE")})
        asking = [
            asyncio.ensure_future(door.ask(door.request("GET", "/v1/hosts/h1/stream", "h1"))),
            asyncio.ensure_future(door.report("h1", said)),
        ]
        await waits.wait()
        await ends(Keys(door.engine))
        goes_on.set()
        assert [status for status, _ in await asyncio.gather(*asking)] == [401, 401]

    run(story)


@pytest.mark.parametrize("ends", [revoked, joined_again])
def test_a_key_that_one_server_takes_back_is_void_at_the_other(ends: Callable[[Keys], Awaitable[None]]) -> None:
    async def story() -> None:
        shared = Shared()
        one, two = Engine(Store(shared), Settings()), Engine(Store(shared), Settings())
        await one.start()
        await two.start()
        await one.write(lambda draft: agent_of(draft, "h1"))
        key = await joined(Keys(one), "h1")
        await two.reached(one.model.revision)
        hub = Hub(two.model, clock=lambda: 0.0, server="two")
        two.listen(hub.moved)
        assert Keys(two).authenticate({"authorization": f"Bearer {key}"}) == "h1"
        stream = hub.open("h1", None)
        await ends(Keys(one))
        await two.reached(one.model.revision)
        assert stream.closed
        assert Keys(two).authenticate({"authorization": f"Bearer {key}"}) is None
        for engine in (one, two):
            await engine.close()

    asyncio.run(story())


@pytest.mark.parametrize("secret", ["x", "", "ä", "\x00", "x" * 10_000, 5, None, ["x"]])
def test_no_other_word_lets_a_host_in(secret: object) -> None:
    async def story(door: Door) -> None:
        await Keys(door.engine).invite("h1")
        status, _ = await door.ask(
            door.request("POST", "/v1/join", body=msgspec.json.encode({"host": "h1", "secret": secret}))
        )
        assert status in {400, 401}
        with pytest.raises(ApiError):
            await Keys(door.engine).join({"host": "h1", "secret": secret})

    run(story)


def test_a_lone_surrogate_is_no_secret() -> None:
    async def story(door: Door) -> None:
        body = b'{"host": "h1", "secret": "\\ud800"}'
        assert (await door.ask(door.request("POST", "/v1/join", body=body)))[0] == 400

    run(story)
