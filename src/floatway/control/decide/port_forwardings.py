"""The rules of port forwardings: ports of a floating IP that lead to ports of different instances.

203.0.113.7  tcp 2222      ─▶ 10.0.0.5  22        one external port leads one way
             tcp 8000-8009 ─▶ 10.0.0.6  80-89     ranges of one size, or many to one
"""

from typing import Any, Final

import msgspec

from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.decide import floatingips, visible
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, bad_request, conflict

__all__ = ["create", "delete", "port_changed", "port_deleted", "update"]

Range = tuple[int, int]
_SIDES: Final = ("external", "internal")


def _bad(message: str) -> ApiError:
    return bad_request("BadRequest", f"Bad port_forwarding request: {message}.")


def create(draft: Draft, caller: Caller, values: dict[str, Any]) -> e.PortForwarding:
    """Lead ports of the floating IP ``floatingip_id`` to a port.

    Raises:
        ApiError: 400, 404, 409.
    """
    floating_ip = draft.need(e.FloatingIp, values["floatingip_id"])
    if floating_ip.port_id:
        raise conflict(
            "FloatingIPPortAlreadyAssociated",
            f"Cannot associate floating IP {floating_ip.floating_ip_address} ({floating_ip.id}) with port"
            f" {values['internal_port_id']} using fixed IP {values['internal_ip_address']}, as that fixed IP already has a"
            f" floating IP on external network {floating_ip.floating_network_id}.",
        )
    external, internal = _range(values, "external"), _range(values, "internal")
    if external is None or internal is None:
        raise _bad("Missing external_port or internal_port, or their ranges")
    forwarding = e.PortForwarding(
        id=draft.new_id(),
        project_id=floating_ip.project_id,
        description=values.get("description", ""),
        floatingip_id=floating_ip.id,
        protocol=str(values["protocol"]).lower(),
        internal_port_id=values["internal_port_id"],
        internal_ip_address=values["internal_ip_address"],
        external_port_start=external[0],
        external_port_end=external[1],
        internal_port_start=internal[0],
        internal_port_end=internal[1],
    )
    return _store(draft, caller, floating_ip, forwarding)


def update(draft: Draft, caller: Caller, forwarding: e.PortForwarding, values: dict[str, Any]) -> e.PortForwarding:
    """Lead elsewhere.

    Raises:
        ApiError: as ``create``.
    """
    floating_ip = draft.need(e.FloatingIp, forwarding.floatingip_id)
    changed: dict[str, Any] = {
        name: values[name]
        for name in ("description", "protocol", "internal_port_id", "internal_ip_address")
        if name in values
    }
    if "protocol" in changed:
        changed["protocol"] = str(changed["protocol"]).lower()
    for side in _SIDES:
        ports = _range(values, side)
        if ports is not None:
            changed[f"{side}_port_start"], changed[f"{side}_port_end"] = ports
    after = msgspec.structs.replace(forwarding, **changed)
    if after.internal_port_id == forwarding.internal_port_id:
        _check_address(draft.need(e.Port, after.internal_port_id), after)
    _check_same(draft, floating_ip, after)
    return _store(draft, caller, floating_ip, after)


def delete(draft: Draft, caller: Caller, forwarding: e.PortForwarding) -> None:
    """Lead nowhere; the last one lets the floating IP go of its router."""
    del caller
    draft.remove(forwarding)
    port = draft.get(e.Port, forwarding.internal_port_id)
    if port is not None:
        draft.touch(port)
    floating_ip = draft.get(e.FloatingIp, forwarding.floatingip_id)
    if floating_ip is not None and not draft.has(e.PortForwarding, "floatingip", floating_ip.id):
        draft.put(msgspec.structs.replace(floating_ip, router_id=None, status="DOWN"))
    elif floating_ip is not None:
        draft.touch(floating_ip)


def port_deleted(draft: Draft, port: e.Port) -> None:
    """What led to a port that goes is gone."""
    for forwarding in draft.find(e.PortForwarding, "port", port.id):
        delete(draft, _NOBODY, forwarding)


def port_changed(draft: Draft, port: e.Port) -> None:
    """What led to an address that the port has no longer is gone."""
    has = {ip.ip_address for ip in port.fixed_ips}
    for forwarding in draft.find(e.PortForwarding, "port", port.id):
        if forwarding.internal_ip_address not in has:
            delete(draft, _NOBODY, forwarding)


_NOBODY: Final = Caller()


def _check_address(port: e.Port, forwarding: e.PortForwarding) -> None:
    if all(ip.ip_address != forwarding.internal_ip_address for ip in port.fixed_ips):
        raise _bad(
            f"The internal IP does not correspond to an address on the internal port, which has fixed_ips {_shown(port)}"
        )


def _check_same(draft: Draft, floating_ip: e.FloatingIp, forwarding: e.PortForwarding) -> None:
    """What is changed to the very ends of another is told so."""
    for other in draft.find(e.PortForwarding, "floatingip", floating_ip.id):
        if other.id == forwarding.id or other.protocol != forwarding.protocol:
            continue
        outside, inside = (_number(other, side) for side in _SIDES)
        if outside is not None and outside == _number(forwarding, "external"):
            raise _same({"floating_ip_address": floating_ip.floating_ip_address, "external_port": outside})
        there = (other.internal_port_id, other.internal_ip_address)
        if inside is not None and (*there, inside) == (
            forwarding.internal_port_id,
            forwarding.internal_ip_address,
            _number(forwarding, "internal"),
        ):
            named = dict(zip(("internal_port_id", "internal_ip_address"), there, strict=True))
            raise _same({**named, "internal_port": inside})


def _number(forwarding: e.PortForwarding, side: str) -> int | None:
    start, end = getattr(forwarding, f"{side}_port_start"), getattr(forwarding, f"{side}_port_end")
    return int(start) if start == end else None


def _same(values: dict[str, Any]) -> ApiError:
    return _bad(
        f"Another port forwarding entry with the same attributes already exists, conflicting values are {values}"
    )


def _shown(port: e.Port) -> list[dict[str, str]]:
    return [{"subnet_id": ip.subnet_id, "ip_address": ip.ip_address} for ip in port.fixed_ips]


def _range(values: dict[str, Any], side: str) -> Range | None:
    single, several = values.get(f"{side}_port"), values.get(f"{side}_port_range")
    if single is not None and several is not None:
        raise _bad(f"{side}_port and {side}_port_range cannot both be specified")
    if several is not None:
        start, _, end = str(several).partition(":")
        return int(start), int(end or start)
    return (int(single), int(single)) if single is not None else None


def _store(draft: Draft, caller: Caller, floating_ip: e.FloatingIp, forwarding: e.PortForwarding) -> e.PortForwarding:
    _check_ranges(forwarding)
    _check_collisions(draft, forwarding)
    port = visible.port(draft, caller, forwarding.internal_port_id)
    _check_free(draft, forwarding)
    router = _router(draft, floating_ip, port, forwarding)
    if floating_ip.router_id and floating_ip.router_id != router.id:
        raise _bad(
            f"The Floating IP {floating_ip.id} had been set on router {floating_ip.router_id}, the internal Neutron port"
            f" {port.id} can not reach it"
        )
    before = draft.get(e.PortForwarding, forwarding.id)
    if before == forwarding:
        return forwarding
    draft.touch(msgspec.structs.replace(floating_ip, router_id=router.id))
    draft.touch(port)
    return draft.put(forwarding)


def _router(draft: Draft, floating_ip: e.FloatingIp, port: e.Port, forwarding: e.PortForwarding) -> e.Router:
    """The router between the two; that it does not exist is a bad request here."""
    subnet_id = _subnet(port, forwarding)
    try:
        return floatingips.find_router(draft, floating_ip.floating_network_id, port, subnet_id)
    except ApiError as error:
        raise _bad(
            f"External network {floating_ip.floating_network_id} is not reachable from subnet {subnet_id}. Cannot set Port"
            f" forwarding for port {port.id} with Floating IP {floating_ip.id}"
        ) from error


def _subnet(port: e.Port, forwarding: e.PortForwarding) -> str:
    v4 = [ip for ip in port.fixed_ips if ":" not in ip.ip_address]
    if not v4:
        raise _bad(f"Requested internal port {port.id} must allocate an IPv4 address at least.")
    for ip in v4:
        if ip.ip_address == forwarding.internal_ip_address:
            return ip.subnet_id
    raise _bad(
        f"Requested internal IP address {forwarding.internal_ip_address} is not suitable for internal neutron port {port.id},"
        f" as its fixed_ips are {[one for one in _shown(port) if ':' not in one['ip_address']]}"
    )


def _check_free(draft: Draft, forwarding: e.PortForwarding) -> None:
    """A port that has a floating IP of its own is reached by that."""
    for other in draft.find(e.FloatingIp, "port", forwarding.internal_port_id)[:1]:
        raise conflict(
            "PortHasBindingFloatingIP",
            f"Cannot create port forwarding to floating IP {other.floating_ip_address} ({other.id}) with port"
            f" {forwarding.internal_port_id} using fixed IP {forwarding.internal_ip_address}, as that port already has a"
            " binding floating IP.",
        )


def _check_ranges(forwarding: e.PortForwarding) -> None:
    external = forwarding.external_port_end - forwarding.external_port_start
    internal = forwarding.internal_port_end - forwarding.internal_port_start
    if internal not in {0, external}:
        raise _bad(
            "Invalid ranges of internal and/or external ports. The relation between internal and external ports must be N-N"
            " or 1-N"
        )


def _check_collisions(draft: Draft, forwarding: e.PortForwarding) -> None:
    for other in draft.find(e.PortForwarding, "port", forwarding.internal_port_id):
        same = other.protocol == forwarding.protocol and other.internal_ip_address == forwarding.internal_ip_address
        if other.id != forwarding.id and same:
            _collide("internal", other, forwarding)
    for other in draft.find(e.PortForwarding, "floatingip", forwarding.floatingip_id):
        if other.id != forwarding.id and other.protocol == forwarding.protocol:
            _collide("external", other, forwarding)


def _collide(side: str, other: e.PortForwarding, new: e.PortForwarding) -> None:
    a, b = ((getattr(one, f"{side}_port_start"), getattr(one, f"{side}_port_end")) for one in (other, new))
    if a[0] <= b[1] and b[0] <= a[1]:
        raise _bad(
            f"There is a port collision with the {side}_port_range. The following ranges collide: {a[0]}:{a[1]} and {b[0]}:{b[1]}"
        )
