"""How routers, floating IPs and port forwardings read in the API."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from floatway.control import entities as e
from floatway.control.present import basic
from floatway.control.snapshot import Readable

__all__ = ["DEPENDS", "PRESENT", "floating_ip_pools"]


def router(model: Readable, router: e.Router) -> dict[str, Any]:
    """With its gateway's addresses, and the zones its agents are in. None is highly available: clients ask."""
    shown = basic(router)
    shown["ha"] = False
    del shown["gateway"]
    shown["external_gateway_info"] = _gateway(model, router)
    shown["availability_zones"] = _zones(model, router)
    return shown


def _gateway(model: Readable, router: e.Router) -> dict[str, Any] | None:
    gateway = router.gateway
    if gateway is None:
        return None
    port = model.get(e.Port, gateway.port_id)
    return {
        "network_id": gateway.network_id,
        "enable_snat": gateway.enable_snat,
        "external_fixed_ips": port.fixed_ips if port is not None else (),
    }


def _agents(model: Readable, router: e.Router) -> list[e.Agent]:
    found = (model.get(e.Agent, binding.agent_id) for binding in model.find(e.AgentBinding, "object", router.id))
    return [agent for agent in found if agent is not None]


def _zones(model: Readable, router: e.Router) -> list[str]:
    return sorted({agent.availability_zone for agent in _agents(model, router) if agent.availability_zone})


def _router_depends(model: Readable, router: e.Router) -> tuple[object, ...]:
    gateway = model.get(e.Port, router.gateway.port_id) if router.gateway is not None else None
    return (gateway, *_agents(model, router))


_PORT_DETAILS: Final = ("name", "network_id", "mac_address", "admin_state_up", "status", "device_id", "device_owner")


def floatingip(model: Readable, floating_ip: e.FloatingIp) -> dict[str, Any]:
    """With details of its port and its port forwardings."""
    shown = basic(floating_ip)
    del shown["floating_port_id"]
    port = model.get(e.Port, floating_ip.port_id) if floating_ip.port_id else None
    shown["port_details"] = {name: getattr(port, name) for name in _PORT_DETAILS} if port is not None else None
    shown["port_forwardings"] = [_brief(one) for one in model.find(e.PortForwarding, "floatingip", floating_ip.id)]
    return shown


def _floatingip_depends(model: Readable, floating_ip: e.FloatingIp) -> tuple[object, ...]:
    port = model.get(e.Port, floating_ip.port_id) if floating_ip.port_id else None
    return (port, *model.find(e.PortForwarding, "floatingip", floating_ip.id))


def _brief(forwarding: e.PortForwarding) -> dict[str, Any]:
    """As in its floating IP's document: without ranges."""
    return {
        "id": forwarding.id,
        "protocol": forwarding.protocol,
        "internal_ip_address": forwarding.internal_ip_address,
        "internal_port_id": forwarding.internal_port_id,
        **_numbers(forwarding),
    }


def _numbers(forwarding: e.PortForwarding) -> dict[str, int]:
    """The ports, where it is one and not several."""
    shown = {}
    if forwarding.external_port_start == forwarding.external_port_end:
        shown["external_port"] = forwarding.external_port_start
    if forwarding.internal_port_start == forwarding.internal_port_end:
        shown["internal_port"] = forwarding.internal_port_start
    return shown


def port_forwarding(model: Readable, forwarding: e.PortForwarding) -> dict[str, Any]:
    """Ports as ranges; as numbers too where it is one."""
    del model
    return {
        "id": forwarding.id,
        "protocol": forwarding.protocol,
        "internal_port_id": forwarding.internal_port_id,
        "internal_ip_address": forwarding.internal_ip_address,
        "description": forwarding.description,
        "external_port_range": f"{forwarding.external_port_start}:{forwarding.external_port_end}",
        "internal_port_range": f"{forwarding.internal_port_start}:{forwarding.internal_port_end}",
        **_numbers(forwarding),
    }


def floating_ip_pools(model: Readable, networks: Iterable[e.Network], project_id: str) -> list[dict[str, Any]]:
    """GET /v2.0/floatingip_pools: every IPv4 subnet of external networks."""
    return [
        {
            "network_id": network.id,
            "subnet_id": subnet.id,
            "subnet_name": subnet.name,
            "cidr": subnet.cidr,
            "project_id": project_id,
            "tenant_id": project_id,
        }
        for network in networks
        for subnet in model.find(e.Subnet, "network", network.id)
        if subnet.ip_version == 4
    ]


PRESENT: Final[dict[str, Callable[[Readable, Any], dict[str, Any]]]] = {
    e.Router.KIND: router,
    e.FloatingIp.KIND: floatingip,
    e.PortForwarding.KIND: port_forwarding,
}
DEPENDS: Final[dict[str, Callable[[Readable, Any], tuple[object, ...]]]] = {
    e.Router.KIND: _router_depends,
    e.FloatingIp.KIND: _floatingip_depends,
}
