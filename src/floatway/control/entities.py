"""What the control plane stores: one frozen struct per noun of the Networking API v2.0.

The fields are the API's (a colon in a name is an underscore here: ``provider:network_type`` is
``provider_network_type``); what can be computed from other entities (a network's ``subnets``, ``shared``) is not stored but
shown by ``control.present``. ``sequence`` orders entities by creation, finer than ``created_at``; the API does not show it.

    Network ◀── Subnet ◀── Port.fixed_ips        Router ◀── Port.device_id (interfaces, gateway)
       ▲                     ▲    ▲                 ▲
       └──── RbacPolicy      │    └── FloatingIp ───┘── PortForwarding
                        SecurityGroup ◀── SecurityGroupRule
"""

from typing import Any, ClassVar, Final

import msgspec

__all__ = [
    "KINDS",
    "AddressGroup",
    "AddressPair",
    "AddressScope",
    "Agent",
    "AgentBinding",
    "AllocationPool",
    "AutoAllocatedTopology",
    "DefaultSecurityGroupRule",
    "DhcpOption",
    "Entity",
    "ExternalGateway",
    "FixedIp",
    "FloatingIp",
    "HostRoute",
    "HostStand",
    "Network",
    "Owned",
    "Port",
    "PortBinding",
    "PortForwarding",
    "Quota",
    "RbacPolicy",
    "Router",
    "SecurityGroup",
    "SecurityGroupRule",
    "Standard",
    "Subnet",
    "SubnetPool",
]


class Entity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What everything stored has. ``KIND`` is the API's singular name."""

    KIND: ClassVar[str]
    id: str
    sequence: int = 0


class Owned(Entity, frozen=True, kw_only=True):
    """Belongs to a project ("" for what the system owns)."""

    project_id: str = ""


class Standard(Owned, frozen=True, kw_only=True):
    """Neutron's standard attributes. Times are UTC, ``2026-11-23T08:00:00Z``."""

    description: str | None = ""
    revision_number: int = 0
    created_at: str = ""
    updated_at: str = ""
    tags: tuple[str, ...] = ()


class Network(
    Standard,
    frozen=True,
    kw_only=True,
    rename={
        "provider_network_type": "provider:network_type",
        "provider_physical_network": "provider:physical_network",
        "provider_segmentation_id": "provider:segmentation_id",
        "router_external": "router:external",
    },
):
    """A layer-2 broadcast domain. ``shared`` is a matter of RBAC policies."""

    KIND: ClassVar[str] = "network"
    name: str = ""
    admin_state_up: bool = True
    status: str = "ACTIVE"
    mtu: int = 0
    port_security_enabled: bool = True
    provider_network_type: str | None = None
    provider_physical_network: str | None = None
    provider_segmentation_id: int | None = None
    router_external: bool = False
    is_default: bool = False
    dns_domain: str = ""
    availability_zone_hints: tuple[str, ...] = ()


class AllocationPool(msgspec.Struct, frozen=True):
    """Addresses ``start`` to ``end``, both included."""

    start: str
    end: str


class HostRoute(msgspec.Struct, frozen=True):
    """A static route: ``destination`` CIDR via ``nexthop``."""

    destination: str
    nexthop: str


class Subnet(Standard, frozen=True, kw_only=True):
    """Addresses of one family on a network. ``gateway_ip`` None means no gateway."""

    KIND: ClassVar[str] = "subnet"
    name: str = ""
    network_id: str
    ip_version: int
    cidr: str
    gateway_ip: str | None = None
    allocation_pools: tuple[AllocationPool, ...] = ()
    host_routes: tuple[HostRoute, ...] = ()
    dns_nameservers: tuple[str, ...] = ()
    enable_dhcp: bool = True
    ipv6_ra_mode: str | None = None
    ipv6_address_mode: str | None = None
    subnetpool_id: str | None = None
    service_types: tuple[str, ...] = ()
    dns_publish_fixed_ip: bool = False


class SubnetPool(Standard, frozen=True, kw_only=True):
    """Prefixes from which subnets are cut. ``default_quota`` counts addresses (v4) or /64s (v6)."""

    KIND: ClassVar[str] = "subnetpool"
    name: str = ""
    prefixes: tuple[str, ...] = ()
    ip_version: int = 4
    default_prefixlen: int = 0
    min_prefixlen: int = 0
    max_prefixlen: int = 0
    default_quota: int | None = None
    address_scope_id: str | None = None
    is_default: bool = False


class AddressScope(Owned, frozen=True, kw_only=True):
    """Subnet pools whose prefixes must not overlap."""

    KIND: ClassVar[str] = "address_scope"
    name: str = ""
    ip_version: int = 4


class FixedIp(msgspec.Struct, frozen=True):
    """One address of a port on a subnet."""

    subnet_id: str
    ip_address: str


class AddressPair(msgspec.Struct, frozen=True):
    """A further source that a port may use; ``ip_address`` may be a prefix. ``mac_address`` is the port's own unless given."""

    ip_address: str
    mac_address: str


class DhcpOption(msgspec.Struct, frozen=True):
    """An extra DHCP option of a port."""

    opt_name: str
    opt_value: str
    ip_version: int = 4


class Port(
    Standard,
    frozen=True,
    kw_only=True,
    rename={
        "binding_host_id": "binding:host_id",
        "binding_vnic_type": "binding:vnic_type",
        "binding_profile": "binding:profile",
        "binding_vif_type": "binding:vif_type",
        "binding_vif_details": "binding:vif_details",
    },
):
    """A point of attachment. The active binding is part of it, further ones are ``PortBinding``."""

    KIND: ClassVar[str] = "port"
    name: str = ""
    network_id: str
    mac_address: str
    admin_state_up: bool = True
    status: str = "DOWN"
    fixed_ips: tuple[FixedIp, ...] = ()
    device_id: str = ""
    device_owner: str = ""
    security_groups: tuple[str, ...] = ()
    allowed_address_pairs: tuple[AddressPair, ...] = ()
    extra_dhcp_opts: tuple[DhcpOption, ...] = ()
    port_security_enabled: bool = True
    binding_host_id: str = ""
    binding_vnic_type: str = "normal"
    binding_profile: dict[str, Any] = {}
    binding_vif_type: str = "unbound"
    binding_vif_details: dict[str, Any] = {}
    dns_name: str = ""
    dns_domain: str = ""
    ip_allocation: str = "immediate"
    propagate_uplink_status: bool = True
    up_hosts: tuple[str, ...] = ()  # hosts that reported it wired: what ``status`` is made of
    troubled_hosts: dict[str, str] = {}  # hosts that are at it (BUILD) or cannot (ERROR), and which


class PortBinding(Entity, frozen=True, kw_only=True):
    """A further binding of a port, on another host, not active yet. ``id`` is ``<port id>@<host>``."""

    KIND: ClassVar[str] = "binding"
    port_id: str
    host: str
    vnic_type: str = "normal"
    profile: dict[str, Any] = {}
    vif_type: str = "unbound"
    vif_details: dict[str, Any] = {}
    status: str = "INACTIVE"
    project_id: str = ""


class ExternalGateway(msgspec.Struct, frozen=True):
    """A router's way out. Its addresses are the gateway port's."""

    network_id: str
    port_id: str
    enable_snat: bool = True


class Router(Standard, frozen=True, kw_only=True):
    """A router; its interfaces are ports whose ``device_id`` is its id."""

    KIND: ClassVar[str] = "router"
    name: str = ""
    admin_state_up: bool = True
    status: str = "ACTIVE"
    distributed: bool = True
    gateway: ExternalGateway | None = None
    routes: tuple[HostRoute, ...] = ()
    availability_zone_hints: tuple[str, ...] = ()
    failed_hosts: tuple[str, ...] = ()  # hosts that could not make it: what ``status`` is made of


class FloatingIp(Standard, frozen=True, kw_only=True):
    """An external address translated to ``fixed_ip_address`` of ``port_id``.

    ``floating_port_id`` is the port that holds the address on the external network.
    """

    KIND: ClassVar[str] = "floatingip"
    floating_network_id: str
    floating_ip_address: str
    floating_port_id: str
    port_id: str | None = None
    fixed_ip_address: str | None = None
    router_id: str | None = None
    status: str = "DOWN"
    dns_name: str = ""
    dns_domain: str = ""


class PortForwarding(Standard, frozen=True, kw_only=True):
    """Ports of a floating IP translated to ports of an internal address. Ranges are inclusive."""

    KIND: ClassVar[str] = "port_forwarding"
    floatingip_id: str
    protocol: str
    internal_port_id: str
    internal_ip_address: str
    external_port_start: int
    external_port_end: int
    internal_port_start: int
    internal_port_end: int


class SecurityGroup(Standard, frozen=True, kw_only=True):
    """A set of rules; what no rule opens is closed. Its rules are entities of their own."""

    KIND: ClassVar[str] = "security_group"
    name: str = ""
    stateful: bool = True
    is_default: bool = False


class SecurityGroupRule(Standard, frozen=True, kw_only=True):
    """One opening. ``protocol`` is as it was given; for ICMP the port range is type and code."""

    KIND: ClassVar[str] = "security_group_rule"
    security_group_id: str
    direction: str
    ethertype: str = "IPv4"
    protocol: str | None = None
    port_range_min: int | None = None
    port_range_max: int | None = None
    remote_ip_prefix: str | None = None
    remote_group_id: str | None = None
    remote_address_group_id: str | None = None


class DefaultSecurityGroupRule(Standard, frozen=True, kw_only=True):
    """A template: every new security group of the kind it is for gets such a rule. ``remote_group_id`` may be "PARENT"."""

    KIND: ClassVar[str] = "default_security_group_rule"
    direction: str
    ethertype: str = "IPv4"
    protocol: str | None = None
    port_range_min: int | None = None
    port_range_max: int | None = None
    remote_ip_prefix: str | None = None
    remote_group_id: str | None = None
    remote_address_group_id: str | None = None
    used_in_default_sg: bool = False
    used_in_non_default_sg: bool = True


class AddressGroup(Standard, frozen=True, kw_only=True):
    """A named set of CIDRs that rules may name."""

    KIND: ClassVar[str] = "address_group"
    name: str = ""
    addresses: tuple[str, ...] = ()


class RbacPolicy(Owned, frozen=True, kw_only=True):
    """``target_tenant`` ("*" is everybody) may ``action`` the object."""

    KIND: ClassVar[str] = "rbac_policy"
    object_type: str
    object_id: str
    action: str
    target_tenant: str


class Agent(Entity, frozen=True, kw_only=True):
    """What a host runs. ``heartbeat_timestamp`` as stored; a fresher one may be in memory. Times as ``2026-11-23 08:00:00``."""

    KIND: ClassVar[str] = "agent"
    agent_type: str
    binary: str
    host: str
    topic: str = "N/A"
    admin_state_up: bool = True
    created_at: str = ""
    started_at: str = ""
    heartbeat_timestamp: str = ""
    description: str | None = None
    availability_zone: str | None = None
    configurations: dict[str, Any] = {}
    resources_synced: bool | None = None


class HostKey(Entity, frozen=True, kw_only=True):
    """What a host's agent proves itself with; ``id`` is the host. Only hashes (SHA-256, hex) of secrets of 256 random bits.

    ``joining`` is good once, until ``joining_until`` (seconds since the epoch), and is then exchanged for ``secret``.
    """

    KIND: ClassVar[str] = "host_key"
    secret: str = ""
    joining: str = ""
    joining_until: float = 0.0


class HostStand(Entity, frozen=True, kw_only=True):
    """Where a host stands, said by the server that its agent is connected to for the other servers on the same store; ``id`` is
    the host. ``server`` is empty when it is connected to none. ``asked``: a revision of which another server, that began then, wants
    to know whether the host has all up to it."""

    KIND: ClassVar[str] = "host_stand"
    server: str = ""
    applied: int = 0
    asked: int = 0


class AgentBinding(Entity, frozen=True, kw_only=True):
    """A router or network scheduled to an agent. ``id`` is ``<agent id>@<object id>``."""

    KIND: ClassVar[str] = "agent_binding"
    agent_id: str
    object_id: str


class Quota(Entity, frozen=True, kw_only=True):
    """A project's own limits; ``id`` is the project. What is not in ``limits`` has the default. -1 is no limit."""

    KIND: ClassVar[str] = "quota"
    limits: dict[str, int] = {}


class AutoAllocatedTopology(Entity, frozen=True, kw_only=True):
    """The network made for a project on demand; ``id`` is the project."""

    KIND: ClassVar[str] = "auto_allocated_topology"
    network_id: str
    router_id: str


KINDS: Final[dict[str, type[Entity]]] = {
    kind.KIND: kind
    for kind in (
        Network,
        Subnet,
        SubnetPool,
        AddressScope,
        Port,
        PortBinding,
        Router,
        FloatingIp,
        PortForwarding,
        SecurityGroup,
        SecurityGroupRule,
        DefaultSecurityGroupRule,
        AddressGroup,
        RbacPolicy,
        Agent,
        AgentBinding,
        HostKey,
        HostStand,
        Quota,
        AutoAllocatedTopology,
    )
}
