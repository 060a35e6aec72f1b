"""What the cloud wants of the hosts, beside what a trace found there; and who is meant by the API's own names.

floating_ip 2e9b7c41-…  on cy2-compute02   ip -n qrouter-… rule add priority 57481 from 172.12.10.4 lookup 16
└ whose                    └ where           └ what would make it as the cloud wants it
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from floatway.compile.allocations import AllocationError, allocate, recover
from floatway.compile.host import Origin, compile_host, origins
from floatway.compile.names import device
from floatway.host.commands import commands
from floatway.host.partial import concerned
from floatway.host.plan import plan
from floatway.host.records import Sysctl
from floatway.host.state import HostState
from floatway.host.steps import Announce, ConntrackDelete
from floatway.lab import api, machines
from floatway.lab.lab import Lab, with_datapath
from floatway.lab.ovs import datapath
from floatway.model.cloud import Cloud
from floatway.trace.result import Trace, Walk
from floatway.trace.world import World

__all__ = ["Difference", "differences", "meant", "of_walk", "with_names"]


class Difference(msgspec.Struct, frozen=True):
    """One step away from what is wanted: of which logical object ("" for what nothing wants), on which host, and the commands."""

    host: str
    of: str
    commands: tuple[str, ...]


def of_walk(cloud: Cloud, world: World, walk: Walk) -> tuple[Difference, ...]:
    """Where the compute hosts that the packet comes by, or could have come by, are not as the cloud wants them."""
    traces = (walk.forward, *((walk.reply,) if walk.reply else ()))
    passed = {hop.host for trace in traces for hop in trace.hops}
    servers = {machines.node_name(server): server.host for server in cloud.servers.values()}
    hosts = {servers.get(host, host) for host in passed} & world.machines.keys() & cloud.hosts.keys()
    realised = with_datapath(cloud, datapath())
    return tuple(one for host in sorted(hosts) for one in differences(realised, host, world.machines[host].state))


def differences(cloud: Cloud, host: str, observed: HostState) -> tuple[Difference, ...]:
    """What a plan would change of the host's state, step by step; settings count only where they were looked at."""
    try:
        allocations = allocate(cloud, host, recover(observed, cloud, host))
    except AllocationError as error:
        return (Difference(host, "", (str(error),)),)
    desired = compile_host(cloud, host, allocations)
    unseen = [one for one in desired.records(Sysctl) if one.key not in observed.table(Sysctl)]
    todo = plan(observed, desired.without(*unseen))
    if not todo:
        return ()
    whose = origins(cloud, host, allocations)
    found = []
    for step in todo.steps:
        if isinstance(step, Announce | ConntrackDelete):
            continue  # follows from another step, and is no state that could be looked at
        owners = dict.fromkeys(_named(whose[ref]) for ref in concerned(step) if ref in whose)
        found.append(Difference(host, ", ".join(owners), tuple(commands(step))))
    return tuple(found)


def with_names(cloud: Cloud, walk: Walk, differs: Iterable[Difference] = ()) -> Walk:
    """The walk whose repairs name the port that the packet failed at and its security group, where the cloud knows them, and are
    the very commands of what differs, where a repair leaves a choice."""
    commands_ = [command for one in differs for command in one.commands]

    def mended(trace: Trace) -> Trace:
        return _exact(commands_, _repairable(cloud, trace))

    return msgspec.structs.replace(walk, forward=mended(walk.forward), reply=mended(walk.reply) if walk.reply else None)


_ANY_PRIORITY = re.compile(r"ip netns exec (\S+) ip rule add (from \S+ lookup \d+) priority \d+…\d+")


def _exact(differing: Iterable[str], trace: Trace) -> Trace:
    """Any priority of a floating IP's rule works; the one that the host is to have is what the agent would not replace."""
    if choice := _ANY_PRIORITY.fullmatch(trace.repair):
        for command in differing:
            if command.startswith(f"ip -n {choice[1]} rule add ") and command.endswith(f" {choice[2]}"):
                return msgspec.structs.replace(trace, repair=command)
    return trace


def _repairable(cloud: Cloud, trace: Trace) -> Trace:
    at = trace.hops[-1].node if trace.hops else ""
    for port in cloud.ports.values():
        if at == device("qbr", port.id):
            repair = re.sub(r" PORT$", f" {port.id}", trace.repair)
            if port.security_groups:
                repair = re.sub(r" GROUP$", f" {port.security_groups[0]}", repair)
            return msgspec.structs.replace(trace, repair=repair)
    return trace


def _named(origin: Origin) -> str:
    return " ".join(origin)


def meant(lab: Lab, names: Iterable[str | None]) -> dict[str, str]:
    """The lab's own word for what the API calls so: an instance, port or floating IP by id, a port by name. What it does not know
    is left out. Raises LabError when the server does not answer."""
    asked = {name for name in names if name}
    if lab.server is None or not asked:
        return {}
    machines_by_id = {node.id: node.name for node in lab.nodes.values() if node.id}
    found = {name: machines_by_id[name] for name in asked if name in machines_by_id}
    for name in asked - found.keys() - lab.nodes.keys():
        if "." in name and name.replace(".", "").isdigit():
            continue  # an address is what it is
        if (floating := _one(lab.server.url, "floatingips", name)) is not None:
            found[name] = str(floating["floating_ip_address"])
        elif (port := _one(lab.server.url, "ports", name)) is not None:
            machine = machines_by_id.get(port["device_id"], "")
            addresses = [ip["ip_address"] for ip in port["fixed_ips"] if ":" not in ip["ip_address"]]
            if said := _of_port(lab, machine, addresses):
                found[name] = said
    return found


def _of_port(lab: Lab, machine: str, addresses: list[str]) -> str:
    """The machine, whose address is the port's; by the address where the machine has other ports too."""
    cables = sum(any(end.host == machine for end in wire.endpoints) for wire in lab.wires)
    return machine if machine and (cables == 1 or not addresses) else next(iter(addresses), "")


def _one(url: str, collection: str, name: str) -> dict[str, Any] | None:
    from urllib.parse import quote  # noqa: PLC0415 (only here)

    keys = ("id",) if collection == "floatingips" else ("id", "name")
    for key in keys:
        listed = api.ask(url, "GET", f"/v2.0/{collection}?{key}={quote(name)}")[collection]
        if len(listed) == 1:
            return dict(listed[0])
    return None
