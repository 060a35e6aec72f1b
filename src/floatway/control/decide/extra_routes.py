"""The rules of extra routes: a next hop is a neighbour of the router, never the router itself."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from floatway.control import entities as e
from floatway.control import prefixes as p
from floatway.control.decide import quotas
from floatway.control.draft import Draft
from floatway.control.errors import bad_request

__all__ = ["check", "check_form", "routes_of", "set_routes"]


def routes_of(routes: Iterable[dict[str, str]]) -> tuple[e.HostRoute, ...]:
    """Routes from their documents, each once, in order."""
    return tuple(dict.fromkeys(e.HostRoute(route["destination"], route["nexthop"]) for route in routes))


def check_form(route: dict[str, str]) -> None:
    """Whether destination and next hop are a prefix and an address of one family.

    Raises:
        ApiError: 400.
    """
    try:
        fits = (
            p.network(route["destination"]).version == p.address(route["nexthop"]).version
            and "/" in route["destination"]
        )
    except ValueError:
        fits = False
    if not fits:
        raise bad_request("InvalidInput", f"Invalid input for operation: Invalid route: {route}.")


def set_routes(draft: Draft, router: e.Router, routes: Sequence[e.HostRoute]) -> e.Router:
    """Just these.

    Raises:
        ApiError: 400 InvalidRoutes, 409 OverQuota.
    """
    ips = [ip for port in draft.find(e.Port, "device", router.id) for ip in port.fixed_ips]
    cidrs = [subnet.cidr for ip in ips if (subnet := draft.get(e.Subnet, ip.subnet_id)) is not None]
    check(routes, cidrs, {ip.ip_address for ip in ips})
    quotas.check(draft, router.project_id, quotas.PER_ROUTER, len(routes))
    ordered = sorted(routes, key=lambda route: (route.destination, route.nexthop))
    return draft.put(msgspec.structs.replace(router, routes=tuple(ordered)))


def check(routes: Sequence[e.HostRoute], cidrs: Sequence[str], addresses: set[str]) -> None:
    """Whether each next hop is on one of the prefixes, and none of the addresses.

    Raises:
        ApiError: 400 InvalidRoutes.
    """
    for route in routes:
        if not any(p.address(route.nexthop) in p.network(cidr) for cidr in cidrs):
            raise _invalid(routes, "the nexthop is not connected with router")
        if str(p.address(route.nexthop)) in addresses:
            raise _invalid(routes, "the nexthop is used by router")


def _invalid(routes: Sequence[e.HostRoute], reason: str) -> Exception:
    shown: list[dict[str, Any]] = [{"destination": route.destination, "nexthop": route.nexthop} for route in routes]
    return bad_request("InvalidRoutes", f"Invalid format for routes: {shown}, {reason}")
