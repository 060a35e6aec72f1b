"""What operators ask below /floatway/v1: who is where, and to be told when a revision is applied."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from control_cloud import ADMIN, MEMBER, agent_of, network_of, port_of, subnet_of
from floatway.api.agents.hub import Hub
from floatway.api.agents.keys import Keys
from floatway.api.agents.reports import Reports
from floatway.api.agents.tls import Identity
from floatway.api.engine import Engine
from floatway.api.http import Request, Response
from floatway.api.operator import Operator
from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.decide import ports
from floatway.control.draft import Draft
from floatway.control.errors import ApiError
from floatway.control.settings import Settings
from floatway.model.stream import Event, Report, Status
from shared_store import Shared, Store

NOW = 1_795_000_000.0


class World:
    """A server with a port on h1."""

    def __init__(self, engine: Engine, hub: Hub, port: e.Port) -> None:
        self.engine, self.hub, self.port = engine, hub, port
        self.reports = Reports(engine, hub)
        self.operator = Operator(engine, hub, Keys(engine), Identity(("https://server:9697",), "ab" * 32))

    async def ask(self, method: str, path: str, caller: Caller = ADMIN) -> tuple[int, Any]:
        target, _, query = path.partition("?")
        answer: Response = await self.operator(Request(method, tuple(target.split("/")), query), caller)
        return answer.status, msgspec.json.decode(answer.body) if answer.body else None

    async def refused(self, method: str, path: str, caller: Caller = ADMIN) -> int:
        with pytest.raises(ApiError) as caught:
            await self.ask(method, path, caller)
        return caught.value.status

    async def renamed(self, name: str) -> int:
        def decide(draft: Draft) -> None:
            ports.update(draft, ADMIN, draft.need(e.Port, self.port.id), {"name": name})

        return (await self.engine.write(decide)).model.revision


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    engine = Engine(Store(Shared()), Settings(), clock=lambda: NOW)
    await engine.start()
    hub = Hub(engine.model, clock=lambda: NOW)
    engine.listen(hub.moved)

    def decide(draft: Draft) -> e.Port:
        network = network_of(draft)
        subnet_of(draft, network)
        agent_of(draft, "h1")
        agent_of(draft, "h2")
        return port_of(draft, network, ADMIN, device_owner="compute:a", binding_host_id="h1")

    yield World(engine, hub, (await engine.write(decide)).result)
    await engine.close()


def run(story: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        async with world() as here, asyncio.timeout(30):
            await story(here)

    asyncio.run(main())


def test_waiting_ends_when_the_hosts_concerned_have_it() -> None:
    async def story(here: World) -> None:
        here.hub.open("h1", None)
        await here.reports.take("h1", Report(applied=here.hub.revision, fresh=True))
        revision = await here.renamed("new")
        waiting = asyncio.ensure_future(here.ask("GET", f"wait?revision={revision}&timeout=20"))
        await asyncio.sleep(0)
        assert not waiting.done()
        await here.reports.take("h1", Report(applied=revision, ports={here.port.id: Status("ACTIVE")}))
        status, told = await waiting
        assert (status, told["applied"], told["hosts"]) == (200, True, {"h1": revision})
        assert here.engine.model.need(e.Port, here.port.id).status == "ACTIVE"

    run(story)


def test_waiting_in_vain_says_for_whom() -> None:
    async def story(here: World) -> None:
        here.hub.open("h1", None)
        here.hub.heard("h1", Report(applied=1, ports={here.port.id: Status("ERROR", "ip link add: no room")}))
        status, told = await here.ask("GET", "wait?timeout=0")
        assert status == 504 and not told["applied"]
        assert [one["host"] for one in told["late"]] == ["h1"]
        assert told["late"][0]["failures"][f"ports/{here.port.id}"]["reason"] == "ip link add: no room"
        status, told = await here.ask("GET", "wait?timeout=0", MEMBER)
        assert status == 504 and told["applied"] is False and not told.keys() & {"hosts", "late"}

    run(story)


def test_waiting_for_a_host_that_fails_as_a_whole_says_why() -> None:
    """No resource has an ERROR then: nothing could be tried."""

    async def story(here: World) -> None:
        here.hub.open("h1", None)
        failed = Event("failed", "host as a whole: ovsdb-server does not answer", NOW)
        here.hub.heard("h1", Report(applied=1, events=(Event("failed", "port 1: busy", NOW), failed)))
        here.hub.heard("h1", Report(applied=1, events=(Event("recovered", "port 1", NOW),)))
        _, told = await here.ask("GET", "wait?timeout=0")
        said = told["NeutronError"]["message"]
        assert "host as a whole: ovsdb-server does not answer" in said and "port 1" not in said

    run(story)


def test_a_host_that_is_asked_for_by_name_must_follow() -> None:
    """Nobody knows what is on a host whose agent is not connected."""

    async def story(here: World) -> None:
        assert (await here.ask("GET", "wait?timeout=0"))[0] == 200, "nobody follows: there is nobody to wait for"
        status, told = await here.ask("GET", "wait?timeout=0&host=h2")
        assert status == 504 and "no agent of h2 is connected" in told["NeutronError"]["message"]
        assert [one["host"] for one in told["late"]] == ["h2"]
        waiting = asyncio.ensure_future(here.ask("GET", "wait?timeout=20&host=h2"))
        await asyncio.sleep(0)
        here.hub.open("h2", None)
        await here.reports.take("h2", Report(applied=here.hub.revision, fresh=True))
        assert (await waiting)[0] == 200

    run(story)


@pytest.mark.parametrize("query", ["revision=x", "revision=-1", "revision=nan", "timeout=-1", "revision=99999"])
def test_waiting_for_what_cannot_be(query: str) -> None:
    async def story(here: World) -> None:
        assert await here.refused("GET", f"wait?{query}") == 400

    run(story)


def test_hosts_are_for_administrators() -> None:
    async def story(here: World) -> None:
        here.hub.open("h1", None)
        _, told = await here.ask("GET", "hosts")
        assert [(one["host"], one["connected"]) for one in told["hosts"]] == [("h1", True)]
        assert "due" not in told["hosts"][0]
        assert (await here.ask("GET", "hosts/h1"))[1]["host"]["host"] == "h1"
        assert await here.refused("GET", "hosts/h9") == 404
        for method, path in (
            ("GET", "hosts"), ("GET", "hosts/h1"), ("POST", "hosts/h1/tokens"), ("DELETE", "hosts/h1/key"),
            ("GET", "cloud"), ("POST", "cloud"),
        ):  # fmt: skip
            assert await here.refused(method, path, MEMBER) == 403

    run(story)


def test_a_revoked_host_is_let_go() -> None:
    async def story(here: World) -> None:
        _, told = await here.ask("POST", "hosts/h1/tokens")
        assert told["token"]["host"] == "h1" and told["token"]["token"]
        stream = here.hub.open("h1", None)
        assert (await here.ask("DELETE", "hosts/h1/key"))[0] == 204
        assert stream.closed and "h1" not in here.hub.presences
        assert await here.refused("DELETE", "hosts/h1/key") == 404

    run(story)


def test_waiting_for_a_host_that_nobody_knows_is_no_success() -> None:
    async def story(here: World) -> None:
        assert await here.refused("GET", "wait?host=h1&host=h9&timeout=0") == 404
        assert (await here.ask("GET", "wait?host=h1&timeout=0"))[0] == 504, "known, and no agent of it is connected"

    run(story)
