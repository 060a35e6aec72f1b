"""Security groups and rules, templates of rules, address groups, RBAC policies."""

from typing import Any, Final

from floatway.api import converters as c
from floatway.api import validators as v
from floatway.api.attributes.base import STANDARD, TAGS, TIMES, UNSET, Attribute, table
from floatway.control.errors import invalid_input

_OBJECT_TYPES: Final = ("network", "security_group", "address_scope", "subnetpool", "address_group")


def _object_type(value: Any) -> str:
    normal = value.strip().lower() if isinstance(value, str) else value
    if normal in _OBJECT_TYPES:
        return str(normal)
    raise invalid_input(f"'{value}' is not a valid RBAC object type")


def _target_project(value: Any) -> str | None:
    """Everybody ("*"), or a project's id in one of the forms of a UUID."""
    if value != "*" and v.uuid(value):
        raise invalid_input(f"'{value}' is not a valid target project ID; expected a UUID or '*'")
    return None


SECURITY_GROUPS: Final = table(
    Attribute("id", validate=v.uuid, filter=True, sort=True),
    Attribute("name", post=True, put=True, default="", validate=v.name_not_default(255), filter=True, sort=True),
    Attribute("tenant_id", post=True, validate=v.string(255), filter=True, sort=True),
    Attribute("security_group_rules"),
    Attribute("shared", convert=c.to_bool, filter=True, policy=True),
    Attribute("stateful", post=True, put=True, default=True, convert=c.to_bool, filter=True),
    *STANDARD,
    *TAGS,
)

SECURITY_GROUP_RULES: Final = table(
    Attribute("id", validate=v.uuid, filter=True, sort=True),
    Attribute("tenant_id", post=True, validate=v.string(255), filter=True, sort=True),
    Attribute("security_group_id", post=True, validate=v.string(36), filter=True, sort=True),
    Attribute("belongs_to_default_sg", convert=c.optional(c.to_bool), filter=True),
    Attribute("direction", post=True, validate=v.values("ingress", "egress"), filter=True, sort=True),
    Attribute(
        "ethertype",
        post=True,
        default="IPv4",
        convert=c.ethertype,
        validate=v.values("IPv4", "IPv6"),
        filter=True,
        sort=True,
    ),
    Attribute("normalized_cidr", validate=v.optional(v.subnet), filter=True, sort=True),
    Attribute("port_range_max", post=True, default=None, convert=c.port_value, filter=True, sort=True),
    Attribute("port_range_min", post=True, default=None, convert=c.port_value, filter=True, sort=True),
    Attribute("protocol", post=True, default=None, convert=c.rule_protocol, filter=True, sort=True),
    Attribute("remote_address_group_id", post=True, default=None, filter=True, sort=True),
    Attribute("remote_group_id", post=True, default=None, filter=True, sort=True),
    Attribute("remote_ip_prefix", post=True, default=None, convert=c.prefix_to_cidr, filter=True, sort=True),
    *STANDARD,
)

DEFAULT_SECURITY_GROUP_RULES: Final = table(
    Attribute("id", validate=v.uuid, filter=True, sort=True),
    Attribute("tenant_id", post=True, validate=v.string(255), visible=False),
    Attribute("direction", post=True, validate=v.values("ingress", "egress"), filter=True, sort=True),
    Attribute(
        "ethertype",
        post=True,
        default="IPv4",
        convert=c.ethertype,
        validate=v.values("IPv4", "IPv6"),
        filter=True,
        sort=True,
    ),
    Attribute("port_range_max", post=True, default=None, convert=c.port_value, filter=True, sort=True),
    Attribute("port_range_min", post=True, default=None, convert=c.port_value, filter=True, sort=True),
    Attribute("protocol", post=True, default=None, convert=c.rule_protocol, filter=True, sort=True),
    Attribute("remote_address_group_id", post=True, default=None, filter=True, sort=True),
    Attribute("remote_group_id", post=True, default=None, filter=True, sort=True),
    Attribute("remote_ip_prefix", post=True, default=None, convert=c.prefix_to_cidr, filter=True, sort=True),
    Attribute("used_in_default_sg", post=True, convert=c.to_bool, filter=True),
    Attribute("used_in_non_default_sg", post=True, convert=c.to_bool, filter=True),
    Attribute("description", post=True, default="", validate=v.string(1024), filter=True),
    *TIMES,
)

ADDRESS_GROUPS: Final = table(
    Attribute("id", validate=v.uuid, filter=True, sort=True),
    Attribute("name", post=True, put=True, default="", validate=v.name(255), filter=True, sort=True),
    Attribute("project_id", post=True, validate=v.string(255), filter=True, sort=True),
    Attribute("addresses", post=True, default=UNSET, convert=c.none_to_list, validate=v.list_of(v.subnet)),
    Attribute("shared", default=False, convert=c.to_bool, visible=False),
    Attribute("description", post=True, put=True, default="", validate=v.string(1024), filter=True, sort=True),
    *TIMES,
)

RBAC_POLICIES: Final = table(
    Attribute("id", validate=v.uuid, filter=True),
    Attribute("object_type", post=True, default=None, convert=_object_type, filter=True, policy=True),
    Attribute("object_id", post=True, validate=v.uuid, filter=True, policy=True),
    Attribute("target_tenant", post=True, put=True, validate=_target_project, filter=True, policy=True),
    Attribute("tenant_id", post=True, validate=v.string(255), filter=True),
    Attribute("action", post=True, validate=v.string(255), filter=True, policy=True),
)
