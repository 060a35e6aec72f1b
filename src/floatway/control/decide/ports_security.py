"""What keeps a port from sending what is not its own: port security, security groups, allowed address pairs.

port_security_enabled   given ▸ else the network's;  network-owned ports: never
security_groups         given ▸ else the project's default group, made when it is first needed;  none without port security
allowed_address_pairs   further sources, only with port security
"""

from collections.abc import Iterable
from typing import Any

from floatway.control.caller import Caller
from floatway.control.decide import owners, security_groups, sharing
from floatway.control.draft import Draft
from floatway.control.entities import AddressPair, Network, Port, SecurityGroup
from floatway.control.errors import ApiError, bad_request, conflict, not_found

__all__ = ["Security", "created", "updated"]

Security = tuple[bool, tuple[str, ...], tuple[AddressPair, ...]]
"""port_security_enabled, security_groups, allowed_address_pairs."""


def created(draft: Draft, caller: Caller, network: Network, values: dict[str, Any], mac: str) -> Security:
    """What a new port has.

    Raises:
        ApiError: groups or pairs without port security, a group that the caller cannot see, too many or equal pairs.
    """
    project_id = values.get("project_id") or ""
    default = security_groups.default_group(draft, project_id).id if project_id else None
    trusted = owners.trusted(values.get("device_owner") or "")
    enabled = values.get("port_security_enabled")
    enabled = False if trusted else network.port_security_enabled if enabled is None else enabled
    pairs = values.get("allowed_address_pairs") or ()
    given = values.get("security_groups")
    if pairs and not enabled:
        raise _pairs_need_security()
    if given and not enabled:
        raise _groups_need_security()
    groups: tuple[str, ...] = ()
    if given is not None and not trusted:
        groups = _usable(draft, caller, given, project_id)
    elif given is None and enabled and default:
        groups = (default,)
    return enabled, groups, _pairs(draft, pairs, mac)


def updated(draft: Draft, caller: Caller, port: Port, values: dict[str, Any], mac: str) -> Security:
    """What ``port`` has after an update.

    Raises:
        ApiError: as ``created``; and port security is not turned off under groups or pairs.
    """
    enabled = values.get("port_security_enabled")
    if enabled is None:
        enabled = port.port_security_enabled
    pairs = values.get("allowed_address_pairs")
    groups = values.get("security_groups")
    if not enabled:
        if pairs or (pairs is None and port.allowed_address_pairs):
            raise _pairs_need_security()
        if groups:
            raise _groups_need_security()
        if groups is None and port.security_groups:
            raise conflict(
                "PortSecurityPortHasSecurityGroup",
                "Port has security group associated. Cannot disable port security or IP address "
                "until security group is removed.",
            )
    kept = groups is None or set(groups) == set(port.security_groups)
    return (
        enabled,
        port.security_groups if kept else _usable(draft, caller, groups or (), ""),
        port.allowed_address_pairs if pairs is None else _pairs(draft, pairs, mac),
    )


def _usable(draft: Draft, caller: Caller, ids: Iterable[str], project_id: str) -> tuple[str, ...]:
    """The groups, each once; all of them visible to the caller and to the port's project, all stateful or none."""
    wanted = tuple(dict.fromkeys(ids))
    found = [draft.get(SecurityGroup, id_) for id_ in wanted]
    groups = [group for group in found if group is not None and _may_use(draft, caller, group, project_id)]
    if len(groups) < len(wanted):
        usable = {group.id for group in groups}
        raise not_found(SecurityGroup.KIND, ", ".join(id_ for id_ in wanted if id_ not in usable))
    if len({group.stateful for group in groups}) > 1:
        raise conflict(
            "SecurityGroupConflict",
            "Error Cannot apply both stateful and stateless security groups on the same port at the same time "
            "while attempting the operation.",
        )
    return wanted


def _may_use(draft: Draft, caller: Caller, group: SecurityGroup, project_id: str) -> bool:
    if caller.sees_all:
        return True
    return sharing.allows(draft, group, caller.project_id) and (
        project_id in {"", caller.project_id} or sharing.allows(draft, group, project_id)
    )


def _pairs(draft: Draft, pairs: Iterable[dict[str, str]], mac: str) -> tuple[AddressPair, ...]:
    found: list[AddressPair] = []
    for pair in pairs:
        made = AddressPair(pair["ip_address"], pair.get("mac_address") or mac)
        if made in found:
            raise bad_request(
                "DuplicateAddressPairInRequest",
                f"Request contains duplicate address pair: "
                f"mac_address {made.mac_address} ip_address {made.ip_address}.",
            )
        found.append(made)
    most = draft.settings.max_allowed_address_pair
    if len(found) > most:
        raise bad_request(
            "AllowedAddressPairExhausted", f"The number of allowed address pair exceeds the maximum {most}."
        )
    return tuple(found)


def _pairs_need_security() -> ApiError:
    return conflict(
        "AddressPairAndPortSecurityRequired",
        "Port Security must be enabled in order to have allowed address pairs on a port.",
    )


def _groups_need_security() -> ApiError:
    return bad_request(
        "PortSecurityAndIPRequiredForSecurityGroups",
        "Port security must be enabled and port must have an IP address in order to use security groups.",
    )
