"""Networks, subnets, subnet pools, address scopes, and how many addresses are left."""

import json
from typing import Any, Final

from floatway.api import converters as c
from floatway.api import validators as v
from floatway.api import validators_dns as dns
from floatway.api.attributes.base import STANDARD, TAGS, UNSET, Attribute, table
from floatway.control.errors import invalid_input


def availability_zone_hints(value: Any) -> str | None:
    """A list of different names, short enough together."""
    if message := v.list_of(v.string())(value):
        return message
    if len(json.dumps(value)) > 255:
        raise invalid_input("Too many availability_zone_hints specified")
    return None


def _subnetpool_id(value: Any) -> str | None:
    """None, a UUID, or what stands for IPv6 prefix delegation."""
    return None if value is None or value == "prefix_delegation" else v.uuid(value)


NETWORKS: Final = table(
    Attribute("id", validate=v.uuid, filter=True, sort=True),
    Attribute("name", post=True, put=True, default="", validate=v.name(255), filter=True, sort=True),
    Attribute("tenant_id", post=True, validate=v.string(255), filter=True, sort=True),
    Attribute("admin_state_up", post=True, put=True, default=True, convert=c.to_bool, filter=True, sort=True),
    Attribute("availability_zone_hints", post=True, default=(), validate=availability_zone_hints, sort=True),
    Attribute("availability_zones"),
    Attribute("dns_domain", post=True, put=True, default="", convert=c.lower, validate=dns.dns_domain(255)),
    Attribute("ipv4_address_scope", validate=v.optional(v.string())),
    Attribute("ipv6_address_scope", validate=v.optional(v.string())),
    Attribute("is_default", post=True, put=True, default=False, convert=c.to_bool, filter=True, policy=True),
    Attribute(
        "mtu",
        post=True,
        put=True,
        default=0,
        convert=c.to_int,
        validate=v.non_negative,
        filter=True,
        sort=True,
        policy=True,
    ),
    Attribute("port_security_enabled", post=True, put=True, default=True, convert=c.to_bool, policy=True),
    Attribute(
        "provider:network_type", post=True, put=True, default=UNSET, validate=v.string(32), filter=True, policy=True
    ),
    Attribute(
        "provider:physical_network", post=True, put=True, default=UNSET, validate=v.string(64), filter=True, policy=True
    ),
    Attribute(
        "provider:segmentation_id", post=True, put=True, default=UNSET, convert=c.to_int, filter=True, policy=True
    ),
    Attribute("router:external", post=True, put=True, default=False, convert=c.to_bool, filter=True, policy=True),
    Attribute("shared", post=True, put=True, default=False, convert=c.to_bool, filter=True, policy=True),
    Attribute("status", filter=True, sort=True),
    Attribute("subnets", default=()),
    *STANDARD,
    *TAGS,
)

SUBNETS: Final = table(
    Attribute("id", validate=v.uuid, filter=True, sort=True),
    Attribute("name", post=True, put=True, default="", validate=v.name(255), filter=True, sort=True),
    Attribute("tenant_id", post=True, validate=v.string(255), filter=True, sort=True),
    Attribute("allocation_pools", post=True, put=True, default=UNSET, convert=c.canonical_pools, validate=v.ip_pools),
    Attribute(
        "cidr",
        post=True,
        default=UNSET,
        convert=c.canonical_cidr,
        validate=v.optional(v.subnet),
        filter=True,
        sort=True,
    ),
    Attribute("dns_nameservers", post=True, put=True, default=UNSET, convert=c.none_to_list, validate=v.nameservers),
    Attribute("dns_publish_fixed_ip", post=True, put=True, default=False, convert=c.to_bool),
    Attribute("enable_dhcp", post=True, put=True, default=True, convert=c.to_bool, filter=True, sort=True),
    Attribute(
        "gateway_ip",
        post=True,
        put=True,
        default=UNSET,
        convert=c.canonical_ip,
        validate=v.optional(v.ip_address),
        filter=True,
        sort=True,
    ),
    Attribute("host_routes", post=True, put=True, default=UNSET, convert=c.none_to_list, validate=v.host_routes),
    Attribute("ip_version", post=True, convert=c.to_int, validate=v.values(4, 6), filter=True, sort=True),
    Attribute(
        "ipv6_address_mode",
        post=True,
        default=UNSET,
        validate=v.values("dhcpv6-stateful", "dhcpv6-stateless", "slaac", None),
        filter=True,
        sort=True,
    ),
    Attribute(
        "ipv6_ra_mode",
        post=True,
        default=UNSET,
        validate=v.values("dhcpv6-stateful", "dhcpv6-stateless", "slaac", None),
        filter=True,
        sort=True,
    ),
    Attribute("network_id", post=True, validate=v.uuid, filter=True, sort=True),
    Attribute("prefixlen", post=True, default=UNSET, convert=c.to_int, validate=v.non_negative, visible=False),
    Attribute("router:external", default=False, convert=c.to_bool, filter=True, policy=True),
    Attribute("service_types", post=True, put=True, default=UNSET, validate=v.service_types),
    Attribute("shared", default=False, convert=c.to_bool, filter=True, visible=False, policy=True),
    Attribute("subnetpool_id", post=True, default=UNSET, validate=_subnetpool_id, filter=True, sort=True),
    Attribute("use_default_subnetpool", post=True, default=False, convert=c.to_bool, visible=False),
    *STANDARD,
    *TAGS,
)


def _count(name: str) -> Attribute:
    """A number that may be left out."""
    return Attribute(
        name, post=True, put=True, default=UNSET, convert=c.to_int, validate=v.non_negative, filter=True, sort=True
    )


SUBNETPOOLS: Final = table(
    Attribute("id", validate=v.uuid, filter=True, sort=True),
    Attribute("name", post=True, put=True, validate=v.not_empty_name(), filter=True, sort=True),
    Attribute("tenant_id", post=True, validate=v.string(255), filter=True, sort=True),
    Attribute(
        "address_scope_id", post=True, put=True, default=UNSET, validate=v.optional(v.uuid), filter=True, sort=True
    ),
    _count("default_prefixlen"),
    _count("default_quota"),
    Attribute("ip_version", filter=True, sort=True),
    Attribute("is_default", post=True, put=True, default=False, convert=c.to_bool, filter=True, sort=True, policy=True),
    _count("max_prefixlen"),
    _count("min_prefixlen"),
    Attribute("prefixes", post=True, put=True, validate=v.list_of(v.subnet)),
    Attribute("shared", post=True, default=False, convert=c.to_bool, filter=True, sort=True, policy=True),
    *STANDARD,
    *TAGS,
)

ADDRESS_SCOPES: Final = table(
    Attribute("id", validate=v.uuid, filter=True, sort=True),
    Attribute("name", post=True, put=True, default="", validate=v.name(255), filter=True, sort=True),
    Attribute("tenant_id", post=True, validate=v.string(255), filter=True, sort=True),
    Attribute("ip_version", post=True, convert=c.to_int, validate=v.values(4, 6), filter=True, sort=True),
    Attribute("shared", post=True, put=True, default=False, convert=c.to_bool, filter=True, sort=True, policy=True),
)

NETWORK_IP_AVAILABILITIES: Final = table(
    Attribute("tenant_id", filter=True),
    Attribute("ip_version", filter=True, visible=False),
    Attribute("network_id", filter=True, sort=True),
    Attribute("network_name", filter=True),
    Attribute("ip_availability_details"),
    Attribute("subnet_ip_availability"),
    Attribute("total_ips"),
    Attribute("used_ips"),
)
