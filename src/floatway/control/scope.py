"""Which of the cloud concerns a host: what ``compile`` reads for it, found through indexes from the ports that are bound there.

    ports bound here ─▶ their networks ─▶ distributed routers on those ─▶ all networks of those routers     networks
                    │                                                 └▶ their gateways' networks           external
                    └▶ their security groups ─▶ remote groups of the rules                                  groups, members

Of a network in ``networks`` the host knows every port (tunnels, neighbours), of an external one none but its own agent gateway,
of a group in ``members`` every port that is in it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from floatway.control import entities as e
from floatway.control import view
from floatway.control.decide import owners
from floatway.control.snapshot import Model
from floatway.model.cloud import Thing

__all__ = ["NOTHING", "Key", "Own", "Scope", "keys", "own", "relevant", "resource", "scope"]


class Key(NamedTuple):
    """A resource: its table in a cloud, and its id (a host's name)."""

    table: str
    id: str


class Own(msgspec.Struct):
    """How many of the ports of instances here are on each network and in each group: what a host's scope starts from."""

    networks: Counter[str]
    groups: Counter[str]


class Scope(msgspec.Struct, frozen=True):
    """Ids of what concerns a host. ``external`` are the networks beyond its routers' gateways."""

    networks: frozenset[str] = frozenset()
    external: frozenset[str] = frozenset()
    routers: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    members: frozenset[str] = frozenset()


NOTHING: Final = Scope()


def counts(port: e.Port) -> bool:
    """Whether the port is an instance's: what makes a host need its network."""
    return not port.device_owner.startswith("network:")


def own(model: Model, host: str) -> Own:
    """What the ports here ask for."""
    found = Own(Counter(), Counter())
    for port in model.find(e.Port, "host", host):
        if counts(port):
            found.networks[port.network_id] += 1
            found.groups.update(port.security_groups)
    return found


def scope(model: Model, asked: Own) -> Scope:
    """All that follows from what the ports here ask for."""
    first = {network for network, count in asked.networks.items() if count > 0}
    networks, routers, external = set(first), set[str](), set[str]()
    for network in first:
        routers.update(port.device_id for port in model.find(e.Port, "owner", (network, owners.DISTRIBUTED_INTERFACE)))
    for id_ in list(routers):
        router = model.get(e.Router, id_)
        if router is None:
            routers.discard(id_)
            continue
        if router.gateway is not None:
            external.add(router.gateway.network_id)
        for port in model.find(e.Port, "device", id_):
            if port.device_owner == owners.DISTRIBUTED_INTERFACE:
                networks.add(port.network_id)
    groups = {group for group, count in asked.groups.items() if count > 0}
    members = {
        rule.remote_group_id
        for group in groups
        for rule in model.find(e.SecurityGroupRule, "group", group)
        if rule.remote_group_id
    }
    return Scope(frozenset(networks), frozenset(external), frozenset(routers), frozenset(groups), frozenset(members))


def relevant(model: Model, host: str, scope: Scope, key: Key) -> bool:
    """Whether the host needs this resource of the model."""
    table, id_ = key
    match table:
        case "networks":
            return id_ in scope.networks or id_ in scope.external
        case "subnets":
            subnet = model.get(e.Subnet, id_)
            return (
                subnet is not None
                and subnet.ip_version == 4
                and (subnet.network_id in scope.networks or subnet.network_id in scope.external)
            )
        case "ports":
            port = model.get(e.Port, id_)
            return (
                port is not None
                and port.device_owner not in view.HELD
                and (
                    port.binding_host_id == host
                    or port.network_id in scope.networks
                    or not scope.members.isdisjoint(port.security_groups)
                )
            )
        case "routers":
            return id_ in scope.routers
        case "floating_ips":
            floating_ip = model.get(e.FloatingIp, id_)
            port = model.get(e.Port, floating_ip.port_id) if floating_ip and floating_ip.port_id else None
            return port is not None and port.binding_host_id == host
        case "security_groups":
            return id_ in scope.groups
        case "servers":
            return any(_is_of(port, host) for port in model.find(e.Port, "device", id_))
        case _:
            return id_ == host or model.has(e.Agent, "host", id_)


def _is_of(port: e.Port, host: str) -> bool:
    return port.binding_host_id == host and view.is_instance(port)


def resource(model: Model, key: Key, host: str = "") -> Thing | None:
    """The resource as ``host`` shall know it; None when there is none."""
    table, id_ = key
    match table:
        case "networks":
            return view.network(network) if (network := model.get(e.Network, id_)) else None
        case "subnets":
            return view.subnet(subnet) if (subnet := model.get(e.Subnet, id_)) else None
        case "ports":
            return view.port(port) if (port := model.get(e.Port, id_)) else None
        case "routers":
            return view.router(model, router) if (router := model.get(e.Router, id_)) else None
        case "floating_ips":
            return view.floating_ip(found) if (found := model.get(e.FloatingIp, id_)) else None
        case "security_groups":
            return view.group(model, group) if (group := model.get(e.SecurityGroup, id_)) else None
        case "servers":
            return next((view.server(p) for p in model.find(e.Port, "device", id_) if _is_of(p, host)), None)
        case _:
            one = view.host(model, id_)
            return one if id_ == host else view.neighbour(one)


def keys(model: Model, host: str, scope: Scope) -> Iterator[Key]:
    """Everything that concerns the host but other hosts, each once."""
    seen: set[Key] = set()
    for key in _reached(model, host, scope):
        if key not in seen:
            seen.add(key)
            if relevant(model, host, scope, key):
                yield key


def _reached(model: Model, host: str, scope: Scope) -> Iterator[Key]:
    yield from of_networks(model, scope.networks)
    yield from of_networks(model, scope.external, ports=False)
    yield from (Key("routers", id_) for id_ in scope.routers)
    yield from (Key("security_groups", id_) for id_ in scope.groups)
    yield from of_members(model, scope.members)
    for port in model.find(e.Port, "host", host):
        yield Key("ports", port.id)
        yield Key("servers", port.device_id)
        yield from of_port(model, port.id)


def of_networks(model: Model, ids: Iterable[str], *, ports: bool = True) -> Iterator[Key]:
    """The networks, their subnets and, unless they are beyond a gateway, their ports."""
    for id_ in ids:
        yield Key("networks", id_)
        yield from (Key("subnets", subnet) for subnet in model.bucket(e.Subnet, "network", id_))
        if ports:
            yield from (Key("ports", port) for port in model.bucket(e.Port, "network", id_))


def of_members(model: Model, groups: Iterable[str]) -> Iterator[Key]:
    """The ports in these groups."""
    for group in groups:
        yield from (Key("ports", port) for port in model.bucket(e.Port, "security_group", group))


def of_port(model: Model, port_id: str) -> Iterator[Key]:
    """The floating IPs that lead to a port."""
    yield from (Key("floating_ips", id_) for id_ in model.bucket(e.FloatingIp, "port", port_id))
