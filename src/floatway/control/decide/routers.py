"""The rules of routers. Interfaces, gateway and routes have files of their own."""

from typing import Any, Final

import msgspec

from floatway.control import entities as e
from floatway.control.caller import ADMIN, Caller
from floatway.control.decide import (
    availability_zones,
    dvr_ports,
    extra_routes,
    placement,
    ports,
    quotas,
    router_gateway,
    router_interfaces,
)
from floatway.control.draft import Draft
from floatway.control.errors import bad_request, conflict

__all__ = ["ACTIONS", "create", "delete", "reported", "update"]


def create(draft: Draft, caller: Caller, values: dict[str, Any]) -> e.Router:
    """A router, with its gateway if asked for."""
    quotas.check(draft, values["project_id"], "router")
    hints = tuple(values.get("availability_zone_hints") or ())
    availability_zones.check_hints(draft, "router", hints)
    distributed = values.get("distributed")
    router = draft.put(
        e.Router(
            id=draft.new_id(),
            project_id=values["project_id"],
            name=values.get("name", ""),
            description=values.get("description", ""),
            admin_state_up=values.get("admin_state_up", True),
            distributed=draft.settings.router_distributed if distributed is None else distributed,
            availability_zone_hints=hints,
            tags=tuple(sorted(set(values.get("tags") or ()))),
        )
    )
    if values.get("external_gateway_info"):
        router = router_gateway.set_gateway(draft, caller, router, values["external_gateway_info"])
    return router


def update(draft: Draft, caller: Caller, router: e.Router, values: dict[str, Any]) -> e.Router:
    """Change it. Distributed or not only while it is administratively down, before and after."""
    changed = {name: values[name] for name in ("name", "description", "admin_state_up") if name in values}
    after = msgspec.structs.replace(router, **changed)
    distributed = values.get("distributed")
    if distributed is not None and distributed != router.distributed:
        if router.admin_state_up or after.admin_state_up:
            raise bad_request(
                "BadRequest",
                "Bad router request: Cannot change the 'distributed' attribute of active routers. Please set router"
                " admin_state_up to False prior to upgrade.",
            )
        after = _migrate(draft, msgspec.structs.replace(after, distributed=distributed))
    after = draft.put(after)
    if "routes" in values:
        after = extra_routes.set_routes(draft, after, extra_routes.routes_of(values["routes"] or ()))
    if "external_gateway_info" in values:
        after = router_gateway.set_gateway(draft, caller, after, values["external_gateway_info"])
    return after


def reported(draft: Draft, router: e.Router, host: str, state: str) -> e.Router:
    """``host`` says that it has the router, or that it cannot make it: ERROR as long as any host says so."""
    failed = tuple(other for other in router.failed_hosts if other != host)
    if state == "ERROR":
        failed = tuple(sorted((*failed, host)))
    return draft.put(msgspec.structs.replace(router, failed_hosts=failed, status="ERROR" if failed else "ACTIVE"))


def delete(draft: Draft, caller: Caller, router: e.Router) -> None:
    """Delete it with its gateway.

    Raises:
        ApiError: 409 RouterInUse while it has interfaces, or floating IPs go through it.
    """
    del caller
    attached = dvr_ports.interfaces(draft, router.id)
    if attached:
        listed = ", ".join(port.id for port in attached)
        raise conflict("RouterInUse", f"Router {router.id} has ports still attached: {listed}")
    router = router_gateway.clear(draft, msgspec.structs.replace(router, routes=()))
    dvr_ports.remove_snat_ports(draft, router.id)
    for binding in draft.find(e.AgentBinding, "object", router.id):
        draft.remove(binding)
    draft.remove(router)


def add_extraroutes(draft: Draft, caller: Caller, router: e.Router, body: Any) -> dict[str, Any]:
    """PUT /v2.0/routers/ID/add_extraroutes: these too, each once."""
    del caller
    wanted = _given_routes(body)
    return {router.KIND: extra_routes.set_routes(draft, router, tuple(dict.fromkeys((*router.routes, *wanted))))}


def remove_extraroutes(draft: Draft, caller: Caller, router: e.Router, body: Any) -> dict[str, Any]:
    """PUT /v2.0/routers/ID/remove_extraroutes: these no longer; what is not there is no matter."""
    del caller
    gone = _given_routes(body)
    left = tuple(route for route in router.routes if route not in gone)
    return {router.KIND: extra_routes.set_routes(draft, router, left)}


ACTIONS: Final = {
    "add_router_interface": router_interfaces.add,
    "remove_router_interface": router_interfaces.remove,
    "add_extraroutes": add_extraroutes,
    "remove_extraroutes": remove_extraroutes,
}


def _given_routes(body: Any) -> tuple[e.HostRoute, ...]:
    router = body.get("router") if isinstance(body, dict) else None
    routes = router.get("routes") if isinstance(router, dict) else None
    if not isinstance(routes, list):
        raise bad_request(
            "HTTPBadRequest", f"Invalid input for routes. Reason: Invalid data format for hostroute: '{routes}'."
        )
    for route in routes:
        if not isinstance(route, dict) or not all(
            isinstance(route.get(name), str) for name in ("destination", "nexthop")
        ):
            raise bad_request(
                "HTTPBadRequest", f"Invalid input for routes. Reason: Invalid data format for hostroute: '{route}'."
            )
        extra_routes.check_form(route)
    return extra_routes.routes_of(routes)


def _migrate(draft: Draft, router: e.Router) -> e.Router:
    """Interfaces are of the other kind from now on; SNAT and agent gateway ports come and go; it is scheduled anew."""
    placement.withdraw(draft, router)
    router = draft.put(router)
    for port in dvr_ports.interfaces(draft, router.id):
        ports.update(draft, ADMIN, port, {"device_owner": router_interfaces.owner_of(router)})
    dvr_ports.sync_snat_ports(draft, router)
    placement.sync(draft, router)
    for floating_ip in draft.find(e.FloatingIp, "router", router.id):
        dvr_ports.sync_floating_ip(draft, floating_ip, dvr_ports.host_of(draft, floating_ip))
    return router
