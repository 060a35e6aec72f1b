"""What the operator decides about the cloud, as the rules read it (the ``[network]`` table of the configuration)."""

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["Settings"]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cloud. Defaults are Neutron's."""

    network_types: Annotated[tuple[str, ...], Meta(description="Network types that an administrator may ask for.")] = (
        "vxlan",
        "vlan",
        "flat",
        "local",
    )
    tenant_network_types: Annotated[
        tuple[str, ...],
        Meta(description="Types that a network gets when nobody asks for one: the first with a free segment."),
    ] = ("vxlan",)
    vni_ranges: Annotated[
        tuple[tuple[int, int], ...], Meta(description="VXLAN network identifiers to choose from: [[first, last], ...].")
    ] = ((1, 65535),)
    vlan_ranges: Annotated[
        dict[str, tuple[tuple[int, int], ...]],
        Meta(
            description="VLANs to choose from on each physical network: { physnet1 = [[100, 199]] }; [] allows given ones only."
        ),
    ] = {}
    flat_networks: Annotated[
        tuple[str, ...], Meta(description='Physical networks that may carry a flat network; "*" is any.')
    ] = ("*",)
    global_physnet_mtu: Annotated[int, Meta(ge=68, description="MTU of the physical networks, in bytes.")] = 1500
    path_mtu: Annotated[
        int, Meta(ge=0, description="MTU between hosts' tunnel addresses, in bytes; 0: global_physnet_mtu.")
    ] = 0
    base_mac: Annotated[
        str,
        Meta(
            description="Ports' MAC addresses begin as this does: its first three bytes, the fourth too unless it is 00."
        ),
    ] = "fa:16:3e:00:00:00"
    dns_domain: Annotated[str, Meta(description="Domain of the names that ports get.")] = "openstacklocal."
    router_distributed: Annotated[bool, Meta(description="Whether a router is distributed when nobody says.")] = True
    default_availability_zones: Annotated[
        tuple[str, ...], Meta(description="Availability zone hints of networks and routers that come without.")
    ] = ()
    max_fixed_ips_per_port: Annotated[int, Meta(ge=1, description="Fixed addresses of one port.")] = 5
    max_allowed_address_pair: Annotated[int, Meta(ge=0, description="Allowed address pairs of one port.")] = 10
    default_quotas: Annotated[
        dict[str, int],
        Meta(
            description="How many of each a project may have where it has no quota of its own, -1 for no limit: { port = 500 }."
        ),
    ] = {}
    agent_down_seconds: Annotated[
        int, Meta(ge=1, description="Seconds of an agent's silence after which it counts as down.")
    ] = 75
