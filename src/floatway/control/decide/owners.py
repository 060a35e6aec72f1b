"""The words in a port's ``device_owner``, and what they mean to the rules.

compute:az1                            an instance's; the user says so
network:router_interface_distributed   the network service's own: trusted, and not to be deleted behind a router's back
"""

from typing import Final

__all__ = [
    "AGENT_GATEWAY",
    "CENTRALIZED_SNAT",
    "DHCP",
    "DISTRIBUTED_INTERFACE",
    "DISTRIBUTED_SERVICE",
    "FIXED_V4",
    "FLOATING_IP",
    "INTERFACES",
    "INTERFACES_AND_SNAT",
    "L3",
    "REPLICATED_INTERFACE",
    "ROUTER_GATEWAY",
    "ROUTER_INTERFACE",
    "ROUTER_PORTS",
    "trusted",
]

ROUTER_INTERFACE: Final = "network:router_interface"
DISTRIBUTED_INTERFACE: Final = "network:router_interface_distributed"
REPLICATED_INTERFACE: Final = "network:ha_router_replicated_interface"
HA_INTERFACE: Final = "network:router_ha_interface"
CENTRALIZED_SNAT: Final = "network:router_centralized_snat"
ROUTER_GATEWAY: Final = "network:router_gateway"
FLOATING_IP: Final = "network:floatingip"
AGENT_GATEWAY: Final = "network:floatingip_agent_gateway"
DHCP: Final = "network:dhcp"
DISTRIBUTED_SERVICE: Final = "network:distributed"

INTERFACES: Final = frozenset({ROUTER_INTERFACE, REPLICATED_INTERFACE, DISTRIBUTED_INTERFACE})
INTERFACES_AND_SNAT: Final = INTERFACES | {CENTRALIZED_SNAT}
ROUTER_PORTS: Final = INTERFACES_AND_SNAT | {ROUTER_GATEWAY}
L3: Final = ROUTER_PORTS | {FLOATING_IP, AGENT_GATEWAY, HA_INTERFACE}
"""Ports that go with their router or floating IP, not by themselves."""
FIXED_V4: Final = INTERFACES_AND_SNAT | {HA_INTERFACE}
"""Ports of a router whose IPv4 addresses only the router's own calls change."""


def trusted(device_owner: str) -> bool:
    """Whether the port is the network service's own: no port security, no security groups."""
    return device_owner.startswith("network:")
