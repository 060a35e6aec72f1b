"""Who may do what unless a policy file says otherwise: the secure-RBAC defaults of Neutron 29, rule by rule.

The personas: an admin may do all; a member changes what their project owns; a reader sees it; a manager has a few more
rights in the project; a service (Nova) does what it must for others. ``tests/golden/neutron-policies.json`` holds the table
to the original.
"""

from collections.abc import Iterator
from typing import Final

__all__ = ["DEFAULTS", "UNSCOPED"]

_ADMIN: Final = "rule:admin_only"
_SERVICE: Final = "rule:service_api"
_OWNER: Final = "project_id:%(project_id)s"
_MEMBER: Final = f"(role:member and {_OWNER})"
_READER: Final = f"(role:reader and {_OWNER})"
_NET_MEMBER: Final = "(role:member and rule:network_owner)"
_NET_READER: Final = "(role:reader and rule:network_owner)"
_ADMIN_MEMBER: Final = f"{_ADMIN} or {_MEMBER}"
_ADMIN_READER: Final = f"{_ADMIN} or {_READER}"
_ADMIN_MANAGER: Final = f"{_ADMIN} or (role:manager and {_OWNER})"
_ADMIN_SERVICE: Final = f"{_ADMIN} or {_SERVICE}"
_NET: Final = f"{_ADMIN} or {_NET_MEMBER}"
_NET_SERVICE: Final = f"{_ADMIN} or {_SERVICE} or {_NET_MEMBER}"
_SUBNET: Final = f"{_MEMBER} or {_ADMIN} or {_NET_MEMBER}"
_PARENT_MEMBER: Final = f"{_ADMIN} or (role:member and rule:ext_parent_owner)"
_PARENT_READER: Final = f"{_ADMIN} or (role:reader and rule:ext_parent_owner)"
_NOT_INSTANCE: Final = "not rule:compute_device and not rule:baremetal_device and not rule:manila_device"
_NO_WILDCARD: Final = "(not field:rbac_policy:target_tenant=* and not field:rbac_policy:target_project=*)"

_BASE: Final = {
    "context_is_admin": "role:admin",
    "context_with_global_access": "!",
    "service_api": "role:service",
    "owner": _OWNER,
    "admin_or_owner": "rule:context_is_admin or rule:owner",
    "context_is_advsvc": "role:advsvc",
    "admin_or_network_owner": "rule:context_is_admin or project_id:%(network:project_id)s",
    "admin_owner_or_network_owner": "rule:owner or rule:admin_or_network_owner",
    "network_owner": "project_id:%(network:project_id)s",
    "admin_only": "rule:context_is_admin",
    "regular_user": "",
    "shared": "field:networks:shared=True",
    "default": "rule:admin_or_owner",
    "admin_or_ext_parent_owner": "rule:context_is_admin or project_id:%(ext_parent:project_id)s",
    "ext_parent_owner": "project_id:%(ext_parent:project_id)s",
    "sg_owner": "project_id:%(security_group:project_id)s",
    "admin_or_sg_owner": "rule:context_is_admin or project_id:%(security_group:project_id)s",
    "admin_owner_or_sg_owner": "rule:owner or rule:admin_or_sg_owner",
    "shared_address_groups": "field:address_groups:shared=True",
    "shared_address_scopes": "field:address_scopes:shared=True",
    "shared_subnetpools": "field:subnetpools:shared=True",
    "shared_security_group": "field:security_groups:shared=True",
    "rule_default_sg": "field:security_group_rules:belongs_to_default_sg=True",
    "external": "field:networks:router:external=True",
    "external_network": "field:subnets:router:external=True",
    "network_device": "field:port:device_owner=~^network:",
    "compute_device": "field:port:device_owner=~^compute:",
    "baremetal_device": "field:port:device_owner=~^baremetal:",
    "manila_device": "field:port:device_owner=~^manila:",
    "admin_or_data_plane_int": "rule:context_is_admin or role:data_plane_integrator",
    "restrict_wildcard": f"{_NO_WILDCARD} or {_ADMIN}",
}

UNSCOPED: Final = frozenset(_BASE)
"""Rules that others are made of. The rest is enforced, and for tokens with a project only."""


def _owned(noun: str, *, shared: str = "", tags: bool = True) -> Iterator[tuple[str, str]]:
    """A noun that members of its project change and readers (and those it is ``shared`` with) see."""
    seen = f"{_ADMIN_READER} or {shared}" if shared else _ADMIN_READER
    for action, rule in (
        ("create", _ADMIN_MEMBER),
        ("get", seen),
        ("update", _ADMIN_MEMBER),
        ("delete", _ADMIN_MEMBER),
    ):
        yield f"{action}_{noun}", rule
        if tags:
            yield f"{action}_{noun}:tags", rule


def _for(rule: str, *names: str) -> Iterator[tuple[str, str]]:
    return ((name, rule) for name in names)


def _networks() -> Iterator[tuple[str, str]]:
    seen = "rule:shared or rule:external or rule:context_is_advsvc"
    yield from _owned("network")
    yield "get_network", f"{_ADMIN_READER} or {_SERVICE} or {seen}"
    yield "get_network:tags", f"{_ADMIN_READER} or {seen}"
    for field in ("provider:network_type", "provider:physical_network", "provider:segmentation_id", "segments"):
        yield from _for(_ADMIN, f"create_network:{field}", f"get_network:{field}", f"update_network:{field}")
    for field in ("shared", "router:external", "is_default"):
        yield from _for(_ADMIN, f"create_network:{field}", f"update_network:{field}")
    yield from _for(_ADMIN_MEMBER, "create_network:port_security_enabled", "update_network:port_security_enabled")
    yield "get_network_ip_availability", _ADMIN_SERVICE


def _subnets() -> Iterator[tuple[str, str]]:
    seen = f"{_READER} or rule:shared or rule:external_network or {_ADMIN} or {_NET_READER}"
    yield "create_subnet", _NET
    yield "create_subnet:tags", _SUBNET
    yield "get_subnet", f"{seen} or {_SERVICE}"
    yield "get_subnet:tags", seen
    yield from _for(_SUBNET, "update_subnet", "update_subnet:tags", "delete_subnet", "delete_subnet:tags")
    yield from _for(_ADMIN, "create_subnet:service_types", "update_subnet:service_types")
    yield from _for(_ADMIN, "create_subnet:segment_id", "get_subnet:segment_id", "update_subnet:segment_id")


def _pools() -> Iterator[tuple[str, str]]:
    yield from _owned("subnetpool", shared="rule:shared_subnetpools")
    yield from _for(_ADMIN, "create_subnetpool:shared", "create_subnetpool:is_default", "update_subnetpool:is_default")
    yield from _for(_ADMIN_MEMBER, "onboard_network_subnets", "add_prefixes", "remove_prefixes")
    yield from _owned("address_scope", shared="rule:shared_address_scopes", tags=False)
    yield from _for(_ADMIN, "create_address_scope:shared", "update_address_scope:shared")


def _ports() -> Iterator[tuple[str, str]]:
    open_ = f"{_NET_SERVICE} or rule:shared"
    device = f"{_ADMIN_MEMBER} or {_SERVICE}"
    owner = f"not rule:network_device or {_NET_SERVICE}"
    yield "create_port", open_
    yield "update_port", f"{_ADMIN} or {_SERVICE} or {_MEMBER}"
    yield "get_port", f"{_ADMIN_SERVICE} or {_NET_READER} or {_READER}"
    free = f"({_NOT_INSTANCE} and ({_NET_MEMBER} or {_MEMBER}))"
    yield "delete_port", f"{_ADMIN_SERVICE} or (service_roles:service and ({_NET_MEMBER} or {_MEMBER})) or {free}"
    yield "create_port:mac_address", _NET_SERVICE
    yield "update_port:mac_address", f"{_ADMIN_SERVICE} or (role:manager and rule:network_owner)"
    yield "create_port:fixed_ips", open_
    yield "update_port:fixed_ips", _NET_SERVICE
    for action in ("create_port", "update_port"):
        yield f"{action}:device_id", device
        yield f"{action}:device_owner", owner
        yield f"{action}:fixed_ips:ip_address", _NET_SERVICE
        yield f"{action}:fixed_ips:subnet_id", open_
        yield f"{action}:port_security_enabled", _NET_SERVICE
        yield f"{action}:binding:host_id", _ADMIN_SERVICE
        yield f"{action}:binding:profile", _SERVICE
        yield f"{action}:binding:vnic_type", device
        yield f"{action}:tags", f"{_ADMIN_MEMBER} or rule:context_is_advsvc"
        for part in ("", ":mac_address", ":ip_address"):
            yield f"{action}:allowed_address_pairs{part}", f"{_NET} or {_SERVICE}"
    for field in ("vif_type", "vif_details", "host_id", "profile"):
        yield f"get_port:binding:{field}", _ADMIN_SERVICE
    yield "get_port:tags", f"rule:context_is_advsvc or {_ADMIN} or {_NET_READER} or {_READER}"
    yield "delete_port:tags", f"rule:context_is_advsvc or {_MEMBER} or {_NET}"
    yield "get_port_binding", _ADMIN_SERVICE
    yield from _for(_SERVICE, "create_port_binding", "delete_port_binding", "activate")


def _routers() -> Iterator[tuple[str, str]]:
    yield from _owned("router")
    for action in ("create_router", "update_router"):
        yield from _for(_ADMIN_MEMBER, f"{action}:external_gateway_info", f"{action}:external_gateway_info:network_id")
        yield from _for(
            _ADMIN,
            f"{action}:distributed",
            f"{action}:ha",
            f"{action}:external_gateway_info:enable_snat",
            f"{action}:external_gateway_info:external_fixed_ips",
        )
    yield from _for(_ADMIN, "get_router:distributed")
    # no router is: clients that find the extension missing expect to read that, whoever they are
    yield from _for("", "get_router:ha")
    yield from _for(
        _ADMIN_MEMBER, "add_router_interface", "remove_router_interface", "add_extraroutes", "remove_extraroutes"
    )


def _floating_ips() -> Iterator[tuple[str, str]]:
    yield from _owned("floatingip")
    yield "create_floatingip:floating_ip_address", _ADMIN_MANAGER
    yield from _for(_ADMIN_MEMBER, "create_floatingip:router_id", "update_floatingip:router_id")
    yield "get_floatingip_pool", _ADMIN_READER
    for action in ("create", "update", "delete"):
        yield f"{action}_floatingip_port_forwarding", _PARENT_MEMBER
    yield "get_floatingip_port_forwarding", _PARENT_READER


def _security() -> Iterator[tuple[str, str]]:
    yield from _owned("security_group", shared="rule:shared_security_group")
    yield "create_default_security_group", f"{_ADMIN_SERVICE} or {_READER}"
    rule = f"{_ADMIN} or (role:member and rule:sg_owner)"
    # Neutron has no rule for the update (of the description), which would let readers do it
    yield from _for(rule, *(f"{action}_security_group_rule" for action in ("create", "update", "delete")))
    yield "get_security_group_rule", f"{_ADMIN} or (role:reader and rule:sg_owner)"
    yield from _for(_ADMIN, "create_default_security_group_rule", "delete_default_security_group_rule")
    yield "get_default_security_group_rule", "role:reader"
    yield from _owned("address_group", shared="rule:shared_address_groups", tags=False)
    yield from _for(_ADMIN_MEMBER, "add_addresses", "remove_addresses")
    yield from _owned("rbac_policy", tags=False)
    for action in ("create", "update"):
        yield f"{action}_rbac_policy:target_tenant", f"{_ADMIN} or {_NO_WILDCARD}"
        yield f"{action}_rbac_policy:target_project", f"{_ADMIN} or not field:rbac_policy:target_project=*"


def _operators() -> Iterator[tuple[str, str]]:
    yield from _for(_ADMIN, "create_agent", "get_agent", "update_agent", "delete_agent")
    yield from _for(_ADMIN, "create_dhcp-network", "get_dhcp-networks", "delete_dhcp-network", "get_dhcp-agents")
    yield from _for(
        _ADMIN, "create_l3-router", "get_l3-routers", "update_l3-router", "delete_l3-router", "get_l3-agents"
    )
    yield from _for("role:reader", "get_availability_zone", "get_service_provider")
    yield "get_auto_allocated_topology", _ADMIN_READER
    yield "delete_auto_allocated_topology", _ADMIN_MEMBER
    yield "get_quota", _ADMIN_MANAGER
    yield from _for(_ADMIN, "update_quota", "delete_quota")


DEFAULTS: Final[dict[str, str]] = {
    **_BASE,
    **dict(_networks()),
    **dict(_subnets()),
    **dict(_pools()),
    **dict(_ports()),
    **dict(_routers()),
    **dict(_floating_ips()),
    **dict(_security()),
    **dict(_operators()),
}
