"""The hub: every host's stream leads it to its part, whoever is slow, away or new, and who waits learns who is behind."""

import asyncio
from collections.abc import Awaitable, Callable, Collection

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import l3_operations
from control_cloud import ADMIN, a_draft, agent_of, later, network_of, port_of, subnet_of
from effort import examples
from floatway.api.agents.hub import Ahead, Hub, Presence, Stream
from floatway.control import entities as e
from floatway.control.decide import agents, ports, reports
from floatway.control.draft import Draft
from floatway.control.parts import part
from floatway.model.cloud import Cloud
from floatway.model.stream import Delta, Report, Status, applied, merged

HOSTS = ("h1", "h2", "h3")
ACTS = ("read", "sleep", "leave", "return", "anew", "silence", "elsewhere")


class Reader:
    """An agent that reads its stream when it likes."""

    def __init__(self, hub: Hub, host: str) -> None:
        self.hub, self.host = hub, host
        self.has, self.at = Cloud(), 0
        self.stream: Stream | None = None

    def connect(self, since: int | None = None) -> None:
        self.stream = self.hub.open(self.host, since)

    async def read(self) -> Delta | None:
        assert self.stream is not None
        got = await self.stream.take(0)
        if got is None:
            return None
        delta = msgspec.json.decode(got[1], type=Delta)
        assert delta.revision == got[0]
        self.has = applied(Cloud() if delta.fresh else self.has, delta)
        self.at = delta.revision
        self.hub.sent(self.stream, self.at)
        return delta


def moved(hub: Hub, draft: Draft) -> None:
    hub.moved(draft.model.at(draft.base.revision + 1), [(kind, id_) for kind, id_, _ in draft.changes()])


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await story()

    asyncio.run(main())


@examples(40)
@given(
    st.lists(
        st.tuples(l3_operations.requests(), st.sampled_from(ACTS)),
        min_size=5,
        max_size=25,
    )
)
def test_every_stream_leads_to_the_part(asked: list[tuple[l3_operations.Request, str]]) -> None:
    async def story() -> None:
        draft = l3_operations.cloud()
        hub = Hub(draft.model, clock=lambda: 0.0, kept=4)
        readers = [Reader(hub, host) for host in HOSTS]
        readers[0].connect()  # the others later, if at all
        for request, what in asked:
            after = l3_operations.tried(draft, request)
            if after is not draft:
                draft = after
                moved(hub, draft)
            for one in readers:
                if one.stream and one.stream.closed:  # its agent was forgotten
                    one.stream = None
            reader = readers[request.a % 3]
            if what == "leave" and reader.stream:
                hub.left(reader.stream)
                reader.stream = None
            elif what in {"return", "anew"}:
                reader.connect((reader.at or None) if what == "return" else None)
            elif what == "read" and reader.stream:
                await reader.read()
            elif what == "silence" and reader.stream and await reader.read() is None:
                reader.at = hub.revision  # says the heartbeat
            elif what == "elsewhere" and not reader.stream:  # another server led it here
                reader.has, reader.at = part(draft.model, reader.host), hub.revision
        for reader in readers:
            if reader.stream is None or reader.stream.closed:
                reader.connect(reader.at or None)
            while await reader.read() is not None:
                pass
            assert reader.has == part(hub.parts.model, reader.host)

    run(story)


@examples(60)
@given(st.lists(l3_operations.requests(), min_size=3, max_size=20))
def test_two_deltas_are_one(asked: list[l3_operations.Request]) -> None:
    draft = l3_operations.cloud()
    hub = Hub(draft.model, clock=lambda: 0.0)
    hub.open("h1", None)
    begin = part(draft.model, "h1")
    whole: Delta | None = None
    for request in asked:
        after = l3_operations.tried(draft, request)
        if after is not draft:
            draft = after
            delta = hub.parts.move(
                draft.model.at(draft.base.revision + 1), [(kind, id_) for kind, id_, _ in draft.changes()]
            ).get("h1")
            if delta is not None:
                whole = merged(whole, delta) if whole is not None else delta
    if whole is not None:
        assert applied(begin, whole) == part(hub.parts.model, "h1")


def two_hosts() -> tuple[Draft, e.Port, e.Port]:
    draft = a_draft()
    for host in HOSTS:
        agent_of(draft, host)
    network = network_of(draft)
    subnet_of(draft, network)
    one, two = (port_of(draft, network, ADMIN, device_owner="compute:a", binding_host_id=host) for host in HOSTS[:2])
    return later(draft), one, two


def test_who_was_away_is_sent_the_difference_or_all() -> None:
    async def story() -> None:
        draft, one, _ = two_hosts()
        hub = Hub(draft.model, clock=lambda: 0.0, kept=2)
        reader = Reader(hub, "h1")
        reader.connect()
        first = await reader.read()
        assert first is not None and first.fresh
        reader.connect(reader.at)
        nothing = await reader.read()
        assert nothing is not None and nothing.empty and not nothing.fresh
        with pytest.raises(Ahead):
            hub.open("h1", reader.at + 1)
        for name in "abc":
            draft = later(draft)
            ports.update(draft, ADMIN, draft.need(e.Port, one.id), {"name": name})
            moved(hub, draft)
        reader.connect(reader.at)
        anew = await reader.read()
        assert anew is not None and anew.fresh  # only two revisions are kept
        draft = later(draft)
        ports.update(draft, ADMIN, draft.need(e.Port, one.id), {"name": "d"})
        moved(hub, draft)
        reader.connect(reader.at)
        short = await reader.read()
        assert short is not None and not short.fresh
        assert [port.name for port in short.ports] == ["d"]

    run(story)


def test_what_concerns_nobody_is_not_kept_and_nobody_misses_it() -> None:
    async def story() -> None:
        draft, one, _ = two_hosts()
        hub = Hub(draft.model, clock=lambda: 0.0, kept=2)
        reader = Reader(hub, "h1")
        reader.connect()
        await reader.read()
        stood = hub.revision
        for number in range(10):
            draft = later(draft)
            network_of(draft, name=f"of nobody {number}")
            moved(hub, draft)
            reader.at = stood + number  # by heartbeats
        draft = later(draft)
        ports.update(draft, ADMIN, draft.need(e.Port, one.id), {"name": "d"})
        moved(hub, draft)
        reader.connect(reader.at)
        short = await reader.read()
        assert short is not None and not short.fresh and [port.name for port in short.ports] == ["d"]

    run(story)


def test_what_comes_as_time_runs_out_is_no_silence() -> None:
    async def story() -> None:
        draft, one, _ = two_hosts()
        hub = Hub(draft.model, clock=lambda: 0.0)
        reader = Reader(hub, "h1")
        reader.connect()
        await reader.read()
        assert reader.stream is not None
        silent = asyncio.ensure_future(reader.stream.take(0))
        await asyncio.sleep(0)
        draft = later(draft)
        ports.update(draft, ADMIN, one, {"name": "x"})
        moved(hub, draft)  # its time is up, and it does not know yet
        taken = await silent
        assert taken is not None and taken[0] == hub.revision

    run(story)


def test_a_second_connection_of_a_host_ends_the_first() -> None:
    async def story() -> None:
        draft, _, _ = two_hosts()
        hub = Hub(draft.model, clock=lambda: 0.0)
        first, second = Reader(hub, "h1"), Reader(hub, "h1")
        first.connect()
        assert first.stream is not None
        old = first.stream
        second.connect()
        assert await old.take(0) is None and old.closed
        hub.left(old)
        assert hub.presences["h1"].connected

    run(story)


def test_who_waits_learns_who_is_behind() -> None:
    async def story() -> None:
        draft, one, _ = two_hosts()
        hub = Hub(draft.model, clock=lambda: 5.0)
        for host in HOSTS:
            hub.open(host, None)
            hub.heard(host, Report(applied=draft.model.revision, fresh=True))
        draft = later(draft)
        ports.update(draft, ADMIN, one, {"name": "x"})
        moved(hub, draft)
        revision = hub.revision
        assert [presence.host for presence in await hub.reached(revision, 0)] == ["h1", "h2"]
        waiting = asyncio.ensure_future(hub.reached(revision, 30))
        await asyncio.sleep(0)
        hub.heard("h1", Report(applied=revision))
        hub.heard("h2", Report(applied=revision, ports={one.id: Status("ERROR", "ip link add: File exists")}))
        assert await waiting == []
        assert hub.presences["h2"].failures == {f"ports/{one.id}": Status("ERROR", "ip link add: File exists")}
        assert hub.presences["h2"].heard == 5.0

    run(story)


def test_who_waits_for_one_host_does_not_ask_all_with_every_word_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        draft, _, _ = two_hosts()
        hub = Hub(draft.model, clock=lambda: 0.0)
        for host in HOSTS:
            hub.open(host, None)
        asked, behind = [0], hub.behind

        def counted(revision: int, hosts: Collection[str] | None = None) -> list[Presence]:
            asked[0] += 1
            return behind(revision, hosts)

        monkeypatch.setattr(hub, "behind", counted)
        waiting = asyncio.ensure_future(hub.reached(hub.revision, 30))
        await asyncio.sleep(0)
        for _ in range(100):
            hub.heard("h3", Report(applied=hub.revision))
            await asyncio.sleep(0)
        assert asked[0] == 1 and not waiting.done()
        for host in HOSTS:
            hub.heard(host, Report(applied=hub.revision))
        assert await waiting == [] and asked[0] <= 4

    run(story)


def test_a_host_that_is_not_there_is_not_waited_for() -> None:
    async def story() -> None:
        draft, _, _ = two_hosts()
        hub = Hub(draft.model, clock=lambda: 0.0)
        for host in HOSTS:
            stream = hub.open(host, None)
            assert host in [presence.host for presence in hub.behind(hub.revision)]
            hub.left(stream)
        assert hub.behind(hub.revision) == []

    run(story)


def test_a_server_that_begins_waits_for_hosts_that_were_connected_until_they_have_said_where_they_stand() -> None:
    async def story() -> None:
        draft, _, _ = two_hosts()
        hub = Hub(draft.model, clock=lambda: 5.0)
        revision = hub.revision

        def late() -> list[str]:
            return [presence.host for presence in hub.behind(revision)]

        assert late() == list(HOSTS) and hub.behind(revision, ["h2"])
        waiting = asyncio.ensure_future(hub.reached(revision, 30))
        stream = hub.open("h1", revision)  # it was sent all that there is
        assert late() == list(HOSTS)
        hub.heard("h1", Report(applied=revision - 1, fresh=True))  # and has not made it yet
        assert late() == list(HOSTS) and not waiting.done()
        hub.heard("h1", Report(applied=revision))
        assert late() == ["h2", "h3"]
        hub.left(stream)
        hub.open("h1", revision)
        assert late() == ["h2", "h3"]
        for host in HOSTS[1:]:
            hub.open(host, None)
            hub.heard(host, Report(applied=revision, fresh=True))
        assert await waiting == []

    run(story)


@pytest.mark.parametrize("outage", [0, 100_000])
def test_who_does_not_come_back_counts_as_down_in_time_however_long_no_server_ran(outage: int) -> None:
    async def story() -> None:
        draft, _, _ = two_hosts()
        heard = min(agents.heard(agent) for agent in draft.all(e.Agent))
        draft = Draft(draft.model, draft.settings, seconds=heard + 1000)
        agents.report(draft, {"agent_type": "Open vSwitch agent", "host": "h3"})
        now = heard + 1000 + outage
        hub = Hub(draft.model, clock=lambda: now, down_seconds=75.0)
        assert [presence.host for presence in hub.behind(hub.revision)] == ["h3"]  # the others were down before
        now += 80
        assert hub.behind(hub.revision) == []

    run(story)


def test_streams_that_are_begun_anew_are_waited_for() -> None:
    async def story() -> None:
        draft, _, _ = two_hosts()
        hub = Hub(draft.model, clock=lambda: 0.0)
        for host in HOSTS:
            stream = hub.open(host, None)
            hub.heard(host, Report(applied=hub.revision, fresh=True))
            if host == "h3":
                hub.left(stream)
        hub.moved(later(draft).model.at(draft.model.revision + 7), None)
        assert [presence.host for presence in hub.behind(hub.revision)] == ["h1", "h2"]

    run(story)


def test_an_old_word_is_not_believed_and_a_strangers_neither() -> None:
    async def story() -> None:
        draft, one, two = two_hosts()
        hub = Hub(draft.model, clock=lambda: 0.0)
        hub.open("h1", None)
        before = hub.revision
        draft = later(draft)
        ports.update(draft, ADMIN, one, {"allowed_address_pairs": [{"ip_address": "10.0.0.77"}]})
        moved(hub, draft)
        due = hub.presences["h1"].due
        assert due["ports", one.id] == hub.revision > before
        draft = later(draft)
        report = Report(applied=hub.revision, ports={one.id: Status("ACTIVE"), two.id: Status("ACTIVE")})
        reports.take(draft, "h1", report, lambda table, id_, state: id_ == one.id)
        assert draft.need(e.Port, one.id).status == "ACTIVE"
        assert draft.need(e.Port, two.id).status == "DOWN"

    run(story)


def test_what_a_fresh_report_does_not_name_is_down() -> None:
    draft, one, _ = two_hosts()
    reports.take(draft, "h1", Report(applied=1, ports={one.id: Status("ACTIVE")}), lambda *_: True)
    assert draft.need(e.Port, one.id).status == "ACTIVE"
    draft = later(draft)
    reports.take(draft, "h1", Report(applied=1, fresh=True), lambda *_: True)
    assert draft.need(e.Port, one.id).status == "DOWN"


def test_agents_of_no_known_type_are_not_believed() -> None:
    draft = a_draft()
    said = ({"agent_type": "L3 agent", "configurations": {"agent_mode": "dvr"}}, {"agent_type": "Oracle", "host": "h9"})
    reports.take(draft, "h1", Report(applied=0, agents=said), lambda *_: True)
    assert [(agent.host, agent.binary) for agent in draft.all(e.Agent)] == [("h1", "neutron-l3-agent")]
