"""Hosts for the plan's tests: compiled from small clouds, with the devices that others make and things of others around."""

from collections.abc import Iterator

import msgspec

from floatway.compile.allocations import allocate, recover
from floatway.compile.host import compile_host
from floatway.host.fake import stages
from floatway.host.ownership import owned
from floatway.host.plan import plan
from floatway.host.records import Chain, Flow, Ipset, Link, Netns, OvsBridge, OvsPort, Route, Rule
from floatway.host.state import HostState, diff
from floatway.host.steps import NetnsAdd, OfBundle, Plan, Restore, Step
from floatway.lab.sample import big_cloud
from floatway.linux.execute import BESIDE, early_bundles, groups
from floatway.model.cloud import Cloud
from floatway.model.resources import Host
from strategies import HOSTS

HOST = HOSTS[0]
FOREIGN = (
    Link(netns="", name="lo", kind="loopback", mtu=65536),
    Link(netns="", name="docker0", kind="bridge", mac="02:42:00:00:00:01"),
    Netns(name="foreign"),
    Link(netns="foreign", name="lo", kind="loopback", mtu=65536),
    Chain(netns="", table="filter", name="FORWARD", policy="DROP", rules=("-j DOCKER",)),
    Chain(netns="", table="filter", name="INPUT", policy="ACCEPT"),
    Chain(netns="", table="filter", name="OUTPUT", policy="ACCEPT"),
    Chain(netns="", table="filter", name="DOCKER", rules=("-i docker0 -j ACCEPT",)),
    Ipset(netns="", name="foreign", members=("10.0.0.1",)),
    Rule(netns="", priority=700, table=77, src="10.7.0.0/16"),
    Route(netns="", prefix="10.6.0.0/16", dev="docker0", table=77),
    OvsBridge(name="br-foreign"),
    OvsPort(bridge="br-foreign", name="p0", type="vxlan"),
    Flow(bridge="br-foreign", table=0, priority=5, match="tcp", actions="drop", cookie=0x77),
)


def small_cloud(ports: int = 3, routers: int = 2, floating_ips: int = 2) -> Cloud:
    """Always the same cloud: instances with floating IPs behind routers, all on one of two hosts."""
    cloud = big_cloud(ports=ports, routers=routers, floating_ips=floating_ips, host=HOST)
    return msgspec.structs.replace(cloud, hosts={**cloud.hosts, HOSTS[1]: Host(name=HOSTS[1], tunnel_ip="10.10.20.99")})


def compiled(cloud: Cloud, observed: HostState | None = None) -> HostState:
    """What the host shall be, with the numbers it already has."""
    allocations = allocate(cloud, HOST, recover(observed or HostState({}), cloud, HOST))
    return compile_host(cloud, HOST, allocations)


def bare(*states: HostState) -> HostState:
    """A host with nothing of ours, but with the devices that these states want of others."""
    devices = [
        msgspec.structs.replace(link, mac="02:00:00:00:01:00", mtu=1500, up=False, master="")
        for state in states
        for link in state.table(Link).values()
        if link.kind == "foreign"
    ]
    return HostState.of([*FOREIGN, *devices])


def walked(state: HostState, todo: Plan) -> Iterator[HostState]:
    """Every state on the way, from the first on."""
    yield state
    for step in todo.steps:
        for after in stages(state, step):
            state = after
            yield state


def done(state: HostState, desired: HostState) -> HostState:
    """The state after the plan for it."""
    for after in walked(state, plan(state, desired)):
        state = after
    return state


def difference(state: HostState, desired: HostState) -> str:
    """What is still otherwise than wanted, for reading."""
    lines = []
    for delta in diff(owned(state, desired), desired):
        lines += [f"too much: {record}" for record in delta.removed]
        lines += [f"missing: {record}" for record in delta.added]
        lines += [f"is: {old}\n  wanted: {new}" for old, new in delta.changed]
    return "\n".join(lines)


def foreign_of(state: HostState) -> set[object]:
    """The things of others, as they are now."""
    found: set[object] = set()
    for record in FOREIGN:
        now = state.get(type(record), *record.key)
        if isinstance(now, Chain):
            now = msgspec.structs.replace(now, rules=tuple(r for r in now.rules if "neutron-" not in r))
        found.add(now)
    return found


def otherwise(steps: Plan) -> Plan:
    """The same plan as it may run too: bundles that begin early are done first, those that run at the same time the other way round,
    and a new namespace has its rules no sooner than it must."""
    together = groups(steps.steps)
    early = early_bundles(together)
    fresh = {step.name for step in steps.steps if isinstance(step, NetnsAdd)}
    after: list[Step] = []
    due: list[Step] = []
    for number, group in enumerate(together):
        if isinstance(group[0], Restore):
            due += (step for step in group if isinstance(step, Restore) and step.netns in fresh)
            after += (step for step in group if step not in due)
            continue
        if not isinstance(group[0], BESIDE):
            after += due
            due.clear()
        if number not in early.values():
            after += reversed(group) if isinstance(group[0], OfBundle) else group
        if number in early:
            after += reversed(together[early[number]])
    after += due
    return msgspec.structs.replace(steps, steps=tuple(after))
