"""The whole cloud as one immutable snapshot with the indexes that compile needs."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import msgspec

from floatway.model.resources import (
    OWNER_ROUTER_INTERFACE,
    FloatingIp,
    Host,
    Network,
    Port,
    Router,
    SecurityGroup,
    Server,
    Subnet,
)

Thing = Network | Subnet | Port | Router | FloatingIp | SecurityGroup | Server | Host

_TABLES: dict[type, str] = {
    Network: "networks",
    Subnet: "subnets",
    Port: "ports",
    Router: "routers",
    FloatingIp: "floating_ips",
    SecurityGroup: "security_groups",
    Server: "servers",
    Host: "hosts",
}


class Cloud(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All resources, each by id (hosts by name). Build one with ``model.load``, or directly in tests."""

    networks: dict[str, Network] = {}
    subnets: dict[str, Subnet] = {}
    ports: dict[str, Port] = {}
    routers: dict[str, Router] = {}
    floating_ips: dict[str, FloatingIp] = {}
    security_groups: dict[str, SecurityGroup] = {}
    servers: dict[str, Server] = {}
    hosts: dict[str, Host] = {}

    @cached_property
    def kept(self) -> dict[str, object]:
        """What somebody made of this cloud, or of one that it was made from: a shelf for caches, which say themselves what is stale."""
        return {}

    @cached_property
    def ports_by_host(self) -> dict[str, tuple[Port, ...]]:
        """Ports bound to each host."""
        return _group(self.ports.values(), "binding_host_id")

    @cached_property
    def ports_by_device(self) -> dict[str, tuple[Port, ...]]:
        """Ports of each instance or router."""
        return _group(self.ports.values(), "device_id")

    @cached_property
    def ports_by_network(self) -> dict[str, tuple[Port, ...]]:
        """Ports of each network."""
        return _group(self.ports.values(), "network_id")

    @cached_property
    def subnets_by_network(self) -> dict[str, tuple[Subnet, ...]]:
        """Subnets of each network."""
        grouped: dict[str, list[Subnet]] = {}
        for subnet in self.subnets.values():
            grouped.setdefault(subnet.network_id, []).append(subnet)
        return {key: tuple(values) for key, values in grouped.items()}

    @cached_property
    def router_interfaces_by_network(self) -> dict[str, tuple[Port, ...]]:
        """Distributed router interface ports on each network."""
        return _group((p for p in self.ports.values() if p.device_owner == OWNER_ROUTER_INTERFACE), "network_id")

    @cached_property
    def floating_ips_by_port(self) -> dict[str, tuple[FloatingIp, ...]]:
        """Associated floating IPs of each port."""
        grouped: dict[str, list[FloatingIp]] = {}
        for fip in self.floating_ips.values():
            if fip.port_id:
                grouped.setdefault(fip.port_id, []).append(fip)
        return {key: tuple(values) for key, values in grouped.items()}

    @cached_property
    def members_by_group(self) -> dict[str, tuple[Port, ...]]:
        """Ports in each security group (what "remote group" means)."""
        grouped: dict[str, list[Port]] = {}
        for port in self.ports.values():
            for group in port.security_groups:
                grouped.setdefault(group, []).append(port)
        return {key: tuple(values) for key, values in grouped.items()}


_INDEXES = {
    "ports_by_host": "ports",
    "ports_by_device": "ports",
    "ports_by_network": "ports",
    "router_interfaces_by_network": "ports",
    "members_by_group": "ports",
    "subnets_by_network": "subnets",
    "floating_ips_by_port": "floating_ips",
}


def heir(cloud: Cloud, tables: Mapping[str, Mapping[str, Any]]) -> Cloud:
    """The cloud with these tables in place of its own; the indexes of all others are not made anew."""
    if not tables:
        return cloud
    after = msgspec.structs.replace(cloud, **tables)
    after.__dict__["kept"] = cloud.kept
    for index, table in _INDEXES.items():
        if table not in tables and index in cloud.__dict__:
            after.__dict__[index] = cloud.__dict__[index]
    return after


def put(cloud: Cloud, *resources: Thing) -> Cloud:
    """The cloud with these resources added, each in the place of the one with its id (a host: its name) if there is one."""
    changed: dict[str, dict[str, Thing]] = {}
    for resource in resources:
        table = _TABLES[type(resource)]
        changed.setdefault(table, dict(getattr(cloud, table)))[_key(resource)] = resource
    return heir(cloud, changed)


def remove(cloud: Cloud, *resources: Thing) -> Cloud:
    """The cloud without these resources. Raises KeyError when it has none of that id."""
    changed: dict[str, dict[str, Thing]] = {}
    for resource in resources:
        table = _TABLES[type(resource)]
        del changed.setdefault(table, dict(getattr(cloud, table)))[_key(resource)]
    return heir(cloud, changed)


def _key(resource: Thing) -> str:
    return resource.name if isinstance(resource, Host) else resource.id


def _group(ports: Iterable[Port], field: str) -> dict[str, tuple[Port, ...]]:
    grouped: dict[str, list[Port]] = {}
    for port in ports:
        grouped.setdefault(getattr(port, field), []).append(port)
    return {key: tuple(values) for key, values in grouped.items()}
