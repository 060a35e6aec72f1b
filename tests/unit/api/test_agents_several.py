"""Several servers on one store: each knows where a host stands that is connected to another, and waits for it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from control_cloud import ADMIN, agent_of, network_of, port_of, subnet_of
from floatway.api.agents.hub import Hub
from floatway.api.agents.reports import Reports
from floatway.api.engine import Engine
from floatway.control import entities as e
from floatway.control.decide import ports
from floatway.control.draft import Draft
from floatway.control.settings import Settings
from floatway.model.stream import Report, Status
from floatway.store.base import StoreError
from shared_store import Shared, Store

NOW = 1_795_000_000.0


class Server:
    """One of them."""

    def __init__(self, shared: Shared, name: str) -> None:
        self.name = name
        self.seconds = NOW
        self.engine = Engine(Store(shared), Settings(), clock=lambda: self.seconds)

    async def start(self) -> None:
        await self.engine.start()
        self.hub = Hub(self.engine.model, clock=lambda: self.seconds, server=self.name)
        self.engine.listen(self.hub.moved)
        self.reports = Reports(self.engine, self.hub)


def run(story: Callable[[Server, Server, e.Port], Awaitable[None]]) -> None:
    async def main() -> None:
        shared = Shared()
        a, b = Server(shared, "a"), Server(shared, "b")
        await a.start()
        await b.start()

        def decide(draft: Draft) -> e.Port:
            network = network_of(draft)
            subnet_of(draft, network)
            agent_of(draft, "h1")
            return port_of(draft, network, ADMIN, device_owner="compute:a", binding_host_id="h1")

        written = await a.engine.write(decide)
        await b.engine.reached(written.model.revision)
        async with asyncio.timeout(30):
            await story(a, b, written.result)
        for server in (a, b):
            await server.engine.close()

    asyncio.run(main())


async def renamed(server: Server, port: e.Port, name: str) -> int:
    def decide(draft: Draft) -> None:
        ports.update(draft, ADMIN, draft.need(e.Port, port.id), {"name": name})

    return (await server.engine.write(decide)).model.revision


async def in_step(a: Server, b: Server) -> None:
    newest = max(a.engine.model.revision, b.engine.model.revision)
    await a.engine.reached(newest)
    await b.engine.reached(newest)


def test_a_server_waits_for_hosts_of_the_other() -> None:
    async def story(a: Server, b: Server, port: e.Port) -> None:
        stream = b.hub.open("h1", None)
        await b.reports.take("h1", Report(applied=b.hub.revision, fresh=True, ports={port.id: Status("ACTIVE")}))
        await in_step(a, b)
        assert a.hub.presences["h1"].elsewhere == "b" and not a.hub.behind(a.hub.revision)
        revision = await renamed(a, port, "new")
        assert [late.host for late in a.hub.behind(revision)] == ["h1"]
        waiting = asyncio.ensure_future(a.hub.reached(revision, 30))
        await b.engine.reached(revision)
        await b.reports.take("h1", Report(applied=revision, ports={port.id: Status("ACTIVE")}))
        assert await waiting == []
        assert a.engine.model.need(e.Port, port.id).status == "ACTIVE"
        revision = await renamed(a, port, "newer")
        assert a.hub.behind(revision)
        b.hub.left(stream)
        await b.reports.left("h1")
        await in_step(a, b)
        assert not a.hub.behind(revision) and not a.hub.presences["h1"].elsewhere

    run(story)


def test_a_host_that_moves_is_where_it_is() -> None:
    async def story(a: Server, b: Server, port: e.Port) -> None:
        first = a.hub.open("h1", None)
        await a.reports.take("h1", Report(applied=a.hub.revision, fresh=True))
        await in_step(a, b)
        b.hub.open("h1", b.hub.revision)
        await b.reports.take("h1", Report(applied=b.hub.revision, fresh=True))
        await in_step(a, b)
        a.hub.left(first)  # it notices late
        await a.reports.left("h1")
        assert a.hub.presences["h1"].elsewhere == "b"
        revision = await renamed(a, port, "new")
        await in_step(a, b)
        assert a.hub.behind(revision) and b.hub.behind(revision)

    run(story)


def test_a_wire_that_died_without_a_word_is_not_waited_for() -> None:
    async def story(a: Server, b: Server, port: e.Port) -> None:
        first = a.hub.open("h1", None)
        await a.reports.take("h1", Report(applied=a.hub.revision, fresh=True))
        await in_step(a, b)
        b.hub.open("h1", b.hub.revision)  # a still has its end of the wire
        await b.reports.take("h1", Report(applied=b.hub.revision, fresh=True))
        await in_step(a, b)
        assert first.closed and a.hub.presences["h1"].elsewhere == "b"
        revision = await renamed(a, port, "new")
        await in_step(a, b)
        waiting = asyncio.ensure_future(a.hub.reached(revision, 20))
        await b.reports.take("h1", Report(applied=revision))
        assert await waiting == []

    run(story)


def test_who_comes_back_is_not_sent_away_for_what_the_other_said_before() -> None:
    async def story(a: Server, b: Server, port: e.Port) -> None:
        there = b.hub.open("h1", None)
        await b.reports.take("h1", Report(applied=b.hub.revision, fresh=True))
        await in_step(a, b)
        here = a.hub.open("h1", a.hub.revision)
        await a.reports.take("h1", Report(applied=a.hub.revision, fresh=True))
        await in_step(a, b)
        assert there.closed and not here.closed and b.hub.presences["h1"].elsewhere == "a"
        await b.reports.left("h1")
        await in_step(a, b)
        assert not here.closed and a.hub.presences["h1"].connected

    run(story)


def test_nobody_waits_for_a_host_whose_server_died_with_it() -> None:
    async def story(a: Server, b: Server, port: e.Port) -> None:
        b.hub.open("h1", None)
        await b.reports.take("h1", Report(applied=b.hub.revision, fresh=True))
        revision = await renamed(a, port, "new")
        assert a.hub.behind(revision)
        a.seconds += 100
        assert not a.hub.behind(revision)

    run(story)


async def another(a: Server, name: str) -> tuple[Server, "asyncio.Task[None]"]:
    """A server that begins now, on the same store."""
    shared = a.engine.store
    assert isinstance(shared, Store)
    new = Server(shared.shared, name)
    await new.start()
    return new, asyncio.create_task(new.reports.ask())


@pytest.mark.parametrize("behind", [True, False])
def test_a_server_that_begins_learns_where_hosts_of_the_other_stand(behind: bool) -> None:
    async def story(a: Server, b: Server, port: e.Port) -> None:
        b.hub.open("h1", None)
        await b.reports.take("h1", Report(applied=b.hub.revision, fresh=True))
        revision = await renamed(b, port, "new")
        if not behind:
            await b.reports.take("h1", Report(applied=revision))
            revision = (await b.engine.write(lambda draft: network_of(draft, name="nobody's"))).model.revision
        c, asking = await another(a, "c")
        assert [late.host for late in c.hub.behind(revision)] == ["h1"]  # for all that is known here
        waiting = asyncio.ensure_future(c.hub.reached(revision, 20))
        while b.engine.model.need(e.HostStand, "h1").asked < revision:
            await b.engine.reached(b.engine.model.revision + 1)
        assert not waiting.done()
        if behind:
            await b.reports.take("h1", Report(applied=revision - 1))  # a heartbeat of one that is at it still
            await in_step(b, c)
            assert c.hub.behind(revision)
        await b.reports.take("h1", Report(applied=b.hub.revision))
        assert await waiting == []
        at = b.engine.model.revision
        await b.reports.take("h1", Report(applied=at))
        assert b.engine.model.revision == at
        asking.cancel()
        await c.engine.close()

    run(story)


def test_a_server_asks_again_when_the_store_was_away() -> None:
    async def story(a: Server, b: Server, port: e.Port) -> None:
        b.hub.open("h1", None)
        await b.reports.take("h1", Report(applied=b.hub.revision - 1, fresh=True))
        c, asking = await another(a, "c")
        assert isinstance(c.engine.store, Store)
        c.engine.store.before = _away
        revision = c.hub.revision
        while b.engine.model.need(e.HostStand, "h1").asked < revision:
            await b.engine.reached(b.engine.model.revision + 1)
        asking.cancel()
        await c.engine.close()

    run(story)


async def _away() -> None:
    raise StoreError("nobody answers")


def test_heartbeats_make_no_revisions() -> None:
    async def story(a: Server, b: Server, port: e.Port) -> None:
        b.hub.open("h1", None)
        await b.reports.take("h1", Report(applied=b.hub.revision, fresh=True))
        at = b.engine.model.revision
        for _ in range(3):
            await b.reports.take("h1", Report(applied=b.hub.revision))
        assert b.engine.model.revision == at

    run(story)
