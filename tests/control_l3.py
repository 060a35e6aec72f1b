"""A small routed cloud to try rules on: an outside, a network inside, a router between them."""

from typing import Any

from control_cloud import MEMBER, PROJECT, a_draft, network_of, subnet_of
from floatway.control.caller import Caller
from floatway.control.decide import floatingips, port_forwardings, router_interfaces, routers, sharing
from floatway.control.draft import Draft
from floatway.control.entities import (
    Agent,
    FloatingIp,
    HostRoute,
    Network,
    Port,
    PortForwarding,
    RbacPolicy,
    Router,
    Subnet,
)

__all__ = ["Routed"]


def outside_of(draft: Draft, cidr: str = "203.0.113.0/24", gateway_ip: str = "203.0.113.1") -> tuple[Network, Subnet]:
    """An external network for everybody."""
    network = network_of(draft, "", router_external=True, provider_network_type="flat", provider_segmentation_id=None)
    draft.put(
        RbacPolicy(
            id=draft.new_id(),
            object_type=Network.KIND,
            object_id=network.id,
            action=sharing.EXTERNAL,
            target_tenant="*",
        )
    )
    return network, subnet_of(draft, network, cidr, gateway_ip=gateway_ip)


def l3_agent_of(draft: Draft, host: str, mode: str = "dvr") -> Agent:
    """An L3 agent that has just been heard of."""
    now = draft.now.replace("T", " ").removesuffix("Z")
    return draft.put(
        Agent(
            id=draft.new_id(),
            agent_type="L3 agent",
            binary="neutron-l3-agent",
            host=host,
            heartbeat_timestamp=now,
            configurations={"agent_mode": mode},
        )
    )


def router_of(draft: Draft, caller: Caller = MEMBER, **values: Any) -> Router:
    """A router as the API makes it."""
    return routers.create(draft, caller, {"project_id": PROJECT, "name": "r", "admin_state_up": True, **values})


class Routed:
    """``outside`` ── ``router`` ── ``subnet`` on ``network``; what happens is asked of ``draft``."""

    def __init__(self, *, gateway: bool = True, inside: bool = True, **router: Any) -> None:
        """With a gateway and an interface unless told otherwise."""
        self.draft = a_draft()
        self.outside, self.outer = outside_of(self.draft)
        self.network = network_of(self.draft)
        self.subnet = subnet_of(self.draft, self.network, gateway_ip="10.0.0.1")
        self._router = router_of(self.draft, **router).id
        if gateway:
            self.set_gateway()
        if inside:
            self.attach(subnet_id=self.subnet.id)

    @property
    def router(self) -> Router:
        """As it is now."""
        return self.draft.need(Router, self._router)

    def later(self) -> None:
        """The next request."""
        base = self.draft
        self.draft = Draft(base.model.at(base.base.revision + 1), base.settings, seconds=base.seconds + 1, seed=5)

    def set_gateway(self, **info: Any) -> Router:
        return self.update(external_gateway_info={"network_id": self.outside.id, **info})

    def update(self, caller: Caller = MEMBER, **values: Any) -> Router:
        return routers.update(self.draft, caller, self.router, values)

    def attach(self, caller: Caller = MEMBER, **body: Any) -> dict[str, Any]:
        return router_interfaces.add(self.draft, caller, self.router, body)

    def detach(self, caller: Caller = MEMBER, **body: Any) -> dict[str, Any]:
        return router_interfaces.remove(self.draft, caller, self.router, body)

    def ports(self, owner: str) -> list[Port]:
        """The ports of this kind, oldest first."""
        found = [port for port in self.draft.all(Port) if port.device_owner == owner]
        return sorted(found, key=lambda port: port.sequence)

    def floating(self, caller: Caller = MEMBER, **values: Any) -> FloatingIp:
        given = {"project_id": PROJECT, "floating_network_id": self.outside.id, **values}
        return floatingips.create(self.draft, caller, given)

    def move(self, floating_ip: FloatingIp, caller: Caller = MEMBER, **values: Any) -> FloatingIp:
        return floatingips.update(self.draft, caller, self.draft.need(FloatingIp, floating_ip.id), values)

    def forward(self, floating_ip: FloatingIp, port: Port, caller: Caller = MEMBER, **values: Any) -> PortForwarding:
        given = {
            "floatingip_id": floating_ip.id,
            "protocol": "tcp",
            "internal_port_id": port.id,
            "internal_ip_address": port.fixed_ips[0].ip_address,
            "external_port": 2222,
            "internal_port": 22,
        }
        wanted = {name: value for name, value in {**given, **values}.items() if value is not None}
        return port_forwardings.create(self.draft, caller, wanted)


def routes(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    """As requests have them."""
    return [{"destination": destination, "nexthop": nexthop} for destination, nexthop in pairs]


def stored(*pairs: tuple[str, str]) -> tuple[HostRoute, ...]:
    """As they are kept."""
    return tuple(HostRoute(*pair) for pair in pairs)
