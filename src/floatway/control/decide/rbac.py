"""The rules of RBAC policies: who gives what to whom, and that nothing in use is taken back."""

from typing import Any, Final

import msgspec

from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.decide import quotas, sharing
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, bad_request, conflict, invalid_input, not_found

__all__ = ["create", "delete", "update"]

_KINDS: Final[dict[str, type[e.Owned]]] = {
    "network": e.Network,
    "security_group": e.SecurityGroup,
    "address_scope": e.AddressScope,
    "subnetpool": e.SubnetPool,
    "address_group": e.AddressGroup,
}
_DETAILS: Final = {
    (
        "network",
        sharing.SHARED,
    ): "Unable to reconfigure sharing settings for network {}. Multiple projects are using it.",
    ("network", sharing.EXTERNAL): "There are routers attached to this network that depend on this policy for access.",
}


def create(draft: Draft, caller: Caller, values: dict[str, Any]) -> e.RbacPolicy:
    """Let a project (or all) use an object.

    Raises:
        ApiError: 400 on an action the type has not, or for an object of others; 404; 409 DuplicateRbacPolicy.
    """
    object_type, action = values["object_type"], values["action"]
    actions = sharing.ACTIONS[object_type]
    if action not in actions:
        raise bad_request(
            "InvalidActionForType",
            f"Invalid action '{action}' for object type '{object_type}'. Valid actions: {actions}",
        )
    quotas.check(draft, values["project_id"], "rbac_policy")
    entity = _owned(draft, caller, object_type, values["object_id"])
    target = values["target_tenant"]
    for other in sharing.policies(draft, object_type, entity.id, action):
        if other.target_tenant == target:
            raise _duplicate()
    if isinstance(entity, e.SubnetPool):
        _scope_known(draft, entity, target)
    if isinstance(entity, e.Network) and action == sharing.EXTERNAL and not entity.router_external:
        entity = draft.put(msgspec.structs.replace(entity, router_external=True))
    elif isinstance(entity, e.Standard):
        draft.touch(entity)
    return draft.put(
        e.RbacPolicy(
            id=draft.new_id(),
            project_id=values["project_id"],
            object_type=object_type,
            object_id=entity.id,
            action=action,
            target_tenant=target,
        )
    )


def update(draft: Draft, caller: Caller, policy: e.RbacPolicy, values: dict[str, Any]) -> e.RbacPolicy:
    """Give it to another instead.

    Raises:
        ApiError: 400, 409 RbacPolicyInUse, DuplicateRbacPolicy.
    """
    target = values.get("target_tenant", policy.target_tenant)
    _owned(draft, caller, policy.object_type, policy.object_id)
    if target not in {policy.target_tenant, "*"}:
        _check_unused(draft, policy, target)
    for other in sharing.policies(draft, policy.object_type, policy.object_id, policy.action):
        if other.target_tenant == target and other.id != policy.id:
            raise _duplicate()
    return draft.put(msgspec.structs.replace(policy, target_tenant=target))


def delete(draft: Draft, caller: Caller, policy: e.RbacPolicy) -> None:
    """Take it back.

    Raises:
        ApiError: 409 RbacPolicyInUse.
    """
    del caller
    _check_unused(draft, policy)
    draft.remove(policy)
    network = draft.get(e.Network, policy.object_id) if policy.object_type == "network" else None
    if network is not None and policy.action == sharing.EXTERNAL and not _still_external(draft, network):
        draft.put(msgspec.structs.replace(network, router_external=False, is_default=False))
    elif network is not None:
        draft.touch(network)


def _scope_known(draft: Draft, pool: e.SubnetPool, target: str) -> None:
    """Whether who gets the pool may use its address scope too."""
    scope = draft.get(e.AddressScope, pool.address_scope_id or "")
    if scope is not None and not sharing.allows(draft, scope, target):
        raise invalid_input(
            f"Failed to create RBAC policy on object {pool.id} because target project doesn't have access to associated"
            " address scope."
        )


def _still_external(draft: Draft, network: e.Network) -> bool:
    return bool(sharing.policies(draft, "network", network.id, sharing.EXTERNAL))


def _owned(draft: Draft, caller: Caller, object_type: str, object_id: str) -> e.Owned:
    """The object. Who is no admin is not told one that is not there from one of others: 400 for both, as Neutron."""
    entity = draft.get(_KINDS[object_type], object_id)
    if entity is not None and (caller.is_admin or entity.project_id == caller.project_id):
        return entity
    if caller.is_admin:
        raise invalid_input(not_found(object_type, object_id).message.removesuffix("."))
    what = "networks" if object_type == e.Network.KIND else "objects"
    raise invalid_input(f"Only admins can manipulate policies on {what} they do not own")


def _check_unused(draft: Draft, policy: e.RbacPolicy, instead: str = "") -> None:
    """Whether nobody uses the object by this policy alone; ``instead`` is who gets it now. A default network is everybody's."""
    entity = draft.get(_KINDS[policy.object_type], policy.object_id)
    if entity is None or policy.target_tenant == entity.project_id:
        return
    others = {
        one.target_tenant
        for one in sharing.policies(draft, entity.KIND, entity.id, policy.action)
        if one.id != policy.id
    } | {instead}
    if "*" in others:
        return
    if policy.action == sharing.EXTERNAL and policy.target_tenant == "*" and getattr(entity, "is_default", False):
        raise _in_use(entity, "Default external networks must be shared to everyone.")
    users = _users(draft, entity, policy.action) - others - {entity.project_id, ""}
    lost = users if policy.target_tenant == "*" else users & {policy.target_tenant}
    if lost:
        details = _DETAILS.get((entity.KIND, policy.action), f"project_id={policy.target_tenant}")
        raise _in_use(entity, details.format(entity.id))


def _users(draft: Draft, entity: e.Owned, action: str) -> set[str]:
    """The projects that use it."""
    if isinstance(entity, e.Network):
        if action == sharing.EXTERNAL:
            return {router.project_id for router in draft.find(e.Router, "gateway_network", entity.id)}
        return {port.project_id for port in draft.find(e.Port, "network", entity.id)}
    if isinstance(entity, e.SecurityGroup):
        return {port.project_id for port in draft.find(e.Port, "security_group", entity.id)}
    if isinstance(entity, e.AddressScope):
        return {pool.project_id for pool in draft.find(e.SubnetPool, "scope", entity.id)}
    if isinstance(entity, e.SubnetPool):
        return {subnet.project_id for subnet in draft.find(e.Subnet, "pool", entity.id)}
    return {rule.project_id for rule in draft.find(e.SecurityGroupRule, "address_group", entity.id)}


def _duplicate() -> ApiError:
    return conflict("DuplicateRbacPolicy", "An RBAC policy already exists with those values.")


def _in_use(entity: e.Owned, details: str) -> ApiError:
    return conflict(
        "RbacPolicyInUse",
        f"RBAC policy on object {entity.id} cannot be removed because other objects depend on it.\nDetails: {details}",
    )
