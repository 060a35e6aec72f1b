"""Whatever is damaged by hand is heard and mended, by a look at just that; what nobody damaged is left in peace."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from floatway.agent.agent import Agent
from floatway.agent.reconcile import reconcile
from floatway.host.commands import commands
from floatway.host.records import Link, Netns, OvsBridge, Rule, Sysctl
from floatway.linux.connection import HostConnection
from floatway.linux.observe import observe
from floatway.linux.touched import EVERYTHING, NOTHING, Touched
from floatway.linux.watch import Watch
from kernel.damage import damages
from kernel.reference_host import HOST, reference, start, taps
from kernel.support import kill_ovsdb, kill_vswitchd, sh, start_ovsdb, start_vswitchd

pytestmark = pytest.mark.kernel
UNHEARD = {"sysctl"}
"""Most settings change without a word: they are found by the look at everything now and then."""
LIMIT = 30.0  # seconds: a test that waits longer has failed


class Host:
    """A watched host with an agent that mends what it hears of."""

    def __init__(self, conn: HostConnection, agent: Agent, watch: Watch) -> None:
        self.conn, self.agent, self.watch = conn, agent, watch
        self.heard: list[Touched] = []

    async def mend(self) -> bool:
        """Wait for a touch, look, mend. True when something had to be done."""
        touched = await self.watch.next()
        self.heard.append(touched)
        with self.watch.ours() as did:
            outcome = self.agent.verify(touched)
            did(outcome.plan)
        self.watch.expect(outcome.waiting)
        return bool(outcome.plan)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Mend until the condition holds."""
        async with asyncio.timeout(LIMIT):
            while not condition():
                await self.mend()

    async def quiet(self) -> None:
        """Look at all that is heard until nothing is for a while, and nothing of it had to be mended."""
        while True:
            try:
                async with asyncio.timeout(1.0):
                    done = await self.mend()
            except TimeoutError:
                return
            assert not done, self.agent.last.plan if self.agent.last else None


def watched(story: Callable[[Host], Awaitable[None]]) -> None:
    """The reference's host, made and watched."""
    cloud = reference()
    start(cloud)

    async def run() -> None:
        with HostConnection() as conn, Agent(HOST, conn) as agent:
            async with Watch(conn, sweep=0) as watch:
                with watch.ours():
                    agent.reconcile(cloud)
                host = Host(conn, agent, watch)
                await host.quiet()
                await story(host)

    asyncio.run(run())


def todo(host: Host) -> list[str]:
    """What a look at all of the host finds to be done."""
    return [
        line for step in reconcile(host.conn, reference(), HOST, dry_run=True).plan.steps for line in commands(step)
    ]


def test_every_kind_of_damage_is_heard_and_mended() -> None:
    async def story(host: Host) -> None:
        chance = random.Random(1)
        for kind, choices in damages(observe(host.conn)).items():
            if kind in UNHEARD or not choices:
                continue
            command = chance.choice(choices)
            sh(command)
            assert todo(host), f"{kind}: {command}: no damage"
            host.heard.clear()
            try:
                await host.until(lambda: not todo(host))
            except TimeoutError:
                pytest.fail(f"{kind}: {command}: {host.heard}\n{todo(host)}")
        await host.quiet()
        assert not todo(host)

    watched(story)


@pytest.mark.parametrize("seed", range(3))
def test_damage_done_while_we_work_is_heard_and_mended(seed: int) -> None:
    """Many at once, in the middle of our own changes; commands that fail because an earlier one took their object are part of it."""

    async def story(host: Host) -> None:
        chance = random.Random(seed)
        cloud = reference()
        without = msgspec.structs.replace(cloud, floating_ips={})
        choices = {kind: found for kind, found in damages(observe(host.conn)).items() if found and kind not in UNHEARD}
        for number in (1, 2, 6):
            done = [chance.choice(choices[kind]) for kind in chance.choices(list(choices), k=number)]
            with host.watch.ours() as did:
                did(host.agent.apply(without).plan)
                for command in done:
                    sh(f"{command} || true")
                did(host.agent.apply(cloud).plan)
            try:
                await host.until(lambda: not todo(host))
            except TimeoutError:
                pytest.fail(f"{done}: {host.heard}\n{todo(host)}")

    watched(story)


def test_more_than_can_be_heard_is_looked_at() -> None:
    async def story(host: Host) -> None:
        (netns, *_) = sorted(netns.name for netns in observe(host.conn).records(Netns))
        batch = "".join(f"route add 10.{n >> 8}.{n & 255}.0/24 dev lo proto static\n" for n in range(6000))
        Path("/run/batch").write_text(batch)
        sh(f"ip -n {netns} -force -batch /run/batch")
        await host.until(lambda: not todo(host))

    watched(story)


def test_an_ear_that_fails_is_replaced() -> None:
    async def story(host: Host) -> None:
        (rule, *_) = host.agent.verify(NOTHING).desired.records(Rule)
        host.watch._spaces[rule.netns].route.close()  # what cannot happen
        host.watch._failed(RuntimeError("no ear"))
        await host.until(lambda: any(touched.everything for touched in host.heard))
        sh(f"ip -n {rule.netns} rule del prio {rule.priority}")
        await host.until(lambda: not todo(host))

    watched(story)


def test_nothing_is_heard_where_nothing_happens() -> None:
    async def story(host: Host) -> None:
        host.heard.clear()
        sh("ping -c 1 -W 1 -I lo 127.0.0.1 >/dev/null")
        await host.quiet()
        assert host.heard == []

    watched(story)


def test_a_tap_is_taken_as_soon_as_it_is_there() -> None:
    async def story(host: Host) -> None:
        (tap, *_) = taps(reference())
        sh(f"ip link del {tap}")
        await host.until(lambda: host.agent.last is not None and host.agent.last.waiting == (tap,))
        with host.watch.ours():  # whatever the agent does meanwhile
            sh(f"ip link add {tap} type veth peer name other && ip link set {tap} up")
            async with asyncio.timeout(LIMIT):
                touched = await host.watch.next()
        assert tap in touched.links
        assert host.agent.verify(touched).waiting == ()
        assert observe(host.conn).records(Link, lambda link: link.name == tap)[0].master == f"qbr{tap[3:]}"

    watched(story)


def test_what_is_there_when_it_is_wanted_first_is_taken_without_a_look_at_everything() -> None:
    cloud = reference()
    (tap, *_) = taps(cloud)
    port = next(one for one in cloud.ports.values() if one.id.startswith(tap[3:]))
    ports = {key: one for key, one in cloud.ports.items() if one is not port}
    without = msgspec.structs.replace(cloud, ports=ports, floating_ips={})

    async def story(host: Host) -> None:
        host.agent.apply(without)
        assert host.agent.apply(cloud).waiting == ()
        assert not todo(host)
        host.agent.apply(without)
        sh(f"ip link del {tap}")
        outcome = host.agent.apply(cloud)
        assert (outcome.waiting, "observe" in outcome.seconds) == ((tap,), False)
        outcome = host.agent.apply(msgspec.structs.replace(cloud, floating_ips={}))
        assert (outcome.waiting, "observe" in outcome.seconds) == ((tap,), False)
        sh(f"ip link add {tap} type veth peer name other && ip link set {tap} up")
        assert host.agent.apply(cloud).waiting == ()
        assert not todo(host)

    watched(story)


def test_open_vswitch_is_killed_and_comes_back() -> None:
    async def story(host: Host) -> None:
        kill_vswitchd()
        start_vswitchd()
        await host.until(lambda: not todo(host))
        await host.quiet()
        sh("ovs-ofctl -O OpenFlow14 del-flows br-int")  # is still heard
        await host.until(lambda: not todo(host))

    watched(story)


def test_the_database_is_killed_and_comes_back() -> None:
    async def story(host: Host) -> None:
        kill_ovsdb()
        await host.watch.next()
        start_ovsdb()
        async with asyncio.timeout(LIMIT):
            while not (await host.watch.next()).database:
                pass
        await host.quiet()
        sh("ovs-vsctl set-fail-mode br-int standalone")  # is still heard
        await host.until(lambda: not todo(host))

    watched(story)


def test_a_namespace_that_is_made_anew_is_listened_to() -> None:
    async def story(host: Host) -> None:
        (name, *_) = sorted(netns.name for netns in observe(host.conn).records(Netns))
        for _ in range(2):
            sh(f"ip netns del {name} && ip netns add {name}")
            await host.until(lambda: not todo(host))

    watched(story)


def test_without_vswitchd_all_else_is_mended() -> None:
    async def story(host: Host) -> None:
        kill_vswitchd()
        await host.watch.next()
        (router, *_) = host.agent.verify(NOTHING).desired.records(Rule)
        sh(f"ip -n {router.netns} rule del prio {router.priority}")
        async with asyncio.timeout(LIMIT):
            while not await host.mend():
                pass
        start_vswitchd()
        await host.until(lambda: not todo(host))

    watched(story)


def test_what_cannot_be_heard_is_looked_at_now_and_then() -> None:
    async def story(host: Host) -> None:
        settings = host.agent.verify(NOTHING).desired.records(Sysctl)
        one = random.Random(3).choice(settings)
        inside = f"ip netns exec {one.netns} " if one.netns else ""
        async with Watch(host.conn, sweep=0.1) as watch:
            sh(f"{inside}sysctl -qw {one.name}={0 if one.value != '0' else 1}")
            seen = NOTHING
            async with asyncio.timeout(LIMIT):
                while todo(host) or not (seen.database and "br-int" in seen.bridges and "" in seen.addressing):
                    touched = await watch.next()
                    host.agent.verify(touched)
                    seen |= touched

    watched(story)


def test_a_setting_is_mended_by_a_look_at_everything() -> None:
    async def story(host: Host) -> None:
        settings = host.agent.verify(EVERYTHING).desired.records(Sysctl)
        for one in random.Random(2).sample(settings, 3):
            inside = f"ip netns exec {one.netns} " if one.netns else ""
            sh(f"{inside}sysctl -qw {one.name}={0 if one.value != '0' else 1}")
        assert host.agent.verify(EVERYTHING).plan
        assert not host.agent.verify(EVERYTHING).plan

    watched(story)


def test_bridges_of_others_are_not_listened_to() -> None:
    async def story(host: Host) -> None:
        sh("ovs-vsctl add-br other -- set bridge other datapath_type=netdev protocols=OpenFlow10,OpenFlow14")
        await host.quiet()
        host.heard.clear()
        sh("ovs-ofctl -O OpenFlow14 add-flow other priority=7,actions=drop")
        await host.quiet()
        assert host.heard == []
        assert observe(host.conn).get(OvsBridge, "other")

    watched(story)
