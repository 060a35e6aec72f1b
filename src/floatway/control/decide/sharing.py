"""Who else may use what a project owns: RBAC policies, and the ``shared`` flags that stand for them.

shared=True on a network  =  RbacPolicy(object network, action access_as_shared, target "*")
"""

from typing import Final

from floatway.control import entities as e
from floatway.control.draft import Draft
from floatway.control.snapshot import Readable

__all__ = ["ACTIONS", "EXTERNAL", "SHARED", "add", "allows", "policies", "remove_all", "set_shared"]

SHARED: Final = "access_as_shared"
EXTERNAL: Final = "access_as_external"
ACTIONS: Final = {
    "network": (SHARED, EXTERNAL),
    "security_group": (SHARED,),
    "address_scope": (SHARED,),
    "subnetpool": (SHARED,),
    "address_group": (SHARED,),
}


def policies(model: Readable, object_type: str, object_id: str, action: str = "") -> list[e.RbacPolicy]:
    """The policies on one object, of one action if given."""
    found = model.find(e.RbacPolicy, "object", (object_type, object_id))
    return [policy for policy in found if not action or policy.action == action]


def allows(model: Readable, entity: e.Owned, project_id: str, action: str = SHARED) -> bool:
    """Whether a project may use what it may not own: its own, or given by ``action``."""
    return entity.project_id == project_id or any(
        policy.target_tenant in {"*", project_id} for policy in policies(model, entity.KIND, entity.id, action)
    )


def add(draft: Draft, entity: e.Owned, action: str, target: str = "*") -> e.RbacPolicy:
    """Give it to ``target``; what is given already stays as it is."""
    for policy in policies(draft, entity.KIND, entity.id, action):
        if policy.target_tenant == target:
            return policy
    return draft.put(
        e.RbacPolicy(
            id=draft.new_id(),
            project_id=entity.project_id,
            object_type=entity.KIND,
            object_id=entity.id,
            action=action,
            target_tenant=target,
        )
    )


def set_shared(draft: Draft, entity: e.Owned, shared: bool) -> None:
    """Make it everybody's to use, or take that back."""
    if shared:
        add(draft, entity, SHARED)
        return
    for policy in policies(draft, entity.KIND, entity.id, SHARED):
        if policy.target_tenant == "*":
            draft.remove(policy)


def remove_all(draft: Draft, entity: e.Entity) -> None:
    """The object goes, and what was said about it."""
    for policy in policies(draft, entity.KIND, entity.id):
        draft.remove(policy)
