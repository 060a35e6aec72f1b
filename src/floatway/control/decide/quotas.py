"""How much of each noun a project may have.

    limit(project, "port") = the project's own Quota.limits, else the operator's default, else Neutron's;  -1 is no limit

Usage is the size of an index bucket, so that a check costs the same at one port and at a hundred thousand.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, bad_request, conflict, invalid_input
from floatway.control.settings import Settings
from floatway.control.snapshot import Readable

__all__ = ["DEFAULTS", "KINDS", "check", "defaults", "delete", "details", "limits", "set_limits", "used"]

DEFAULTS: Final = {
    "network": 100,
    "subnet": 100,
    "subnetpool": -1,
    "port": 500,
    "router": 10,
    "router_route": 30,
    "floatingip": 50,
    "security_group": 10,
    "security_group_rule": 100,
    "rbac_policy": 10,
}
PER_ROUTER: Final = "router_route"
_MOST: Final = 2**31 - 1
_OWNER: Final = ("project_id", "tenant_id")
KINDS: Final[dict[str, type[e.Entity]]] = {
    "network": e.Network,
    "subnet": e.Subnet,
    "subnetpool": e.SubnetPool,
    "port": e.Port,
    "router": e.Router,
    "floatingip": e.FloatingIp,
    "security_group": e.SecurityGroup,
    "security_group_rule": e.SecurityGroupRule,
    "rbac_policy": e.RbacPolicy,
}


def defaults(settings: Settings) -> dict[str, int]:
    """The limits of a project that has none of its own."""
    return {name: settings.default_quotas.get(name, limit) for name, limit in DEFAULTS.items()}


def limits(model: Readable, settings: Settings, project_id: str) -> dict[str, int]:
    """The limits of a project."""
    own = model.get(e.Quota, project_id)
    return defaults(settings) | (own.limits if own is not None else {})


def used(model: Readable, project_id: str, resource: str) -> int:
    """How many the project has. Routes are counted on each router, so a project has none."""
    if resource == PER_ROUTER:
        return 0
    return len(model.bucket(KINDS[resource], "project", project_id))


def check(draft: Draft, project_id: str, resource: str, delta: int = 1) -> None:
    """Whether the project may have ``delta`` more; what belongs to no project is not counted.

    Raises:
        ApiError: 409 OverQuota.
    """
    if not project_id:
        return
    own = draft.get(e.Quota, project_id)
    limit = own.limits.get(resource) if own is not None else None
    if limit is None:
        limit = draft.settings.default_quotas.get(resource, DEFAULTS[resource])
    if 0 <= limit < used(draft, project_id, resource) + delta:
        raise conflict("OverQuota", f"Quota exceeded for resources: ['{resource}'].")


def set_limits(draft: Draft, caller: Caller, project_id: str, values: dict[str, Any]) -> dict[str, int]:
    """Give a project its own limits: none below what it uses, unless ``force`` is true.

    Raises:
        ApiError: 400 on a noun without quotas, on a value that is no limit, and on one below usage.
    """
    del caller
    values = dict(values)
    must_fit = values.pop("force", None) is not True
    values.pop("check_limit", None)
    if not values.keys().isdisjoint(_OWNER):
        values |= dict.fromkeys(_OWNER)
    unknown = sorted(str(name) for name in values if name not in DEFAULTS)
    if unknown:
        raise bad_request("HTTPBadRequest", f"Unrecognized attribute(s) '{', '.join(unknown)}'")
    wanted = {name: _limit(name, value) for name, value in values.items()}
    if must_fit:
        _check_usage(draft, project_id, wanted)
    if wanted:
        own = draft.get(e.Quota, project_id) or e.Quota(id=project_id)
        draft.put(msgspec.structs.replace(own, limits=own.limits | wanted))
    return limits(draft, draft.settings, project_id)


def _check_usage(draft: Draft, project_id: str, wanted: dict[str, int]) -> None:
    for name, limit in wanted.items():
        there = used(draft, project_id, name)
        if 0 <= limit < there:
            raise bad_request(
                "HTTPBadRequest",
                f"Quota limit {limit} for {name} must be greater than or equal to already used {there}",
            )


def delete(draft: Draft, project_id: str) -> None:
    """Back to the defaults.

    Raises:
        ApiError: 404 when the project has no limits of its own.
    """
    own = draft.get(e.Quota, project_id)
    if own is None:
        raise ApiError(404, "TenantQuotaNotFound", f"Quota for project {project_id} could not be found.")
    draft.remove(own)


def details(model: Readable, settings: Settings, project_id: str) -> dict[str, dict[str, int]]:
    """Limit and usage of every noun. Nothing is ever reserved here: a commit counts and creates in one step."""
    return {
        name: {"limit": limit, "used": used(model, project_id, name), "reserved": 0}
        for name, limit in limits(model, settings, project_id).items()
    }


def projects(model: Readable) -> Iterable[str]:
    """The projects that have limits of their own."""
    return sorted(quota.id for quota in model.all(e.Quota))


def _limit(name: str, value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise invalid_input(f"'{value}' is not an integer") from None
    if number < -1:
        raise bad_request(
            "HTTPBadRequest", f"Invalid input for {name}. Reason: '{number}' is too small - must be at least '-1'."
        )
    if number > _MOST:
        raise bad_request(
            "HTTPBadRequest",
            f"Invalid input for {name}. Reason: '{number}' is too large - must be no larger than '{_MOST}'.",
        )
    return number
