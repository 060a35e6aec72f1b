"""Drawn requests about security groups, their rules, address groups and policies keep what must hold.

draw one of ten kinds of requests ─▶ done, or refused with 4xx and nothing changed ─▶ every promise is checked
"""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_cloud import ADMIN, MEMBER, OTHER, PROJECT, STRANGER, a_draft, network_of, port_of
from control_security import a_group, a_rule, an_address_group, given_to
from floatway.control.caller import Caller
from floatway.control.decide import (
    address_groups,
    default_rules,
    ports,
    rbac,
    rule_checks,
    security_group_rules,
    security_groups,
    sharing,
)
from floatway.control.draft import Draft
from floatway.control.entities import (
    AddressGroup,
    Network,
    Port,
    RbacPolicy,
    SecurityGroup,
    SecurityGroupRule,
    Standard,
)
from floatway.control.errors import ApiError

LIMITS = {"security_group": 4, "security_group_rule": 16, "rbac_policy": 5, "port": 6}
KINDS = {"security_group": SecurityGroup, "security_group_rule": SecurityGroupRule, "rbac_policy": RbacPolicy}
PREFIXES = ["10.0.0.0/8", "0.0.0.0/0", "10.1.2.3/32"]


class Cloud:
    """What two projects and an admin do to each other."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.draft = a_draft(default_quotas=LIMITS)
        default_rules.bootstrap(self.draft)
        for project in (PROJECT, STRANGER):
            network_of(self.draft, project)
        self.callers: tuple[Caller, ...] = (MEMBER, OTHER, ADMIN)
        self.requests = 100

    def step(self) -> None:
        """One request, on a draft of its own."""
        before = self.draft
        self.requests += 1
        trial = Draft(before.model.at(self.requests), before.settings, seconds=before.seconds + 1, seed=self.requests)
        caller = self.chance.choice(self.callers)
        try:
            self.chance.choice(REQUESTS)(self, trial, caller)
        except ApiError as error:
            assert 400 <= error.status < 500, error.message
            return
        check_revisions(before, trial)
        self.draft = trial

    def one(self, draft: Draft, kind: Any, caller: Caller = ADMIN) -> Any:
        """Any entity of the kind that the caller may change."""
        mine = [one for one in draft.all(kind) if caller.is_admin or one.project_id == caller.project_id]
        if not mine:
            raise ApiError(404, "none", "none")
        return self.chance.choice(sorted(mine, key=lambda one: one.id))


def make_group(cloud: Cloud, draft: Draft, caller: Caller) -> None:
    project = caller.project_id or cloud.chance.choice([PROJECT, STRANGER])
    a_group(draft, caller, project_id=project, stateful=cloud.chance.random() < 0.7)


def change_group(cloud: Cloud, draft: Draft, caller: Caller) -> None:
    values: dict[str, Any] = cloud.chance.choice([{"name": "n"}, {"stateful": False}, {"stateful": True}])
    security_groups.update(draft, caller, cloud.one(draft, SecurityGroup, caller), values)


def delete_group(cloud: Cloud, draft: Draft, caller: Caller) -> None:
    security_groups.delete(draft, caller, cloud.one(draft, SecurityGroup, caller))


def make_rule(cloud: Cloud, draft: Draft, caller: Caller) -> None:
    chance = cloud.chance
    group = cloud.one(draft, SecurityGroup, caller)
    remotes: list[Callable[[], dict[str, Any]]] = [
        dict,
        lambda: {"remote_ip_prefix": chance.choice(PREFIXES)},
        lambda: {"remote_group_id": cloud.one(draft, SecurityGroup).id},
        lambda: {"remote_address_group_id": cloud.one(draft, AddressGroup).id},
    ]
    a_rule(draft, group, caller, protocol=chance.choice([None, "tcp", "6", "icmp"]), **chance.choice(remotes)())


def delete_rule(cloud: Cloud, draft: Draft, caller: Caller) -> None:
    security_group_rules.delete(draft, caller, cloud.one(draft, SecurityGroupRule, caller))


def make_addresses(cloud: Cloud, draft: Draft, caller: Caller) -> None:
    group = an_address_group(draft, MEMBER if caller is ADMIN else caller, *cloud.chance.sample(PREFIXES, 2))
    address_groups.add_addresses(draft, caller, group, {"addresses": [cloud.chance.choice(PREFIXES)]})


def delete_addresses(cloud: Cloud, draft: Draft, caller: Caller) -> None:
    address_groups.delete(draft, caller, cloud.one(draft, AddressGroup, caller))


def give(cloud: Cloud, draft: Draft, caller: Caller) -> None:
    entity = cloud.one(draft, cloud.chance.choice([SecurityGroup, AddressGroup, Network]))
    target = cloud.chance.choice([PROJECT, STRANGER, "*"])
    given_to(draft, entity, target, caller, project_id=caller.project_id or PROJECT)


def take_back(cloud: Cloud, draft: Draft, caller: Caller) -> None:
    policy = cloud.one(draft, RbacPolicy, caller)
    if cloud.chance.random() < 0.5:
        rbac.delete(draft, caller, policy)
    else:
        rbac.update(draft, caller, policy, {"target_tenant": cloud.chance.choice([PROJECT, STRANGER, "*"])})


def use(cloud: Cloud, draft: Draft, caller: Caller) -> None:
    if cloud.chance.random() < 0.3:
        ports.delete(draft, caller, cloud.one(draft, Port, caller))
        return
    groups = [cloud.one(draft, SecurityGroup).id] if cloud.chance.random() < 0.8 else []
    given_groups = {"security_groups": groups} if groups else {}
    project = caller.project_id or PROJECT
    port_of(draft, cloud.one(draft, Network), caller, project_id=project, **given_groups)


REQUESTS = [
    make_group,
    change_group,
    delete_group,
    make_rule,
    make_rule,
    delete_rule,
    make_addresses,
    delete_addresses,
    give,
    take_back,
    use,
]


def check_revisions(before: Draft, after: Draft) -> None:
    """What changed has its next number, and nothing else moved."""
    for kind, id_, entity in after.changes():
        old = before.model.tables[kind].get(id_)
        if isinstance(entity, Standard) and isinstance(old, Standard):
            assert entity.revision_number == old.revision_number + 1


def check(draft: Draft, *, members_only: bool) -> None:
    """Everything that must hold after any number of requests; an admin may give a project what it could not take."""
    defaults = Counter(group.project_id for group in draft.all(SecurityGroup) if group.is_default)
    assert max(defaults.values(), default=1) == 1
    for name, kind in KINDS.items():
        counts = Counter(one.project_id for one in draft.all(kind) if not getattr(one, "is_default", False))
        assert max(counts.values(), default=0) <= LIMITS[name]
    said = Counter((rule.security_group_id, rule_checks.key(rule)) for rule in draft.all(SecurityGroupRule))
    assert max(said.values(), default=1) == 1
    for rule in draft.all(SecurityGroupRule):
        assert draft.get(SecurityGroup, rule.security_group_id) is not None
        assert not rule.remote_group_id or draft.get(SecurityGroup, rule.remote_group_id) is not None
        assert not rule.remote_address_group_id or draft.get(AddressGroup, rule.remote_address_group_id) is not None
    for policy in draft.all(RbacPolicy):
        assert draft.model.tables[policy.object_type].get(policy.object_id) is not None
    same = Counter((one.object_id, one.action, one.target_tenant) for one in draft.all(RbacPolicy))
    assert max(same.values(), default=1) == 1
    for port in draft.all(Port):
        groups = [draft.need(SecurityGroup, id_) for id_ in port.security_groups]
        assert len({group.stateful for group in groups}) <= 1
        network = draft.need(Network, port.network_id)
        for used in (*groups, network):
            assert not members_only or sharing.allows(draft, used, port.project_id)


@pytest.mark.parametrize("members_only", [True, False])
@given(st.randoms(use_true_random=False))
def test_requests_keep_what_must_hold(members_only: bool, chance: random.Random) -> None:
    cloud = Cloud(chance)
    if members_only:
        cloud.callers = (MEMBER, OTHER)
    for _ in range(60):
        cloud.step()
    check(cloud.draft, members_only=members_only)
