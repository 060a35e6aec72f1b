"""The rules of subnet pools: prefixes from which subnets are cut, each address once.

prefixes 10.0.0.0/8          allocate(/24) ─▶ 10.0.0.0/24, from the smallest free prefix that is large enough
quota in /32s or /64s        allocate(10.9.0.0/24) ─▶ that one, if it is free
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

import msgspec

from floatway.control import entities as e
from floatway.control import prefixes as p
from floatway.control.caller import Caller
from floatway.control.decide import quotas, sharing
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, bad_request, conflict, forbidden, invalid_input, not_found

__all__ = [
    "ACTIONS",
    "allocate_any",
    "allocate_given",
    "check_length",
    "create",
    "default_pool",
    "delete",
    "scope_of_network",
    "update",
]

_LEAST: Final = {4: 8, 6: 64}
_MOST: Final = {4: 32, 6: 128}
_QUOTA_UNIT: Final = {4: 32, 6: 64}
_BOUNDS: Final = ("min_prefixlen", "max_prefixlen", "default_prefixlen")


def create(draft: Draft, caller: Caller, values: dict[str, Any]) -> e.SubnetPool:
    """A pool; the family is that of its prefixes."""
    quotas.check(draft, values["project_id"], "subnetpool")
    version, prefixes = _prefixes(values["prefixes"])
    pool = e.SubnetPool(
        id=draft.new_id(),
        project_id=values["project_id"],
        name=values["name"],
        description=values.get("description", ""),
        ip_version=version,
        prefixes=prefixes,
        default_quota=values.get("default_quota"),
        address_scope_id=values.get("address_scope_id"),
        is_default=bool(values.get("is_default")),
        tags=tuple(sorted(set(values.get("tags") or ()))),
        **cast("dict[str, Any]", _bounds(version, values)),
    )
    if pool.is_default:
        _only_default(draft, version)
    _check_scope(draft, caller, pool)
    pool = draft.put(pool)
    if values.get("shared"):
        sharing.set_shared(draft, pool, True)
    return pool


def update(draft: Draft, caller: Caller, pool: e.SubnetPool, values: dict[str, Any]) -> e.SubnetPool:
    """Prefixes can only be added; the scope may change while it keeps networks whole."""
    changed: dict[str, Any] = {
        name: values[name] for name in ("name", "description", "default_quota", "address_scope_id") if name in values
    }
    if "prefixes" in values:
        changed["prefixes"] = _grown(pool, values["prefixes"])
    given = {name: getattr(pool, name) for name in _BOUNDS} | {name: values[name] for name in _BOUNDS if name in values}
    changed |= _bounds(pool.ip_version, given)
    if "is_default" in values:
        if values["is_default"] and not pool.is_default:
            _only_default(draft, pool.ip_version)
        changed["is_default"] = values["is_default"]
    if pool.address_scope_id:
        _may_leave_scope(draft, caller, pool)
    after = msgspec.structs.replace(pool, **changed)
    _check_scope(draft, caller, after)
    return draft.put(after)


def delete(draft: Draft, caller: Caller, pool: e.SubnetPool) -> None:
    """Delete it.

    Raises:
        ApiError: 400 SubnetPoolDeleteError while subnets are cut from it.
    """
    del caller
    if draft.has(e.Subnet, "pool", pool.id):
        raise bad_request(
            "SubnetPoolDeleteError", "Unable to delete subnet pool: Subnet pool has existing allocations."
        )
    sharing.remove_all(draft, pool)
    draft.remove(pool)


def default_pool(draft: Draft, version: int) -> e.SubnetPool | None:
    """The pool that subnets of the family are cut from when nobody names one."""
    return next(iter(draft.find(e.SubnetPool, "default", version)), None)


def allocate_any(draft: Draft, pool: e.SubnetPool, project_id: str, length: int) -> str:
    """A free prefix of this length, from the smallest free block that holds it.

    Raises:
        ApiError: 400 outside the pool's bounds, 409 over quota or when nothing is left.
    """
    check_length(pool, length)
    _check_quota(draft, pool, project_id, length)
    blocks = [p.network(block) for block in p.prefixes_of(_free(draft, pool), pool.ip_version)]
    for block in sorted(blocks, key=lambda block: -block.prefixlen):
        if block.prefixlen <= length:
            return f"{block.network_address}/{length}"
    raise _cannot_allocate(f"Insufficient prefix space to allocate subnet size /{length}")


def allocate_given(draft: Draft, pool: e.SubnetPool, project_id: str, cidr: str) -> None:
    """Whether the pool can give just this prefix.

    Raises:
        ApiError: as ``allocate_any``.
    """
    net = p.network(cidr)
    check_length(pool, net.prefixlen)
    _check_quota(draft, pool, project_id, net.prefixlen)
    first, last = int(net.network_address), int(net.broadcast_address)
    if not any(start <= first and last <= end for start, end in _free(draft, pool)):
        raise _cannot_allocate("Cannot allocate requested subnet from the available set of prefixes")


def scope_of_network(draft: Draft, network_id: str, version: int) -> str | None:
    """The address scope of a network's subnets of a family."""
    for subnet in draft.find(e.Subnet, "network", network_id):
        if subnet.ip_version == version and subnet.subnetpool_id:
            pool = draft.get(e.SubnetPool, subnet.subnetpool_id)
            if pool is not None and pool.address_scope_id:
                return pool.address_scope_id
    return None


def add_prefixes(draft: Draft, caller: Caller, pool: e.SubnetPool, body: Any) -> dict[str, Any]:
    """PUT /v2.0/subnetpools/ID/add_prefixes."""
    pool = update(draft, caller, pool, {"prefixes": [*pool.prefixes, *_operation(body)]})
    return {"prefixes": list(pool.prefixes)}


def remove_prefixes(draft: Draft, caller: Caller, pool: e.SubnetPool, body: Any) -> dict[str, Any]:
    """PUT /v2.0/subnetpools/ID/remove_prefixes."""
    del caller
    gone = [cidr for cidr in _operation(body) if p.network(cidr).version == pool.ip_version]
    if not any(p.overlap(prefix, cidr) for prefix in pool.prefixes for cidr in gone):
        return {"prefixes": list(pool.prefixes)}
    if any(p.overlap(subnet.cidr, cidr) for subnet in draft.find(e.Subnet, "pool", pool.id) for cidr in gone):
        raise bad_request(
            "IllegalSubnetPoolPrefixUpdate",
            "Illegal update to prefixes: One or more the prefixes to be removed is in use by a subnet..",
        )
    left = tuple(p.prefixes_of(p.subtract(pool.prefixes, gone), pool.ip_version))
    pool = draft.put(msgspec.structs.replace(pool, prefixes=left))
    return {"prefixes": list(pool.prefixes)}


def onboard_network_subnets(draft: Draft, caller: Caller, pool: e.SubnetPool, body: Any) -> dict[str, Any] | list[Any]:
    """PUT /v2.0/subnetpools/ID/onboard_network_subnets: the network's subnets become the pool's."""
    network_id = body.get("network_id") if isinstance(body, dict) else None
    if not isinstance(network_id, str):
        raise invalid_input("network_id must be specified.")
    network = draft.need(e.Network, network_id)
    if not caller.is_admin and network.project_id != caller.project_id:
        if not any(sharing.allows(draft, network, caller.project_id, action) for action in sharing.ACTIONS["network"]):
            raise not_found(e.Network.KIND, network_id)
        raise forbidden("NotAuthorized", "Not authorized.")
    subnets = [one for one in draft.find(e.Subnet, "network", network_id) if one.ip_version == pool.ip_version]
    allocated = [subnet.cidr for subnet in draft.find(e.Subnet, "pool", pool.id)]
    for subnet in subnets:
        if any(p.overlap(subnet.cidr, cidr) for cidr in allocated):
            raise bad_request(
                "IllegalSubnetPoolUpdate",
                f"Illegal subnetpool update : Onboarding subnet {subnet.id}: {subnet.cidr} conflicts with allocated prefixes in"
                f" subnet pool {pool.id}.",
            )
    update(draft, caller, pool, {"prefixes": [*pool.prefixes, *(subnet.cidr for subnet in subnets)]})
    for subnet in subnets:
        draft.put(msgspec.structs.replace(subnet, subnetpool_id=pool.id))
    return [{"id": subnet.id, "cidr": subnet.cidr} for subnet in subnets]


ACTIONS: Final = {
    "add_prefixes": add_prefixes,
    "remove_prefixes": remove_prefixes,
    "onboard_network_subnets": onboard_network_subnets,
}


def _operation(body: Any) -> list[str]:
    wanted = body.get("prefixes") if isinstance(body, dict) else None
    if not isinstance(wanted, list) or not wanted:
        raise bad_request("HTTPBadRequest", "Request body contains invalid data")
    for cidr in wanted:
        try:
            p.network(cidr if isinstance(cidr, str) else "")
        except ValueError:
            raise bad_request("AddrFormatError", f"invalid IPNetwork {cidr}") from None
    return wanted


def _prefixes(wanted: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    if not wanted:
        raise bad_request("EmptySubnetPoolPrefixList", "Empty subnet pool prefix list.")
    versions = {p.network(cidr).version for cidr in wanted}
    if len(versions) > 1:
        raise bad_request("PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool.")
    version = versions.pop()
    return version, p.collapsed(wanted, version)


def _grown(pool: e.SubnetPool, wanted: Sequence[str]) -> tuple[str, ...]:
    same = [cidr for cidr in wanted if p.network(cidr).version == pool.ip_version]
    if not all(p.contains(same, cidr) for cidr in pool.prefixes):
        raise bad_request(
            "IllegalSubnetPoolPrefixUpdate",
            "Illegal update to prefixes: Existing prefixes must be a subset of the new prefixes.",
        )
    version, prefixes = _prefixes(wanted)
    if version != pool.ip_version:
        raise bad_request("PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool.")
    return prefixes


def _bounds(version: int, values: dict[str, Any]) -> dict[str, int]:
    least = values.get("min_prefixlen", _LEAST[version])
    most = values.get("max_prefixlen", _MOST[version])
    default = values.get("default_prefixlen", least)
    for name, value, base_name, base, wrong in (
        ("min_prefixlen", least, "max_prefixlen", most, least > most),
        ("max_prefixlen", most, "ip_version_max", _MOST[version], most > _MOST[version]),
        ("default_prefixlen", default, "min_prefixlen", least, default < least),
        ("default_prefixlen", default, "max_prefixlen", most, default > most),
    ):
        if wrong:
            raise bad_request(
                "IllegalSubnetPoolPrefixBounds", f"Illegal prefix bounds: {name}={value}, {base_name}={base}."
            )
    return {"min_prefixlen": least, "max_prefixlen": most, "default_prefixlen": default}


def _only_default(draft: Draft, version: int) -> None:
    if default_pool(draft, version) is not None:
        raise invalid_input(
            "A default subnetpool for this IP family has already been set. Only one default may exist per IP family"
        )


def _may_leave_scope(draft: Draft, caller: Caller, pool: e.SubnetPool) -> None:
    scope = draft.get(e.AddressScope, pool.address_scope_id or "")
    if scope is not None and not caller.is_admin and scope.project_id != caller.project_id:
        raise bad_request(
            "IllegalSubnetPoolUpdate",
            f"Illegal subnetpool update : subnetpool {pool.id} cannot be updated when associated with shared address scope"
            f" {scope.id}.",
        )


def _check_scope(draft: Draft, caller: Caller, pool: e.SubnetPool) -> None:
    if not pool.address_scope_id:
        return
    scope = draft.need(e.AddressScope, pool.address_scope_id)
    if not caller.is_admin and not sharing.allows(draft, scope, caller.project_id):
        raise not_found(e.AddressScope.KIND, scope.id)
    if scope.ip_version != pool.ip_version:
        raise bad_request(
            "IllegalSubnetPoolIpVersionAssociationToAddressScope",
            f"Illegal subnetpool association: subnetpool {pool.id} cannot associate with address scope {scope.id} because"
            f" subnetpool ip_version is not {scope.ip_version}.",
        )
    _networks_stay_whole(draft, pool)
    for other in draft.find(e.SubnetPool, "scope", scope.id):
        if other.id != pool.id and any(p.overlap(a, b) for a in pool.prefixes for b in other.prefixes):
            raise conflict(
                "AddressScopePrefixConflict",
                "Failed to associate address scope: subnetpools within an address scope must have unique prefixes.",
            )


def _networks_stay_whole(draft: Draft, pool: e.SubnetPool) -> None:
    """All subnets of a family on a network are of one scope."""
    rescoped = draft.find(e.Subnet, "pool", pool.id)
    mine = {subnet.id for subnet in rescoped}
    for network_id in {subnet.network_id for subnet in rescoped}:
        for subnet in draft.find(e.Subnet, "network", network_id):
            if subnet.ip_version == pool.ip_version and subnet.id not in mine:
                raise bad_request(
                    "NetworkAddressScopeAffinityError",
                    "Subnets of the same address family hosted on the same network must all participate in the same address"
                    " scope.",
                )


def check_length(pool: e.SubnetPool, length: int) -> None:
    """Whether the pool gives prefixes of this length.

    Raises:
        ApiError: 400.
    """
    if length > _MOST[pool.ip_version]:
        raise bad_request("AddrFormatError", f"invalid IPNetwork {p.text(0, pool.ip_version)}/{length}")
    if length > pool.max_prefixlen:
        raise bad_request(
            "MaxPrefixSubnetAllocationError",
            f"Unable to allocate subnet with prefix length {length}, maximum allowed prefix is {pool.max_prefixlen}.",
        )
    if length < pool.min_prefixlen:
        raise bad_request(
            "MinPrefixSubnetAllocationError",
            f"Unable to allocate subnet with prefix length {length}, minimum allowed prefix is {pool.min_prefixlen}.",
        )


def _check_quota(draft: Draft, pool: e.SubnetPool, project_id: str, length: int) -> None:
    if not pool.default_quota:
        return
    unit = _QUOTA_UNIT[pool.ip_version]
    mine: Iterable[e.Subnet] = (one for one in draft.find(e.Subnet, "pool", pool.id) if one.project_id == project_id)
    used = sum(2.0 ** (unit - p.network(subnet.cidr).prefixlen) for subnet in mine)
    if used + 2.0 ** (unit - length) > pool.default_quota:
        raise conflict("SubnetPoolQuotaExceeded", "Per-project subnet pool prefix quota exceeded.")


def _free(draft: Draft, pool: e.SubnetPool) -> list[p.Interval]:
    return p.subtract(pool.prefixes, (subnet.cidr for subnet in draft.find(e.Subnet, "pool", pool.id)))


def _cannot_allocate(reason: str) -> ApiError:
    return conflict("SubnetAllocationError", f"Failed to allocate subnet: {reason}.")
