"""The rules of security group rules: each says something new, about what exists."""

from collections.abc import Sequence
from typing import Any

import msgspec

from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.decide import quotas, rule_checks, visible
from floatway.control.draft import Draft
from floatway.control.errors import bad_request, conflict

__all__ = ["check_bulk", "create", "delete", "update"]


def check_bulk(bodies: Sequence[dict[str, Any]]) -> None:
    """Rules made by one request are of one group and one project, and each says something new.

    Raises:
        ApiError: 400, 409 DuplicateSecurityGroupRuleInPost.
    """
    if len({values["security_group_id"] for values in bodies}) > 1:
        raise bad_request(
            "SecurityGroupNotSingleGroupRules", "Only allowed to update rules for one security profile at a time"
        )
    if len({values["project_id"] for values in bodies}) > 1:
        raise bad_request(
            "SecurityGroupRulesNotSingleProject",
            "Multiple project_ids in bulk security group rule create not allowed",
        )
    said = set()
    for values in bodies:
        rule_checks.check(values)
        said.add(rule_checks.key_of(values.get))
    if len(said) < len(bodies):
        raise conflict("DuplicateSecurityGroupRuleInPost", "Duplicate Security Group Rule in POST.")


def create(draft: Draft, caller: Caller, values: dict[str, Any]) -> e.SecurityGroupRule:
    """Open something in a group.

    Raises:
        ApiError: 400 on what cannot be, 404 on what is not there, 409 SecurityGroupRuleExists.
    """
    quotas.check(draft, values["project_id"], "security_group_rule")
    rule_checks.check(values)
    if values["remote_group_id"]:
        visible.shareable(draft, caller, e.SecurityGroup, values["remote_group_id"])
    if values["remote_address_group_id"]:
        visible.shareable(draft, caller, e.AddressGroup, values["remote_address_group_id"])
    group = visible.shareable(draft, caller, e.SecurityGroup, values["security_group_id"])
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
