"""Shorthand for security groups, their rules, address groups and RBAC policies as the API makes them."""

from typing import Any

from control_cloud import MEMBER, PROJECT
from floatway.control.caller import Caller
from floatway.control.decide import address_groups, default_rules, rbac, security_group_rules, security_groups
from floatway.control.draft import Draft
from floatway.control.entities import (
    AddressGroup,
    DefaultSecurityGroupRule,
    Entity,
    RbacPolicy,
    SecurityGroup,
    SecurityGroupRule,
)

_PLAIN = {
    "ethertype": "IPv4",
    "protocol": None,
    "port_range_min": None,
    "port_range_max": None,
    "remote_ip_prefix": None,
    "remote_group_id": None,
    "remote_address_group_id": None,
}


def rule_values(group: SecurityGroup, **given: Any) -> dict[str, Any]:
    """What the API hands over of a rule's body."""
    owner = {"project_id": group.project_id, "security_group_id": group.id}
    return owner | {"direction": "ingress", "description": ""} | _PLAIN | given


def a_rule(draft: Draft, group: SecurityGroup, caller: Caller = MEMBER, **given: Any) -> SecurityGroupRule:
    return security_group_rules.create(draft, caller, rule_values(group, **given))


def a_group(draft: Draft, caller: Caller = MEMBER, **given: Any) -> SecurityGroup:
    values = {"project_id": caller.project_id, "name": "web", "description": "", "stateful": True} | given
    return security_groups.create(draft, caller, values)


def a_template(draft: Draft, caller: Caller, **given: Any) -> DefaultSecurityGroupRule:
    flags = {"used_in_default_sg": False, "used_in_non_default_sg": True}
    return default_rules.create(draft, caller, {"direction": "ingress"} | _PLAIN | flags | given)


def an_address_group(draft: Draft, caller: Caller = MEMBER, *addresses: str) -> AddressGroup:
    values = {"project_id": caller.project_id, "name": "dns", "description": "", "addresses": list(addresses)}
    return address_groups.create(draft, caller, values)


def given_to(draft: Draft, entity: Entity, target: str, caller: Caller = MEMBER, **given: Any) -> RbacPolicy:
    """A policy on ``entity`` for the project ``target``."""
    values = {
        "project_id": PROJECT,
        "object_type": entity.KIND,
        "object_id": entity.id,
        "action": "access_as_shared",
        "target_tenant": target,
    }
    return rbac.create(draft, caller, values | given)


def rules_of(draft: Draft, group: SecurityGroup) -> list[SecurityGroupRule]:
    return draft.find(SecurityGroupRule, "group", group.id)
