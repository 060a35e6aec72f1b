"""How security groups, their rules, templates, address groups and RBAC policies read in the API."""

from collections.abc import Callable
from typing import Any, Final

from floatway.control import entities as e
from floatway.control import prefixes as p
from floatway.control.present import basic
from floatway.control.snapshot import Readable

__all__ = ["DEPENDS", "PRESENT"]


def rule(model: Readable, rule: e.SecurityGroupRule) -> dict[str, Any]:
    """With the prefix as the network it is, and whether it is a default group's."""
    shown = basic(rule)
    prefix = rule.remote_ip_prefix
    shown["normalized_cidr"] = str(p.network(prefix)) if prefix else None
    group = model.get(e.SecurityGroup, rule.security_group_id)
    shown["belongs_to_default_sg"] = group is not None and group.is_default
    return shown


def group(model: Readable, group: e.SecurityGroup) -> dict[str, Any]:
    """With its rules, oldest first."""
    shown = basic(group)
    del shown["is_default"]
    shown["security_group_rules"] = [
        {**security_group_rule(model, one), "tags": one.tags}
        for one in model.find(e.SecurityGroupRule, "group", group.id)
    ]
    return shown


def _group_depends(model: Readable, group: e.SecurityGroup) -> tuple[object, ...]:
    return (*model.find(e.SecurityGroupRule, "group", group.id),)


def plain(model: Readable, entity: e.Entity) -> dict[str, Any]:
    """What needs nothing computed."""
    del model
    return basic(entity)


def template(model: Readable, template: e.DefaultSecurityGroupRule) -> dict[str, Any]:
    """A template belongs to nobody, and does not tell its age."""
    del model
    shown = basic(template)
    for name in ("project_id", "tenant_id", "tags", "created_at", "updated_at", "revision_number"):
        del shown[name]
    return shown


def address_group(model: Readable, group: e.AddressGroup) -> dict[str, Any]:
    """Address groups have no tags."""
    del model
    shown = basic(group)
    del shown["tags"]
    return shown


def security_group_rule(model: Readable, one: e.SecurityGroupRule) -> dict[str, Any]:
    """Rules have no tags."""
    shown = rule(model, one)
    del shown["tags"]
    return shown


PRESENT: Final[dict[str, Callable[[Readable, Any], dict[str, Any]]]] = {
    e.SecurityGroup.KIND: group,
    e.SecurityGroupRule.KIND: security_group_rule,
    e.DefaultSecurityGroupRule.KIND: template,
    e.AddressGroup.KIND: address_group,
    e.RbacPolicy.KIND: plain,
}
DEPENDS: Final[dict[str, Callable[[Readable, Any], tuple[object, ...]]]] = {e.SecurityGroup.KIND: _group_depends}
