"""What a host once said of ports, floating IPs and routers, taken back: it says it no more, or it is no more.

h1 is forgotten            ──▶ its ports DOWN, their floating IPs DOWN; no router in ERROR, no interface ACTIVE for its sake
the last port leaves h1    ──▶ no router of that network in ERROR, no interface ACTIVE for its sake, whether its agent lives or not
"""

from collections.abc import Collection

from floatway.control import entities as e
from floatway.control.decide import binding, floatingips, owners, routers
from floatway.control.draft import Draft

__all__ = ["interface_gone", "left", "take_back"]


def take_back(
    draft: Draft,
    host: str,
    *,
    ports: Collection[str] = (),
    floating_ips: Collection[str] = (),
    routers_: Collection[str] = (),
) -> None:
    """Nothing that ``host`` said stands any more, but for what it said of these."""
    for port in draft.find(e.Port, "reported_by", host):
        if port.id not in ports:
            binding.reported(draft, port, host, "DOWN")
    for router in draft.find(e.Router, "failed_on", host):
        if router.id not in routers_:
            routers.reported(draft, router, host, "DOWN")
    for port in draft.find(e.Port, "host", host):
        for floating_ip in draft.find(e.FloatingIp, "port", port.id):
            if floating_ip.id not in floating_ips and floating_ip.status != "DOWN":
                floatingips.reported(draft, floating_ip, host, "DOWN")


def left(draft: Draft, port: e.Port) -> None:
    """``port``, as it was, is not on its host any more. What the host said of routers that no port there leads to counts no more."""
    if not port.binding_host_id or owners.trusted(port.device_owner):
        return
    for interface in draft.find(e.Port, "owner", (port.network_id, owners.DISTRIBUTED_INTERFACE)):
        router = draft.get(e.Router, interface.device_id)
        if router is not None:
            _recall(draft, router, [port.binding_host_id])


def interface_gone(draft: Draft, router: e.Router) -> None:
    """The router has an interface less: some of the hosts that could not make it may not need it any more."""
    _recall(draft, router, router.failed_hosts)


def _recall(draft: Draft, router: e.Router, hosts: Collection[str]) -> None:
    interfaces = [
        one for one in draft.find(e.Port, "device", router.id) if one.device_owner == owners.DISTRIBUTED_INTERFACE
    ]
    networks = {one.network_id for one in interfaces}
    for host in hosts:
        if _leads_to(draft, host, networks):
            continue
        router = draft.need(e.Router, router.id)
        if host in router.failed_hosts:
            routers.reported(draft, router, host, "DOWN")
        for one in interfaces:
            binding.reported(draft, draft.need(e.Port, one.id), host, "DOWN")


def _leads_to(draft: Draft, host: str, networks: Collection[str]) -> bool:
    """Whether an instance's port on the host is on one of the networks: then it has their router (``control.scope``)."""
    here = (draft.get(e.Port, id_) for id_ in draft.bucket(e.Port, "host", host))
    return any(one is not None and one.network_id in networks and not owners.trusted(one.device_owner) for one in here)
