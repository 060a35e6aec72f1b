"""What the operator decides about the cloud, as the rules read it (the ``[network]`` table of the configuration)."""

import msgspec

__all__ = ["Settings"]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Defaults are Neutron's."""

    network_types: tuple[str, ...] = ("vxlan", "vlan", "flat", "local")
    tenant_network_types: tuple[str, ...] = ("vxlan",)
    vni_ranges: tuple[tuple[int, int], ...] = ((1, 65535),)
    vlan_ranges: dict[str, tuple[tuple[int, int], ...]] = {}
    flat_networks: tuple[str, ...] = ("*",)
    global_physnet_mtu: int = 1500
    path_mtu: int = 0
    base_mac: str = "fa:16:3e:00:00:00"
    dns_domain: str = "openstacklocal."
    router_distributed: bool = True
    default_availability_zones: tuple[str, ...] = ()
    max_routes: int = 30
    max_fixed_ips_per_port: int = 5
    max_allowed_address_pair: int = 10
    default_quotas: dict[str, int] = {}
    agent_down_seconds: int = 75
