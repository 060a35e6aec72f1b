"""RBAC policies: who gives what to whom, and that nothing in use is taken back."""

from collections.abc import Callable

import pytest

from control_cloud import ADMIN, MEMBER, OTHER, PROJECT, STRANGER, a_draft, later, network_of, port_of, refused
from control_l3 import outside_of
from control_security import a_group, a_rule, an_address_group, given_to
from floatway.control.decide import address_scopes, networks, rbac, routers, sharing, subnetpools, subnets
from floatway.control.draft import Draft
from floatway.control.entities import (
    AddressScope,
    Entity,
    Network,
    Port,
    RbacPolicy,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    SubnetPool,
)

THIRD = "5b0b8b4e6f3f4a1e8a8d1f7f3a3e0003"
MISSING = "11111111-1111-4111-8111-111111111111"
NOT_OWNED = "Only admins can manipulate policies on"


def a_scope(draft: Draft) -> AddressScope:
    return address_scopes.create(draft, MEMBER, {"project_id": PROJECT, "name": "s", "ip_version": 4})


def a_pool(draft: Draft, prefix: str = "10.64.0.0/16", project: str = PROJECT, scope: str | None = None) -> SubnetPool:
    values = {"project_id": project, "name": "p", "prefixes": [prefix], "address_scope_id": scope}
    return subnetpools.create(draft, MEMBER if project == PROJECT else OTHER, values)


def used_network(draft: Draft) -> tuple[Entity, Callable[[], Entity]]:
    network = network_of(draft)
    return network, lambda: port_of(draft, network, OTHER, project_id=STRANGER)


def used_group(draft: Draft) -> tuple[Entity, Callable[[], Entity]]:
    group, network = a_group(draft), network_of(draft, STRANGER)
    return group, lambda: port_of(draft, network, OTHER, project_id=STRANGER, security_groups=[group.id])


def used_address_group(draft: Draft) -> tuple[Entity, Callable[[], Entity]]:
    addresses, group = an_address_group(draft), a_group(draft, OTHER)
    return addresses, lambda: a_rule(draft, group, OTHER, remote_address_group_id=addresses.id)


def used_scope(draft: Draft) -> tuple[Entity, Callable[[], Entity]]:
    scope = a_scope(draft)
    return scope, lambda: a_pool(draft, project=STRANGER, scope=scope.id)


def used_pool(draft: Draft) -> tuple[Entity, Callable[[], Entity]]:
    pool, network = a_pool(draft), network_of(draft, STRANGER)
    values = {"project_id": STRANGER, "network_id": network.id, "ip_version": 4, "subnetpool_id": pool.id}
    return pool, lambda: subnets.create(draft, OTHER, values | {"prefixlen": 24, "name": "s"})


def used_outside(draft: Draft) -> tuple[Entity, Callable[[], Entity]]:
    network, _ = outside_of(draft)
    for policy in list(draft.all(RbacPolicy)):
        draft.remove(policy)
    values = {"project_id": STRANGER, "name": "r", "external_gateway_info": {"network_id": network.id}}
    return network, lambda: routers.create(draft, OTHER, values)


USES = [used_network, used_group, used_address_group, used_scope, used_pool, used_outside]


@pytest.mark.parametrize("target", [STRANGER, "*"])
@pytest.mark.parametrize("used", USES)
def test_what_others_use_is_not_taken_back(
    used: Callable[[Draft], tuple[Entity, Callable[[], Entity]]], target: str
) -> None:
    draft = a_draft()
    entity, use = used(draft)
    action = sharing.EXTERNAL if used is used_outside else sharing.SHARED
    policy = given_to(draft, entity, target, ADMIN, action=action)
    user = use()
    refused(lambda: rbac.delete(draft, MEMBER, policy), 409, "RbacPolicyInUse", entity.id, "cannot be removed because")
    refused(lambda: rbac.update(draft, ADMIN, policy, {"target_tenant": THIRD}), 409, "RbacPolicyInUse")
    assert rbac.update(draft, ADMIN, policy, {"target_tenant": target}) == policy
    second = given_to(draft, entity, "*" if target == STRANGER else STRANGER, ADMIN, action=action)
    rbac.delete(draft, ADMIN, policy)
    refused(lambda: rbac.delete(draft, ADMIN, second), 409, "RbacPolicyInUse")
    draft.remove(user)
    rbac.delete(draft, ADMIN, second)
    assert not list(draft.all(RbacPolicy))


def test_a_policy_may_be_widened_while_in_use() -> None:
    draft = a_draft()
    network, use = used_network(draft)
    policy = given_to(draft, network, STRANGER)
    use()
    assert rbac.update(draft, MEMBER, policy, {"target_tenant": "*"}).target_tenant == "*"


@pytest.mark.parametrize("id_", ["other's", "nobody's"])
@pytest.mark.parametrize("kind", ["network", "security_group"])
def test_a_project_is_told_the_same_of_what_is_not_its_own_and_of_what_is_not_there(kind: str, id_: str) -> None:
    draft = a_draft()
    entity = network_of(draft, STRANGER) if kind == "network" else a_group(draft, OTHER)
    object_id = entity.id if id_ == "other's" else MISSING
    what = "networks" if kind == "network" else "objects"
    refused(
        lambda: given_to(draft, entity, THIRD, object_id=object_id),
        400,
        "InvalidInput",
        f"Invalid input for operation: {NOT_OWNED} {what} they do not own.",
    )
    if id_ == "nobody's":
        refused(lambda: given_to(draft, entity, THIRD, ADMIN, object_id=object_id), 400, "InvalidInput", MISSING)
    else:
        assert given_to(draft, entity, THIRD, ADMIN).object_id == entity.id


def test_a_policy_says_something_new_that_its_type_knows() -> None:
    draft = a_draft()
    network, group = network_of(draft), a_group(draft)
    given_to(draft, network, STRANGER)
    refused(
        lambda: given_to(draft, network, STRANGER),
        409,
        "DuplicateRbacPolicy",
        "An RBAC policy already exists with those values.",
    )
    refused(
        lambda: given_to(draft, group, STRANGER, action="access_as_external"),
        400,
        "InvalidActionForType",
        "Invalid action 'access_as_external' for object type 'security_group'. Valid actions: ('access_as_shared',)",
    )


def test_a_policy_is_not_turned_into_one_that_is_there() -> None:
    draft = a_draft()
    network = network_of(draft)
    given_to(draft, network, STRANGER)
    other = given_to(draft, network, THIRD)
    refused(lambda: rbac.update(draft, MEMBER, other, {"target_tenant": STRANGER}), 409, "DuplicateRbacPolicy")
    assert rbac.update(draft, MEMBER, other, {"target_tenant": THIRD}) == other


def test_policies_count() -> None:
    draft = a_draft(default_quotas={"rbac_policy": 1})
    network = network_of(draft)
    given_to(draft, network, STRANGER)
    refused(lambda: given_to(draft, network, THIRD), 409, "OverQuota", "['rbac_policy']")


def test_a_way_out_is_a_policy() -> None:
    draft = a_draft()
    network = network_of(draft)
    first = given_to(draft, network, STRANGER, ADMIN, action="access_as_external")
    second = given_to(draft, network, THIRD, ADMIN, action="access_as_external")
    assert draft.need(Network, network.id).router_external
    rbac.delete(draft, ADMIN, first)
    assert draft.need(Network, network.id).router_external
    rbac.delete(draft, ADMIN, second)
    assert not draft.need(Network, network.id).router_external


def test_the_default_way_out_is_everybody_s() -> None:
    draft = a_draft()
    values = {"project_id": PROJECT, "name": "x", "admin_state_up": True, "router:external": True, "is_default": True}
    network = networks.create(draft, ADMIN, values)
    (policy,) = draft.all(RbacPolicy)
    assert (policy.action, policy.target_tenant, policy.object_id) == ("access_as_external", "*", network.id)
    refused(
        lambda: rbac.delete(draft, ADMIN, policy),
        409,
        "RbacPolicyInUse",
        "Default external networks must be shared to everyone.",
    )


def test_what_is_shared_moves_on_with_its_policies() -> None:
    draft = a_draft()
    group = a_group(draft)
    draft = later(draft)
    given_to(draft, group, STRANGER)
    assert draft.need(SecurityGroup, group.id).revision_number == group.revision_number + 1
    for kind in (Port, Router, Subnet, SecurityGroupRule):
        assert not [one for one in draft.all(kind) if one.revision_number]
