"""What of the cloud concerns one host: the ports realised there, the routers they lead to, the networks that need a tag.

    ports bound here -> their networks -> routers with an interface there -> all interfaces of those routers -> more networks

Everything is in the order of ids: the order in which a cloud was written down means nothing (law L4).
"""

from functools import cached_property
from operator import attrgetter

import msgspec

from floatway.compile.names import made_up_mac
from floatway.model.cloud import Cloud
from floatway.model.resources import (
    OWNER_AGENT_GATEWAY,
    OWNER_ROUTER_INTERFACE,
    OWNER_ROUTER_SNAT,
    FloatingIp,
    Host,
    Network,
    Port,
    Router,
    Subnet,
)

_ID = attrgetter("id")


class Interface(msgspec.Struct, frozen=True):
    """One address of a router on one subnet."""

    port: Port
    subnet: Subnet
    network: Network
    address: str


class HostView(msgspec.Struct, frozen=True, dict=True):
    """A host's part of the cloud. Cheap to make; the properties are computed once."""

    cloud: Cloud
    host: Host

    @cached_property
    def instance_ports(self) -> tuple[Port, ...]:
        """Ports of instances bound here."""
        bound = self.cloud.ports_by_host.get(self.host.name, ())
        return tuple(sorted((port for port in bound if not port.device_owner.startswith("network:")), key=_ID))

    @cached_property
    def interfaces(self) -> dict[str, tuple[Interface, ...]]:
        """Router id -> its interfaces, for every router on a network of an instance here."""
        cloud = self.cloud
        networks = dict.fromkeys(port.network_id for port in self.instance_ports)
        routers = {i.device_id for net in networks for i in cloud.router_interfaces_by_network.get(net, ())}
        found: dict[str, tuple[Interface, ...]] = {}
        for router_id in sorted(routers):
            router = cloud.routers.get(router_id)
            if router is None or not router.admin_state_up:
                continue
            found[router_id] = tuple(
                Interface(port, cloud.subnets[fixed.subnet_id], cloud.networks[port.network_id], fixed.ip_address)
                for port in sorted(cloud.ports_by_device.get(router_id, ()), key=_ID)
                if port.device_owner == OWNER_ROUTER_INTERFACE
                for fixed in port.fixed_ips
            )
        return found

    @cached_property
    def interfaces_by_network(self) -> dict[str, tuple[Interface, ...]]:
        """Network id -> the interfaces of the routers here on it; those that hold their subnet's gateway address first.

        Frames from another host's routers carry that host's MAC, which does not tell one router from another: where several
        interfaces are on a network, the first one here stands for all that could be meant.
        """
        found: dict[str, list[Interface]] = {}
        for interfaces in self.interfaces.values():
            for interface in interfaces:
                found.setdefault(interface.network.id, []).append(interface)
        return {
            network_id: tuple(sorted(those, key=lambda i: (i.address != i.subnet.gateway_ip, i.port.id)))
            for network_id, those in found.items()
        }

    def gateway(self, port: Port) -> Interface | None:
        """The router interface that an instance's port is behind: its subnet's gateway, else any of its network."""
        those = self.interfaces_by_network.get(port.network_id, ())
        subnets = {fixed.subnet_id for fixed in port.fixed_ips}
        return next((i for i in those if i.subnet.id in subnets), those[0] if those else None)

    @cached_property
    def routers(self) -> tuple[Router, ...]:
        """The routers realised here."""
        return tuple(self.cloud.routers[router_id] for router_id in self.interfaces)

    @cached_property
    def agent_gateways(self) -> dict[str, Port]:
        """External network id -> the agent gateway port bound here, where a router here needs it."""
        needed = {r.external_gateway_info.network_id for r in self.routers if r.external_gateway_info}
        if self.host.agent_mode == "dvr_no_external":
            return {}
        return {
            port.network_id: port
            for port in sorted(self.cloud.ports_by_host.get(self.host.name, ()), key=_ID, reverse=True)
            if port.device_owner == OWNER_AGENT_GATEWAY and port.network_id in needed
            and self.cloud.networks[port.network_id].provider_physical_network in self.host.bridge_mappings
        }  # fmt: skip

    def gateway_network(self, router: Router) -> Network | None:
        """The external network to which this host links the router, or None."""
        info = router.external_gateway_info
        return self.cloud.networks[info.network_id] if info and info.network_id in self.agent_gateways else None

    @cached_property
    def floating_ips(self) -> dict[str, tuple[FloatingIp, ...]]:
        """Router id -> the floating IPs translated here."""
        found: dict[str, list[FloatingIp]] = {}
        for port in self.instance_ports:
            for fip in self.cloud.floating_ips_by_port.get(port.id, ()):
                router = self.cloud.routers.get(fip.router_id or "")
                if (
                    fip.fixed_ip_address
                    and router
                    and router.id in self.interfaces
                    and self.gateway_network(router) is not None
                ):
                    found.setdefault(router.id, []).append(fip)
        return {router_id: tuple(sorted(fips, key=_ID)) for router_id, fips in found.items()}

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """Networks with a device here: those that need a local VLAN."""
        ids = {port.network_id for port in self.instance_ports}
        ids.update(self.interfaces_by_network, self.agent_gateways)
        return tuple(self.cloud.networks[network_id] for network_id in sorted(ids))

    @cached_property
    def has_snat_node(self) -> bool:
        """Is there a host that does centralised SNAT?"""
        return any(host.agent_mode == "dvr_snat" for host in self.cloud.hosts.values())

    def snat_address(self, router: Router, interface: Interface) -> str:
        """The address of the router's centralised SNAT port on the interface's subnet, or ""."""
        info = router.external_gateway_info
        if not (info and info.enable_snat and self.has_snat_node):
            return ""
        for port in sorted(self.cloud.ports_by_device.get(router.id, ()), key=_ID):
            if port.device_owner == OWNER_ROUTER_SNAT:
                for fixed in port.fixed_ips:
                    if fixed.subnet_id == interface.subnet.id:
                        return fixed.ip_address
        return ""


_TABLES = ("networks", "subnets", "ports", "routers", "hosts")


def view_of(cloud: Cloud, host: Host) -> HostView:
    """The host's part. What does not ask for floating IPs is taken from the last view of a cloud that this one was made from, if
    the tables that it asks are the same."""
    last = cloud.kept.get(host.name)
    if isinstance(last, HostView) and last.host is host:
        if last.cloud is cloud:
            return last
        if all(getattr(last.cloud, table) is getattr(cloud, table) for table in _TABLES):
            view = HostView(cloud, host)
            view.__dict__.update({name: value for name, value in last.__dict__.items() if name != "floating_ips"})
            cloud.kept[host.name] = view
            return view
    view = cloud.kept[host.name] = HostView(cloud, host)
    return view


def mac_of(host: Host, name: str) -> str:
    """The MAC of a device that is no port: pinned, or made up."""
    return host.pins.macs.get(name) or made_up_mac(host.name, name)
