"""Requests about routers, floating IPs and port forwardings, drawn, on a cloud so small that they get in each other's way.

Two outsides with few addresses; three networks inside, two of them with the same addresses, one with IPv6 besides; two hosts
whose agents come, go and change. A request is a value, so that a failing sequence prints as what was asked.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from hypothesis import strategies as st

from control_cloud import ADMIN, MEMBER, PROJECT, a_draft, agent_of, later, network_of, port_of, subnet_of
from control_l3 import outside_of, routes
from floatway.control import entities as e
from floatway.control import prefixes
from floatway.control.caller import Caller
from floatway.control.decide import (
    agents,
    floatingips,
    networks,
    owners,
    port_forwardings,
    ports,
    router_interfaces,
    routers,
    subnets,
)
from floatway.control.draft import Draft
from floatway.control.errors import ApiError
from floatway.control.snapshot import Model, built
from floatway.control.view import cloud_view

__all__ = ["Request", "broken", "cloud", "requests", "tried"]

E = TypeVar("E", bound=e.Entity)
MODES: Final = ("dvr", "dvr_snat", "legacy", "dvr_no_external")
NEXTHOPS: Final = ("10.0.0.9", "10.1.0.9", "203.0.113.3", "10.0.0.1", "192.0.2.1")
DVR: Final = {"dvr", "dvr_snat"}


class Request(msgspec.Struct, frozen=True):
    """``kind`` of request by ``caller``; ``a`` and ``b`` pick what it is about among what there is."""

    kind: str
    a: int
    b: int
    caller: Caller
    flag: bool = False
    number: int = 1


def cloud() -> Draft:
    """Where the requests play."""
    draft = a_draft()
    outside, _ = outside_of(draft, "203.0.113.0/28", "203.0.113.1")
    outside_of(draft, "198.51.100.0/28", "198.51.100.1")
    plain, same, dual = (network_of(draft) for _ in range(3))
    for network, cidr in ((plain, "10.0.0.0/24"), (same, "10.0.0.0/25"), (dual, "10.1.0.0/24")):
        subnet_of(draft, network, cidr, gateway_ip=cidr.replace("0/24", "1").replace("0/25", "1"))
    for at in (1, 2):
        subnet_of(draft, dual, f"2001:db8:{at}::/64", gateway_ip=f"2001:db8:{at}::1")
    for host in ("h1", "h2"):
        agent_of(draft, host)
    for network in (plain, plain, dual):
        port_of(draft, network, ADMIN, device_owner="compute:a", binding_host_id="h1")
    way_out = {"network_id": outside.id}
    router = routers.create(draft, MEMBER, {"project_id": PROJECT, "external_gateway_info": way_out})
    for network in (plain, dual):
        router_interfaces.add(draft, MEMBER, router, {"subnet_id": draft.find(e.Subnet, "network", network.id)[0].id})
    return later(draft)


def requests() -> st.SearchStrategy[Request]:
    """Any request, those that build up more often than those that tear down."""
    often = (
        "attach",
        "floating",
        "associate",
        "associate",
        "forward",
        "forward",
        "forward change",
        "agent",
        "port",
        "routes",
    )
    return st.builds(
        Request,
        kind=st.sampled_from((*(often * 4), *ACTS)),
        a=st.integers(0, 5),
        b=st.integers(0, 7),
        caller=st.sampled_from((MEMBER, ADMIN)),
        flag=st.booleans(),
        number=st.integers(1, 4),
    )


def tried(draft: Draft, request: Request) -> Draft:
    """The cloud after the request; when it is refused, as before it."""
    after = later(draft)
    try:
        ACTS[request.kind](after, request)
    except ApiError as error:
        assert 400 <= error.status < 500, error
        assert error.type
        return draft
    return after


def _picked(draft: Draft, kind: type[E], at: int, *, but: frozenset[str] = frozenset()) -> E | None:
    every = sorted(
        (one for one in draft.all(kind) if getattr(one, "device_owner", None) not in but), key=lambda one: one.sequence
    )
    return every[at % len(every)] if every else None


def _id(draft: Draft, kind: type[E], at: int, *, but: frozenset[str] = frozenset()) -> str | None:
    one = _picked(draft, kind, at, but=but)
    return one.id if one is not None else None


_SERVICE: Final = frozenset({*owners.L3})


def _router_create(draft: Draft, asked: Request) -> None:
    routers.create(draft, asked.caller, {"project_id": PROJECT, "distributed": asked.flag})


def _on_router(act: Callable[[Draft, Request, e.Router], object]) -> Callable[[Draft, Request], None]:
    def acted(draft: Draft, asked: Request) -> None:
        router = _picked(draft, e.Router, asked.a)
        if router is not None:
            act(draft, asked, router)

    return acted


def _gateway(draft: Draft, asked: Request, router: e.Router) -> None:
    outside = _picked(draft, e.Network, asked.b // 3)
    info = None if asked.number == 4 or outside is None else {"network_id": outside.id, "enable_snat": asked.flag}
    routers.update(draft, asked.caller, router, {"external_gateway_info": info})


def _kind_of(draft: Draft, asked: Request, router: e.Router) -> None:
    values = {"admin_state_up": asked.flag} if asked.number < 3 else {"distributed": asked.flag}
    routers.update(draft, asked.caller, router, values)


def _routes(draft: Draft, asked: Request, router: e.Router) -> None:
    wanted = routes(("192.0.2.0/24", NEXTHOPS[asked.b % len(NEXTHOPS)]))
    if asked.number == 1:
        routers.update(draft, asked.caller, router, {"routes": wanted if asked.flag else []})
        return
    action = routers.ACTIONS["add_extraroutes" if asked.flag else "remove_extraroutes"]
    action(draft, asked.caller, router, {"router": {"routes": wanted}})


def _attach(draft: Draft, asked: Request, router: e.Router) -> None:
    body = {"subnet_id": _id(draft, e.Subnet, asked.b)}
    if asked.number == 4:
        body = {"port_id": _id(draft, e.Port, asked.b)}
    router_interfaces.add(draft, asked.caller, router, body)


def _detach(draft: Draft, asked: Request, router: e.Router) -> None:
    body = {"subnet_id": _id(draft, e.Subnet, asked.b)}
    if asked.number == 4:
        body = {"port_id": _id(draft, e.Port, asked.b)}
    router_interfaces.remove(draft, asked.caller, router, body)


def _floating(draft: Draft, asked: Request) -> None:
    values = {"project_id": PROJECT, "floating_network_id": _id(draft, e.Network, asked.b // 7)}
    if asked.flag:
        values["port_id"] = _id(draft, e.Port, asked.a, but=_SERVICE)
    floatingips.create(draft, asked.caller, values)


def _associate(draft: Draft, asked: Request) -> None:
    floating_ip = _picked(draft, e.FloatingIp, asked.a)
    if floating_ip is not None:
        port_id = _id(draft, e.Port, asked.b, but=_SERVICE) if asked.number < 4 else None
        floatingips.update(draft, asked.caller, floating_ip, {"port_id": port_id, "description": str(asked.number)})


def _floating_delete(draft: Draft, asked: Request) -> None:
    floating_ip = _picked(draft, e.FloatingIp, asked.a)
    if floating_ip is not None:
        floatingips.delete(draft, asked.caller, floating_ip)


def _forward(draft: Draft, asked: Request) -> None:
    floating_ip, port = _picked(draft, e.FloatingIp, asked.a), _picked(draft, e.Port, asked.b, but=_SERVICE)
    if floating_ip is None or port is None or not port.fixed_ips:
        return
    values = {
        "floatingip_id": floating_ip.id,
        "protocol": "tcp" if asked.flag else "udp",
        "internal_port_id": port.id,
        "internal_ip_address": port.fixed_ips[0].ip_address,
        "external_port_range": f"{asked.number}:{asked.number + asked.a}",
        "internal_port_range": f"{asked.number}:{asked.number + asked.a}" if asked.b % 2 else str(asked.number),
    }
    port_forwardings.create(draft, asked.caller, values)


def _forward_change(draft: Draft, asked: Request) -> None:
    forwarding = _picked(draft, e.PortForwarding, asked.a)
    if forwarding is not None:
        values = {"external_port": asked.number} if asked.flag else {"internal_port": asked.number, "protocol": "tcp"}
        port_forwardings.update(draft, asked.caller, forwarding, values)


def _forward_delete(draft: Draft, asked: Request) -> None:
    forwarding = _picked(draft, e.PortForwarding, asked.a)
    if forwarding is not None:
        port_forwardings.delete(draft, asked.caller, forwarding)


def _port(draft: Draft, asked: Request) -> None:
    network = _id(draft, e.Network, asked.b)
    values = {
        "network_id": network,
        "project_id": PROJECT,
        "device_owner": "compute:a",
        "binding:host_id": _host(asked),
    }
    ports.create(draft, ADMIN, values)


def _host(asked: Request) -> str:
    return ("", "h1", "h2", "h3")[asked.number - 1]


def _port_change(draft: Draft, asked: Request) -> None:
    port = _picked(draft, e.Port, asked.b)
    if port is not None:
        free: dict[str, Any] = {"fixed_ips": [{"subnet_id": ip.subnet_id} for ip in port.fixed_ips[:1]]}
        ports.update(draft, ADMIN, port, {"binding:host_id": _host(asked)} if asked.flag else free)


def _port_delete(draft: Draft, asked: Request) -> None:
    port = _picked(draft, e.Port, asked.b)
    if port is not None:
        ports.delete(draft, asked.caller, port)


def _agent(draft: Draft, asked: Request) -> None:
    said = {
        "agent_type": "L3 agent",
        "host": _host(asked) or "h1",
        "configurations": {"agent_mode": MODES[asked.b % 4]},
    }
    agents.report(draft, said)


def _agent_delete(draft: Draft, asked: Request) -> None:
    agent = _picked(draft, e.Agent, asked.a)
    if agent is not None and agent.agent_type == "L3 agent":
        agents.delete(draft, ADMIN, agent)


def _subnet_delete(draft: Draft, asked: Request) -> None:
    subnet = _picked(draft, e.Subnet, asked.b)
    if subnet is not None:
        subnets.delete(draft, asked.caller, subnet)


def _network_delete(draft: Draft, asked: Request) -> None:
    network = _picked(draft, e.Network, asked.b)
    if network is not None and asked.number == 4:
        networks.delete(draft, ADMIN, network)


ACTS: Final[dict[str, Callable[[Draft, Request], None]]] = {
    "router": _router_create,
    "router delete": _on_router(lambda draft, asked, router: routers.delete(draft, asked.caller, router)),
    "gateway": _on_router(_gateway),
    "kind": _on_router(_kind_of),
    "routes": _on_router(_routes),
    "attach": _on_router(_attach),
    "detach": _on_router(_detach),
    "floating": _floating,
    "associate": _associate,
    "floating delete": _floating_delete,
    "forward": _forward,
    "forward change": _forward_change,
    "forward delete": _forward_delete,
    "port": _port,
    "port change": _port_change,
    "port delete": _port_delete,
    "agent": _agent,
    "agent delete": _agent_delete,
    "subnet delete": _subnet_delete,
    "network delete": _network_delete,
}


def broken(model: Model) -> list[str]:
    """What does not hold, in words; nothing is the answer to hope for."""
    addresses = Counter((ip.subnet_id, ip.ip_address) for port in model.all(e.Port) for ip in port.fixed_ips)
    associations = Counter(
        (one.port_id, one.fixed_ip_address, one.floating_network_id) for one in model.all(e.FloatingIp) if one.port_id
    )
    cloud_view(model)
    return [
        *(f"{key} {count} times" for key, count in (addresses + associations).items() if count > 1),
        *(f"router {one.id}: {wrong}" for one in model.all(e.Router) for wrong in _router_wrong(model, one)),
        *(f"floating {one.id}: {wrong}" for one in model.all(e.FloatingIp) for wrong in _floating_wrong(model, one)),
        *(f"forward {one.id}: {wrong}" for one in model.all(e.PortForwarding) for wrong in _forward_wrong(model, one)),
        *(f"port {one.id}: {wrong}" for one in model.all(e.Port) for wrong in _port_wrong(model, one)),
        *(f"binding {one.id}" for one in model.all(e.AgentBinding) if model.get(e.Agent, one.agent_id) is None),
        *([] if _reindexed(model) == model.indexes else ["indexes differ from those of the same entities put at once"]),
    ]


def _owned(model: Model, router: e.Router, *kinds: str) -> list[e.Port]:
    return [port for port in model.find(e.Port, "device", router.id) if port.device_owner in kinds]


def _router_wrong(model: Model, router: e.Router) -> list[str]:
    wrong = []
    inside = _owned(model, router, *owners.INTERFACES)
    outside = _owned(model, router, owners.ROUTER_GATEWAY)
    if {port.device_owner for port in inside} - {router_interfaces.owner_of(router)}:
        wrong.append("interfaces of the other kind")
    if [port.id for port in outside] != ([router.gateway.port_id] if router.gateway else []):
        wrong.append("its gateway is not its gateway port")
    cidrs = [model.need(e.Subnet, ip.subnet_id).cidr for port in inside for ip in port.fixed_ips]
    if any(prefixes.overlap(one, other) for at, one in enumerate(cidrs) for other in cidrs[:at]):
        wrong.append("interfaces overlap")
    served = {ip.subnet_id for port in inside for ip in port.fixed_ips}
    snat = [ip.subnet_id for port in _owned(model, router, owners.CENTRALIZED_SNAT) for ip in port.fixed_ips]
    if sorted(snat) != (sorted(served) if router.distributed and router.gateway else []):
        wrong.append("SNAT ports are not those of its interfaces")
    reached = [*cidrs, *(model.need(e.Subnet, ip.subnet_id).cidr for port in outside for ip in port.fixed_ips)]
    for route in router.routes:
        if not any(prefixes.address(route.nexthop) in prefixes.network(cidr) for cidr in reached):
            wrong.append(f"route via {route.nexthop} leads nowhere")
    if len(model.bucket(e.AgentBinding, "object", router.id)) > 1:
        wrong.append("placed twice")
    return wrong


def _floating_wrong(model: Model, floating_ip: e.FloatingIp) -> list[str]:
    wrong = []
    holder = model.get(e.Port, floating_ip.floating_port_id)
    if holder is None or holder.fixed_ips[0].ip_address != floating_ip.floating_ip_address:
        wrong.append("nobody holds its address")
    forwarded = model.has(e.PortForwarding, "floatingip", floating_ip.id)
    if bool(floating_ip.router_id) != bool(floating_ip.port_id or forwarded):
        wrong.append("a router without a port, or a port without a router")
    if floating_ip.port_id and forwarded:
        wrong.append("a port of its own and forwarded ports")
    router = model.get(e.Router, floating_ip.router_id or "")
    if router is not None and (router.gateway is None or router.gateway.network_id != floating_ip.floating_network_id):
        wrong.append("its router does not go out there")
    port = model.get(e.Port, floating_ip.port_id or "")
    if floating_ip.port_id and not _behind(model, router, port, floating_ip.fixed_ip_address):
        wrong.append("its port is not behind its router")
    return wrong


def _forward_wrong(model: Model, forwarding: e.PortForwarding) -> list[str]:
    floating_ip = model.need(e.FloatingIp, forwarding.floatingip_id)
    router = model.get(e.Router, floating_ip.router_id or "")
    port = model.get(e.Port, forwarding.internal_port_id)
    wrong = [] if _behind(model, router, port, forwarding.internal_ip_address) else ["leads to no port there"]
    for other in model.find(e.PortForwarding, "floatingip", floating_ip.id):
        apart = (
            other.external_port_end < forwarding.external_port_start
            or forwarding.external_port_end < other.external_port_start
        )
        if other.id != forwarding.id and other.protocol == forwarding.protocol and not apart:
            wrong.append("two ways from one port")
    return wrong


def _behind(model: Model, router: e.Router | None, port: e.Port | None, address: str | None) -> bool:
    """Whether the router has an interface on the subnet of the port's address."""
    if router is None or port is None:
        return False
    at = [ip.subnet_id for ip in port.fixed_ips if ip.ip_address == address]
    return bool(at) and any(
        ip.subnet_id == at[0] for one in _owned(model, router, *owners.INTERFACES) for ip in one.fixed_ips
    )


def _port_wrong(model: Model, port: e.Port) -> list[str]:
    if port.device_owner == owners.FLOATING_IP and model.get(e.FloatingIp, port.device_id) is None:
        return ["holds the address of no floating IP"]
    if port.device_owner in owners.ROUTER_PORTS and model.get(e.Router, port.device_id) is None:
        return ["of no router"]
    wanted = _hosts_with_a_way_out(model)
    if port.device_owner == owners.AGENT_GATEWAY and (port.network_id, port.binding_host_id) not in wanted:
        return ["a way out for nobody"]
    for floating_ip in model.find(e.FloatingIp, "port", port.id):
        key = (floating_ip.floating_network_id, port.binding_host_id)
        ways = [
            one
            for one in model.find(e.Port, "owner", (key[0], owners.AGENT_GATEWAY))
            if one.binding_host_id == port.binding_host_id
        ]
        if len(ways) != (1 if key in wanted else 0):
            return [f"{len(ways)} ways out on its host"]
    return []


def _hosts_with_a_way_out(model: Model) -> set[tuple[str, str]]:
    found = set()
    for floating_ip in model.all(e.FloatingIp):
        port, router = model.get(e.Port, floating_ip.port_id or ""), model.get(e.Router, floating_ip.router_id or "")
        if port is None or router is None or not router.distributed:
            continue
        for agent in model.find(e.Agent, "type_host", ("L3 agent", port.binding_host_id)):
            if agent.configurations.get("agent_mode") in DVR:
                found.add((floating_ip.floating_network_id, port.binding_host_id))
    return found


def _reindexed(model: Model) -> object:
    return built((entity for table in model.tables.values() for entity in table.values()), model.revision).indexes
