"""What a host once said of ports, floating IPs and routers, taken back: it says it no more, or it is no more.

h1 is forgotten ──▶ its ports DOWN, their floating IPs DOWN; no router in ERROR, no interface ACTIVE for its sake
"""

from collections.abc import Collection

from floatway.control import entities as e
from floatway.control.decide import binding, floatingips, routers
from floatway.control.draft import Draft

__all__ = ["take_back"]


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
