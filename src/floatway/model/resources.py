"""The cloud's nouns: immutable logical resources with the Networking API's names and meanings.

One struct per resource of the OpenStack Networking API v2.0 (plus ``Host``, what the API calls an agent's
configuration). All references are ids; the rules between resources live in ``model.validate``, indexes in ``model.cloud``.
"""

from typing import Literal

import msgspec

NetworkType = Literal["vxlan", "vlan", "flat", "local"]
Direction = Literal["ingress", "egress"]
AgentMode = Literal["legacy", "dvr", "dvr_snat", "dvr_no_external"]

OWNER_ROUTER_INTERFACE = "network:router_interface_distributed"
OWNER_AGENT_GATEWAY = "network:floatingip_agent_gateway"
OWNER_ROUTER_SNAT = "network:router_centralized_snat"
OWNER_ROUTER_GATEWAY = "network:router_gateway"
OWNER_COMPUTE = "compute:nova"


class Resource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every resource has."""

    id: str
    name: str = ""
    project_id: str = ""


class Network(Resource, frozen=True):
    """``mtu`` in bytes. ``provider_segment`` is the VNI or VLAN id, None for flat and local."""

    provider_network_type: NetworkType = "vxlan"
    provider_segmentation_id: int | None = None
    provider_physical_network: str | None = None
    router_external: bool = False
    mtu: int = 1450
    admin_state_up: bool = True


class AllocationPool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses ``start`` to ``end``, both included."""

    start: str
    end: str


class HostRoute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A static route: ``destination`` CIDR via ``nexthop``."""

    destination: str
    nexthop: str


class Subnet(Resource, frozen=True):
    """IPv4 addresses of a network. ``gateway_ip`` None means no gateway."""

    network_id: str
    cidr: str
    gateway_ip: str | None = None
    allocation_pools: tuple[AllocationPool, ...] = ()
    host_routes: tuple[HostRoute, ...] = ()
    dns_nameservers: tuple[str, ...] = ()
    enable_dhcp: bool = True


class FixedIp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One address of a port on a subnet."""

    subnet_id: str
    ip_address: str


class AddressPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A further source that a port may use: ``ip_address`` may be a prefix; ``mac_address`` None is the port's own."""

    ip_address: str
    mac_address: str | None = None


class Port(Resource, frozen=True):
    """A point of attachment. ``binding_host_id`` is the host it is realised on ("" for a distributed router's interface,
    which every host with the router has). ``device_id`` is the instance's or router's id."""

    network_id: str
    mac_address: str
    fixed_ips: tuple[FixedIp, ...] = ()
    binding_host_id: str = ""
    device_id: str = ""
    device_owner: str = ""
    security_groups: tuple[str, ...] = ()
    allowed_address_pairs: tuple[AddressPair, ...] = ()
    port_security_enabled: bool = True
    admin_state_up: bool = True


class ExternalGateway(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A router's way out. ``external_fixed_ips`` belong to centralised SNAT."""

    network_id: str
    enable_snat: bool = True
    external_fixed_ips: tuple[FixedIp, ...] = ()


class Router(Resource, frozen=True):
    """A router; its interfaces are ports with ``device_id`` = its id."""

    distributed: bool = True
    admin_state_up: bool = True
    external_gateway_info: ExternalGateway | None = None
    routes: tuple[HostRoute, ...] = ()


class FloatingIp(Resource, frozen=True):
    """An external address translated one to one to ``fixed_ip_address`` of ``port_id`` (None: not associated)."""

    floating_network_id: str
    floating_ip_address: str
    port_id: str | None = None
    fixed_ip_address: str | None = None
    router_id: str | None = None


class SecurityGroupRule(Resource, frozen=True):
    """One opening. ``protocol`` is a name or number, None any. For ICMP ``port_range_min`` is the type and ``port_range_max`` the code."""

    direction: Direction
    ethertype: Literal["IPv4", "IPv6"] = "IPv4"
    protocol: str | None = None
    port_range_min: int | None = None
    port_range_max: int | None = None
    remote_ip_prefix: str | None = None
    remote_group_id: str | None = None


class SecurityGroup(Resource, frozen=True):
    """A set of rules; what no rule opens is closed."""

    rules: tuple[SecurityGroupRule, ...] = ()


class Server(Resource, frozen=True):
    """An instance, as far as networking cares: its id, name and host; its ports carry ``device_id`` = its id."""

    host: str


class Pins(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers and MACs a host shall use when it has none yet. The host's own state wins over a pin: a pin never renumbers.

    ``local_vlans``: network id -> tag; ``floating_ip_priorities``: fixed IP -> ip rule priority; ``link_local``: router id ->
    the rfp address of the /31 pair; ``macs``: device name -> MAC.
    """

    local_vlans: dict[str, int] = {}
    floating_ip_priorities: dict[str, int] = {}
    link_local: dict[str, str] = {}
    macs: dict[str, str] = {}


class Host(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine that realises ports. ``bridge_mappings``: physical network -> bridge; ``bridge_nics``: bridge -> NIC on it."""

    name: str
    tunnel_ip: str = ""
    agent_mode: AgentMode = "dvr"
    bridge_mappings: dict[str, str] = {}
    bridge_nics: dict[str, str] = {}
    datapath_type: Literal["", "netdev", "system"] = ""
    pins: Pins = Pins()
