"""How entities are found without a scan: for each kind, named functions from an entity to the keys it is found under.

find(Port, "address", (subnet_id, "10.0.0.5"))      find(SecurityGroupRule, "group", group_id)
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final

from floatway.control import entities as e

__all__ = ["INDEXES"]

Keys = Callable[[Any], Iterable[Hashable]]


def _one(field: str) -> Keys:
    """Found under the value of ``field``; not at all when that is None or empty."""

    def keys(entity: Any) -> Iterable[Hashable]:
        value = getattr(entity, field)
        return (value,) if value is not None and value != "" else ()

    return keys


def _each(field: str) -> Keys:
    def keys(entity: Any) -> Iterable[Hashable]:
        return getattr(entity, field)  # type: ignore[no-any-return]

    return keys


_PROJECT: Final = {"project": _one("project_id")}
_NAMED: Final = {"project": _one("project_id"), "name": _one("name")}

INDEXES: Final[dict[type[e.Entity], dict[str, Keys]]] = {
    e.Network: {
        **_NAMED,
        "external": lambda n: (True,) if n.router_external else (),
        "segment": lambda n: ((n.provider_network_type, n.provider_physical_network, n.provider_segmentation_id),),
    },
    e.Subnet: {**_NAMED, "network": _one("network_id"), "pool": _one("subnetpool_id")},
    e.SubnetPool: {
        **_NAMED,
        "scope": _one("address_scope_id"),
        "default": lambda p: (p.ip_version,) if p.is_default else (),
    },
    e.AddressScope: _NAMED,
    e.Port: {
        **_NAMED,
        "network": _one("network_id"),
        "device": _one("device_id"),
        "owner": lambda p: ((p.network_id, p.device_owner),) if p.device_owner else (),
        "mac": lambda p: ((p.network_id, p.mac_address),),
        "address": lambda p: tuple((ip.subnet_id, ip.ip_address) for ip in p.fixed_ips),
        "ip": lambda p: tuple(ip.ip_address for ip in p.fixed_ips),
        "subnet": lambda p: tuple({ip.subnet_id for ip in p.fixed_ips}),
        "security_group": _each("security_groups"),
        "host": _one("binding_host_id"),
        "reported_by": lambda p: (*p.up_hosts, *p.troubled_hosts),
    },
    e.PortBinding: {"port": _one("port_id"), "host": _one("host")},
    e.Router: {
        **_NAMED,
        "gateway_network": lambda r: (r.gateway.network_id,) if r.gateway else (),
        "gateway_port": lambda r: (r.gateway.port_id,) if r.gateway else (),
        "failed_on": _each("failed_hosts"),
    },
    e.FloatingIp: {
        **_PROJECT,
        "network": _one("floating_network_id"),
        "address": _one("floating_ip_address"),
        "floating_port": _one("floating_port_id"),
        "port": _one("port_id"),
        "router": _one("router_id"),
    },
    e.PortForwarding: {**_PROJECT, "floatingip": _one("floatingip_id"), "port": _one("internal_port_id")},
    e.SecurityGroup: {**_NAMED, "default": lambda g: (g.project_id,) if g.is_default else ()},
    e.SecurityGroupRule: {
        **_PROJECT,
        "group": _one("security_group_id"),
        "remote_group": _one("remote_group_id"),
        "address_group": _one("remote_address_group_id"),
    },
    e.DefaultSecurityGroupRule: {},
    e.AddressGroup: _NAMED,
    e.RbacPolicy: {
        **_PROJECT,
        "object": lambda p: ((p.object_type, p.object_id),),
        "target": lambda p: ((p.object_type, p.target_tenant),),
    },
    e.Agent: {"host": _one("host"), "type": _one("agent_type"), "type_host": lambda a: ((a.agent_type, a.host),)},
    e.AgentBinding: {"agent": _one("agent_id"), "object": _one("object_id")},
    e.HostKey: {},
    e.HostStand: {},
    e.Quota: {},
    e.AutoAllocatedTopology: {"network": _one("network_id"), "router": _one("router_id")},
}
