"""The agents' door against agents that are slow, dead, many, or hostile: they are cut off, and nobody else notices."""

import asyncio
import socket
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from agents_door import NOW, Door, line_of, run, until
from floatway.api.agents import gauges
from floatway.api.agents.allowance import BURST, RATE, Allowance
from floatway.api.agents.listener import Listener
from floatway.api.agents.reports import Reports
from floatway.control import entities as e
from floatway.model.stream import Event, Report, Status


def test_from_the_stream_to_the_status() -> None:
    async def story(door: Door) -> None:
        reader, writer = await door.follow("h1")
        first = await line_of(reader)
        assert first.fresh and {port.id for port in first.ports} == {port.id for port in door.ports.values()}
        port = door.ports["h1"].id
        assert door.engine.model.need(e.Port, port).status == "DOWN"
        status, said = await door.report(
            "h1", Report(applied=first.revision, fresh=True, ports={port: Status("ACTIVE")})
        )
        assert status == 200 and said["revision"] == door.engine.model.revision
        assert door.engine.model.need(e.Port, port).status == "ACTIVE"
        revision = await door.rename("h1", "renamed")
        delta = await line_of(reader)
        assert delta.revision == revision and [port.name for port in delta.ports] == ["renamed"]
        assert [late.host for late in await door.hub.reached(revision, 0)] == ["h1"]
        waiting = asyncio.ensure_future(door.hub.reached(revision, 30))
        await door.report("h1", Report(applied=revision, ports={port: Status("ACTIVE")}))
        assert await waiting == []
        status, known = await door.ask(door.request("GET", "/v1/hosts/h1", "h1"))
        assert status == 200 and known["connected"] and known["applied"] == known["sent"] == revision
        writer.close()
        await until(lambda: not door.hub.presences["h1"].connected)

    run(story)


def test_a_short_cut_is_no_new_beginning() -> None:
    async def story(door: Door) -> None:
        reader, writer = await door.follow("h1")
        stood = (await line_of(reader)).revision
        writer.transport.abort()
        await door.rename("h1", "while you were away")
        reader, _ = await door.follow("h1", f"?from={stood}")
        delta = await line_of(reader)
        assert not delta.fresh and [port.name for port in delta.ports] == ["while you were away"]
        reader, _ = await door.follow("h1", f"?from={delta.revision + 1000}")  # a store that was restored
        assert (await line_of(reader)).fresh

    run(story)


def test_nothing_to_say_is_said_too() -> None:
    async def story(door: Door) -> None:
        reader, _ = await door.follow("h1")
        await line_of(reader)
        beat = await line_of(reader)
        assert beat.empty and beat.revision == door.engine.model.revision

    run(story, heartbeat=0.01)


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/v1/hosts/h1/stream", "", 401),
        ("GET", "/v1/hosts/h1/stream", "h2", 403),
        ("POST", "/v1/hosts/h1/reports", "h2", 403),
        ("GET", "/v1/hosts/h1", "h2", 403),
        ("GET", "/v1/hosts/%68%32", "h2", 200),
        ("GET", "/v1/hosts/h1/stream?from=-1", "h1", 400),
        ("GET", f"/v1/hosts/h1/stream?from={'9' * 9999}", "h1", 400),
        ("POST", "/v1/hosts/h1/reports", "h1", 400),
        ("GET", "/v1/hosts/h1/else", "h1", 404),
        ("GET", "/", "", 404),
        ("POST", "/v1/join", "", 400),
    ],
)
def test_what_is_not_to_be(method: str, path: str, host: str, status: int) -> None:
    async def story(door: Door) -> None:
        before = door.engine.model.revision
        got, document = await door.ask(door.request(method, path, host, b"[1" if method == "POST" else b""))
        assert got == status and document
        assert door.engine.model.revision == before and not door.hub.presences

    run(story)


@pytest.mark.parametrize(
    "request_",
    [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /" + b"x" * 40_000, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"],
    ids=["nonsense", "no host", "endless", "TLS"],
)
def test_what_is_no_request_is_told_so(request_: bytes) -> None:
    async def story(door: Door) -> None:
        status, _ = await door.ask(request_)
        assert status in {400, 414, 431}
        assert (await door.ask(door.request("GET", "/v1/hosts/h1", "h1")))[0] == 200

    run(story)


def test_without_a_key_there_is_no_room_for_a_body() -> None:
    async def story(door: Door) -> None:
        body = b"x" * 100_000
        assert (await door.ask(door.request("POST", "/v1/hosts/h1/reports", "", body)))[0] in {0, 401}
        door.keys["h3"] = "h3.guessed"
        assert (await door.ask(door.request("POST", "/v1/hosts/h3/reports", "h3", body)))[0] in {0, 401}
        assert (await door.ask(door.request("POST", "/v1/join", "", body)))[0] in {0, 413}
        assert (await door.ask(door.request("POST", "/v1/hosts/h1/reports", "h1", body)))[0] == 413

    run(story, max_body_bytes=65_536)


def test_who_does_not_finish_is_cut_off() -> None:
    async def story(door: Door) -> None:
        whole = door.request("POST", "/v1/hosts/h1/reports", "h1", b'{"applied":1}')
        for part in (b"", whole[:20], whole[:-3]):
            reader, writer = await asyncio.open_unix_connection(door.path)
            writer.write(part)
            assert await reader.read() == b""
        await until(lambda: not door.listener._connections)

    run(story, body_timeout=0.05, idle_timeout=0.05)


def test_strangers_make_way() -> None:
    async def story(door: Door) -> None:
        strangers = [await asyncio.open_unix_connection(door.path) for _ in range(20)]
        assert (await door.ask(door.request("GET", "/v1/hosts/h1", "h1")))[0] == 200
        assert await strangers[0][0].read() == b""
        assert len(door.listener._connections) <= 3

    run(story, max_connections=8)


def test_a_host_has_a_few_connections() -> None:
    async def story(door: Door) -> None:
        reader, _ = await door.follow("h2")
        await line_of(reader)
        kept = []
        for _ in range(20):
            kept.append(await asyncio.open_unix_connection(door.path))
            kept[-1][1].write(door.request("GET", "/v1/hosts/h1", "h1"))
            await kept[-1][0].readuntil(b"\r\n\r\n")
        await until(lambda: len(door.listener._of_hosts["h1"]) <= 8)
        assert door.hub.presences["h2"].connected

    run(story)


def test_who_does_not_read_is_cut_off_and_nobody_waits_for_him() -> None:
    async def story(door: Door) -> None:
        mine, _ = await door.follow("h2")
        await line_of(mine)
        deaf = socket.socket(socket.AF_UNIX)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(door.path)
        deaf.sendall(door.request("GET", "/v1/hosts/h1/stream", "h1"))
        await until(lambda: "h1" in door.hub.presences and door.hub.presences["h1"].connected)
        number = 0
        while door.hub.presences["h1"].connected:
            number += 1
            revision = await door.rename("h2", f"{number} " + "x" * 240)
            while (delta := await line_of(mine)).empty:
                pass
            assert delta.revision == revision
        assert door.hub.presences["h1"].sent < revision
        assert [late.host for late in door.hub.behind(revision)] == ["h2"]
        await until(lambda: len(door.listener._connections) == 1)
        deaf.close()

    run(story, slow_timeout=0.05)


def test_who_hangs_is_let_go() -> None:
    async def story(door: Door) -> None:
        reader, _ = await door.follow("h1")
        first = await line_of(reader)
        await door.report("h1", Report(applied=first.revision))
        other, _ = await door.follow("h2")
        await line_of(other)
        door.seconds += 60
        await door.report("h2", Report(applied=first.revision))
        door.seconds += 20
        door.hub.silent(75)
        assert [host for host, presence in door.hub.presences.items() if presence.connected] == ["h2"]
        assert b"0\r\n\r\n" in await reader.read()

    run(story)


def test_a_word_before_the_stream_is_not_believed_and_harms_nobody() -> None:
    async def story(door: Door) -> None:
        reader, _ = await door.follow("h2")
        await line_of(reader)
        port = door.ports["h1"].id
        said = Report(applied=door.engine.model.revision, ports={port: Status("ACTIVE")})
        agents = ({"agent_type": "L3 agent", "configurations": {"agent_mode": "dvr"}},)
        assert (await door.report("h1", msgspec.structs.replace(said, agents=agents)))[0] == 200
        assert door.engine.model.need(e.Port, port).status == "DOWN"
        assert door.hub.presences["h2"].connected
        assert [one.name for one in (await line_of(reader)).hosts] == ["h1"]

    run(story)


def test_a_word_about_what_is_being_decided_is_not_believed() -> None:
    async def story(door: Door) -> None:
        reader, _ = await door.follow("h1")
        first = await line_of(reader)
        reports, port = Reports(door.engine, door.hub), door.ports["h1"].id
        said = Report(applied=first.revision, ports={port: Status("ACTIVE")})
        await asyncio.gather(door.rename("h1", "new"), reports.take("h1", said))
        assert door.engine.model.need(e.Port, port).status == "DOWN"
        await reports.take("h1", msgspec.structs.replace(said, applied=door.hub.revision))
        assert door.engine.model.need(e.Port, port).status == "ACTIVE"

    run(story)


def test_a_stranger_to_the_port_says_nothing_of_it() -> None:
    async def story(door: Door) -> None:
        reader, _ = await door.follow("h2")
        first = await line_of(reader)
        port = door.ports["h1"].id
        said = Report(applied=first.revision, ports={port: Status("ACTIVE"), "nothing": Status("ERROR", "x" * 9999)})
        assert (await door.report("h2", said))[0] == 200
        assert door.engine.model.need(e.Port, port).status == "DOWN"
        assert door.hub.presences["h2"].failures == {}

    run(story)


def test_a_revision_that_never_was_counts_for_nothing() -> None:
    async def story(door: Door) -> None:
        reader, _ = await door.follow("h1")
        await line_of(reader)
        await door.report("h1", Report(applied=2**60, fresh=True))
        assert door.hub.presences["h1"].applied == 0
        assert door.hub.behind(door.hub.revision)

    run(story)


@pytest.mark.parametrize(
    "said",
    [
        {"agent_type": ["L3 agent"]},
        {"agent_type": "L3 agent", "configurations": 5},
        {"agent_type": "L3 agent", "configurations": {"pins": {"macs": 7}}},
        {"agent_type": "L3 agent", "configurations": {"bridge_mappings": ["x"]}},
        {"agent_type": "L3 agent", "configurations": {"tunneling_ip": "everywhere"}},
        {"agent_type": "L3 agent", "configurations": {"agent_mode": "oracle"}},
        {"agent_type": "L3 agent", "availability_zone": {"a": 1}},
        {"agent_type": "L3 agent", "configurations": {"x": "y" * 100_000}},
    ],
)
def test_descriptions_that_others_would_have_to_live_with_are_refused(said: dict[str, Any]) -> None:
    async def story(door: Door) -> None:
        before = door.engine.model.revision
        status, _ = await door.report("h1", Report(applied=0, agents=(said,)))
        assert status == 400
        assert door.engine.model.revision == before

    run(story)


def test_what_hosts_tell_is_counted_and_the_newest_kept() -> None:
    async def story(door: Door) -> None:
        reader, _ = await door.follow("h1")
        first = await line_of(reader)
        events = tuple(Event("repaired", f"rule {number}", NOW) for number in range(50))
        events += (Event("made up", "x" * 9999, NOW),)
        await door.report("h1", Report(applied=first.revision, events=events))
        assert door.hub.events == {"repaired": 50}
        _, known = await door.ask(door.request("GET", "/v1/hosts/h1", "h1"))
        assert len(known["events"]) == 32 and len(known["events"][-1]["what"]) == 500

    run(story)


def test_what_is_written_to_the_log_is_counted_as_work(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(door: Door) -> None:
        spent: list[int] = []

        async def spend(self: Listener, host: str, cost: int) -> None:
            spent.append(cost)

        monkeypatch.setattr(Listener, "spend", spend)
        events = tuple(Event("repaired", "", NOW) for _ in range(1000))
        await door.report("h1", Report(applied=0, events=events[:1]))
        one = sum(spent)
        await door.report("h1", Report(applied=0, events=events))
        assert sum(spent) - one > 30_000

    run(story)


def test_what_prometheus_reads() -> None:
    async def story(door: Door) -> None:
        registry = CollectorRegistry()
        gauges.watch(registry, door.hub)
        reader, _ = await door.follow("h1")
        first = await line_of(reader)
        door.seconds += 3
        value = registry.get_sample_value
        assert value("floatway_agents_connected") == value("floatway_agents_behind") == 1
        assert value("floatway_agents_behind_seconds") == 3
        failed = {door.ports["h1"].id: Status("ERROR", "no room")}
        said = Report(applied=first.revision, ports=failed, events=(Event("failed", "port", NOW),))
        await door.report("h1", said)
        assert value("floatway_agents_behind") == 0
        assert value("floatway_agents_failures") == 1
        assert value("floatway_agents_events_total", {"kind": "failed"}) == 1
        assert value("floatway_agents_applied_seconds_sum") == 3

    run(story)


def test_heartbeats_are_written_for_who_is_here() -> None:
    async def story(door: Door) -> None:
        agents = ({"agent_type": "L3 agent", "configurations": {"agent_mode": "dvr"}},)
        reader, _ = await door.follow("h1")
        first = await line_of(reader)
        await door.report("h1", Report(applied=first.revision, fresh=True, agents=agents))
        door.seconds += 100
        before = {agent.host: agent.heartbeat_timestamp for agent in door.engine.model.all(e.Agent)}
        await door.report("h1", Report(applied=first.revision))
        beating = asyncio.create_task(Reports(door.engine, door.hub).beat(0.01))
        agent = next(agent for agent in door.engine.model.find(e.Agent, "host", "h1"))
        await until(lambda: door.engine.model.need(e.Agent, agent.id).heartbeat_timestamp != before["h1"])
        beating.cancel()
        assert {a.heartbeat_timestamp for a in door.engine.model.find(e.Agent, "host", "h2")} == {before["h2"]}

    run(story)


def test_work_beyond_the_allowance_waits() -> None:
    clock = [0.0]
    allowance = Allowance(lambda: clock[0])
    assert allowance.owed(BURST) == 0
    assert allowance.owed(RATE) == 1
    clock[0] = 2
    assert allowance.owed(0) == 0
    clock[0] = 10_000
    assert allowance.owed(BURST + RATE / 2) == 0.5
