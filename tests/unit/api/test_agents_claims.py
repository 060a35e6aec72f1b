"""What a host once said of a port, floating IP or router holds for as long as it is so, and no longer: however it came about.

h1 ── says ERROR of the router, then its last port there goes    ▶ the router is not in ERROR for its sake
h1 ── was away while a floating IP left and came back            ▶ ACTIVE as soon as it says so again
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import pytest

from control_cloud import ADMIN, agent_of, port_of
from control_l3 import Routed, l3_agent_of
from floatway.agent.follow import Known
from floatway.agent.status import NOTHING, Truth, difference, truth
from floatway.api.agents.hub import Hub, Stream
from floatway.api.agents.reports import Reports
from floatway.api.engine import Engine
from floatway.compile.host import Origin
from floatway.control import entities as e
from floatway.control.decide import agents, bindings, floatingips, ports, router_interfaces
from floatway.control.decide.load import load
from floatway.control.draft import Draft
from floatway.control.settings import Settings
from floatway.control.view import cloud_view
from floatway.model.cloud import Cloud
from floatway.model.resources import Host, Port
from floatway.model.stream import Delta
from shared_store import Shared, Store


class Follower:
    """An agent that makes all that it is told, but for what is ``blocked``, and says so as the real one does."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.known = Known(Host(name=name, agent_mode="dvr", bridge_mappings={"physnet1": "br-ex"}))
        self.name = name
        self.truth = NOTHING
        self.told: Truth | None = None
        self.stream: Stream | None = None
        self.blocked: Mapping[Origin, str] = {}

    async def connect(self) -> None:
        """As it begins: what it stood at is told before what came meanwhile is made."""
        self.stream = self.world.hub.open(self.name, self.known.revision)
        self.told = None
        changed = self.take(await self.line())
        if self.known.part is not None and self.truth is not NOTHING:
            if not changed:
                self.truth = msgspec.structs.replace(self.truth, applied=self.known.revision or 0)
            await self.tell()
        await self.make()

    async def line(self) -> Delta:
        assert self.stream is not None
        taken = await self.stream.take(1.0)
        assert taken is not None
        return msgspec.json.decode(taken[1], type=Delta)

    def take(self, delta: Delta) -> bool:
        return self.known.take(delta)

    async def make(self) -> None:
        assert self.known.part is not None
        self.truth = truth(self.known.part, self.name, self.known.revision or 0, blocked=self.blocked)
        await self.tell()

    async def tell(self) -> None:
        touched, self.known.touched = self.known.touched, set()
        await self.world.reports.take(self.name, difference(self.told, self.truth, touched))
        self.told = self.truth

    async def follow(self) -> None:
        self.take(await self.line())
        await self.make()

    def leave(self) -> None:
        assert self.stream is not None
        self.world.hub.left(self.stream)


class World:
    """A server; a router with a gateway and an interface; hosts that can have both."""

    def __init__(self, *hosts: str) -> None:
        self.seconds = 1_795_000_000.0
        self.engine = Engine(Store(Shared()), Settings(), clock=lambda: self.seconds)
        self.hosts = {name: Follower(self, name) for name in hosts}

    async def start(self) -> None:
        routed = Routed()
        draft = routed.draft
        draft.put(msgspec.structs.replace(routed.outside, provider_physical_network="physnet1"))
        for name in self.hosts:
            agent_of(draft, name)
            l3_agent_of(draft, name)
        self.router, self.network, self.outside = routed.router, routed.network, routed.outside
        (self.interface,) = routed.ports("network:router_interface_distributed")
        await self.engine.start()

        def everything(new: Draft) -> None:
            for kind, id_, _ in draft.changes():
                new.put(draft.need(e.KINDS[kind], id_))

        await self.engine.write(everything)
        self.hub = Hub(self.engine.model, clock=lambda: self.seconds)
        self.engine.listen(self.hub.moved)
        self.reports = Reports(self.engine, self.hub)

    async def port(self, host: str) -> e.Port:
        def rule(draft: Draft) -> e.Port:
            return port_of(draft, self.network, ADMIN, device_owner="compute:a", binding_host_id=host)

        return (await self.engine.write(rule)).result

    async def floating(self, port: e.Port) -> e.FloatingIp:
        values = {"project_id": port.project_id, "floating_network_id": self.outside.id, "port_id": port.id}
        return (await self.engine.write(lambda draft: floatingips.create(draft, ADMIN, values))).result

    async def change(self, entity: e.Entity, **values: object) -> None:
        def rule(draft: Draft) -> None:
            now = draft.need(type(entity), entity.id)
            update = {e.Port: ports.update, e.FloatingIp: floatingips.update}[type(entity)]
            update(draft, ADMIN, now, values)

        await self.engine.write(rule)

    async def delete(self, port: e.Port) -> None:
        await self.engine.write(lambda draft: ports.delete(draft, ADMIN, draft.need(e.Port, port.id)))

    async def forget(self, host: str) -> None:
        def rule(draft: Draft) -> None:
            for agent in draft.find(e.Agent, "host", host):
                agents.delete(draft, ADMIN, agent)

        await self.engine.write(rule)

    def status(self, entity: e.Entity) -> str:
        found = self.engine.model.get(type(entity), entity.id)
        assert isinstance(found, e.Port | e.FloatingIp | e.Router)
        return found.status


def run(story: Callable[[World], Awaitable[None]], *hosts: str) -> None:
    async def main() -> None:
        world = World(*hosts)
        await world.start()
        async with asyncio.timeout(30):
            await story(world)
        await world.engine.close()

    asyncio.run(main())


def test_a_floating_ip_that_left_and_came_back_meanwhile_is_active_again() -> None:
    async def story(world: World) -> None:
        h1 = world.hosts["h1"]
        one, two = await world.port("h1"), await world.port("h1")
        floating = await world.floating(one)
        await h1.connect()
        assert world.status(floating) == "ACTIVE"
        h1.leave()
        for port in (two, one):
            await world.change(floating, port_id=port.id)
        await world.change(two, allowed_address_pairs=[{"ip_address": "10.9.9.9"}])  # something that it must still make
        assert world.status(floating) == "DOWN"
        await h1.connect()
        assert world.status(floating) == world.status(one) == world.status(two) == "ACTIVE"

    run(story, "h1")


def test_a_port_that_went_down_and_up_meanwhile_is_active_again() -> None:
    async def story(world: World) -> None:
        h1 = world.hosts["h1"]
        one = await world.port("h1")
        await h1.connect()
        h1.leave()
        for up in (False, True):
            await world.change(one, admin_state_up=up)
        await world.port("h1")
        await h1.connect()
        assert world.status(one) == "ACTIVE"

    run(story, "h1")


def test_an_older_word_of_who_was_away_is_not_believed() -> None:
    async def story(world: World) -> None:
        h1 = world.hosts["h1"]
        one, two = await world.port("h1"), await world.port("h1")
        floating = await world.floating(one)
        await h1.connect()
        old = difference(None, h1.truth)
        await world.change(floating, port_id=two.id)
        await h1.follow()
        h1.leave()
        await world.change(floating, port_id=one.id)
        await world.change(floating, port_id=two.id)
        world.hub.open("h1", h1.known.revision)
        await world.reports.take("h1", old)  # it was long under way
        assert world.status(floating) == "DOWN"

    run(story, "h1")


def test_a_router_is_not_in_error_for_a_host_that_has_it_no_more() -> None:
    async def story(world: World) -> None:
        h1, h2 = world.hosts["h1"], world.hosts["h2"]
        one, _ = await world.port("h1"), await world.port("h2")
        h1.blocked = {("router", world.router.id): "ip netns add: no space left"}
        await h1.connect()
        await h2.connect()
        assert world.status(world.router) == "ERROR" and world.status(world.interface) == "ERROR"
        h1.blocked = {}
        await world.delete(one)
        await h1.follow()
        assert world.status(world.router) == world.status(world.interface) == "ACTIVE"
        assert world.engine.model.need(e.Port, world.interface.id).up_hosts == ("h2",)

    run(story, "h1", "h2")


def test_an_interface_is_down_when_no_host_has_it_any_more() -> None:
    async def story(world: World) -> None:
        h1 = world.hosts["h1"]
        one = await world.port("h1")
        await h1.connect()
        assert world.status(world.interface) == "ACTIVE"
        await world.delete(one)
        await h1.follow()
        assert world.status(world.interface) == "DOWN"

    run(story, "h1")


def test_who_comes_back_takes_back_what_is_his_no_more() -> None:
    async def story(world: World) -> None:
        h1 = world.hosts["h1"]
        one = await world.port("h1")
        h1.blocked = {("router", world.router.id): "ip netns add: no space left"}
        await h1.connect()
        h1.leave()
        await world.delete(one)
        h1.blocked = {}
        await h1.connect()
        assert world.status(world.router) == "ACTIVE" and world.status(world.interface) == "DOWN"

    run(story, "h1")


@pytest.mark.parametrize("way", ["moved", "unbound", "deleted", "binding", "loaded", "interface"])
def test_a_dead_host_that_is_evacuated_holds_no_router_and_no_floating_ip_in_error(way: str) -> None:
    async def story(world: World) -> None:
        h1, h2 = world.hosts["h1"], world.hosts["h2"]
        one, other, two = await world.port("h1"), await world.port("h1"), await world.port("h2")
        floating = await world.floating(one)
        h1.blocked = {("router", world.router.id): "ip netns add: no space left"}
        await h1.connect()
        await h2.connect()
        h1.leave()
        world.seconds += 1000
        assert world.status(world.router) == world.status(world.interface) == world.status(floating) == "ERROR"
        await world.delete(other)
        assert world.status(world.router) == world.status(world.interface) == "ERROR"  # there is one left
        if way == "moved":
            await world.change(one, **{"binding:host_id": "h2"})
        elif way == "unbound":
            await world.change(one, **{"binding:host_id": ""})
        elif way == "deleted":
            await world.delete(one)
        elif way == "binding":
            await world.engine.write(
                lambda draft: bindings.delete(draft, ADMIN, bindings.find(draft, draft.need(e.Port, one.id), "h1"))
            )
        elif way == "loaded":
            await world.engine.write(lambda draft: load(draft, Cloud(), {"ports": [one.id]}))
        else:
            await world.change(floating, port_id=None)
            body = {"port_id": world.interface.id}
            await world.engine.write(
                lambda draft: router_interfaces.remove(draft, ADMIN, draft.need(e.Router, world.router.id), body)
            )
        assert world.status(world.router) == "ACTIVE" and world.status(floating) == "DOWN"
        assert world.engine.model.need(e.Router, world.router.id).failed_hosts == ()
        if way != "interface":
            assert world.status(world.interface) == world.status(two) == "ACTIVE"
            assert world.engine.model.need(e.Port, world.interface.id).up_hosts == ("h2",)

    run(story, "h1", "h2")


def test_a_port_that_takes_anothers_place_in_one_step_leaves_the_word_as_it_was() -> None:
    async def story(world: World) -> None:
        h1 = world.hosts["h1"]
        one = await world.port("h1")
        await h1.connect()

        def replaced(draft: Draft) -> None:
            new = Port(
                id=str(uuid.UUID(int=7)),
                project_id=one.project_id,
                network_id=one.network_id,
                mac_address="fa:16:3e:00:00:07",
                device_owner="compute:a",
                binding_host_id="h1",
            )
            known = cloud_view(draft.model)
            kept = {id_: port for id_, port in known.ports.items() if id_ != one.id}
            load(draft, msgspec.structs.replace(known, ports={**kept, new.id: new}), {"ports": [one.id]})

        await world.engine.write(replaced)
        assert world.engine.model.get(e.Port, one.id) is None
        assert world.status(world.interface) == "ACTIVE"

    run(story, "h1")


def test_a_forgotten_host_holds_nothing_up_and_nothing_in_error() -> None:
    async def story(world: World) -> None:
        h1, h2 = world.hosts["h1"], world.hosts["h2"]
        one, two = await world.port("h1"), await world.port("h2")
        floating = await world.floating(one)
        h1.blocked = {("router", world.router.id): "ip netns add: no space left"}
        await h1.connect()
        await h2.connect()
        assert world.status(world.router) == "ERROR" and world.status(one) == "ACTIVE"
        h1.leave()
        await world.forget("h1")
        assert world.status(world.router) == world.status(two) == "ACTIVE"
        assert world.engine.model.need(e.Port, world.interface.id).up_hosts == ("h2",)
        assert world.status(one) == world.status(floating) == "DOWN"

    run(story, "h1", "h2")


def test_an_agent_that_is_forgotten_and_runs_begins_anew() -> None:
    async def story(world: World) -> None:
        h1, h2 = world.hosts["h1"], world.hosts["h2"]
        one = await world.port("h1")
        await h1.connect()
        await h2.connect()
        await world.forget("h1")
        assert h1.stream is not None and h1.stream.closed  # it describes itself with its next connection
        assert h2.stream is not None and not h2.stream.closed
        await h1.connect()
        assert world.status(one) == "ACTIVE"

    run(story, "h1", "h2")


def test_the_agent_that_dies_leaves_its_statuses_as_the_data_plane_is() -> None:
    """As in Neutron: what it made goes on without it, and ``alive`` of its agents says that nobody looks after it."""

    async def story(world: World) -> None:
        h1 = world.hosts["h1"]
        one = await world.port("h1")
        floating = await world.floating(one)
        await h1.connect()
        h1.leave()
        world.seconds += 1000
        assert world.status(one) == world.status(floating) == "ACTIVE"
        assert not any(
            agents.alive_at(agent, world.engine.settings, world.seconds) for agent in world.engine.model.all(e.Agent)
        )
        another = await world.port("h1")
        assert world.engine.model.need(e.Port, another.id).binding_vif_type == "binding_failed"
        await world.change(floating, port_id=None)
        assert world.status(floating) == "DOWN"
        await world.change(floating, port_id=one.id)
        assert world.status(floating) == "DOWN"  # nobody has said that it leads there

    run(story, "h1")


def test_a_host_cannot_take_back_what_another_said() -> None:
    async def story(world: World) -> None:
        h1, h2 = world.hosts["h1"], world.hosts["h2"]
        one = await world.port("h1")
        floating = await world.floating(one)
        await h1.connect()
        await h2.connect()
        assert h2.stream is not None
        said = difference(h1.truth, Truth(applied=h2.known.revision or 0))
        assert said.ports[one.id].state == said.floating_ips[floating.id].state == "DOWN"
        await world.reports.take("h2", said)
        assert world.status(one) == world.status(floating) == world.status(world.interface) == "ACTIVE"
        assert world.engine.model.need(e.Port, world.interface.id).up_hosts == ("h1",)

    run(story, "h1", "h2")
