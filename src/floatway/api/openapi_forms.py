"""The form of every attribute, as JSON Schema: what a name means, it means in every collection.

    mtu ──▶ {"type": "integer", "minimum": 0}           gateway_ip ──▶ {"type": ["string", "null"]}

What a client sends is taken in more spellings than these ("true" for true); an answer always has these.
"""

from typing import Any, Final

__all__ = ["NULLABLE", "Schema", "ref", "request_form", "response_form"]

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """A schema among the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def _array(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    shown: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return shown | ({"required": list(required)} if required else {})


def _one_of(*values: Any) -> Schema:
    return {"enum": list(values)}


TEXT: Final[Schema] = {"type": "string"}
SHORT: Final[Schema] = {"type": "string", "maxLength": 255}
NAME: Final[Schema] = {
    "type": "string",
    "maxLength": 255,
    "pattern": r"^([\u0021-\u007e]([\u0020-\u007e]*[\u0021-\u007e])?)?$",
}
FLAG: Final[Schema] = {"type": "boolean"}
NUMBER: Final[Schema] = {"type": "integer"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
UUID: Final[Schema] = {"type": "string", "format": "uuid"}
ADDRESS: Final[Schema] = {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}
CIDR: Final[Schema] = {"type": "string", "format": "cidr"}
PREFIX: Final[Schema] = {"type": "string", "pattern": r"^[0-9a-fA-F.:]+(/[0-9]{1,3})?$"}
MAC: Final[Schema] = {"type": "string", "pattern": "^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
ANYTHING: Final[Schema] = {"type": "object"}
L4_PORT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 65535}
L4_RANGE: Final[Schema] = {"type": "string", "pattern": "^[1-9][0-9]{0,4}(:[1-9][0-9]{0,4})?$"}
VERSION: Final[Schema] = _one_of(4, 6)
MODE: Final[Schema] = _one_of("slaac", "dhcpv6-stateful", "dhcpv6-stateless", None)
ROUTE: Final = _object(("destination", "nexthop"), destination=CIDR, nexthop=ADDRESS)
FIXED_IP: Final = _object(subnet_id=UUID, ip_address=ADDRESS)
VNIC: Final = _one_of(
    "normal", "direct", "macvtap", "baremetal", "direct-physical", "virtio-forwarder", "smart-nic", "vdpa",
    "accelerator-direct", "accelerator-direct-physical", "remote-managed",
)  # fmt: skip

_IN_USE: Final = _object(
    total_ips_in_subnet=NUMBER,
    total_ips_in_allocation_pool=COUNT,
    used_ips_in_subnet=COUNT,
    used_ips_in_allocation_pool=COUNT,
)
_FORMS: Final[dict[str, Schema]] = {
    "action": _one_of("access_as_shared", "access_as_external"),
    "addresses": _array(CIDR, uniqueItems=True),
    "allocation_pools": _array(_object(("start", "end"), start=ADDRESS, end=ADDRESS)),
    "allowed_address_pairs": _array(_object(("ip_address",), ip_address=PREFIX, mac_address=MAC)),
    "availability_zone_hints": _array(SHORT, uniqueItems=True),
    "availability_zones": _array(TEXT),
    "binding:host_id": SHORT,
    "binding:profile": ANYTHING,
    "binding:vif_details": ANYTHING,
    "binding:vnic_type": VNIC,
    "cidr": CIDR,
    "configurations": ANYTHING,
    "direction": _one_of("ingress", "egress"),
    "dns_assignment": _array(_object(ip_address=ADDRESS, hostname=TEXT, fqdn=TEXT)),
    "dns_domain": {"type": "string", "maxLength": 253, "pattern": r"^(([a-z0-9]|[a-z0-9][a-z0-9-]{0,61}[a-z0-9])\.)*$"},
    "dns_name": {"type": "string", "maxLength": 63, "pattern": "^([a-z0-9]|[a-z0-9][a-z0-9-]{0,61}[a-z0-9])?$"},
    "dns_nameservers": _array(ADDRESS, uniqueItems=True),
    "ethertype": _one_of("IPv4", "IPv6"),
    "external_gateway_info": _object(
        ("network_id",), network_id=UUID, enable_snat=FLAG, external_fixed_ips=_array(FIXED_IP)
    ),
    "external_port": L4_PORT,
    "external_port_range": L4_RANGE,
    "extra_dhcp_opts": _array(
        _object(("opt_name", "opt_value"), opt_name=TEXT, opt_value={"type": ["string", "null"]}, ip_version=VERSION)
    ),
    "fixed_ips": _array(FIXED_IP),
    "host_routes": _array(ROUTE),
    "internal_port": L4_PORT,
    "internal_port_range": L4_RANGE,
    "ip_availability_details": _IN_USE,
    "ip_allocation": _one_of("immediate", "deferred", "none"),
    "ip_version": VERSION,
    "ipv6_address_mode": MODE,
    "ipv6_ra_mode": MODE,
    "mac_address": MAC,
    "mtu": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    "name": NAME,
    "object_type": _one_of("network", "security_group", "address_scope", "subnetpool", "address_group"),
    "port_details": _object(
        name=TEXT, network_id=UUID, mac_address=MAC, admin_state_up=FLAG, status=TEXT, device_id=TEXT, device_owner=TEXT
    ),
    "port_forwardings": _array(
        _object(
            id=UUID, protocol=TEXT, internal_ip_address=ADDRESS, internal_port_id=UUID, external_port=L4_PORT,
            internal_port=L4_PORT,
        )
    ),
    "port_range_max": {"type": "integer", "minimum": -1, "maximum": 65535},
    "port_range_min": {"type": "integer", "minimum": -1, "maximum": 65535},
    "prefixes": _array(CIDR),
    "prefixlen": {"type": "integer", "minimum": 0, "maximum": 128},
    "profile": ANYTHING,
    "provider:network_type": _one_of("flat", "vlan", "vxlan", "gre", "geneve", "local", None),
    "provider:segmentation_id": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    "remote_ip_prefix": PREFIX,
    "routes": _array(ROUTE),
    "security_group_rules": _array(ref("security_group_rule_within")),
    "security_groups": _array(UUID, uniqueItems=True),
    "service_types": _array({"type": "string", "maxLength": 255, "pattern": "^(network|compute|neutron):"}),
    "subnet_ip_availability": _array(
        _object(
            subnet_id=UUID, subnet_name=TEXT, ip_version=VERSION, cidr=CIDR, total_ips=COUNT, used_ips=COUNT,
            ip_availability_details=_IN_USE,
        )
    ),
    "subnets": _array(UUID),
    "tags": _array(SHORT, uniqueItems=True),
    "target_tenant": {"type": "string", "maxLength": 255},
    "vif_details": ANYTHING,
    "vnic_type": VNIC,
}  # fmt: skip

_ALIKE: Final[tuple[tuple[Schema, tuple[str, ...]], ...]] = (
    (UUID, (
        "id", "address_scope_id", "floating_network_id", "internal_port_id", "network_id", "object_id", "port_id",
        "remote_address_group_id", "router_id", "security_group_id", "subnet_id", "subnetpool_id",
    )),
    (FLAG, (
        "admin_state_up", "alive", "belongs_to_default_sg", "default", "distributed", "dns_publish_fixed_ip", "enable_dhcp", "ha",
        "is_default", "port_security_enabled", "propagate_uplink_status", "resources_synced", "router:external", "shared",
        "stateful", "use_default_subnetpool", "used_in_default_sg", "used_in_non_default_sg",
    )),
    (ADDRESS, ("fixed_ip_address", "floating_ip_address", "gateway_ip", "internal_ip_address")),
    (COUNT, ("default_quota", "revision_number", "total_ips", "used_ips")),
    ({"type": "integer", "minimum": 0, "maximum": 128}, ("default_prefixlen", "max_prefixlen", "min_prefixlen")),
)  # fmt: skip

NULLABLE: Final = frozenset({
    "address_scope_id", "availability_zone", "belongs_to_default_sg", "default_quota", "description", "external_gateway_info",
    "fixed_ip_address", "gateway_ip", "ipv4_address_scope", "ipv6_address_scope", "normalized_cidr", "port_details",
    "port_id", "port_range_max", "port_range_min", "protocol", "provider:network_type", "provider:physical_network",
    "provider:segmentation_id", "remote_address_group_id", "remote_group_id", "remote_ip_prefix", "resources_synced",
    "router_id", "subnetpool_id",
})  # fmt: skip
"""What may be null in an answer."""

# Answers that differ from what is sent: prefix lengths are text, times have no zone for agents.
_ANSWERED: Final[dict[tuple[str, str], Schema]] = {
    **{("subnetpools", name): TEXT for name in ("default_prefixlen", "min_prefixlen", "max_prefixlen")},
    **{(collection, "name"): TEXT for collection in ("networks", "subnets", "ports", "routers", "security_groups")},
    **{("agents", name): TEXT for name in ("created_at", "started_at", "heartbeat_timestamp")},
    ("auto_allocated_topologies", "id"): TEXT,
    ("ports", "dns_name"): TEXT,
}


def _form(name: str) -> Schema:
    found = _FORMS.get(name)
    if found is not None:
        return found
    for form, names in _ALIKE:
        if name in names:
            return form
    return TIME if name in {"created_at", "updated_at"} else SHORT


def request_form(name: str, default: object) -> Schema:
    """How a client writes the attribute; null where null is its default."""
    return _nullable(_form(name)) if default is None else _form(name)


def response_form(collection: str, name: str) -> Schema:
    """How an answer writes it."""
    form = _ANSWERED.get((collection, name), TEXT if (name == "description") else _form(name))
    return _nullable(form) if name in NULLABLE else form


def _nullable(form: Schema) -> Schema:
    if "enum" in form:
        return {"enum": [*form["enum"], *([] if None in form["enum"] else [None])]}
    if isinstance(form.get("type"), str):
        return {**form, "type": [form["type"], "null"]}
    return {"anyOf": [form, {"type": "null"}]}
