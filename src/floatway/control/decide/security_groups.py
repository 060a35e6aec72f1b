"""The rules of security groups: every project has its default group, made when it is first needed.

default      ingress from its own members, egress to anywhere        as the templates of ``default_rules`` say
others       egress to anywhere
"""

from typing import Any

import msgspec

from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.decide import default_rules, quotas, sharing
from floatway.control.draft import Draft
from floatway.control.errors import conflict
from floatway.control.snapshot import Readable

__all__ = ["create", "default_group", "default_of", "delete", "update"]

_DEFAULT = "default"


def create(draft: Draft, caller: Caller, values: dict[str, Any]) -> e.SecurityGroup:
    """A group with the rules that the templates give it."""
    del caller
    project_id = values["project_id"]
    quotas.check(draft, project_id, "security_group")
    if project_id:
        default_group(draft, project_id)
    templates = default_rules.templates(draft, default=False)
    quotas.check(draft, project_id, "security_group_rule", len(templates))
    group = draft.put(
        e.SecurityGroup(
            id=draft.new_id(),
            project_id=project_id,
            name=values["name"],
            description=values.get("description", ""),
            stateful=values.get("stateful", True),
            tags=tuple(sorted(set(values.get("tags") or ()))),
        )
    )
    default_rules.apply(draft, group, templates)
    return group


def default_of(model: Readable, project_id: str) -> e.SecurityGroup | None:
    """The default group of a project, if it has one yet."""
    return next(iter(model.find(e.SecurityGroup, "default", project_id)), None)


def default_group(draft: Draft, project_id: str) -> e.SecurityGroup:
    """The default group of a project, made if need be. It is beside the quota of groups."""
    found = default_of(draft, project_id)
    if found is not None:
        return found
    templates = default_rules.templates(draft, default=True)
    quotas.check(draft, project_id, "security_group_rule", len(templates))
    group = draft.put(
        e.SecurityGroup(
            id=draft.new_id(),
            project_id=project_id,
            name=_DEFAULT,
            description="Default security group",
            is_default=True,
        )
    )
    default_rules.apply(draft, group, templates)
    return group


def update(draft: Draft, caller: Caller, group: e.SecurityGroup, values: dict[str, Any]) -> e.SecurityGroup:
    """Rename, describe; statefulness not while a port has it.

    Raises:
        ApiError: 409 SecurityGroupInUse, SecurityGroupCannotUpdateDefault.
    """
    del caller
    if values.get("stateful", group.stateful) != group.stateful and draft.has(e.Port, "security_group", group.id):
        raise conflict("SecurityGroupInUse", f"Security Group {group.id} in use.")
    if group.name == _DEFAULT and "name" in values:
        raise conflict("SecurityGroupCannotUpdateDefault", "Updating default security group not allowed.")
    changed = {name: values[name] for name in ("name", "description", "stateful") if name in values}
    return draft.put(msgspec.structs.replace(group, **changed))


def delete(draft: Draft, caller: Caller, group: e.SecurityGroup) -> None:
    """Delete it with its rules, and the rules of others that name it.

    Raises:
        ApiError: 409 SecurityGroupInUse, SecurityGroupCannotRemoveDefault.
    """
    if draft.has(e.Port, "security_group", group.id):
        raise conflict("SecurityGroupInUse", f"Security Group {group.id} in use.")
    if group.name == _DEFAULT and not caller.is_admin:
        raise conflict("SecurityGroupCannotRemoveDefault", "Insufficient rights for removing default security group.")
    for rule in draft.find(e.SecurityGroupRule, "group", group.id):
        draft.remove(rule)
    for rule in draft.find(e.SecurityGroupRule, "remote_group", group.id):
        draft.remove(rule)
        other = draft.get(e.SecurityGroup, rule.security_group_id)
        if other is not None:
            draft.touch(other)
    sharing.remove_all(draft, group)
    draft.remove(group)
