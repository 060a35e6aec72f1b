"""A subnet pool's life: prefixes kept apart, bounds, quotas, scopes, and networks taken on board."""

from typing import Any

import pytest

from control_cloud import ADMIN, MEMBER, OTHER, PROJECT, STRANGER, a_draft, later, refused
from control_l2 import a_network, a_pool, a_scope, a_subnet, repooled
from floatway.control import entities as e
from floatway.control.decide import address_scopes, rbac, sharing, subnetpools
from floatway.control.draft import Draft

ACTIONS = subnetpools.ACTIONS


def test_a_pool_has_the_api_s_defaults() -> None:
    draft = a_draft()
    pool = a_pool(draft, "10.11.12.0/24", "10.11.13.0/24")
    assert (pool.prefixes, pool.ip_version) == (("10.11.12.0/23",), 4)
    assert (pool.min_prefixlen, pool.max_prefixlen, pool.default_prefixlen) == (8, 32, 8)
    assert (pool.default_quota, pool.address_scope_id, pool.is_default) == (None, None, False)
    six = a_pool(draft, "2001:db8::/32", min_prefixlen=48)
    assert (six.ip_version, six.min_prefixlen, six.max_prefixlen, six.default_prefixlen) == (6, 48, 128, 48)


@pytest.mark.parametrize(
    ("prefixes", "values", "type_", "message"),
    [
        ((), {}, "EmptySubnetPoolPrefixList", "Empty subnet pool prefix list."),
        (("10.0.0.0/8", "2001:db8::/32"), {}, "PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes"),
        (
            ("10.0.0.0/8",),
            {"min_prefixlen": 30, "max_prefixlen": 24},
            "IllegalSubnetPoolPrefixBounds",
            "Illegal prefix bounds: min_prefixlen=30, max_prefixlen=24.",
        ),
        (
            ("10.0.0.0/8",),
            {"max_prefixlen": 33},
            "IllegalSubnetPoolPrefixBounds",
            "Illegal prefix bounds: max_prefixlen=33, ip_version_max=32.",
        ),
        (
            ("10.0.0.0/8",),
            {"default_prefixlen": 7},
            "IllegalSubnetPoolPrefixBounds",
            "Illegal prefix bounds: default_prefixlen=7, min_prefixlen=8.",
        ),
        (
            ("10.0.0.0/8",),
            {"default_prefixlen": 25, "max_prefixlen": 24},
            "IllegalSubnetPoolPrefixBounds",
            "Illegal prefix bounds: default_prefixlen=25, max_prefixlen=24.",
        ),
    ],
)
def test_a_pool_that_cannot_be_is_refused(
    prefixes: tuple[str, ...], values: dict[str, Any], type_: str, message: str
) -> None:
    refused(lambda: a_pool(a_draft(), *prefixes, **values), 400, type_, message)


def test_one_pool_of_each_family_is_the_default() -> None:
    draft = a_draft()
    four = a_pool(draft, "10.0.0.0/8", caller=ADMIN, is_default=True)
    a_pool(draft, "2001:db8::/32", caller=ADMIN, is_default=True)
    message = "A default subnetpool for this IP family has already been set. Only one default may exist per IP family"
    refused(lambda: a_pool(draft, "11.0.0.0/8", is_default=True), 400, "InvalidInput", message)
    other = a_pool(draft, "11.0.0.0/8")
    refused(lambda: repooled(draft, other, ADMIN, is_default=True), 400, "InvalidInput", message)
    repooled(draft, repooled(draft, four, ADMIN, is_default=True), ADMIN, is_default=False)
    assert repooled(draft, other, ADMIN, is_default=True).is_default


def test_prefixes_may_only_grow() -> None:
    draft = a_draft()
    pool = a_pool(draft, "10.0.0.0/16")
    grown = repooled(draft, pool, prefixes=["10.0.0.0/15", "10.2.0.0/16"])
    assert grown.prefixes == ("10.0.0.0/15", "10.2.0.0/16")
    message = "Illegal update to prefixes: Existing prefixes must be a subset of the new prefixes."
    refused(lambda: repooled(draft, grown, prefixes=["10.0.0.0/15"]), 400, "IllegalSubnetPoolPrefixUpdate", message)
    refused(lambda: repooled(draft, grown, min_prefixlen=33), 400, "IllegalSubnetPoolPrefixBounds")
    new = repooled(draft, grown, name="q", description="d", default_quota=5, min_prefixlen=20, default_prefixlen=24)
    assert (new.name, new.description, new.default_quota) == ("q", "d", 5)
    assert (new.min_prefixlen, new.max_prefixlen, new.default_prefixlen) == (20, 32, 24)


def test_the_smallest_free_block_that_is_large_enough_is_cut() -> None:
    draft = a_draft()
    network = a_network(draft)
    pool = a_pool(draft, "10.0.0.0/24", "10.2.0.0/27", default_prefixlen=26)
    cut = [a_subnet(draft, network, None, subnetpool_id=pool.id, prefixlen=n) for n in (28, 26, 28, 25, 27)]
    assert [one.cidr for one in cut] == [
        "10.2.0.0/28",
        "10.0.0.0/26",
        "10.2.0.16/28",
        "10.0.0.128/25",
        "10.0.0.64/27",
    ]
    refused(
        lambda: a_subnet(draft, network, None, subnetpool_id=pool.id),
        409,
        "SubnetAllocationError",
        "Failed to allocate subnet: Insufficient prefix space to allocate subnet size /26.",
    )
    draft.remove(cut[1])
    assert a_subnet(draft, network, None, subnetpool_id=pool.id).cidr == "10.0.0.0/26"


def test_a_quota_counts_addresses_or_half_bit_prefixes_of_a_project() -> None:
    draft = a_draft()
    pool = a_pool(draft, "10.0.0.0/8", caller=ADMIN, default_quota=384, project_id=PROJECT, shared=True)
    network = a_network(draft)
    for length in (24, 25):
        a_subnet(draft, network, None, subnetpool_id=pool.id, prefixlen=length)
    message = "Per-project subnet pool prefix quota exceeded."
    for cidr, values in ((None, {"prefixlen": 32}), ("10.9.9.9/32", {"enable_dhcp": False})):
        refused(
            lambda cidr=cidr, values=values: a_subnet(draft, network, cidr, subnetpool_id=pool.id, **values),
            409,
            "SubnetPoolQuotaExceeded",
            message,
        )
    assert a_subnet(draft, a_network(draft, OTHER), None, OTHER, subnetpool_id=pool.id, prefixlen=24)
    six = a_pool(draft, "2001:db8::/32", default_quota=2, min_prefixlen=60)
    wide = a_network(draft)
    a_subnet(draft, wide, None, ip_version=6, subnetpool_id=six.id, prefixlen=63)
    refused(
        lambda: a_subnet(draft, wide, None, ip_version=6, subnetpool_id=six.id, prefixlen=64),
        409,
        "SubnetPoolQuotaExceeded",
        message,
    )


def test_a_pool_in_use_is_not_deleted() -> None:
    draft = a_draft()
    pool = a_pool(draft, "10.0.0.0/16", shared=True)
    subnet = a_subnet(draft, a_network(draft), None, subnetpool_id=pool.id, prefixlen=24)
    refused(
        lambda: subnetpools.delete(draft, MEMBER, pool),
        400,
        "SubnetPoolDeleteError",
        "Unable to delete subnet pool: Subnet pool has existing allocations.",
    )
    draft.remove(subnet)
    subnetpools.delete(draft, MEMBER, pool)
    assert list(draft.all(e.RbacPolicy)) == []


def test_prefixes_are_added_and_removed() -> None:
    draft = a_draft()
    pool = a_pool(draft, "10.0.0.0/16")

    def act(name: str, *prefixes: object) -> Any:
        return ACTIONS[name](draft, MEMBER, draft.need(e.SubnetPool, pool.id), {"prefixes": list(prefixes)})

    assert act("add_prefixes", "10.1.0.0/16", "10.9.0.0/24") == {"prefixes": ["10.0.0.0/15", "10.9.0.0/24"]}
    a_subnet(draft, a_network(draft), "10.0.3.0/24", subnetpool_id=pool.id)
    refused(
        lambda: act("remove_prefixes", "10.0.3.128/25"),
        400,
        "IllegalSubnetPoolPrefixUpdate",
        "One or more the prefixes to be removed is in use by a subnet.",
    )
    assert act("remove_prefixes", "::a00:0/104", "192.0.2.0/24") == {"prefixes": ["10.0.0.0/15", "10.9.0.0/24"]}
    assert act("remove_prefixes", "10.1.0.0/16", "10.9.0.0/25") == {"prefixes": ["10.0.0.0/16", "10.9.0.128/25"]}
    for body in ((), ("10.0.0.0/16", "2001:db8::/32"), ("x",), (5,)):
        refused(lambda body=body: act("add_prefixes", *body), 400, _type_of(body))


def _type_of(body: tuple[object, ...]) -> str:
    if not body:
        return "HTTPBadRequest"
    return "PrefixVersionMismatch" if len(body) > 1 else "AddrFormatError"


def test_a_scope_holds_each_address_once_and_one_family() -> None:
    draft = a_draft()
    scope, six = a_scope(draft), a_scope(draft, 6)
    pool = a_pool(draft, "10.0.0.0/16", address_scope_id=scope.id)
    refused(
        lambda: a_pool(draft, "10.0.9.0/24", address_scope_id=scope.id),
        409,
        "AddressScopePrefixConflict",
        "Failed to associate address scope: subnetpools within an address scope must have unique prefixes.",
    )
    refused(
        lambda: a_pool(draft, "10.1.0.0/16", address_scope_id=six.id),
        400,
        "IllegalSubnetPoolIpVersionAssociationToAddressScope",
        f"cannot associate with address scope {six.id} because subnetpool ip_version is not 6.",
    )
    other = a_pool(draft, "10.1.0.0/16", address_scope_id=scope.id)
    refused(lambda: repooled(draft, other, prefixes=["10.0.0.0/15"]), 409, "AddressScopePrefixConflict")
    free = repooled(draft, other, address_scope_id=None)
    assert repooled(draft, free, prefixes=["10.0.0.0/15"]).prefixes == ("10.0.0.0/15",)
    refused(lambda: address_scopes.delete(draft, MEMBER, scope), 409, "AddressScopeInUse", scope.id)
    draft.remove(pool)
    address_scopes.delete(draft, MEMBER, scope)


def test_a_scope_that_is_not_the_caller_s_is_not_there() -> None:
    draft = a_draft()
    scope = a_scope(draft, caller=OTHER)
    message = f"Address scope {scope.id} could not be found."
    refused(lambda: a_pool(draft, "10.0.0.0/8", address_scope_id=scope.id), 404, "AddressScopeNotFound", message)
    sharing.set_shared(draft, scope, True)
    pool = a_pool(draft, "10.0.0.0/8", address_scope_id=scope.id)
    refused(
        lambda: repooled(draft, pool, name="q"),
        400,
        "IllegalSubnetPoolUpdate",
        f"subnetpool {pool.id} cannot be updated when associated with shared address scope {scope.id}.",
    )
    assert repooled(draft, pool, ADMIN, address_scope_id=None).address_scope_id is None


def test_a_scope_that_is_shared_stays_shared() -> None:
    draft = a_draft()
    scope = a_scope(draft, caller=ADMIN, shared=True)
    assert sharing.allows(draft, scope, STRANGER)
    refused(
        lambda: address_scopes.update(draft, ADMIN, scope, {"shared": False}),
        400,
        "AddressScopeUpdateError",
        f"Unable to update address scope {scope.id} : Shared address scope can't be unshared.",
    )
    assert address_scopes.update(draft, ADMIN, scope, {"name": "b", "shared": True}).name == "b"
    address_scopes.delete(draft, ADMIN, scope)
    assert list(draft.all(e.RbacPolicy)) == []


def test_who_gets_a_pool_needs_its_scope() -> None:
    draft = a_draft()
    scope = a_scope(draft)
    pool = a_pool(draft, "10.0.0.0/8", address_scope_id=scope.id)
    values = {
        "project_id": PROJECT,
        "object_type": "subnetpool",
        "object_id": pool.id,
        "action": sharing.SHARED,
        "target_tenant": STRANGER,
    }
    message = f"Failed to create RBAC policy on object {pool.id} because target project doesn't have access to"
    refused(lambda: rbac.create(draft, MEMBER, values), 400, "InvalidInput", message)
    sharing.add(draft, scope, sharing.SHARED, STRANGER)
    assert rbac.create(draft, MEMBER, values).target_tenant == STRANGER


def onboard(draft: Draft, pool: e.SubnetPool, network: e.Network | str) -> Any:
    body = {"network_id": network if isinstance(network, str) else network.id}
    return ACTIONS["onboard_network_subnets"](draft, MEMBER, pool, body)


def test_a_network_s_subnets_come_on_board() -> None:
    draft = a_draft()
    network = a_network(draft)
    four, six = a_subnet(draft, network, "10.5.0.0/24"), a_subnet(draft, network, "2001:db8::/64")
    pool = a_pool(draft, "10.0.0.0/16")
    after = later(draft)
    assert onboard(after, pool, network) == [{"id": four.id, "cidr": "10.5.0.0/24"}]
    assert after.need(e.SubnetPool, pool.id).prefixes == ("10.0.0.0/16", "10.5.0.0/24")
    assert after.need(e.Subnet, four.id).subnetpool_id == pool.id
    assert after.need(e.Subnet, six.id).subnetpool_id is None
    refused(
        lambda: onboard(after, after.need(e.SubnetPool, pool.id), network),
        400,
        "IllegalSubnetPoolUpdate",
        f"Onboarding subnet {four.id}: 10.5.0.0/24 conflicts with allocated prefixes in subnet pool {pool.id}.",
    )


def test_what_is_not_the_caller_s_does_not_come_on_board() -> None:
    draft = a_draft()
    pool = a_pool(draft, "10.0.0.0/16")
    theirs = a_network(draft, OTHER)
    refused(lambda: onboard(draft, pool, theirs), 404, "NetworkNotFound", theirs.id)
    refused(lambda: onboard(draft, pool, "nowhere"), 404, "NetworkNotFound", "nowhere")
    sharing.set_shared(draft, theirs, True)
    refused(lambda: onboard(draft, pool, theirs), 403, "NotAuthorized")
    refused(
        lambda: ACTIONS["onboard_network_subnets"](draft, MEMBER, pool, {}), 400, "InvalidInput", "must be specified"
    )
