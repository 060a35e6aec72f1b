"""Routers, floating IPs, port forwardings, floating IP pools, topologies made on demand."""

from typing import Any, Final

from floatway.api import converters as c
from floatway.api import validators as v
from floatway.api import validators_dns as dns
from floatway.api.attributes.base import STANDARD, TAGS, TIMES, UNSET, Attribute, table
from floatway.api.attributes.l2 import availability_zone_hints

_GATEWAY: Final = v.unless_empty(
    v.dict_of(
        {
            "network_id": v.Key(v.uuid, required=True),
            "enable_snat": v.Key(v.boolean, convert=c.to_bool),
            "external_fixed_ips": v.Key(v.fixed_ips),
        }
    )
)


def _not_ha(value: Any) -> str | None:
    """Highly available routers are refused in so many words; that one shall not be is what it is anyway."""
    if value is None:
        return None
    if wrong := v.boolean(value):
        return wrong
    return "highly available routers (l3-ha) are not offered; leave it out or say false" if c.to_bool(value) else None


_FORWARDED: Final = v.values("tcp", "udp", "icmp", "ipv6-icmp", "sctp", "dccp")


ROUTERS: Final = table(
    Attribute("id", validate=v.uuid, filter=True, sort=True),
    Attribute("name", post=True, put=True, default="", validate=v.name(255), filter=True, sort=True),
    Attribute("tenant_id", post=True, validate=v.string(255), filter=True, sort=True),
    Attribute("admin_state_up", post=True, put=True, default=True, convert=c.to_bool, filter=True, sort=True),
    Attribute("availability_zone_hints", post=True, default=(), validate=availability_zone_hints),
    Attribute("availability_zones"),
    Attribute("distributed", post=True, put=True, default=UNSET, convert=c.optional(c.to_bool), policy=True),
    Attribute("ha", post=True, put=True, default=UNSET, convert=c.optional(c.to_bool), validate=_not_ha, policy=True),
    Attribute("external_gateway_info", post=True, put=True, default=None, validate=_GATEWAY, policy=True),
    Attribute("routes", put=True, default=UNSET, convert=c.none_to_list, validate=v.host_routes),
    Attribute("status", sort=True),
    *STANDARD,
    *TAGS,
)

FLOATINGIPS: Final = table(
    Attribute("id", validate=v.uuid, filter=True, sort=True),
    Attribute("tenant_id", post=True, validate=v.string(255), filter=True, sort=True),
    Attribute("dns_domain", post=True, default="", convert=c.lower, validate=dns.dns_domain(255)),
    Attribute("dns_name", post=True, default="", convert=c.lower, validate=dns.dns_label(255)),
    Attribute(
        "fixed_ip_address", post=True, put=True, default=None, validate=v.optional(v.ip_address), filter=True, sort=True
    ),
    Attribute(
        "floating_ip_address",
        post=True,
        default=None,
        validate=v.optional(v.ip_address),
        filter=True,
        sort=True,
        policy=True,
    ),
    Attribute("floating_network_id", post=True, validate=v.uuid, filter=True, sort=True),
    Attribute("port_details", default=UNSET),
    Attribute("port_forwardings", default=None),
    Attribute("port_id", post=True, put=True, default=None, validate=v.optional(v.uuid), filter=True),
    Attribute("router_id", default=None, validate=v.optional(v.uuid), filter=True, sort=True),
    Attribute("status", filter=True, sort=True),
    Attribute("subnet_id", post=True, default=None, validate=v.optional(v.uuid), visible=False),
    *STANDARD,
    *TAGS,
)

PORT_FORWARDINGS: Final = table(
    Attribute("id", validate=v.uuid, filter=True, sort=True),
    Attribute("project_id", post=True, validate=v.string(255), visible=False),
    Attribute("description", post=True, put=True, default="", validate=v.string(1024), filter=True),
    Attribute(
        "external_port",
        post=True,
        put=True,
        default=None,
        validate=v.optional(v.range_(1, 65535)),
        filter=True,
        sort=True,
    ),
    Attribute(
        "external_port_range",
        post=True,
        put=True,
        default=None,
        validate=v.port_range(1, 65535),
        filter=True,
        sort=True,
    ),
    Attribute("internal_ip_address", post=True, put=True, validate=v.ip_address),
    Attribute("internal_port", post=True, put=True, default=None, validate=v.optional(v.range_(1, 65535))),
    Attribute("internal_port_id", post=True, put=True, validate=v.uuid, filter=True, sort=True),
    Attribute("internal_port_range", post=True, put=True, default=None, validate=v.port_range(1, 65535)),
    Attribute("protocol", post=True, put=True, convert=c.protocol_number, validate=_FORWARDED, filter=True, sort=True),
    *TIMES,
)

FLOATINGIP_POOLS: Final = table(
    Attribute("project_id", validate=v.string(255)),
    Attribute("cidr", validate=v.optional(v.subnet)),
    Attribute("network_id", validate=v.uuid),
    Attribute("subnet_id", validate=v.uuid),
    Attribute("subnet_name", validate=v.string(255)),
)

AUTO_ALLOCATED_TOPOLOGIES: Final = table(
    Attribute("id", validate=v.uuid),
    Attribute("tenant_id", validate=v.uuid),
)
