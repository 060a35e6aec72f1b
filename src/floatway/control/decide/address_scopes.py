"""The rules of address scopes: within one, no two subnet pools have an address in common."""

from typing import Any

import msgspec

from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.decide import sharing
from floatway.control.draft import Draft
from floatway.control.errors import bad_request, conflict

__all__ = ["create", "delete", "update"]


def create(draft: Draft, caller: Caller, values: dict[str, Any]) -> e.AddressScope:
    """An address scope of one family."""
    del caller
    scope = draft.put(
        e.AddressScope(
            id=draft.new_id(), project_id=values["project_id"], name=values["name"], ip_version=values["ip_version"]
        )
    )
    if values.get("shared"):
        sharing.set_shared(draft, scope, True)
    return scope


def update(draft: Draft, caller: Caller, scope: e.AddressScope, values: dict[str, Any]) -> e.AddressScope:
    """Rename or share; what is shared stays shared.

    Raises:
        ApiError: 400 AddressScopeUpdateError.
    """
    del caller
    if "shared" in values:
        shared = any(p.target_tenant == "*" for p in sharing.policies(draft, scope.KIND, scope.id, sharing.SHARED))
        if shared and not values["shared"]:
            raise bad_request(
                "AddressScopeUpdateError",
                f"Unable to update address scope {scope.id} : Shared address scope can't be unshared.",
            )
        if values["shared"]:
            sharing.set_shared(draft, scope, True)
    return draft.put(msgspec.structs.replace(scope, name=values.get("name", scope.name)))


def delete(draft: Draft, caller: Caller, scope: e.AddressScope) -> None:
    """Delete it.

    Raises:
        ApiError: 409 AddressScopeInUse.
    """
    del caller
    if draft.has(e.SubnetPool, "scope", scope.id):
        raise conflict(
            "AddressScopeInUse",
            f"Unable to complete operation on address scope {scope.id}. There are one or more subnet pools in use on the"
            " address scope.",
        )
    sharing.remove_all(draft, scope)
    draft.remove(scope)
