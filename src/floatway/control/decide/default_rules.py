"""Templates of rules: what a new security group begins with.

used_in_default_sg        rules of the default group, made with the project's first port
used_in_non_default_sg    rules of every other group
remote_group_id PARENT    the group itself
"""

from collections.abc import Sequence
from typing import Any, Final

from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.decide import rule_checks
from floatway.control.draft import Draft
from floatway.control.errors import conflict
from floatway.control.snapshot import Readable

__all__ = ["apply", "bootstrap", "create", "delete", "templates"]

_PARENT: Final = "PARENT"


def bootstrap(draft: Draft) -> None:
    """The templates of a cloud that is new: out to anywhere; in from the default group's own members."""
    for ethertype in ("IPv4", "IPv6"):
        draft.put(
            e.DefaultSecurityGroupRule(
                id=draft.new_id(),
                direction="egress",
                ethertype=ethertype,
                used_in_default_sg=True,
                used_in_non_default_sg=True,
                description="Legacy default SG rule for egress traffic",
            )
        )
        draft.put(
            e.DefaultSecurityGroupRule(
                id=draft.new_id(),
                direction="ingress",
                ethertype=ethertype,
                remote_group_id=_PARENT,
                used_in_default_sg=True,
                used_in_non_default_sg=False,
                description="Legacy default SG rule for ingress traffic",
            )
        )


def templates(model: Readable, *, default: bool) -> list[e.DefaultSecurityGroupRule]:
    """Those for default groups, or for the others; oldest first."""
    chosen = [
        template
        for template in model.all(e.DefaultSecurityGroupRule)
        if (template.used_in_default_sg if default else template.used_in_non_default_sg)
    ]
    return sorted(chosen, key=lambda template: template.sequence)


def apply(draft: Draft, group: e.SecurityGroup, wanted: Sequence[e.DefaultSecurityGroupRule]) -> None:
    """Give a group the rules of templates."""
    for template in wanted:
        remote = template.remote_group_id
        draft.put(
            e.SecurityGroupRule(
                id=draft.new_id(),
                project_id=group.project_id,
                security_group_id=group.id,
                direction=template.direction,
                ethertype=template.ethertype,
                protocol=template.protocol,
                port_range_min=template.port_range_min,
                port_range_max=template.port_range_max,
                remote_ip_prefix=template.remote_ip_prefix,
                remote_group_id=group.id if remote == _PARENT else remote,
                remote_address_group_id=template.remote_address_group_id,
                description=None,
            )
        )


def create(draft: Draft, caller: Caller, values: dict[str, Any]) -> e.DefaultSecurityGroupRule:
    """A further template.

    Raises:
        ApiError: 400 on what cannot be, 409 DefaultSecurityGroupRuleExists.
    """
    del caller
    rule_checks.check(values)
    remote = values["remote_group_id"] or None
    if remote and remote != _PARENT:
        draft.need(e.SecurityGroup, remote)
    template = e.DefaultSecurityGroupRule(
        id=draft.new_id(),
        description=values.get("description", ""),
        direction=values["direction"],
        ethertype=values["ethertype"],
        protocol=values["protocol"],
        port_range_min=values["port_range_min"],
        port_range_max=values["port_range_max"],
        remote_ip_prefix=values["remote_ip_prefix"] or None,
        remote_group_id=remote,
        remote_address_group_id=values["remote_address_group_id"] or None,
        used_in_default_sg=values.get("used_in_default_sg", False),
        used_in_non_default_sg=values.get("used_in_non_default_sg", True),
    )
    for other in draft.all(e.DefaultSecurityGroupRule):
        together = (other.used_in_default_sg and template.used_in_default_sg) or (
            other.used_in_non_default_sg and template.used_in_non_default_sg
        )
        if together and rule_checks.key(other) == rule_checks.key(template):
            raise conflict(
                "DefaultSecurityGroupRuleExists", f"Default Security group rule already exists. Rule id is {other.id}."
            )
    return draft.put(template)


def delete(draft: Draft, caller: Caller, template: e.DefaultSecurityGroupRule) -> None:
    """No new group gets it; groups that are there keep their rules."""
    del caller
    draft.remove(template)
