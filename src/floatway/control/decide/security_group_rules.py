"""The rules of security group rules: each says something new, about what exists."""

from typing import Any

import msgspec

from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.decide import quotas, rule_checks
from floatway.control.draft import Draft
from floatway.control.errors import conflict

__all__ = ["create", "delete", "update"]


def create(draft: Draft, caller: Caller, values: dict[str, Any]) -> e.SecurityGroupRule:
    """Open something in a group.

    Raises:
        ApiError: 400 on what cannot be, 404 on what is not there, 409 SecurityGroupRuleExists.
    """
    del caller
    quotas.check(draft, values["project_id"], "security_group_rule")
    rule_checks.check(values)
    rule_checks.canonical_ports(values)
    group = draft.need(e.SecurityGroup, values["security_group_id"])
    if values["remote_group_id"]:
        draft.need(e.SecurityGroup, values["remote_group_id"])
    if values["remote_address_group_id"]:
        draft.need(e.AddressGroup, values["remote_address_group_id"])
    rule = e.SecurityGroupRule(
        id=draft.new_id(),
        project_id=values["project_id"],
        description=values.get("description", ""),
        security_group_id=group.id,
        direction=values["direction"],
        ethertype=values["ethertype"],
        protocol=values["protocol"],
        port_range_min=values["port_range_min"],
        port_range_max=values["port_range_max"],
        remote_ip_prefix=values["remote_ip_prefix"] or None,
        remote_group_id=values["remote_group_id"] or None,
        remote_address_group_id=values["remote_address_group_id"] or None,
    )
    same = rule_checks.key(rule)
    for other in draft.find(e.SecurityGroupRule, "group", group.id):
        if rule_checks.key(other) == same:
            raise conflict("SecurityGroupRuleExists", f"Security group rule already exists. Rule id is {other.id}.")
    draft.touch(group)
    return draft.put(rule)


def update(draft: Draft, caller: Caller, rule: e.SecurityGroupRule, values: dict[str, Any]) -> e.SecurityGroupRule:
    """Only what is said about a rule changes, never what it opens."""
    del caller
    return draft.put(msgspec.structs.replace(rule, description=values.get("description", rule.description)))


def delete(draft: Draft, caller: Caller, rule: e.SecurityGroupRule) -> None:
    """Close it."""
    del caller
    draft.remove(rule)
    group = draft.get(e.SecurityGroup, rule.security_group_id)
    if group is not None:
        draft.touch(group)
