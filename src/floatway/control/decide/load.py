"""The rules of loading a cloud as a cloud.yaml describes it: with the ids, MACs and addresses that it names, all or nothing.

    cloud.yaml ──▶ model.Cloud (checked whole) ──▶ entities        new ones made, those of the same id made to be so
    remove: ids of what an earlier load made and this one has not  deleted by the nouns' own rules

For administrators: the Networking API lets nobody choose ids. What a description leaves unsaid (a port that holds a router's
gateway address, an agent's heartbeat) is made as the rules of the nouns would have made it.
"""

import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeVar

import msgspec

from floatway.control import entities as e
from floatway.control import ipam
from floatway.control import prefixes as p
from floatway.control.caller import ADMIN
from floatway.control.decide import (
    agents,
    binding,
    claims,
    dvr_ports,
    floatingips,
    networks,
    owners,
    ports,
    ports_mac,
    routers,
    security_groups,
    sharing,
    subnets,
)
from floatway.control.draft import Draft
from floatway.control.errors import bad_request, conflict
from floatway.model import resources as r
from floatway.model.cloud import Cloud
from floatway.model.shape import well_formed
from floatway.model.validate import validate

__all__ = ["load"]

S = TypeVar("S", bound=e.Entity)
_KEPT: Final = (
    "sequence",
    "created_at",
    "updated_at",
    "revision_number",
    "status",
    "up_hosts",
    "troubled_hosts",
    "failed_hosts",
)
"""What an entity that was there before goes on with."""
_NAMESPACE: Final = uuid.UUID("6f1c2f8a-6d1e-5b0e-9c5d-2f6f3f8f7a00")


def load(draft: Draft, cloud: Cloud, remove: Mapping[str, Collection[str]]) -> None:
    """Make the cloud be there, and what ``remove`` names (table: ids) be gone.

    Raises:
        ApiError: 400, it is not right; 409, something else has an address, MAC or segment of it.
    """
    if problems := (*well_formed(cloud), *validate(cloud)):
        said = "; ".join(f"{one.collection} {one.id}: {one.field}: {one.message}" for one in problems[:5])
        raise bad_request("InvalidCloud", f"The cloud is not right: {said}")
    _remove(draft, remove)
    for host in cloud.hosts.values():
        _host(draft, host)
    for network in cloud.networks.values():
        _network(draft, network)
    for subnet in cloud.subnets.values():
        _subnet(draft, subnet)
    for group in cloud.security_groups.values():
        _group(draft, group)
    for router in cloud.routers.values():
        _router(draft, router)
    for port in cloud.ports.values():
        _port(draft, port)
    for floating_ip in cloud.floating_ips.values():
        _floating_ip(draft, floating_ip)
    for entity in list(draft.all(e.Router)):
        dvr_ports.sync_snat_ports(draft, entity)
    for leads in list(draft.all(e.FloatingIp)):
        dvr_ports.sync_floating_ip(draft, leads, dvr_ports.host_of(draft, leads))
    for id_ in {*remove.get("ports", ()), *cloud.ports}:
        was, is_ = draft.base.get(e.Port, id_), draft.get(e.Port, id_)
        if was is not None and (
            is_ is None or is_.binding_host_id != was.binding_host_id
        ):  # now that all others are there
            claims.left(draft, was)


def _put(draft: Draft, entity: S) -> S:
    known = draft.get(type(entity), entity.id)
    if known is not None:
        kept = {name: getattr(known, name) for name in _KEPT if hasattr(known, name)}
        entity = msgspec.structs.replace(entity, **kept)
    return draft.put(entity)


def _made_id(of: str, what: str) -> str:
    """The same id at every load."""
    return str(uuid.uuid5(_NAMESPACE, f"{of}/{what}"))


def _host(draft: Draft, host: r.Host) -> None:
    """Its agents, as they would report themselves; where they have, their own word counts. Whether they live, only they can say."""
    pins = {name: value for name in host.pins.__struct_fields__ if (value := getattr(host.pins, name))}
    said: dict[str, dict[str, Any]] = {
        "Open vSwitch agent": {
            "bridge_mappings": host.bridge_mappings,
            "bridge_nics": host.bridge_nics,
            "datapath_type": host.datapath_type or "system",
            "integration_bridge": "br-int",
            "ovs_hybrid_plug": True,
            "tunneling_ip": host.tunnel_ip,
            "tunnel_types": ["vxlan"] if host.tunnel_ip else [],
        },
        "L3 agent": {"agent_mode": host.agent_mode} | ({"pins": pins} if pins else {}),
    }
    binaries = {"Open vSwitch agent": "neutron-openvswitch-agent", "L3 agent": "neutron-l3-agent"}
    for kind, configurations in said.items():
        if not draft.find(e.Agent, "type_host", (kind, host.name)):
            values = {"agent_type": kind, "host": host.name, "binary": binaries[kind], "configurations": configurations}
            agents.report(draft, values, itself=False)


def _network(draft: Draft, one: r.Network) -> None:
    segment = (one.provider_network_type, one.provider_physical_network, one.provider_segmentation_id)
    if one.provider_segmentation_id is not None or one.provider_network_type == "flat":
        for other in draft.find(e.Network, "segment", segment):
            if other.id != one.id:
                raise conflict("NetworkInUse", f"Network {other.id} has the segment of network {one.id}: {segment}.")
    network = _put(
        draft,
        e.Network(
            id=one.id,
            project_id=one.project_id,
            name=one.name,
            admin_state_up=one.admin_state_up,
            mtu=one.mtu,
            provider_network_type=one.provider_network_type,
            provider_physical_network=one.provider_physical_network,
            provider_segmentation_id=one.provider_segmentation_id,
            router_external=one.router_external,
        ),
    )
    if one.router_external:
        sharing.add(draft, network, sharing.EXTERNAL)


def _subnet(draft: Draft, one: r.Subnet) -> None:
    pools = tuple(e.AllocationPool(pool.start, pool.end) for pool in one.allocation_pools)
    _put(
        draft,
        e.Subnet(
            id=one.id,
            project_id=one.project_id or draft.need(e.Network, one.network_id).project_id,
            name=one.name,
            network_id=one.network_id,
            ip_version=4,
            cidr=one.cidr,
            gateway_ip=one.gateway_ip,
            allocation_pools=pools or ipam.default_pools(one.cidr, one.gateway_ip),
            host_routes=_routes(one.host_routes),
            dns_nameservers=one.dns_nameservers,
            enable_dhcp=one.enable_dhcp,
        ),
    )


def _routes(routes: tuple[r.HostRoute, ...]) -> tuple[e.HostRoute, ...]:
    return tuple(e.HostRoute(route.destination, route.nexthop) for route in routes)


def _group(draft: Draft, one: r.SecurityGroup) -> None:
    default = security_groups.default_of(draft, one.project_id)
    is_default = one.name == "default" and (default is None or default.id == one.id)
    _put(draft, e.SecurityGroup(id=one.id, project_id=one.project_id, name=one.name, is_default=is_default))
    wanted = {rule.id for rule in one.rules}
    for known in draft.find(e.SecurityGroupRule, "group", one.id):
        if known.id not in wanted:
            draft.remove(known)
    for rule in one.rules:
        entity = e.SecurityGroupRule(
            id=rule.id,
            project_id=rule.project_id or one.project_id,
            security_group_id=one.id,
            direction=rule.direction,
            ethertype=rule.ethertype,
            protocol=rule.protocol,
            port_range_min=rule.port_range_min,
            port_range_max=rule.port_range_max,
            remote_ip_prefix=rule.remote_ip_prefix,
            remote_group_id=rule.remote_group_id,
        )
        _put(draft, entity)


def _router(draft: Draft, one: r.Router) -> None:
    gateway = None
    info = one.external_gateway_info
    if info is not None:
        known = draft.get(e.Router, one.id)
        port_id = known.gateway.port_id if known and known.gateway else _made_id(one.id, "gateway")
        addresses = tuple(e.FixedIp(ip.subnet_id, ip.ip_address) for ip in info.external_fixed_ips)
        _holder(draft, port_id, info.network_id, addresses, device_id=one.id, owner=owners.ROUTER_GATEWAY)
        gateway = e.ExternalGateway(info.network_id, port_id, info.enable_snat)
    _put(
        draft,
        e.Router(
            id=one.id,
            project_id=one.project_id,
            name=one.name,
            admin_state_up=one.admin_state_up,
            distributed=one.distributed,
            gateway=gateway,
            routes=_routes(one.routes),
        ),
    )


def _holder(
    draft: Draft, id_: str, network_id: str, addresses: tuple[e.FixedIp, ...], *, device_id: str, owner: str
) -> None:
    """A port that holds addresses of an external network."""
    known = draft.get(e.Port, id_)
    _free(draft, id_, addresses)
    port = e.Port(
        id=id_,
        network_id=network_id,
        mac_address=known.mac_address if known is not None else ports_mac.chosen(draft, network_id, None),
        fixed_ips=addresses,
        device_id=device_id,
        device_owner=owner,
        port_security_enabled=False,
        status="N/A" if owner == owners.FLOATING_IP else "DOWN",
    )
    _put(draft, port)


_OF_THE_RULES: Final = frozenset({owners.CENTRALIZED_SNAT, owners.AGENT_GATEWAY})
"""Ports that the rules make for themselves, with any address: they make room."""


def _free(draft: Draft, port_id: str, addresses: tuple[e.FixedIp, ...]) -> None:
    for ip in addresses:
        for other in draft.find(e.Port, "address", (ip.subnet_id, ip.ip_address)):
            if other.id != port_id and other.device_owner in _OF_THE_RULES:
                ports.delete(draft, ADMIN, other, l3_check=False)
            elif other.id != port_id:
                raise conflict(
                    "IpAddressAlreadyAllocated",
                    f"IP address {ip.ip_address} already allocated in subnet {ip.subnet_id}, to port {other.id}",
                )


def _port(draft: Draft, one: r.Port) -> None:
    addresses = tuple(e.FixedIp(ip.subnet_id, ip.ip_address) for ip in one.fixed_ips)
    _free(draft, one.id, addresses)
    for other in draft.find(e.Port, "mac", (one.network_id, one.mac_address)):
        if other.id != one.id:
            raise conflict("MacAddressInUse", f"The mac address {one.mac_address} is in use by port {other.id}.")
    device_id = one.device_id
    if one.device_owner == owners.AGENT_GATEWAY:
        device_id = next((a.id for a in draft.find(e.Agent, "type_host", ("L3 agent", one.binding_host_id))), "")
    if one.device_owner == owners.AGENT_GATEWAY:  # a host has one way out of a network
        for other in draft.find(e.Port, "owner", (one.network_id, owners.AGENT_GATEWAY)):
            if other.id != one.id and other.binding_host_id == one.binding_host_id:
                ports.delete(draft, ADMIN, other, l3_check=False)
    known = draft.get(e.Port, one.id)
    port = e.Port(
        id=one.id,
        project_id=one.project_id,
        name=one.name,
        network_id=one.network_id,
        mac_address=one.mac_address,
        admin_state_up=one.admin_state_up,
        fixed_ips=addresses,
        device_id=device_id,
        device_owner=one.device_owner,
        security_groups=one.security_groups,
        allowed_address_pairs=tuple(
            e.AddressPair(pair.ip_address, pair.mac_address or one.mac_address) for pair in one.allowed_address_pairs
        ),
        port_security_enabled=one.port_security_enabled,
    )
    network = draft.need(e.Network, one.network_id)
    port = binding.created(draft, network, port, {"binding:host_id": one.binding_host_id})
    if known is not None and known.binding_host_id != port.binding_host_id:
        draft.put(binding.with_status(msgspec.structs.replace(known, up_hosts=(), troubled_hosts={})))
    _put(draft, port)


def _floating_ip(draft: Draft, one: r.FloatingIp) -> None:
    known = draft.get(e.FloatingIp, one.id)
    port_id = known.floating_port_id if known is not None else _made_id(one.id, "address")
    subnet = next(
        (
            subnet.id
            for subnet in draft.find(e.Subnet, "network", one.floating_network_id)
            if p.contains((subnet.cidr,), f"{one.floating_ip_address}/32")
        ),
        "",
    )
    addresses = (e.FixedIp(subnet, one.floating_ip_address),)
    _holder(draft, port_id, one.floating_network_id, addresses, device_id=one.id, owner=owners.FLOATING_IP)
    floating_ip = _put(
        draft,
        e.FloatingIp(
            id=one.id,
            project_id=one.project_id,
            floating_network_id=one.floating_network_id,
            floating_ip_address=one.floating_ip_address,
            floating_port_id=port_id,
            port_id=one.port_id,
            fixed_ip_address=one.fixed_ip_address,
            router_id=one.router_id,
        ),
    )
    if known is not None and known.port_id != floating_ip.port_id:
        draft.put(msgspec.structs.replace(floating_ip, status="DOWN"))


def _remove(draft: Draft, remove: Mapping[str, Collection[str]]) -> None:
    """In the order in which things let go of one another."""
    steps: tuple[tuple[str, type[e.Entity], Callable[[Any], object]], ...] = (
        ("floating_ips", e.FloatingIp, lambda one: floatingips.delete(draft, ADMIN, one)),
        ("ports", e.Port, lambda one: ports.delete(draft, ADMIN, one, l3_check=False, leaves=False)),
        ("routers", e.Router, lambda one: routers.delete(draft, ADMIN, one)),
        ("subnets", e.Subnet, lambda one: subnets.delete(draft, ADMIN, one)),
        ("networks", e.Network, lambda one: networks.delete(draft, ADMIN, one)),
        ("security_groups", e.SecurityGroup, lambda one: security_groups.delete(draft, ADMIN, one)),
        ("hosts", e.Agent, lambda one: agents.delete(draft, ADMIN, one)),
    )
    for table, kind, delete in steps:
        for id_ in remove.get(table, ()):
            found = draft.find(e.Agent, "host", id_) if kind is e.Agent else [draft.get(kind, id_)]
            for one in found:
                if one is not None:
                    delete(one)
