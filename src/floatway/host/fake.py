"""A host in memory that runs steps as strictly as a kernel and Open vSwitch would: the plan's judge in tests.

It refuses what they refuse (what exists cannot be made, what is missing cannot be deleted, nothing may name what is not
there) and, unasked, takes along what they take along. ``run`` is pure: a state and a step give a state.
"""

from collections.abc import Iterable, Iterator

from floatway.host.commands import commands
from floatway.host.fake_base import FakeError, Tables
from floatway.host.fake_ip import ip, need_netns, remove_link
from floatway.host.fake_netfilter import ipset, ipset_outcome, restore
from floatway.host.fake_ovs import bundle, transact
from floatway.host.losses import setting_device
from floatway.host.records import Chain, Connection, Ipset, Link, Netns, Route, Rule, Sysctl
from floatway.host.state import HostState
from floatway.host.steps import (
    Announce,
    ConntrackDelete,
    Ip,
    IpsetRestore,
    NetnsAdd,
    NetnsDelete,
    OfBundle,
    OvsTransaction,
    Restore,
    Step,
    SysctlWrite,
)

__all__ = ["FakeError", "run", "run_all", "stages"]

_LOCAL = ((0, 255), (32766, 254), (32767, 253))


def run(state: HostState, step: Step, *, strict: bool = True) -> HostState:
    """The state after the step. Raises FakeError where a host would refuse; with ``strict`` off a port may also go while
    flows name it (which Open vSwitch allows and a plan never does)."""
    for after in stages(state, step, strict=strict):
        state = after
    return state


def run_all(state: HostState, steps: Iterable[Step], *, strict: bool = True) -> HostState:
    """The state after all of the steps."""
    for step in steps:
        state = run(state, step, strict=strict)
    return state


def stages(state: HostState, step: Step, *, strict: bool = True) -> Iterator[HostState]:
    """The states that the step goes through, its end the last: one for each operation that is atomic by itself."""
    match step:
        case Ip(netns=netns, ops=ops):
            for op in ops:
                part: Step = Ip(netns=netns, ops=(op,))
                tables = Tables(state, _named(part), strict=strict)
                ip(tables, op)
                state = tables.state()
                yield state
        case SysctlWrite(netns=netns, settings=settings):
            for name, value in settings:
                part = SysctlWrite(netns=netns, settings=((name, value),))
                tables = Tables(state, _named(part), strict=strict)
                _sysctl(tables, netns, name, value)
                state = tables.state()
                yield state
        case IpsetRestore(netns=netns, text=text):
            tables = Tables(state, _named(step), strict=strict)
            for line in text.splitlines():  # not all or nothing, unlike iptables-restore
                ipset(tables, netns, line)
                yield tables.state()
            ipset_outcome(tables, step)
        case _:
            tables = Tables(state, _named(step), strict=strict)
            _whole(tables, step)
            yield tables.state()


def _named(step: Step) -> str:
    return "; ".join(commands(step)) or type(step).__name__


def _whole(tables: Tables, step: Step) -> None:
    match step:
        case NetnsAdd(name=name):
            tables.need(tables.get(Netns, name) is None, "the namespace exists")
            tables.put(Netns(name=name))
            tables.put(Link(netns=name, name="lo", kind="loopback", mtu=65536))
            for priority, table in _LOCAL:
                tables.put(Rule(netns=name, priority=priority, table=table))
        case NetnsDelete(name=name):
            need_netns(tables, name)
            _netns_delete(tables, name)
        case Restore():
            restore(tables, step)
        case OvsTransaction(ops=ops):
            transact(tables, ops)
        case OfBundle():
            bundle(tables, step)
        case ConntrackDelete(netns=netns):
            need_netns(tables, netns)
            for connection in [c for c in tables.of(Connection).values() if _meant(c, step)]:
                tables.drop(connection)
        case Announce(netns=netns, dev=dev):
            need_netns(tables, netns)
            link = tables.get(Link, netns, dev)
            tables.need(link and link.up, f"device {dev} is absent or down")
        case _:
            raise AssertionError(step)


def _netns_delete(tables: Tables, name: str) -> None:
    """An OVS internal device in it is destroyed; its port stays in the database, without a device."""
    for link in [link for link in tables.of(Link).values() if link.netns == name]:
        remove_link(tables, link)
    for kind in (Route, Rule, Sysctl, Chain, Ipset, Connection):
        for record in [r for r in tables.of(kind).values() if getattr(r, "netns", "") == name]:
            tables.drop(record)
    tables.of(Netns).pop((name,))


def _sysctl(tables: Tables, netns: str, name: str, value: str) -> None:
    need_netns(tables, netns)
    device = setting_device(name)
    tables.need(not device or tables.get(Link, netns, device), f"there is no device {device}")
    tables.put(Sysctl(netns=netns, name=name, value=value))


def _meant(connection: Connection, step: ConntrackDelete) -> bool:
    side, _, end = step.direction.partition("-")
    direction = connection.original if side == "orig" else connection.reply
    zone = step.zone is None or connection.zone == step.zone
    return connection.netns == step.netns and zone and getattr(direction, end) == step.address
