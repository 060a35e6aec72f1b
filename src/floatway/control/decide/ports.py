"""The rules of ports: what a port may be when it is made, what may change, what goes with it.

    create   network ▸ owner ▸ MAC ▸ addresses ▸ names ▸ security ▸ binding          the first refusal ends it, nothing was changed
    update   the same, for what the request names; a plugged-in port keeps its MAC, a router's port its IPv4 addresses
    delete   floating IPs let go of it, port forwardings and bindings go with it; a router's port goes with its router

Routers and floating IPs make their own ports through the same functions, on the same draft.
"""

from typing import Any

import msgspec

from floatway.control.caller import Caller
from floatway.control.decide import (
    binding,
    claims,
    floatingips,
    owners,
    port_forwardings,
    ports_addresses,
    ports_dhcp,
    ports_dns,
    ports_mac,
    ports_security,
    quotas,
    security_groups,
    sharing,
)
from floatway.control.draft import Draft
from floatway.control.entities import FloatingIp, Network, Port, PortBinding, Router
from floatway.control.errors import bad_request, conflict, not_found

__all__ = ["create", "delete", "update"]


def create(draft: Draft, caller: Caller, values: dict[str, Any], *, quota: bool = True) -> Port:
    """A port on ``network_id``. Values that are absent have the API's defaults.

    ``status`` and ``id`` may be given by rules that make ports of their own; ``quota`` False leaves the project's quota out.

    Raises:
        ApiError: 400, 404 or 409; see the rules called.
    """
    project_id = values.get("project_id") or ""
    network = _network(draft, caller, values["network_id"])
    if quota:
        quotas.check(draft, project_id, Port.KIND, 1)
    device_id, owner = values.get("device_id") or "", values.get("device_owner") or ""
    _check_device(draft, caller, owner, device_id, project_id)
    mac = ports_mac.chosen(draft, network.id, values.get("mac_address"))
    wanted = values.get("fixed_ips")
    fixed_ips = ports_addresses.allocate(draft, ports_addresses.Holder(network.id, owner, mac, caller), wanted)
    dns_name, dns_domain = ports_dns.kept(draft.settings, values)
    secured, groups, pairs = ports_security.created(draft, caller, network, values, mac)
    port = Port(
        id=values.get("id") or draft.new_id(),
        project_id=project_id,
        name=values.get("name") or "",
        description=values.get("description", ""),
        network_id=network.id,
        mac_address=mac,
        admin_state_up=values.get("admin_state_up", True),
        status=values.get("status") or "DOWN",
        fixed_ips=fixed_ips,
        device_id=device_id,
        device_owner=owner,
        security_groups=groups,
        allowed_address_pairs=pairs,
        extra_dhcp_opts=ports_dhcp.created(values.get("extra_dhcp_opts")),
        port_security_enabled=secured,
        dns_name=dns_name,
        dns_domain=dns_domain,
        ip_allocation="none" if wanted is not None and not wanted else "immediate",
        propagate_uplink_status=values.get("propagate_uplink_status", True),
        tags=tuple(sorted(set(values.get("tags") or ()))),
    )
    return draft.put(binding.created(draft, network, port, values))


def update(draft: Draft, caller: Caller, port: Port, values: dict[str, Any]) -> Port:
    """``port`` with what ``values`` name. Floating IPs and port forwardings hear of addresses that went.

    Raises:
        ApiError: 400, 404 or 409; see the rules called.
    """
    before = port
    wanted = values.get("fixed_ips")
    if wanted is not None:
        _keep_floating(draft, port, wanted)
    if port.project_id:
        security_groups.default_group(draft, port.project_id)
    _check_vnic(port, values)
    device_id = values.get("device_id", port.device_id) or ""
    owner = values.get("device_owner", port.device_owner) or ""
    if "device_owner" in values or device_id != port.device_id:
        _check_device(draft, caller, owner or port.device_owner, device_id or port.device_id, port.project_id)
    mac = port.mac_address
    if "mac_address" in values:
        mac = ports_mac.changed(draft, port, values["mac_address"], owner)
    elif _leaves_device(port, values):
        mac = ports_mac.chosen(draft, port.network_id, None)
    fixed_ips = port.fixed_ips
    if wanted is not None or mac != port.mac_address:
        fixed_ips = ports_addresses.reallocate(draft, port, mac, wanted, caller)
    dns_name, dns_domain = ports_dns.kept(draft.settings, values, (port.dns_name, port.dns_domain))
    secured, groups, pairs = ports_security.updated(draft, caller, port, values, mac)
    port = msgspec.structs.replace(
        port,
        name=values.get("name", port.name),
        description=values.get("description", port.description),
        admin_state_up=values.get("admin_state_up", port.admin_state_up),
        mac_address=mac,
        fixed_ips=fixed_ips,
        device_id=device_id,
        device_owner=owner,
        security_groups=groups,
        allowed_address_pairs=pairs,
        extra_dhcp_opts=ports_dhcp.updated(port.extra_dhcp_opts, values.get("extra_dhcp_opts")),
        port_security_enabled=secured,
        dns_name=dns_name,
        dns_domain=dns_domain,
        propagate_uplink_status=values.get("propagate_uplink_status", port.propagate_uplink_status),
        status=values.get("status", port.status),
    )
    network = draft.need(Network, port.network_id)
    port = draft.put(binding.with_status(binding.changed(draft, network, port, values)))
    if (port.fixed_ips, port.binding_host_id) != (before.fixed_ips, before.binding_host_id):
        floatingips.port_changed(draft, before, port)
        port_forwardings.port_changed(draft, port)
    if (port.binding_host_id, port.device_owner) != (before.binding_host_id, before.device_owner):
        claims.left(draft, before)
    return port


def delete(draft: Draft, caller: Caller, port: Port, *, l3_check: bool = True, leaves: bool = True) -> None:
    """Delete the port. ``l3_check`` False is for the rules that the port belongs to; not ``leaves``: others may take its place on
    its host at once, and ``claims.left`` is told when it is known.

    Raises:
        ApiError: 409, the port is a router's or a floating IP's, or a floating IP of another project is on it.
    """
    if l3_check:
        _check_unowned(draft, port)
    if not caller.is_admin:
        for floating_ip in draft.find(FloatingIp, "port", port.id):
            if floating_ip.project_id != caller.project_id:
                raise conflict(
                    "FipAssociated",
                    f"Unable to complete the operation on port {port.id} because the port still has "
                    "an associated floating IP.",
                )
    floatingips.port_deleted(draft, port)
    port_forwardings.port_deleted(draft, port)
    for other in draft.find(PortBinding, "port", port.id):
        draft.remove(other)
    draft.remove(port)
    if leaves:
        claims.left(draft, port)


def _network(draft: Draft, caller: Caller, network_id: str) -> Network:
    network = draft.get(Network, network_id)
    if network is None or not (
        caller.sees_all
        or network.project_id == caller.project_id
        or sharing.allows(draft, network, caller.project_id)
        or sharing.allows(draft, network, caller.project_id, sharing.EXTERNAL)
    ):
        raise not_found(Network.KIND, network_id)
    return network


def _check_device(draft: Draft, caller: Caller, owner: str, device_id: str, project_id: str) -> None:
    """A project does not pass a port off as an interface of somebody else's router."""
    if caller.is_admin or owner not in owners.INTERFACES or not device_id:
        return
    router = draft.get(Router, device_id)
    if router is not None and router.project_id != project_id:
        raise conflict(
            "DeviceIDNotOwnedByTenant",
            f"The following device_id {device_id} is not owned by your project or matches another project router.",
        )


def _check_vnic(port: Port, values: dict[str, Any]) -> None:
    vnic_type = values.get("binding:vnic_type")
    if vnic_type not in {None, port.binding_vnic_type} and port.binding_vif_type != "unbound":
        raise conflict(
            "PortInUse",
            f"Unable to complete operation on port {port.id} for network {port.network_id}. "
            f"Port already has an attached device {port.device_id}.",
        )


def _leaves_device(port: Port, values: dict[str, Any]) -> bool:
    """Whether a port stops being a physical device, whose MAC is the device's to keep."""
    freed = values.get("device_id") == "" and values.get("device_owner") == ""
    return freed and port.device_id != "" and port.binding_vnic_type == "direct-physical"


def _check_unowned(draft: Draft, port: Port) -> None:
    """A port of a router or a floating IP that exists is not deleted from under it."""
    if port.device_owner not in owners.L3:
        return
    kind = FloatingIp if port.device_owner == owners.FLOATING_IP else Router
    if draft.get(kind, port.device_id) is not None:
        raise conflict(
            "ServicePortInUse",
            f"Port {port.id} cannot be deleted directly via the port API: has device owner {port.device_owner}.",
        )


def _keep_floating(draft: Draft, port: Port, wanted: ports_addresses.FixedIps) -> None:
    """An address under a floating IP is not taken away."""
    for floating_ip in draft.find(FloatingIp, "port", port.id)[:1]:
        address = floating_ip.fixed_ip_address
        if address and all(wish.get("ip_address") != address for wish in wanted):
            raise bad_request(
                "BadRequest",
                f"Bad port request: Cannot update the fixed_ips of the port {port.id}, because its original fixed_ip "
                "has been associated to a floating ip.",
            )
