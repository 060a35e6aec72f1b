"""The rules of a router's interfaces: a port on each subnet, with the subnet's gateway address unless another is brought.

add by subnet    a port is made with the gateway's address         IPv6 subnets of one network share a port
add by port      the port's own addresses; one IPv4 subnet at most
"""

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from floatway.control import entities as e
from floatway.control import prefixes as p
from floatway.control.caller import ADMIN, Caller
from floatway.control.decide import claims, dvr_ports, owners, placement, ports, router_gateway, sharing, visible
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, bad_request, conflict, not_found

__all__ = ["add", "owner_of", "remove"]


def _bad(message: str) -> ApiError:
    return bad_request("BadRequest", f"Bad router request: {message}.")


def owner_of(router: e.Router) -> str:
    """The device owner of the router's interface ports."""
    return owners.DISTRIBUTED_INTERFACE if router.distributed else owners.ROUTER_INTERFACE


def add(draft: Draft, caller: Caller, router: e.Router, body: Any) -> dict[str, Any]:
    """PUT /v2.0/routers/ID/add_router_interface.

    Raises:
        ApiError: 400, 404, 409 PortInUse.
    """
    by_port, by_subnet = _asked(body)
    if by_port and by_subnet:
        raise _bad("Cannot specify both subnet-id and port-id")
    if by_port:
        port, subnets = _add_port(draft, caller, router, body["port_id"])
    else:
        port, subnets = _add_subnet(draft, caller, router, body["subnet_id"])
    router = draft.touch(draft.need(e.Router, router.id))
    dvr_ports.sync_snat_ports(draft, router)
    placement.sync(draft, router)
    return _document(router, port, subnets, subnets[-1])


def remove(draft: Draft, caller: Caller, router: e.Router, body: Any) -> dict[str, Any]:
    """PUT /v2.0/routers/ID/remove_router_interface.

    Raises:
        ApiError: 400, 404, 409 while floating IPs or routes need it.
    """
    by_port, _ = _asked(body)
    if by_port:
        port, subnets = _remove_port(draft, router, body["port_id"], body.get("subnet_id"))
    else:
        port, subnets = _remove_subnet(draft, caller, router, body["subnet_id"])
    router = draft.touch(draft.need(e.Router, router.id))
    dvr_ports.sync_snat_ports(draft, router)
    claims.interface_gone(draft, router)
    return _document(router, port, subnets, subnets[0])


def _asked(body: Any) -> tuple[bool, bool]:
    asked = body if isinstance(body, dict) else {}
    by_port, by_subnet = "port_id" in asked, "subnet_id" in asked
    if not by_port and not by_subnet:
        raise _bad("Either subnet_id or port_id must be specified")
    for name in ("port_id", "subnet_id"):
        if name in asked and not _is_uuid(asked[name]):
            raise _bad(f"'{asked[name]}' is not a valid UUID")
    return by_port, by_subnet


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(uuid.UUID(value))
    except ValueError:
        return False


def _document(router: e.Router, port: e.Port, subnets: Sequence[e.Subnet], one: e.Subnet) -> dict[str, Any]:
    """``one`` of the subnets is named alone too: the last one added, the first one removed."""
    return {
        "id": router.id,
        "project_id": port.project_id,
        "port_id": port.id,
        "network_id": port.network_id,
        "subnet_id": one.id,
        "subnet_ids": [subnet.id for subnet in subnets],
    }


def _check_mode(subnet: e.Subnet) -> None:
    """A subnet whose router advertisements come from elsewhere is not ours to route."""
    if subnet.ip_version == 6 and not subnet.ipv6_ra_mode and subnet.ipv6_address_mode:
        raise _bad(
            f"IPv6 subnet {subnet.id} configured to receive RAs from an external router cannot be added to Neutron Router."
        )


def _add_subnet(draft: Draft, caller: Caller, router: e.Router, subnet_id: str) -> tuple[e.Port, list[e.Subnet]]:
    subnet = draft.need(e.Subnet, subnet_id)
    network = draft.need(e.Network, subnet.network_id)
    if not caller.sees_all and not _sees(draft, caller, subnet, network):
        raise not_found(e.Subnet.KIND, subnet_id)
    if not subnet.gateway_ip:
        raise _bad("Subnet for router interface must have a gateway IP")
    if subnet.project_id != caller.project_id and not caller.is_admin and not _given(draft, network, caller.project_id):
        raise _bad(
            f"Cannot add interface to router because subnet {subnet_id} is not owned by project making the request"
        )
    _check_mode(subnet)
    router_gateway.check_overlap(draft, router, [subnet])
    ip = {"subnet_id": subnet.id, "ip_address": subnet.gateway_ip}
    if subnet.ip_version == 6:
        shared = _v6_port(draft, router, network.id)
        if shared is not None:
            has = [{"subnet_id": one.subnet_id, "ip_address": one.ip_address} for one in shared.fixed_ips]
            return ports.update(draft, ADMIN, shared, {"fixed_ips": [*has, ip]}), [subnet]
    port = ports.create(
        draft,
        ADMIN,
        {
            "project_id": router.project_id,
            "network_id": network.id,
            "fixed_ips": [ip],
            "device_id": router.id,
            "device_owner": owner_of(router),
        },
    )
    return port, [subnet]


def _sees(draft: Draft, caller: Caller, subnet: e.Subnet, network: e.Network) -> bool:
    mine = caller.project_id in {subnet.project_id, network.project_id}
    return mine or any(
        sharing.allows(draft, network, caller.project_id, action) for action in (sharing.SHARED, sharing.EXTERNAL)
    )


def _given(draft: Draft, network: e.Network, project_id: str) -> bool:
    """Shared with this very project; what is shared with everybody is not for routers of everybody."""
    policies = sharing.policies(draft, network.KIND, network.id, sharing.SHARED)
    return any(policy.target_tenant == project_id for policy in policies)


def _v6_port(draft: Draft, router: e.Router, network_id: str) -> e.Port | None:
    for port in dvr_ports.interfaces(draft, router.id):
        if port.network_id == network_id and any(":" in ip.ip_address for ip in port.fixed_ips):
            return port
    return None


def _add_port(draft: Draft, caller: Caller, router: e.Router, port_id: str) -> tuple[e.Port, list[e.Subnet]]:
    port = visible.port(draft, caller, port_id)
    if port.device_id:
        raise conflict(
            "PortInUse",
            f"Unable to complete operation on port {port.id} for network {port.network_id}. Port already has an attached device"
            f" {port.device_id}.",
        )
    if not port.fixed_ips:
        raise _bad("Router port must have at least one fixed IP")
    subnets = [draft.need(e.Subnet, ip.subnet_id) for ip in port.fixed_ips]
    for subnet in subnets:
        _check_mode(subnet)
    _check_one_v6_port(draft, router, port)
    router_gateway.check_overlap(draft, router, subnets, but=port.id)
    if sum(1 for subnet in subnets if subnet.ip_version == 4) > 1:
        raise _bad("Cannot have multiple IPv4 subnets on router port")
    if not caller.is_admin:
        _check_in_pools(caller, port, subnets)
    values = {"device_id": router.id, "device_owner": owner_of(router)}
    return ports.update(draft, ADMIN, port, values), subnets


def _check_one_v6_port(draft: Draft, router: e.Router, port: e.Port) -> None:
    if not any(":" in ip.ip_address for ip in port.fixed_ips) or router.distributed:
        return
    other = _v6_port(draft, router, port.network_id)
    if other is not None and other.id != port.id:
        raise _bad(
            f"Router already contains IPv6 port {other.id} belonging to network id {other.network_id}. Only one IPv6 port from"
            " the same network subnet can be connected to a router."
        )


def _check_in_pools(caller: Caller, port: e.Port, subnets: Sequence[e.Subnet]) -> None:
    """A project does not take a router address of a subnet of others from outside its pools."""
    for ip, subnet in zip(port.fixed_ips, subnets, strict=True):
        address = p.number(ip.ip_address)
        inside = any(p.number(pool.start) <= address <= p.number(pool.end) for pool in subnet.allocation_pools)
        if not inside and subnet.project_id != caller.project_id:
            raise _bad(
                f"Cannot add interface to router because specified port {port.id} has an IP address out of the allocation pool"
                f" of subnet {subnet.id}, which is not owned by the project making the request"
            )


def _check_unused(draft: Draft, router: e.Router, subnet: e.Subnet) -> None:
    here = draft.bucket(e.Port, "subnet", subnet.id)
    in_use = any(
        floating_ip.port_id in here
        and floating_ip.fixed_ip_address
        and p.address(floating_ip.fixed_ip_address) in p.network(subnet.cidr)
        for floating_ip in draft.find(e.FloatingIp, "router", router.id)
    ) or any(
        forwarding.internal_port_id in here and p.address(forwarding.internal_ip_address) in p.network(subnet.cidr)
        for floating_ip in draft.find(e.FloatingIp, "router", router.id)
        for forwarding in draft.find(e.PortForwarding, "floatingip", floating_ip.id)
    )
    if in_use:
        raise conflict(
            "RouterInterfaceInUseByFloatingIP",
            f"Router interface for subnet {subnet.id} on router {router.id} cannot be deleted, as it is required by one or more"
            " floating IPs.",
        )
    if any(p.address(route.nexthop) in p.network(subnet.cidr) for route in router.routes):
        raise conflict(
            "RouterInterfaceInUseByRoute",
            f"Router interface for subnet {subnet.id} on router {router.id} cannot be deleted, as it is required by one or more"
            " routes.",
        )


def _remove_port(draft: Draft, router: e.Router, port_id: str, subnet_id: str | None) -> tuple[e.Port, list[e.Subnet]]:
    port = draft.get(e.Port, port_id)
    if port is None or port.device_id != router.id or port.device_owner not in owners.INTERFACES:
        raise ApiError(
            404, "RouterInterfaceNotFound", f"Router {router.id} does not have an interface with id {port_id}"
        )
    subnets = [draft.need(e.Subnet, ip.subnet_id) for ip in port.fixed_ips]
    if subnet_id is not None and subnet_id not in {subnet.id for subnet in subnets}:
        raise bad_request(
            "SubnetMismatchForPort", f"Subnet on port {port_id} does not match the requested subnet {subnet_id}."
        )
    for subnet in subnets:
        _check_unused(draft, router, subnet)
    ports.delete(draft, ADMIN, port, l3_check=False)
    return port, subnets


def _remove_subnet(draft: Draft, caller: Caller, router: e.Router, subnet_id: str) -> tuple[e.Port, list[e.Subnet]]:
    subnet = visible.subnet(draft, caller, subnet_id)
    for port in dvr_ports.interfaces(draft, router.id):
        if not any(ip.subnet_id == subnet_id for ip in port.fixed_ips):
            continue
        _check_unused(draft, router, subnet)
        left = tuple(ip for ip in port.fixed_ips if ip.subnet_id != subnet_id)
        if left:
            draft.put(msgspec.structs.replace(port, fixed_ips=left))
        else:
            ports.delete(draft, ADMIN, port, l3_check=False)
        return port, [subnet]
    raise ApiError(
        404, "RouterInterfaceNotFoundForSubnet", f"Router {router.id} has no interface on subnet {subnet_id}"
    )
