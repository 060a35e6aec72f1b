"""The ports that a distributed router has beside its interfaces, made and taken away with what they serve.

    network:router_centralized_snat      one per interface subnet, while the router has a gateway: its address on the SNAT host
    network:floatingip_agent_gateway     one per external network and host with a floating IP: the host's way out (fg-…)

Both belong to no project; nobody but these rules makes or deletes them.
"""

from floatway.control import entities as e
from floatway.control.caller import ADMIN
from floatway.control.decide import owners, ports
from floatway.control.draft import Draft

__all__ = ["interfaces", "remove_snat_ports", "sync_agent_gateway", "sync_floating_ip", "sync_snat_ports"]

_L3_AGENT = "L3 agent"
_DVR_MODES = ("dvr", "dvr_snat")


def interfaces(draft: Draft, router_id: str) -> list[e.Port]:
    """The router's interface ports, oldest first."""
    return [port for port in draft.find(e.Port, "device", router_id) if port.device_owner in owners.INTERFACES]


def _snat_ports(draft: Draft, router_id: str) -> list[e.Port]:
    return [port for port in draft.find(e.Port, "device", router_id) if port.device_owner == owners.CENTRALIZED_SNAT]


def sync_snat_ports(draft: Draft, router: e.Router) -> None:
    """As many centralised SNAT ports as the router's IPv4 (and IPv6) interface subnets ask for."""
    wanted: dict[str, e.Port] = {}
    if router.distributed and router.gateway is not None:
        wanted = {ip.subnet_id: port for port in interfaces(draft, router.id) for ip in port.fixed_ips}
    have = {ip.subnet_id: port for port in _snat_ports(draft, router.id) for ip in port.fixed_ips}
    for subnet_id, port in have.items():
        if subnet_id not in wanted:
            ports.delete(draft, ADMIN, port, l3_check=False)
    for subnet_id, port in wanted.items():
        if subnet_id not in have:
            ports.create(
                draft,
                ADMIN,
                {
                    "project_id": "",
                    "network_id": port.network_id,
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
