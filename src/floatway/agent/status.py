"""What a host says of its part: a status for each port, floating IP and router that it realises, and for those it should but cannot.

Outcome(waiting: tap8aa5e3b4-6c) ─▶ port 8aa5e3b4… DOWN     its instance is not plugged
Outcome(blocked: port 8aa5e3b4…) ─▶ port 8aa5e3b4… ERROR    with the command that failed, and the kernel's word for why
"""

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from floatway.compile import names
from floatway.compile.host import Origin
from floatway.compile.view import view_of
from floatway.model.cloud import Cloud
from floatway.model.stream import Report, State, Status

__all__ = ["NOTHING", "Truth", "difference", "truth"]

_ACTIVE: Final = Status("ACTIVE")
_DOWN: Final = Status("DOWN")


class Truth(msgspec.Struct, frozen=True):
    """How things stand on a host at a revision of its part."""

    applied: int = 0
    ports: dict[str, Status] = {}
    floating_ips: dict[str, Status] = {}
    routers: dict[str, Status] = {}


NOTHING: Final = Truth()


def truth(
    cloud: Cloud, host: str, revision: int, *, waiting: Collection[str] = (), blocked: Mapping[Origin, str] = {}
) -> Truth:
    """How things stand: ``waiting`` names devices that are not there, ``blocked`` says why a logical object could not be made."""
    if host not in cloud.hosts:
        return Truth(applied=revision)
    view = view_of(cloud, cloud.hosts[host])
    missing = frozenset(waiting)
    whole = blocked.get(("host", host), "")

    def said(origins: Collection[Origin], state: State = "ACTIVE") -> Status:
        reason = next((blocked[origin] for origin in origins if origin in blocked), whole)
        return Status("ERROR", reason) if reason else _ACTIVE if state == "ACTIVE" else Status(state)

    ports: dict[str, Status] = {}
    for port in view.instance_ports:
        plugged = names.device("tap", port.id) not in missing
        groups = [("security_group", group) for group in port.security_groups]
        ports[port.id] = said(
            [("port", port.id), ("network", port.network_id), *groups], "ACTIVE" if plugged else "DOWN"
        )
    for router_id, interfaces in view.interfaces.items():
        for interface in interfaces:
            origins = [("port", interface.port.id), ("network", interface.network.id), ("router", router_id)]
            ports[interface.port.id] = said([*origins, ("subnet", interface.subnet.id)])
    for network_id, gateway in view.agent_gateways.items():
        ports[gateway.id] = said([("port", gateway.id), ("network", network_id)])
    floating_ips: dict[str, Status] = {}
    for router_id, floating in view.floating_ips.items():
        outside = view.gateway_network(cloud.routers[router_id])
        way_out = [("network", outside.id), ("port", view.agent_gateways[outside.id].id)] if outside is not None else []
        for floating_ip in floating:
            floating_ips[floating_ip.id] = said([("floating_ip", floating_ip.id), ("router", router_id), *way_out])
    for port in view.instance_ports:  # those that lead here, and that no router here can translate
        for floating_ip in cloud.floating_ips_by_port.get(port.id, ()):
            floating_ips.setdefault(floating_ip.id, _DOWN)
    routers = {router.id: said([("router", router.id)]) for router in view.routers}
    return Truth(revision, ports, floating_ips, routers)


def difference(told: Truth | None, now: Truth, touched: Collection[tuple[str, str]] = ()) -> Report:
    """What to tell a server that was last told ``told`` (None: nothing yet). ``touched`` are resources that the server has changed
    since, and wants to hear of even if they stand as before."""
    if told is None:
        return Report(
            applied=now.applied, fresh=True, ports=now.ports, floating_ips=now.floating_ips, routers=now.routers
        )
    changed: dict[str, dict[str, Status]] = {}
    for table in ("ports", "floating_ips", "routers"):
        was: dict[str, Status] = getattr(told, table)
        is_: dict[str, Status] = getattr(now, table)
        found = {id_: status for id_, status in is_.items() if was.get(id_) != status or (table, id_) in touched}
        found |= {id_: _DOWN for id_ in was if id_ not in is_}
        changed[table] = found
    return Report(applied=now.applied, **changed)  # type: ignore[arg-type]
