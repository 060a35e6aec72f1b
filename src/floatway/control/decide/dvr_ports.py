"""The ports that a distributed router has beside its interfaces, made and taken away with what they serve.

    network:router_centralized_snat      one per interface subnet, while the router has a gateway: its address on the SNAT host
    network:floatingip_agent_gateway     one per external network and host with a floating IP: the host's way out (fg-…)

Both belong to no project; nobody but these rules makes or deletes them.
"""

import msgspec

from floatway.control import entities as e
from floatway.control.caller import ADMIN
from floatway.control.decide import owners, ports
from floatway.control.draft import Draft

__all__ = [
    "agent_changed",
    "host_of",
    "interfaces",
    "remove_snat_ports",
    "sync_agent_gateway",
    "sync_floating_ip",
    "sync_snat_ports",
]

_L3_AGENT = "L3 agent"
_DVR_MODES = ("dvr", "dvr_snat")


def interfaces(draft: Draft, router_id: str) -> list[e.Port]:
    """The router's interface ports, oldest first."""
    return [port for port in draft.find(e.Port, "device", router_id) if port.device_owner in owners.INTERFACES]


def _snat_ports(draft: Draft, router_id: str) -> list[e.Port]:
    return [port for port in draft.find(e.Port, "device", router_id) if port.device_owner == owners.CENTRALIZED_SNAT]


def sync_snat_ports(draft: Draft, router: e.Router) -> None:
    """As many centralised SNAT ports as the router's interfaces ask for: one for each IPv4 subnet, one for all IPv6 of a network."""
    wanted: dict[str, str] = {}
    if router.distributed and router.gateway is not None:
        wanted = {ip.subnet_id: port.network_id for port in interfaces(draft, router.id) for ip in port.fixed_ips}
    for port in _snat_ports(draft, router.id):
        left = tuple(ip for ip in port.fixed_ips if ip.subnet_id in wanted)
        if not left:
            ports.delete(draft, ADMIN, port, l3_check=False)
        elif left != port.fixed_ips:
            draft.put(msgspec.structs.replace(port, fixed_ips=left))
    have = {ip.subnet_id for port in _snat_ports(draft, router.id) for ip in port.fixed_ips}
    for subnet_id, network_id in wanted.items():
        if subnet_id not in have:
            _serve_snat(draft, router, network_id, subnet_id)


def _serve_snat(draft: Draft, router: e.Router, network_id: str, subnet_id: str) -> None:
    if draft.need(e.Subnet, subnet_id).ip_version == 6:
        for port in _snat_ports(draft, router.id):
            if port.network_id == network_id and any(":" in ip.ip_address for ip in port.fixed_ips):
                has = [{"subnet_id": ip.subnet_id, "ip_address": ip.ip_address} for ip in port.fixed_ips]
                ports.update(draft, ADMIN, port, {"fixed_ips": [*has, {"subnet_id": subnet_id}]})
                return
    ports.create(
        draft,
        ADMIN,
        {
            "project_id": "",
            "network_id": network_id,
            "fixed_ips": [{"subnet_id": subnet_id}],
            "device_id": router.id,
            "device_owner": owners.CENTRALIZED_SNAT,
        },
        quota=False,
    )


def remove_snat_ports(draft: Draft, router_id: str) -> None:
    """All of them: the router goes, or is distributed no longer."""
    for port in _snat_ports(draft, router_id):
        ports.delete(draft, ADMIN, port, l3_check=False)


def sync_floating_ip(draft: Draft, floating_ip: e.FloatingIp, *hosts: str) -> None:
    """Look after the agent gateway ports of the hosts that a floating IP came to or left."""
    for host in dict.fromkeys(hosts):
        if host:
            sync_agent_gateway(draft, floating_ip.floating_network_id, host)


def host_of(draft: Draft, floating_ip: e.FloatingIp) -> str:
    """The host of the port behind a floating IP, "" when there is none."""
    port = draft.get(e.Port, floating_ip.port_id) if floating_ip.port_id else None
    return port.binding_host_id if port is not None else ""


def agent_changed(draft: Draft, host: str) -> None:
    """An L3 agent came, went, or has another mode: floating IPs of ports there, and ports that it had for them."""
    networks = {
        floating_ip.floating_network_id
        for port_id in draft.bucket(e.Port, "host", host)
        for floating_ip in draft.find(e.FloatingIp, "port", port_id)
    }
    for port in draft.find(e.Port, "host", host):
        if port.device_owner == owners.AGENT_GATEWAY:
            networks.add(port.network_id)
    for network_id in sorted(networks):
        sync_agent_gateway(draft, network_id, host)


def sync_agent_gateway(draft: Draft, network_id: str, host: str) -> None:
    """One agent gateway port of the network on the host while a distributed router has a floating IP there, else none."""
    agent = next(iter(draft.find(e.Agent, "type_host", (_L3_AGENT, host))), None)
    have = [
        port for port in draft.find(e.Port, "owner", (network_id, owners.AGENT_GATEWAY)) if port.binding_host_id == host
    ]
    wanted = (
        agent is not None and agent.configurations.get("agent_mode") in _DVR_MODES and _is_used(draft, network_id, host)
    )
    if wanted and not have and agent is not None:
        ports.create(
            draft,
            ADMIN,
            {
                "project_id": "",
                "network_id": network_id,
                "device_id": agent.id,
                "device_owner": owners.AGENT_GATEWAY,
                "binding:host_id": host,
            },
            quota=False,
        )
    elif not wanted:
        for port in have:
            ports.delete(draft, ADMIN, port, l3_check=False)


def _is_used(draft: Draft, network_id: str, host: str) -> bool:
    """By the fewer of the two: the host's ports, or the network's floating IPs."""
    if len(draft.bucket(e.Port, "host", host)) <= len(draft.bucket(e.FloatingIp, "network", network_id)):
        ports_here = draft.bucket(e.Port, "host", host)
        return any(
            _distributed(draft, floating_ip)
            for port_id in ports_here
            for floating_ip in draft.find(e.FloatingIp, "port", port_id)
            if floating_ip.floating_network_id == network_id
        )
    for floating_ip in draft.find(e.FloatingIp, "network", network_id):
        port = draft.get(e.Port, floating_ip.port_id) if floating_ip.port_id else None
        if port is not None and port.binding_host_id == host and _distributed(draft, floating_ip):
            return True
    return False


def _distributed(draft: Draft, floating_ip: e.FloatingIp) -> bool:
    router = draft.get(e.Router, floating_ip.router_id) if floating_ip.router_id else None
    return router is not None and router.distributed
