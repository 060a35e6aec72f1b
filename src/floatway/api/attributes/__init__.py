"""What the nouns of the API are made of: the attributes of every collection, in tables."""

from typing import Final

from floatway.api.attributes import admin, l2, l3, ports, security
from floatway.api.attributes.base import Table

__all__ = ["ATTRIBUTES"]

ATTRIBUTES: Final[dict[str, Table]] = {
    "networks": l2.NETWORKS,
    "subnets": l2.SUBNETS,
    "subnetpools": l2.SUBNETPOOLS,
    "address_scopes": l2.ADDRESS_SCOPES,
    "network_ip_availabilities": l2.NETWORK_IP_AVAILABILITIES,
    "ports": ports.PORTS,
    "bindings": ports.BINDINGS,
    "routers": l3.ROUTERS,
    "floatingips": l3.FLOATINGIPS,
    "port_forwardings": l3.PORT_FORWARDINGS,
    "floatingip_pools": l3.FLOATINGIP_POOLS,
    "auto_allocated_topologies": l3.AUTO_ALLOCATED_TOPOLOGIES,
    "security_groups": security.SECURITY_GROUPS,
    "security_group_rules": security.SECURITY_GROUP_RULES,
    "default_security_group_rules": security.DEFAULT_SECURITY_GROUP_RULES,
    "address_groups": security.ADDRESS_GROUPS,
    "rbac_policies": security.RBAC_POLICIES,
    "agents": admin.AGENTS,
    "availability_zones": admin.AVAILABILITY_ZONES,
    "service_providers": admin.SERVICE_PROVIDERS,
}
