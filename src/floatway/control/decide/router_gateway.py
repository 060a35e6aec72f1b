"""The rules of a router's gateway: a port on an external network, with its addresses and SNAT or not."""

from collections.abc import Sequence
from typing import Any

import msgspec

from floatway.control import entities as e
from floatway.control import prefixes as p
from floatway.control.caller import ADMIN, Caller
from floatway.control.decide import dvr_ports, extra_routes, owners, placement, ports, visible
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, bad_request, conflict

__all__ = ["check_overlap", "clear", "set_gateway", "subnet_added"]


def _bad(message: str) -> ApiError:
    return bad_request("BadRequest", f"Bad router request: {message}.")


def set_gateway(draft: Draft, caller: Caller, router: e.Router, info: dict[str, Any] | None) -> e.Router:
    """Give the router this ``external_gateway_info``; None or {} takes the gateway away.

    Raises:
        ApiError: 400 when the network is not external or overlaps an interface, 404, 409 while floating IPs need what is there.
    """
    if not info:
        return clear(draft, router)
    network = visible.network(draft, caller, info["network_id"])
    wanted = info.get("external_fixed_ips")
    _check(draft, router, network, wanted or ())
    if router.gateway is not None and router.gateway.network_id != network.id:
        router = clear(draft, router)
    enable_snat = info.get("enable_snat", True)
    if router.gateway is None:
        port = _make_port(draft, router, network, wanted)
        gateway = e.ExternalGateway(network.id, port.id, enable_snat)
    else:
        if wanted is not None:
            _move_addresses(draft, router, wanted)
        gateway = msgspec.structs.replace(router.gateway, enable_snat=enable_snat)
    router = draft.put(msgspec.structs.replace(router, gateway=gateway))
    dvr_ports.sync_snat_ports(draft, router)
    placement.sync(draft, router)
    return router


def clear(draft: Draft, router: e.Router) -> e.Router:
    """No way out any more.

    Raises:
        ApiError: 409 while floating IPs go through it.
    """
    if router.gateway is None:
        return router
    if draft.has(e.FloatingIp, "router", router.id):
        raise conflict(
            "RouterExternalGatewayInUseByFloatingIp",
            f"Gateway cannot be updated for router {router.id}, since a gateway to external network"
            f" {router.gateway.network_id} is required by one or more floating IPs.",
        )
    _check_routes_without(draft, router)
    port = draft.get(e.Port, router.gateway.port_id)
    router = draft.put(msgspec.structs.replace(router, gateway=None))
    dvr_ports.sync_snat_ports(draft, router)
    if port is not None:
        ports.delete(draft, ADMIN, port, l3_check=False)
    if router.distributed:
        placement.withdraw(draft, router)
    return router


def subnet_added(draft: Draft, caller: Caller, network: e.Network, subnet: e.Subnet) -> None:
    """An external network got a subnet of a family: gateway ports that have no address of it yet get one."""
    del caller
    for port in draft.find(e.Port, "owner", (network.id, owners.ROUTER_GATEWAY)):
        families = {p.address(ip.ip_address).version for ip in port.fixed_ips}
        if subnet.ip_version not in families:
            has = [{"subnet_id": ip.subnet_id, "ip_address": ip.ip_address} for ip in port.fixed_ips]
            ports.update(draft, ADMIN, port, {"fixed_ips": [*has, {"subnet_id": subnet.id}]})


def check_overlap(draft: Draft, router: e.Router, subnets: Sequence[e.Subnet], *, but: str = "") -> None:
    """Whether the router has no other port on these subnets, nor on one that shares addresses with them.

    Raises:
        ApiError: 400.
    """
    new = {subnet.id for subnet in subnets}
    there: dict[str, e.Subnet] = {}
    for port in draft.find(e.Port, "device", router.id):
        if (
            port.device_owner not in owners.ROUTER_PORTS
            or port.id == but
            or port.device_owner == owners.CENTRALIZED_SNAT
        ):
            continue
        for ip in port.fixed_ips:
            if ip.subnet_id in new:
                raise _bad(f"Router already has a port on subnet {ip.subnet_id}")
            there[ip.subnet_id] = draft.need(e.Subnet, ip.subnet_id)
        if port.device_owner == owners.ROUTER_GATEWAY:
            there |= {subnet.id: subnet for subnet in draft.find(e.Subnet, "network", port.network_id)}
    for one in subnets:
        for other in there.values():
            if p.overlap(one.cidr, other.cidr):
                raise _bad(f"Cidr {one.cidr} of subnet {one.id} overlaps with cidr {other.cidr} of subnet {other.id}")


def _check(draft: Draft, router: e.Router, network: e.Network, wanted: Sequence[dict[str, str]]) -> None:
    if not network.router_external:
        raise _bad(f"Network {network.id} is not an external network")
    subnets = draft.find(e.Subnet, "network", network.id)
    for asked in wanted:
        if any(subnet.gateway_ip and subnet.gateway_ip == asked.get("ip_address") for subnet in subnets):
            raise _bad(f"External IP {asked.get('ip_address')} is the same as the gateway IP")
    if router.gateway is None or router.gateway.network_id != network.id:
        for port in dvr_ports.interfaces(draft, router.id):
            for ip in port.fixed_ips:
                inside = draft.need(e.Subnet, ip.subnet_id)
                for subnet in subnets:
                    if subnet.id == inside.id:
                        raise _bad(f"Router already has a port on subnet {subnet.id}")
                    if p.overlap(inside.cidr, subnet.cidr):
                        raise _bad(
                            f"Cidr {subnet.cidr} of subnet {subnet.id} overlaps with cidr {inside.cidr} of subnet {inside.id}"
                        )
    if router.routes:
        inner, addresses = _inside(draft, router)
        extra_routes.check(router.routes, [*inner, *(subnet.cidr for subnet in subnets)], addresses)


def _inside(draft: Draft, router: e.Router) -> tuple[list[str], set[str]]:
    """The prefixes and addresses of the router's interfaces."""
    ips = [ip for port in dvr_ports.interfaces(draft, router.id) for ip in port.fixed_ips]
    return [draft.need(e.Subnet, ip.subnet_id).cidr for ip in ips], {ip.ip_address for ip in ips}


def _check_routes_without(draft: Draft, router: e.Router) -> None:
    if router.routes:
        inner, addresses = _inside(draft, router)
        extra_routes.check(router.routes, inner, addresses)


def _make_port(draft: Draft, router: e.Router, network: e.Network, wanted: Sequence[dict[str, str]] | None) -> e.Port:
    values: dict[str, Any] = {
        "project_id": "",
        "network_id": network.id,
        "device_id": router.id,
        "device_owner": owners.ROUTER_GATEWAY,
    }
    if wanted:
        values["fixed_ips"] = [dict(ip) for ip in wanted]
    return ports.create(draft, ADMIN, values, quota=False)


def _move_addresses(draft: Draft, router: e.Router, wanted: Sequence[dict[str, str]]) -> None:
    gateway = router.gateway
    port = draft.get(e.Port, gateway.port_id) if gateway is not None else None
    if port is not None and wanted:
        ports.update(draft, ADMIN, port, {"fixed_ips": [dict(ip) for ip in wanted]})
