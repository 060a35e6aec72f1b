"""The rules of floating IPs: an address of an external network, translated to one fixed address behind a router.

    floating network ◀── floating port (holds the address, belongs to nobody)
          ▲                                    FloatingIp ──▶ port, fixed_ip_address
          └── gateway of a router ── interface on the fixed address's subnet        else: ExternalGatewayForFloatingIPNotFound

DOWN while it is not associated; ACTIVE when the host says so.
"""

from typing import Any, Final

import msgspec

from floatway.control import entities as e
from floatway.control.caller import ADMIN, Caller
from floatway.control.decide import dvr_ports, owners, ports, quotas, visible
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, bad_request, conflict

__all__ = [
    "create",
    "delete",
    "disassociate",
    "find_router",
    "network_deleted",
    "port_changed",
    "port_deleted",
    "reported",
    "update",
]

_BRIDGED: Final = frozenset({"normal", "smart-nic", "virtio-forwarder"})
"""Kinds of virtual NICs whose packets a virtual bridge sees."""


def _bad(message: str) -> ApiError:
    return bad_request("BadRequest", f"Bad floatingip request: {message}.")


def create(draft: Draft, caller: Caller, values: dict[str, Any]) -> e.FloatingIp:
    """Take an address of the network, the one asked for or any, and associate it if a port is named.

    Raises:
        ApiError: 400, 404, 409.
    """
    quotas.check(draft, values["project_id"], "floatingip")
    network = _external(draft, caller, values["floating_network_id"])
    id_ = draft.new_id()
    port = ports.create(draft, ADMIN, _port_values(network, id_, values), quota=False)
    address = next((ip.ip_address for ip in port.fixed_ips if ":" not in ip.ip_address), None)
    if address is None:
        raise bad_request(
            "ExternalIpAddressExhausted", f"Unable to find any IP address on external network {network.id}."
        )
    floating_ip = e.FloatingIp(
        id=id_,
        project_id=values["project_id"],
        description=values.get("description", ""),
        floating_network_id=network.id,
        floating_ip_address=address,
        floating_port_id=port.id,
        dns_name=values.get("dns_name", ""),
        dns_domain=values.get("dns_domain", ""),
        tags=tuple(sorted(set(values.get("tags") or ()))),
    )
    if values.get("fixed_ip_address") and not values.get("port_id"):
        raise _bad("fixed_ip_address cannot be specified without a port_id")
    floating_ip = draft.put(floating_ip)
    if values.get("port_id"):
        floating_ip = _associate(draft, caller, floating_ip, values["port_id"], values.get("fixed_ip_address"))
    return floating_ip


def update(draft: Draft, caller: Caller, floating_ip: e.FloatingIp, values: dict[str, Any]) -> e.FloatingIp:
    """Describe, associate, move or disassociate. Without ``port_id`` the association stays, unless nothing at all is said.

    Raises:
        ApiError: 400, 404, 409.
    """
    if "description" in values:
        floating_ip = draft.put(msgspec.structs.replace(floating_ip, description=values["description"]))
    if values.get("fixed_ip_address") and not values.get("port_id"):
        raise _bad("fixed_ip_address cannot be specified without a port_id")
    if values and "port_id" not in values:
        return floating_ip
    if not values.get("port_id"):
        return disassociate(draft, floating_ip)
    associated = _associate(draft, caller, floating_ip, values["port_id"], values.get("fixed_ip_address"))
    _check_unforwarded(draft, floating_ip)
    return associated


def delete(draft: Draft, caller: Caller, floating_ip: e.FloatingIp) -> None:
    """Give the address back.

    Raises:
        ApiError: 409 while port forwardings use it.
    """
    del caller
    _check_unforwarded(draft, floating_ip)
    host = dvr_ports.host_of(draft, floating_ip)
    draft.remove(floating_ip)
    dvr_ports.sync_floating_ip(draft, floating_ip, host)
    port = draft.get(e.Port, floating_ip.floating_port_id)
    if port is not None:
        ports.delete(draft, ADMIN, port, l3_check=False)


def disassociate(draft: Draft, floating_ip: e.FloatingIp) -> e.FloatingIp:
    """The address stays, and leads nowhere. Port forwardings keep their router."""
    forwarding = draft.has(e.PortForwarding, "floatingip", floating_ip.id)
    host = dvr_ports.host_of(draft, floating_ip)
    after = draft.put(
        msgspec.structs.replace(
            floating_ip,
            port_id=None,
            fixed_ip_address=None,
            router_id=floating_ip.router_id if forwarding else None,
            status=floating_ip.status if forwarding else "DOWN",
        )
    )
    dvr_ports.sync_floating_ip(draft, after, host)
    return after


def reported(draft: Draft, floating_ip: e.FloatingIp, host: str, state: str) -> e.FloatingIp:
    """The host that translates it says that it does (ACTIVE), that it cannot (ERROR), or not yet (DOWN). One that leads nowhere
    stays DOWN; a host that its port is not on says nothing."""
    port = draft.get(e.Port, floating_ip.port_id) if floating_ip.port_id else None
    if port is not None and port.binding_host_id != host:
        return floating_ip
    leads = port is not None or draft.has(e.PortForwarding, "floatingip", floating_ip.id)
    return draft.put(msgspec.structs.replace(floating_ip, status=state if leads else "DOWN"))


def port_deleted(draft: Draft, port: e.Port) -> None:
    """Floating IPs let go of a port that goes."""
    for floating_ip in draft.find(e.FloatingIp, "port", port.id):
        disassociate(draft, floating_ip)


def network_deleted(draft: Draft, network: e.Network) -> None:
    """An external network goes, and its floating IPs that lead nowhere with it."""
    for floating_ip in draft.find(e.FloatingIp, "network", network.id):
        if not floating_ip.port_id and not draft.has(e.PortForwarding, "floatingip", floating_ip.id):
            delete(draft, ADMIN, floating_ip)


def port_changed(draft: Draft, before: e.Port, after: e.Port) -> None:
    """A port moved to another host, or changed addresses."""
    has = {ip.ip_address for ip in after.fixed_ips}
    for floating_ip in draft.find(e.FloatingIp, "port", after.id):
        if floating_ip.fixed_ip_address not in has:
            disassociate(draft, floating_ip)
        elif before.binding_host_id != after.binding_host_id:
            moved = draft.put(msgspec.structs.replace(floating_ip, status="DOWN"))
            dvr_ports.sync_floating_ip(draft, moved, before.binding_host_id, after.binding_host_id)


def find_router(draft: Draft, network_id: str, port: e.Port, subnet_id: str) -> e.Router:
    """The router with an interface on the subnet and a gateway on the external network; the one that is the subnet's gateway first.

    Raises:
        ApiError: 404 ExternalGatewayForFloatingIPNotFound.
    """
    subnet = draft.need(e.Subnet, subnet_id)
    found: list[tuple[bool, int, e.Router]] = []
    for owner in owners.INTERFACES:
        for interface in draft.find(e.Port, "owner", (subnet.network_id, owner)):
            router = draft.get(e.Router, interface.device_id)
            here = any(ip.subnet_id == subnet_id for ip in interface.fixed_ips)
            if here and router is not None and router.gateway is not None and router.gateway.network_id == network_id:
                beside = all(ip.ip_address != subnet.gateway_ip for ip in interface.fixed_ips)
                found.append((beside, interface.sequence, router))
    if found:
        return min(found, key=lambda one: one[:2])[2]
    raise ApiError(
        404,
        "ExternalGatewayForFloatingIPNotFound",
        f"External network {network_id} is not reachable from subnet {subnet_id}.  Therefore, cannot associate Port {port.id}"
        " with a Floating IP.",
    )


def _external(draft: Draft, caller: Caller, network_id: str) -> e.Network:
    network = visible.network(draft, caller, network_id)
    if not network.router_external:
        raise _bad(f"Network {network_id} is not a valid external network")
    if not any(subnet.ip_version == 4 for subnet in draft.find(e.Subnet, "network", network_id)):
        raise _bad(f"Network {network_id} does not contain any IPv4 subnet")
    return network


def _port_values(network: e.Network, id_: str, values: dict[str, Any]) -> dict[str, Any]:
    wanted = {}
    if values.get("subnet_id"):
        wanted["subnet_id"] = values["subnet_id"]
    if values.get("floating_ip_address"):
        wanted["ip_address"] = values["floating_ip_address"]
    port = {
        "project_id": "",
        "network_id": network.id,
        "device_id": id_,
        "device_owner": owners.FLOATING_IP,
        "status": "N/A",
    }
    return {**port, "fixed_ips": [wanted]} if wanted else port


def _associate(
    draft: Draft, caller: Caller, floating_ip: e.FloatingIp, port_id: str, wanted: str | None
) -> e.FloatingIp:
    port = visible.port(draft, caller, port_id)
    _check_forwardings(draft, port)
    if port.project_id != floating_ip.project_id and not caller.is_admin:
        raise _bad(
            f"Cannot process floating IP association with Port {port_id}, since that port is owned by a different project"
        )
    if port.device_owner == owners.DHCP:
        raise _bad(f"Port {port_id} is unable to be assigned a floating IP")
    ip = _fixed_ip(port, wanted)
    router = find_router(draft, floating_ip.floating_network_id, port, ip.subnet_id)
    if router.distributed and port.binding_vnic_type not in _BRIDGED:
        raise _bad("Port VNIC type is not valid to associate a FIP in DVR mode")
    for other in draft.find(e.FloatingIp, "port", port_id):
        same = other.floating_network_id == floating_ip.floating_network_id and other.fixed_ip_address == ip.ip_address
        if same and other.id != floating_ip.id:
            raise conflict(
                "FloatingIPPortAlreadyAssociated",
                f"Cannot associate floating IP {floating_ip.floating_ip_address} ({floating_ip.id}) with port {port_id} using"
                f" fixed IP {ip.ip_address}, as that fixed IP already has a floating IP on external network"
                f" {floating_ip.floating_network_id}.",
            )
    before = dvr_ports.host_of(draft, floating_ip)
    moved = (port_id, ip.ip_address, router.id) != (
        floating_ip.port_id,
        floating_ip.fixed_ip_address,
        floating_ip.router_id,
    )
    after = draft.put(
        msgspec.structs.replace(
            floating_ip,
            port_id=port_id,
            fixed_ip_address=ip.ip_address,
            router_id=router.id,
            status="DOWN" if moved else floating_ip.status,
        )
    )
    dvr_ports.sync_floating_ip(draft, after, before, port.binding_host_id)
    return after


def _fixed_ip(port: e.Port, wanted: str | None) -> e.FixedIp:
    if wanted:
        if ":" in wanted:
            raise _bad(f"Cannot process floating IP association with {wanted}, since that is not an IPv4 address")
        for ip in port.fixed_ips:
            if ip.ip_address == wanted:
                return ip
        raise _bad(f"Port {port.id} does not have fixed ip {wanted}")
    v4 = [ip for ip in port.fixed_ips if ":" not in ip.ip_address]
    if not v4:
        raise _bad(f"Cannot add floating IP to port {port.id} that has no fixed IPv4 addresses")
    if len(v4) > 1:
        raise _bad(
            f"Port {port.id} has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address when assigning a"
            " floating IP"
        )
    return v4[0]


def _check_forwardings(draft: Draft, port: e.Port) -> None:
    """With a distributed router a port has a floating IP of its own or ports of another's, not both."""
    for forwarding in draft.find(e.PortForwarding, "port", port.id)[:1]:
        other = draft.need(e.FloatingIp, forwarding.floatingip_id)
        router = draft.get(e.Router, other.router_id) if other.router_id else None
        if router is not None and router.distributed:
            raise bad_request(
                "PortHasPortForwarding",
                f"Cannot associate floating IP to port {port.id} because it already has a Port Forwarding binding.",
            )


def _check_unforwarded(draft: Draft, floating_ip: e.FloatingIp) -> None:
    if draft.has(e.PortForwarding, "floatingip", floating_ip.id):
        raise conflict("FipInUseByPortForwarding", f"Floating IP {floating_ip.id} in use by Port Forwarding resources.")
