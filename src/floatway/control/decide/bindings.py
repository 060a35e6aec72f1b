"""Several bindings of one port: the active one is part of the port, others wait on the hosts that it may move to.

    POST  ports/P/bindings {host: h2}        a second one, INACTIVE, plugged as h2's agent allows
    PUT   ports/P/bindings/h2/activate       h2 becomes the port's host; h1's binding stays, INACTIVE and unplugged

Only instances and shared file systems move, so only their ports have bindings to speak of.
"""

from typing import Any

import msgspec

from floatway.control.caller import Caller
from floatway.control.decide import binding, claims, floatingips
from floatway.control.decide.binding import Plug
from floatway.control.draft import Draft
from floatway.control.entities import Network, Port, PortBinding
from floatway.control.errors import ApiError, bad_request, conflict
from floatway.control.snapshot import Readable

__all__ = ["activate", "create", "delete", "find", "of_port", "update"]


def of_port(model: Readable, port: Port) -> list[PortBinding]:
    """All bindings of the port, the active one first.

    Raises:
        ApiError: 400, such a port has none to speak of.
    """
    _check_kind(port)
    return [_active(port), *model.find(PortBinding, "port", port.id)]


def find(model: Readable, port: Port, host: str) -> PortBinding:
    """The port's binding on ``host``.

    Raises:
        ApiError: 400, 404.
    """
    for one in of_port(model, port):
        if one.host == host:
            return one
    raise _nowhere(port.id, host)


def create(draft: Draft, caller: Caller, values: dict[str, Any]) -> PortBinding:
    """An inactive binding of ``port_id`` on ``host``.

    Raises:
        ApiError: 400, 404; 409 when there is one; PortBindingError when nothing there can plug the port.
    """
    del caller
    port = draft.need(Port, values["port_id"])
    _check_kind(port)
    host = values.get("host") or ""
    if any(one.host == host for one in of_port(draft, port)):
        raise _exists(port.id, host)
    plug = binding.requested(Plug(), host, values.get("vnic_type"), values.get("profile") or {})
    one = draft.put(_plugged(draft, port, plug))
    draft.touch(port)
    return one


def update(draft: Draft, caller: Caller, one: PortBinding, values: dict[str, Any]) -> PortBinding:
    """Another profile, vnic type or host. A profile that is not named is emptied.

    Raises:
        ApiError: 404; 409 when there is one on the new host; PortBindingError when nothing there can plug the port.
    """
    del caller
    port = draft.need(Port, one.port_id)
    plug = binding.requested(
        Plug(one.host, one.vnic_type, one.profile),
        values.get("host") or one.host,
        values.get("vnic_type"),
        values.get("profile") or {},
    )
    if plug.host != one.host and any(other.host == plug.host for other in of_port(draft, port)):
        raise _exists(port.id, plug.host)
    if one.status == "ACTIVE":
        asked = {"binding:host_id": plug.host, "binding:vnic_type": plug.vnic_type, "binding:profile": plug.profile}
        moved = binding.changed(draft, draft.need(Network, port.network_id), port, asked)
        if moved.binding_vif_type == "binding_failed":
            raise binding.failed(port.id, plug.host)
        return _active(_put(draft, port, moved))
    changed = _plugged(draft, port, plug)
    if changed.id != one.id:
        draft.remove(one)
    draft.touch(port)
    return draft.put(changed)


def delete(draft: Draft, caller: Caller, one: PortBinding) -> None:
    """Take a binding away; without its active one the port is unbound."""
    del caller
    port = draft.need(Port, one.port_id)
    if one.status != "ACTIVE":
        draft.remove(one)
        draft.touch(port)
        return
    _put(draft, port, binding.changed(draft, draft.need(Network, port.network_id), port, {"binding:host_id": ""}))


def activate(draft: Draft, caller: Caller, port: Port, host: str) -> PortBinding:
    """Make the binding on ``host`` the port's. What was active stays as an inactive, unplugged one.

    Raises:
        ApiError: 400, 404; 409 when it is active.
    """
    del caller
    _check_kind(port)
    if port.binding_host_id == host:
        raise conflict("PortBindingAlreadyActive", f"Binding for port {port.id} on host {host} is already active.")
    one = draft.get(PortBinding, _id(port.id, host))
    if one is None:
        raise _nowhere(port.id, host)
    draft.remove(one)
    left = msgspec.structs.replace(_active(port), status="INACTIVE", vif_type="unbound", vif_details={})
    if left.host:
        draft.put(left)
    moved = msgspec.structs.replace(
        port,
        binding_host_id=one.host,
        binding_vnic_type=one.vnic_type,
        binding_profile=one.profile,
        binding_vif_type=one.vif_type,
        binding_vif_details=binding.on_port(one.vif_details),
        up_hosts=(),
        troubled_hosts={},
    )
    return _active(_put(draft, port, binding.with_device_mac(draft, moved)))


def _put(draft: Draft, before: Port, after: Port) -> Port:
    """Floating IPs hear of a port that moved, and what its host said of routers may count no more."""
    after = draft.put(binding.with_status(after))
    if after.binding_host_id != before.binding_host_id:
        floatingips.port_changed(draft, before, after)
        claims.left(draft, before)
    return after


def _plugged(draft: Draft, port: Port, plug: Plug) -> PortBinding:
    vif_type, details = binding.bind(draft, draft.need(Network, port.network_id), plug)
    if vif_type == "binding_failed":
        raise binding.failed(port.id, plug.host)
    return PortBinding(
        id=_id(port.id, plug.host),
        port_id=port.id,
        host=plug.host,
        vnic_type=plug.vnic_type,
        profile=plug.profile,
        vif_type=vif_type,
        vif_details=details,
        project_id=port.project_id,
    )


def _active(port: Port) -> PortBinding:
    return PortBinding(
        id=_id(port.id, port.binding_host_id),
        port_id=port.id,
        host=port.binding_host_id,
        vnic_type=port.binding_vnic_type,
        profile=port.binding_profile,
        vif_type=port.binding_vif_type,
        vif_details=binding.of_binding(port.binding_vif_details),
        status="ACTIVE",
        project_id=port.project_id,
    )


def _id(port_id: str, host: str) -> str:
    return f"{port_id}@{host}"


def _check_kind(port: Port) -> None:
    if not port.device_owner.startswith(("compute:", "manila:")):
        raise bad_request(
            "BadRequest",
            f"Bad port request: Invalid port {port.id}. Operation only valid on compute and shared filesystem ports.",
        )


def _nowhere(port_id: str, host: str) -> ApiError:
    return ApiError(404, "PortBindingNotFound", f"Binding for port {port_id} for host {host} could not be found.")


def _exists(port_id: str, host: str) -> ApiError:
    return conflict("PortBindingAlreadyExists", f"Binding for port {port_id} on host {host} already exists.")
