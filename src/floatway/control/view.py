"""The cloud as hosts realise it: stored entities translated to the nouns that ``compile`` reads (``model.cloud``).

    control.entities                      model.resources
    Port, but for those below         ──▶ Port              of its addresses those of IPv4: hosts realise no others
    gateway port of a router          ──▶ Router.external_gateway_info.external_fixed_ips
    port that holds a floating IP     ──▶ (FloatingIp has the address)
    SecurityGroup + its rules         ──▶ SecurityGroup     a rule to an address group: one rule for each of its prefixes
    Agent, what the host's report     ──▶ Host              tunnel address, bridges, mode
    compute ports with a device       ──▶ Server

Hosts come from agents that were ever heard of: one that is silent still has its tunnels and its ports.
"""

from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec

from floatway.control import entities as e
from floatway.control.decide import owners
from floatway.control.snapshot import Model, Readable
from floatway.model import resources as r
from floatway.model.cloud import Cloud

__all__ = [
    "HELD", "cloud_view", "floating_ip", "group", "host", "is_instance", "neighbour", "network", "port", "router", "server", "subnet",
]  # fmt: skip

_L3_AGENT: Final = "L3 agent"
HELD: Final = frozenset({owners.ROUTER_GATEWAY, owners.FLOATING_IP})
"""Owners of ports that hold an address for a noun of their own: hosts know that noun, not the port."""


def cloud_view(model: Model) -> Cloud:
    """All of it. Two models with the same entities give equal clouds."""
    return Cloud(
        networks={one.id: network(one) for one in model.all(e.Network)},
        subnets={one.id: subnet(one) for one in model.all(e.Subnet) if one.ip_version == 4},
        ports={one.id: port(one) for one in model.all(e.Port) if one.device_owner not in HELD},
        routers={one.id: router(model, one) for one in model.all(e.Router)},
        floating_ips={one.id: floating_ip(one) for one in model.all(e.FloatingIp)},
        security_groups={one.id: group(model, one) for one in model.all(e.SecurityGroup)},
        servers={one.id: one for one in _servers(model)},
        hosts={name: host(model, name) for name in {agent.host for agent in model.all(e.Agent)}},
    )


def network(network: e.Network) -> r.Network:
    """A network, as hosts know it."""
    return r.Network(
        id=network.id,
        name=network.name,
        project_id=network.project_id,
        provider_network_type=cast("r.NetworkType", network.provider_network_type or "local"),
        provider_segmentation_id=network.provider_segmentation_id,
        provider_physical_network=network.provider_physical_network,
        router_external=network.router_external,
        mtu=network.mtu,
        admin_state_up=network.admin_state_up,
    )


def subnet(subnet: e.Subnet) -> r.Subnet:
    """A subnet of IPv4."""
    return r.Subnet(
        id=subnet.id,
        name=subnet.name,
        project_id=subnet.project_id,
        network_id=subnet.network_id,
        cidr=subnet.cidr,
        gateway_ip=subnet.gateway_ip,
        allocation_pools=tuple(r.AllocationPool(pool.start, pool.end) for pool in subnet.allocation_pools),
        host_routes=_routes(subnet.host_routes),
        dns_nameservers=subnet.dns_nameservers,
        enable_dhcp=subnet.enable_dhcp,
    )


def port(port: e.Port) -> r.Port:
    """A port, but for one of ``HELD``."""
    return r.Port(
        id=port.id,
        name=port.name,
        project_id=port.project_id,
        network_id=port.network_id,
        mac_address=port.mac_address,
        fixed_ips=_v4(port),
        binding_host_id=port.binding_host_id,
        # an agent gateway's device is the agent: to a host nothing
        device_id="" if port.device_owner == owners.AGENT_GATEWAY else port.device_id,
        device_owner=port.device_owner,
        security_groups=port.security_groups,
        allowed_address_pairs=tuple(
            r.AddressPair(pair.ip_address, None if pair.mac_address == port.mac_address else pair.mac_address)
            for pair in port.allowed_address_pairs
            if ":" not in pair.ip_address
        ),
        port_security_enabled=port.port_security_enabled,
        admin_state_up=port.admin_state_up,
    )


def _v4(port: e.Port) -> tuple[r.FixedIp, ...]:
    return tuple(r.FixedIp(ip.subnet_id, ip.ip_address) for ip in port.fixed_ips if ":" not in ip.ip_address)


def _routes(routes: tuple[e.HostRoute, ...]) -> tuple[r.HostRoute, ...]:
    return tuple(r.HostRoute(one.destination, one.nexthop) for one in routes if ":" not in one.nexthop)


def router(model: Readable, router: e.Router) -> r.Router:
    """A router with the addresses of its gateway."""
    gateway = None
    if router.gateway is not None:
        port = model.get(e.Port, router.gateway.port_id)
        gateway = r.ExternalGateway(
            router.gateway.network_id, router.gateway.enable_snat, _v4(port) if port is not None else ()
        )
    return r.Router(
        id=router.id,
        name=router.name,
        project_id=router.project_id,
        distributed=router.distributed,
        admin_state_up=router.admin_state_up,
        external_gateway_info=gateway,
        routes=_routes(router.routes),
    )


def floating_ip(floating_ip: e.FloatingIp) -> r.FloatingIp:
    """A floating IP, associated or not."""
    return r.FloatingIp(
        id=floating_ip.id,
        project_id=floating_ip.project_id,
        floating_network_id=floating_ip.floating_network_id,
        floating_ip_address=floating_ip.floating_ip_address,
        port_id=floating_ip.port_id,
        fixed_ip_address=floating_ip.fixed_ip_address,
        router_id=floating_ip.router_id,
    )


def group(model: Readable, group: e.SecurityGroup) -> r.SecurityGroup:
    """A security group with its rules."""
    rules = model.find(e.SecurityGroupRule, "group", group.id)
    return r.SecurityGroup(
        id=group.id,
        name=group.name,
        project_id=group.project_id,
        rules=tuple(one for rule in rules for one in _rules(model, rule)),
    )


def _rules(model: Readable, rule: e.SecurityGroupRule) -> Iterator[r.SecurityGroupRule]:
    opening = r.SecurityGroupRule(
        id=rule.id,
        project_id=rule.project_id,
        direction=cast("r.Direction", rule.direction),
        ethertype=cast("Any", rule.ethertype),
        protocol=rule.protocol,
        port_range_min=rule.port_range_min,
        port_range_max=rule.port_range_max,
        remote_ip_prefix=rule.remote_ip_prefix,
        remote_group_id=rule.remote_group_id,
    )
    if rule.remote_address_group_id is None:
        yield opening
        return
    group = model.get(e.AddressGroup, rule.remote_address_group_id)
    for prefix in group.addresses if group is not None else ():
        if (":" in prefix) == (rule.ethertype == "IPv6"):
            yield msgspec.structs.replace(opening, id=f"{rule.id}@{prefix}", remote_ip_prefix=prefix)


def _servers(model: Model) -> Iterator[r.Server]:
    for one in model.all(e.Port):
        if is_instance(one):
            yield server(one)


def server(one: e.Port) -> r.Server:
    """The instance that a port is plugged into."""
    return r.Server(id=one.device_id, project_id=one.project_id, host=one.binding_host_id)


def is_instance(one: e.Port) -> bool:
    """Whether an instance's port has a place: what ``device_id`` names is then a server of that host."""
    return bool(one.device_id and one.binding_host_id) and one.device_owner.startswith("compute:")


def host(model: Readable, name: str) -> r.Host:
    """A host as its agents describe it; without any, a name."""
    said: dict[str, Any] = {}
    for agent in sorted(model.find(e.Agent, "host", name), key=lambda agent: agent.agent_type):
        said.update(agent.configurations)
        if agent.agent_type == _L3_AGENT:
            said["agent_mode"] = agent.configurations.get("agent_mode", "legacy")
    return r.Host(
        name=name,
        tunnel_ip=said.get("tunneling_ip") or "",
        agent_mode=cast("r.AgentMode", said.get("agent_mode", "legacy")),
        bridge_mappings=said.get("bridge_mappings") or {},
        bridge_nics=said.get("bridge_nics") or {},
        datapath_type=cast("Any", said.get("datapath_type", "")),
        pins=msgspec.convert(said.get("pins") or {}, r.Pins),
    )


def neighbour(one: r.Host) -> r.Host:
    """What other hosts may know of a host: where its tunnels end, the MAC of its routers, whether it has the centre of some."""
    macs = {name: mac for name, mac in one.pins.macs.items() if name == "dvr"}
    return r.Host(name=one.name, tunnel_ip=one.tunnel_ip, agent_mode=one.agent_mode, pins=r.Pins(macs=macs))
