"""A whole cloud in one process: the real server and the real agents, on hosts, wires and a clock that are not.

    drawn requests ─▶ Engine ─▶ Hub ─▶ Wire: late, cut, doubled ─▶ Worker ─▶ Agent ─▶ Memory: steps fail, agents die in the middle
                       │ killed, started again on the same store                        ▲ taps come and go, somebody breaks things

At rest every host is what its part of the cloud compiles to, every status is what the host would say, and nothing that was
acknowledged is lost. Who waited for a revision, through whichever life of the server, was not told too early that it is applied.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from floatway.agent.agent import Agent
from floatway.agent.body import Memory
from floatway.agent.config import AgentConfig
from floatway.agent.link import ANSWER_SECONDS, Address, Link, LinkError
from floatway.agent.main import described
from floatway.agent.status import truth
from floatway.agent.work import Done, Worker
from floatway.api.agents.hub import Ahead, Hub
from floatway.api.agents.reports import Reports
from floatway.api.engine import Engine
from floatway.compile import names
from floatway.compile.allocations import allocate, recover
from floatway.compile.host import compile_host
from floatway.control import entities as e
from floatway.control.errors import ApiError
from floatway.control.parts import part
from floatway.control.settings import Settings
from floatway.control.snapshot import Model
from floatway.host.plan import plan
from floatway.host.records import Chain, Flow, Ipset, Neighbour, Record, Route, Rule
from floatway.host.records import Link as Device
from floatway.host.state import HostState
from floatway.host.steps import Step
from floatway.linux.touched import EVERYTHING
from floatway.model.cloud import Cloud, put
from floatway.model.stream import Delta, Report
from sim.requests import first_cloud, fleet, request
from sim.store import MemoryStore

HEARTBEAT = 5.0
FEW = 5
"""Hosts that drawn requests reach by themselves; of more, each has an instance from the beginning."""
FRAGILE: tuple[type[Record], ...] = (Rule, Route, Chain, Flow, Neighbour, Ipset)
"""What somebody breaks by hand now and then."""
START = HostState.of(
    [
        Device(netns="", name="lo", kind="loopback", mtu=65536),
        *(Chain(netns="", table="filter", name=name, policy="ACCEPT") for name in ("FORWARD", "INPUT", "OUTPUT")),
    ]
)
_ENCODER = msgspec.json.Encoder()
_STORED = msgspec.msgpack.Encoder()
"""As the engine writes entities."""
_DELTA = msgspec.json.Decoder(Delta)
_REPORT = msgspec.json.Decoder(Report)


class Killed(BaseException):
    """The agent died in the middle of a plan (kill -9)."""


class Faults(msgspec.Struct):
    """How likely each is, at each chance it has."""

    cut: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    step: float = 0.0
    death: float = 0.0
    damage: float = 0.0
    server: float = 0.0


class Server:
    """One life of the server."""

    def __init__(self, store: MemoryStore, clock: Callable[[], float]) -> None:
        self.engine = Engine(store, Settings(), clock=clock, seed=lambda: store.chance.getrandbits(64))
        self.clock = clock
        self.hub: Hub | None = None
        self.reports: Reports | None = None
        self.dead = False

    async def start(self) -> None:
        await self.engine.start()
        self.hub = Hub(self.engine.model, clock=self.clock, kept=20)
        self.engine.listen(self.hub.moved)
        self.reports = Reports(self.engine, self.hub)

    def kill(self) -> None:
        """What it was about to do is not done, nobody is told anything."""
        self.dead = True
        for task in self.engine._tasks:
            task.cancel()
        if self.hub is not None:
            for stream in list(self.hub._streams.values()):
                stream.close()


class Wire(Link):
    """A link whose server is in this process, and whose wire is bad."""

    def __init__(self, world: "World", host: str) -> None:
        super().__init__(Address.of("http://server:9697"), host, "key")
        self.world, self.host = world, host

    async def _delay(self) -> None:
        chance, faults = self.world.chance, self.world.faults
        await asyncio.sleep(chance.uniform(0.0, 0.002))
        if chance.random() < faults.late:
            await asyncio.sleep(chance.uniform(0.0, 3.0))
        if chance.random() < faults.cut:
            raise LinkError("cut")

    def _server(self) -> Server:
        server = self.world.server
        if server is None or server.hub is None or server.dead:
            raise LinkError("nobody answers")
        return server

    async def stream(self, since: int | None, silence: float) -> AsyncIterator[Delta]:
        await self._delay()
        server = self._server()
        hub = server.hub
        assert hub is not None
        try:
            stream = hub.open(self.host, since)
        except Ahead:
            stream = hub.open(self.host, None)
        try:
            while True:
                taken = await stream.take(HEARTBEAT)
                if stream.closed:
                    raise LinkError("the server let go")
                if taken is None:
                    line = _ENCODER.encode(Delta(revision=hub.revision))
                    revision = hub.revision
                else:
                    revision, line = taken
                await self._delay()
                for _ in range(2 if self.world.chance.random() < self.world.faults.doubled else 1):
                    yield _DELTA.decode(line)
                hub.sent(stream, revision)
        finally:
            hub.left(stream)

    async def report(self, report: Report) -> int:
        await self._delay()
        server = self._server()
        assert server.reports is not None
        line = _ENCODER.encode(report)
        for _ in range(2 if self.world.chance.random() < self.world.faults.doubled else 1):
            try:
                async with asyncio.timeout(ANSWER_SECONDS):  # a dead server's answer never comes
                    await server.reports.take(self.host, _REPORT.decode(line))
            except (ApiError, TimeoutError) as error:
                raise LinkError(str(error)) from error
        if server.dead:
            raise LinkError("the server died")
        await self._delay()  # taken, and the answer lost
        return server.engine.model.revision


class Hands:
    """An agent's hands on a host in memory."""

    def __init__(self, machine: "Machine") -> None:
        self.machine = machine
        self.agent = Agent(machine.name, body=machine.body)

    async def make(self, part: Cloud, *, look: bool) -> Done:
        await asyncio.sleep(self.machine.world.chance.uniform(0.0, 0.02))
        outcome = (self.agent.reconcile if look else self.agent.apply)(part)
        await asyncio.sleep(self.machine.world.chance.uniform(0.0, 0.01))
        return Done(waiting=outcome.waiting, blocked=outcome.blocked)

    async def mend(self) -> Done:
        outcome = self.agent.verify(EVERYTHING)
        return Done(waiting=outcome.waiting, blocked=outcome.blocked)

    async def damaged(self) -> None:
        await self.machine.touched.wait()
        self.machine.touched.clear()


class Machine:
    """One host: what is on it, and its agent while it lives."""

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.body = Memory(START, self._refuses)
        self.touched = asyncio.Event()
        self.config = AgentConfig(
            host=name, tunnel_ip=f"192.0.2.{int(name[1:]) % 250 + 1}", bridge_mappings={"physnet1": "br-ex"}
        )
        self.worker: Worker | None = None
        self.task: asyncio.Task[None] | None = None

    def _refuses(self, step: Step) -> str:
        chance, faults = self.world.chance, self.world.faults
        if chance.random() < faults.death:
            raise Killed
        return "no buffer space available" if chance.random() < faults.step else ""

    def start(self) -> None:
        self.worker = Worker(
            self.config.as_host,
            Hands(self),
            [lambda: Wire(self.world, self.name)],
            lambda: described(self.config),
            chance=self.world.chance,
            clock=self.world.clock,
        )
        self.task = asyncio.create_task(self._live(self.worker), name=f"agent {self.name}")

    async def _live(self, worker: Worker) -> None:
        try:
            await worker.run()
        except BaseExceptionGroup as group:
            if group.split(Killed)[1] is not None:
                raise

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
                await self.task

    def plug(self, model: Any) -> None:
        """Instances take and leave their devices, as the compute side does."""
        wanted = {
            names.device("tap", port.id): port
            for port in model.find(e.Port, "host", self.name)
            if not port.device_owner.startswith("network:")
        }
        state = self.body.state
        there = {link.name: link for link in state.table(Device).values() if link.kind == "foreign"}
        gone = [link for name, link in there.items() if name not in wanted]
        new = [
            Device(netns="", name=name, kind="foreign", mac="fe" + port.mac_address[2:], mtu=1450)
            for name, port in wanted.items()
            if name not in there
        ]
        if gone or new:
            self.body.state = state.without(*gone).replaced(*new)
            self.touched.set()

    def breaks(self) -> None:
        """Somebody deletes something of ours by hand."""
        chance = self.world.chance
        kind = chance.choice(FRAGILE)
        ours = [record for record in self.body.state.table(kind).values() if _is_ours(record)]
        if ours:
            self.body.state = self.body.state.without(chance.choice(sorted(ours, key=repr)))
            self.touched.set()


def _is_ours(record: Record) -> bool:
    return getattr(record, "netns", "").startswith(("qrouter-", "fip-")) and not (
        isinstance(record, Chain) and record.policy
    )


class World:
    """The server, the hosts, the clock and the chances of one run."""

    def __init__(self, seed: int, hosts: int) -> None:
        self.chance = random.Random(seed)
        self.faults = Faults()
        self.store = MemoryStore(self.chance)
        self.server: Server | None = None
        self.machines = {name: Machine(self, name) for name in (f"h{n + 1}" for n in range(hosts))}
        self.lasted = 0.0
        """Seconds of the cloud's own time."""
        self.acknowledged: list[Model] = []
        """What clients were told is durable."""
        self.waiters: set[asyncio.Task[None]] = set()
        self.barriers = 0
        """How often somebody waited for a revision, and was told that it is applied."""
        self.untrue: list[str] = []
        """Where that was not so."""

    def clock(self) -> float:
        return asyncio.get_running_loop().time()

    async def start(self) -> None:
        await self.start_server()
        for machine in self.machines.values():
            machine.start()

    async def start_server(self) -> None:
        server = Server(self.store, self.clock)
        await server.start()
        self.server = server
        if self.acknowledged:  # by one that was killed
            self.wait(server, self.acknowledged[-1])

    def wait(self, server: Server, told: Model) -> None:
        """A client waits until what it was told is applied."""
        task = asyncio.create_task(self._waits(server, told))
        self.waiters.add(task)
        task.add_done_callback(self.waiters.discard)

    async def _waits(self, server: Server, told: Model) -> None:
        assert server.hub is not None
        late = await server.hub.reached(told.revision, 600.0)
        if server.dead or late:
            return
        self.barriers += 1
        for machine in self.machines.values():
            presence = server.hub.presences.get(machine.name)
            worker = machine.worker
            if worker is None or worker.truth is None or machine.task is None or machine.task.done():
                continue  # nobody there, or one that is new: what is on the host the one before it had told of
            left = presence is not None and presence.followed and not presence.connected
            never_came = not server.engine.model.has(e.Agent, "host", machine.name)
            if not left and not never_came and not self._has(machine, worker, told):
                self.untrue.append(f"{machine.name} has not applied {told.revision}, which was said to be applied")

    def _has(self, machine: Machine, worker: Worker, told: Model) -> bool:
        assert worker.truth is not None
        if worker.truth.applied >= told.revision:
            return True
        mine = put(part(told, machine.name), machine.config.as_host)
        return worker._made is not None and put(worker._made, machine.config.as_host) == mine

    async def ask(self, rule: Callable[[Any], Any]) -> None:
        """A client's request; it may be refused, or nobody may be there."""
        server = self.server
        if server is None or server.dead:
            return
        try:
            written = await asyncio.wait_for(server.engine.write(rule), 10)
        except (ApiError, TimeoutError):
            return
        if not server.dead:
            self.acknowledged.append(written.model)
            self.wait(server, written.model)

    async def settle(self, seconds: float = 600.0) -> None:
        """No faults any more: wait until everybody has done everything."""
        self.faults = Faults()
        if self.server is None or self.server.dead:
            await self.start_server()
        for machine in self.machines.values():
            if machine.task is None or machine.task.done():
                machine.start()
        deadline = self.clock() + seconds
        while problems := self.wrong():
            if self.clock() > deadline:
                raise AssertionError("; ".join(problems[:10]))
            for machine in self.machines.values():
                machine.plug(self._engine().model)
            await asyncio.sleep(1.0)
        for task in self.waiters:
            task.cancel()
        if problems := self.lost():
            raise AssertionError("; ".join(problems[:10]))

    def _engine(self) -> Engine:
        assert self.server is not None
        return self.server.engine

    def wrong(self) -> list[str]:
        """What is not as it shall be at rest."""
        model = self._engine().model
        found = [f"revision {told.revision} is lost" for told in self.acknowledged if told.revision > model.revision]
        found += self.untrue
        for machine in self.machines.values():
            found += [f"{machine.name}: {what}" for what in self._host_wrong(machine, model)]
        return found

    def lost(self) -> list[str]:
        """What clients were told that the store does not hold."""
        told = {model.revision: model for model in self.acknowledged}
        there: dict[tuple[str, str], bytes] = {}
        found = []
        for commit in self.store.commits:
            for change in commit.changes:
                there[change.kind, change.id] = change.body or b""
            if (model := told.pop(commit.revision, None)) is not None:
                entities = (one for kind in e.KINDS.values() for one in model.all(kind))
                said = {(one.KIND, one.id): _STORED.encode(one) for one in entities}
                if said != {key: body for key, body in there.items() if body}:
                    found.append(f"what was told of revision {model.revision} is not what is stored")
        return found + [f"revision {revision} was told, and is not stored" for revision in told]

    def _host_wrong(self, machine: Machine, model: Any) -> list[str]:
        worker = machine.worker
        if worker is None or machine.task is None or machine.task.done():
            return ["no agent"]
        mine = put(part(model, machine.name), machine.config.as_host)
        have = worker.known.part
        if have is None or put(have, machine.config.as_host) != mine:
            return ["its view is not its part"]
        wanted = compile_host(
            mine, machine.name, allocate(mine, machine.name, recover(machine.body.state, mine, machine.name))
        )
        left = plan(machine.body.state, wanted)
        if left.steps:
            return [f"still to do: {len(left.steps)} steps, {left.steps[0]}"]
        expected = truth(mine, machine.name, 0, waiting=left.waiting)
        found = []
        for table, kind in (("ports", e.Port), ("floating_ips", e.FloatingIp), ("routers", e.Router)):
            for id_, status in getattr(expected, table).items():
                entity = model.get(kind, id_)
                if entity is not None and not _agrees(entity, status.state, machine.name):
                    found.append(f"{table} {id_} is {entity.status}, not {status.state}")
        for index, kind in (("reported_by", e.Port), ("failed_on", e.Router)):
            said = {one.id for one in model.find(kind, index, machine.name)}
            found += [f"{kind.KIND} {id_} has a word of it that it took back" for id_ in said - expected.ports.keys()]
        return found


def _agrees(entity: Any, state: str, host: str) -> bool:
    if isinstance(entity, e.Port):
        if not entity.admin_state_up:
            return bool(entity.status == "DOWN")
        if entity.binding_vif_type == "distributed":
            return host in entity.up_hosts if state == "ACTIVE" else host not in entity.up_hosts
        if entity.binding_vif_type in {"unbound", "binding_failed"}:
            return True  # nobody wired it for the API, whatever the host did
    return bool(entity.status == state)


def drawn_hosts(chance: random.Random) -> int:
    """How many hosts a cloud has: mostly few, where much meets on each; now and then hundreds."""
    least, most = chance.choices(((2, 5), (10, 40), (100, 300)), (94, 5, 1))[0]
    return chance.randint(least, most)


async def story(seed: int, *, hosts: int | None = None, requests: int = 40) -> World:
    """Requests and faults, drawn (the number of hosts too, if it is not given); then rest."""
    drawn = drawn_hosts(random.Random(f"hosts of {seed}"))
    world = World(seed, hosts or drawn)
    chance, hosts = world.chance, len(world.machines)
    begun = world.clock()
    await world.start()
    await world.ask(first_cloud)
    if hosts > FEW:
        await world.ask(fleet(hosts))
    world.faults = Faults(
        cut=chance.choice([0, 0.02, 0.1]),
        doubled=chance.choice([0, 0.1]),
        late=chance.choice([0, 0.05, 0.2]),
        step=chance.choice([0, 0.01, 0.05]),
        death=chance.choice([0, 0.002, 0.01]),
        damage=chance.choice([0, 0.1]),
        server=chance.choice([0, 0.02, 0.1]),
    )
    for _ in range(requests):
        asking = asyncio.create_task(world.ask(request(chance, hosts)))
        if chance.random() < 0.7:
            await asking
        await asyncio.sleep(chance.expovariate(2.0))
        if chance.random() < world.faults.server and world.server is not None:
            world.server.kill()
            await asyncio.sleep(chance.uniform(0.0, 10.0))
            await world.start_server()
        for machine in world.machines.values():
            if machine.task is None or machine.task.done():
                machine.start()
            if world.server is not None and chance.random() < 0.5:
                machine.plug(world.server.engine.model)
            if chance.random() < world.faults.damage:
                machine.breaks()
        await asking
    await world.settle()
    world.lasted = world.clock() - begun
    return world


__all__ = ["Faults", "World", "story"]
