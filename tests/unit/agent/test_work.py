"""The agent's life on a clock that jumps: servers that come and go, a host that refuses, and what is said of it."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from floatway.agent.agent import Agent
from floatway.agent.body import Memory
from floatway.agent.link import Address, Link, LinkError
from floatway.agent.work import Done, Worker
from floatway.compile import names
from floatway.host.commands import commands
from floatway.host.records import Link as Device
from floatway.host.state import HostState
from floatway.linux.errors import ObserveError
from floatway.linux.touched import EVERYTHING
from floatway.model.cloud import Cloud
from floatway.model.resources import OWNER_COMPUTE, Port
from floatway.model.stream import TABLES, Delta, Report, Status, applied
from sim.loop import run
from unit.host.worlds import HOST, bare, compiled, small_cloud


def whole(cloud: Cloud, revision: int) -> Delta:
    return Delta(revision=revision, fresh=True, **{table: tuple(getattr(cloud, table).values()) for table in TABLES})  # type: ignore[arg-type]


class Server:
    """What it sends is put into it; None breaks the connection off."""

    def __init__(self, name: str, *, up: bool = True) -> None:
        self.name, self.up = name, up
        self.lines: asyncio.Queue[Delta | None] = asyncio.Queue()
        self.asked: list[int | None] = []
        self.reports: list[Report] = []
        self.deaf = False

    def link(self) -> Link:
        return _Link(self)


class _Link(Link):
    def __init__(self, server: Server) -> None:
        super().__init__(Address.of(f"http://{server.name}"), HOST, "key")
        self.server = server

    async def stream(self, since: int | None, silence: float) -> AsyncIterator[Delta]:
        if not self.server.up:
            raise LinkError("nobody answers")
        self.server.asked.append(since)
        while (line := await self.server.lines.get()) is not None:
            yield line
        raise LinkError("broken off")

    async def report(self, report: Report) -> int:
        if self.server.deaf:
            raise LinkError("not taken")
        self.server.reports.append(report)
        return report.applied


class Hands:
    """On a host in memory. ``gate`` holds work up, ``broken`` is raised instead of it."""

    def __init__(self, body: Memory) -> None:
        self.body, self.agent = body, Agent(HOST, body=body)
        self.touched, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.broken: Exception | None = None
        self.made: list[tuple[float, Cloud]] = []

    async def make(self, part: Cloud, *, look: bool) -> Done:
        self.made.append((asyncio.get_running_loop().time(), part))
        await self.gate.wait()
        if self.broken is not None:
            raise self.broken
        outcome = (self.agent.reconcile if look else self.agent.apply)(part)
        return Done(waiting=outcome.waiting, blocked=outcome.blocked)

    async def mend(self) -> Done:
        outcome = self.agent.verify(EVERYTHING)
        lines = tuple(line for step in outcome.plan.steps for line in commands(step))
        return Done(waiting=outcome.waiting, blocked=outcome.blocked, repaired=lines)

    async def damaged(self) -> None:
        await self.touched.wait()
        self.touched.clear()


class Life:
    """One agent, its host and its servers."""

    def __init__(self, cloud: Cloud, servers: int = 1, state: HostState | None = None) -> None:
        self.cloud = cloud
        self.servers = [Server(f"s{number + 1}") for number in range(servers)]
        self.body = Memory(state if state is not None else bare(compiled(cloud)))
        self.hands = Hands(self.body)
        self.worker = Worker(
            cloud.hosts[HOST],
            self.hands,
            [server.link for server in self.servers],
            lambda: ({"agent_type": "L3 agent"},),
            chance=random.Random(1),
            clock=lambda: asyncio.get_running_loop().time(),
        )

    @property
    def server(self) -> Server:
        return self.servers[0]

    def said(self, server: Server | None = None) -> tuple[int, dict[str, Status], dict[str, Status]]:
        """What a server knows after all reports: applied, ports, floating IPs."""
        at, ports, fips = 0, dict[str, Status](), dict[str, Status]()
        for report in (server or self.server).reports:
            if report.fresh:
                ports, fips = {}, {}
            at, ports, fips = report.applied, ports | report.ports, fips | report.floating_ips
        return at, ports, fips

    async def until(self, condition: Callable[[], object], seconds: float = 300.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)


def live(story: Callable[[Life], Awaitable[None]], servers: int = 1, state: HostState | None = None) -> None:
    async def main() -> None:
        life = Life(small_cloud(ports=4), servers, state)
        task = asyncio.create_task(life.worker.run())
        try:
            await story(life)
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(main())


def an_instance(cloud: Cloud) -> Port:
    return min((p for p in cloud.ports.values() if p.device_owner == OWNER_COMPUTE), key=lambda port: port.id)


def test_what_was_sent_is_made_and_said() -> None:
    async def story(life: Life) -> None:
        life.server.lines.put_nowait(whole(life.cloud, 7))
        await life.until(lambda: life.said()[0] == 7)
        _, ports, fips = life.said()
        assert set(ports.values()) == {Status("ACTIVE")} == set(fips.values())
        assert ports.keys() == life.cloud.ports.keys()
        assert fips.keys() == life.cloud.floating_ips.keys()
        assert life.server.reports[0].fresh or life.server.reports[1].fresh
        assert any(report.agents for report in life.server.reports)

    live(story)


def test_without_a_server_nothing_is_touched() -> None:
    async def story(life: Life) -> None:
        before = life.body.state
        life.hands.touched.set()
        await asyncio.sleep(1000)
        assert life.hands.made == []
        assert life.body.state is before

    live(story, state=bare(compiled(small_cloud())))


def test_another_server_goes_on_where_the_last_one_left() -> None:
    async def story(life: Life) -> None:
        one, two = life.servers
        one.lines.put_nowait(whole(life.cloud, 7))
        await life.until(lambda: life.said(one)[0] == 7)
        state = life.body.state
        one.up = False
        one.lines.put_nowait(None)
        two.lines.put_nowait(Delta(revision=9))
        await life.until(lambda: life.said(two)[0] == 9)
        assert two.asked == [7]
        assert next(report for report in two.reports if report.ports).fresh
        assert life.body.state is state
        one.up = True
        two.lines.put_nowait(None)
        one.lines.put_nowait(Delta(revision=11))
        await life.until(lambda: life.said(one)[0] == 11)
        assert one.asked == [None, 9]

    live(story, servers=2)


def test_who_finds_no_server_asks_less_and_less_often() -> None:
    async def story(life: Life) -> None:
        life.server.up = False
        await asyncio.sleep(600)
        assert life.server.asked == []
        life.server.up = True
        life.server.lines.put_nowait(whole(life.cloud, 3))
        await life.until(lambda: life.said()[0] == 3, seconds=10)

    live(story)


def test_a_refused_port_is_in_error_with_the_reason_and_tried_later_and_later() -> None:
    async def story(life: Life) -> None:
        bad = an_instance(life.cloud)
        device = names.device("qvo", bad.id)
        life.body.refuses = lambda step: "Device or resource busy" if device in "".join(commands(step)) else ""
        life.server.lines.put_nowait(whole(life.cloud, 7))
        await life.until(lambda: life.said()[0] == 7)
        _, ports, _ = life.said()
        assert ports[bad.id].state == "ERROR"
        assert "Device or resource busy" in ports[bad.id].reason
        assert bad.id[:10] in ports[bad.id].reason
        assert {status for id_, status in ports.items() if id_ != bad.id} == {Status("ACTIVE")}
        await asyncio.sleep(300)
        times = [when for when, _ in life.hands.made]
        pauses = [b - a for a, b in itertools.pairwise(times)]
        assert pauses[-1] > 10 > pauses[0]
        assert len(pauses) < 30
        life.body.refuses = lambda step: ""
        await life.until(lambda: life.said()[1][bad.id] == Status("ACTIVE"), seconds=40)
        told = [event.kind for report in life.server.reports for event in report.events]
        assert told[0] == "failed"
        assert told[-1] == "recovered"
        count = len(life.hands.made)
        await asyncio.sleep(1000)
        assert len(life.hands.made) == count

    live(story)


def test_what_could_not_be_tried_is_not_applied_whatever_heartbeats_say() -> None:
    async def story(life: Life) -> None:
        life.hands.broken = ObserveError("ovsdb-server does not answer")
        life.server.lines.put_nowait(whole(life.cloud, 7))
        for revision in range(8, 20):
            await asyncio.sleep(5)
            life.server.lines.put_nowait(Delta(revision=revision))
        await asyncio.sleep(5)
        assert life.said()[0] == 0
        told = [event.what for report in life.server.reports for event in report.events]
        assert any("ovsdb-server does not answer" in what for what in told)
        life.hands.broken = None
        await life.until(lambda: life.said()[0] == 19)
        assert set(life.said()[1].values()) == {Status("ACTIVE")}

    live(story)


def test_a_host_that_does_not_answer_has_not_recovered_from_anything() -> None:
    async def story(life: Life) -> None:
        bad = names.device("qvo", an_instance(life.cloud).id)
        life.body.refuses = lambda step: "busy" if bad in "".join(commands(step)) else ""
        life.server.lines.put_nowait(whole(life.cloud, 7))
        await life.until(lambda: life.said()[0] == 7)
        life.hands.broken = ObserveError("ovsdb-server does not answer")
        await asyncio.sleep(100)

        def told() -> list[str]:
            return [event.kind for report in life.server.reports for event in report.events]

        assert set(told()) == {"failed"}
        life.hands.broken, life.body.refuses = None, lambda step: ""
        await life.until(lambda: "recovered" in told())
        assert told().count("failed") == told().count("recovered")

    live(story)


def test_a_burst_is_one_pass() -> None:
    async def story(life: Life) -> None:
        life.server.lines.put_nowait(whole(life.cloud, 7))
        await life.until(lambda: life.said()[0] == 7)
        life.hands.gate.clear()
        fip = next(iter(life.cloud.floating_ips.values()))
        count = len(life.hands.made)
        for revision in range(8, 60):
            changed = (msgspec.structs.replace(fip, fixed_ip_address=fip.fixed_ip_address),)
            life.server.lines.put_nowait(Delta(revision=revision, floating_ips=changed))
            await asyncio.sleep(0.001)
        life.hands.gate.set()
        await life.until(lambda: life.said()[0] == 59)
        assert len(life.hands.made) - count <= 3
        assert fip.id in life.server.reports[-1].floating_ips, "what a change named is said, as it was before or not"

    live(story)


def test_a_port_without_a_device_is_down_until_it_is_plugged() -> None:
    cloud = small_cloud(ports=4)
    tap = names.device("tap", an_instance(cloud).id)
    full = bare(compiled(cloud))
    device = full.get(Device, "", tap)
    assert device is not None

    async def story(life: Life) -> None:
        life.server.lines.put_nowait(whole(life.cloud, 7))
        await life.until(lambda: life.said()[0] == 7)
        assert life.said()[1][an_instance(cloud).id] == Status("DOWN")
        life.body.state = life.body.state.replaced(device)
        life.hands.touched.set()
        await life.until(lambda: life.said()[1][an_instance(cloud).id] == Status("ACTIVE"))
        life.body.state = life.body.state.without(device)
        life.hands.touched.set()
        await life.until(lambda: life.said()[1][an_instance(cloud).id] == Status("DOWN"))

    live(story, state=full.without(device))


def test_a_report_that_is_not_taken_is_said_again() -> None:
    async def story(life: Life) -> None:
        life.server.deaf = True
        life.server.lines.put_nowait(whole(life.cloud, 7))
        await asyncio.sleep(30)
        life.server.deaf = False
        await life.until(lambda: life.said()[0] == 7)
        assert set(life.said()[1]) == set(life.cloud.ports)

    live(story)


def test_damage_is_mended_and_told_without_any_server() -> None:
    async def story(life: Life) -> None:
        life.server.lines.put_nowait(whole(life.cloud, 7))
        await life.until(lambda: life.said()[0] == 7)
        life.server.up = False
        life.server.lines.put_nowait(None)
        await asyncio.sleep(1)
        (rule, *_) = [r for r in life.body.state if type(r).__name__ == "Rule" and r.priority == 32768]  # type: ignore[attr-defined]
        life.body.state = life.body.state.without(rule)
        life.hands.touched.set()
        await life.until(lambda: rule in set(life.body.state))
        life.server.up = True
        life.server.lines.put_nowait(Delta(revision=8))
        await life.until(lambda: any(e.kind == "repaired" for r in life.server.reports for e in r.events))

    live(story)


def test_what_is_known_is_what_was_sent() -> None:
    async def story(life: Life) -> None:
        life.server.lines.put_nowait(whole(life.cloud, 7))
        fip = next(iter(life.cloud.floating_ips))
        delta = Delta(revision=8, removed={"floating_ips": (fip,)})
        life.server.lines.put_nowait(delta)
        await life.until(lambda: life.said()[0] == 8)
        assert life.worker.known.part == applied(life.cloud, delta)

    live(story)
