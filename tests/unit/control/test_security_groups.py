"""Security groups: the default one of each project, what new ones begin with, what may not be done to them."""

import pytest

from control_cloud import ADMIN, MEMBER, OTHER, PROJECT, STRANGER, a_draft, later, network_of, port_of, refused
from control_security import a_group, a_rule, a_template, given_to, rules_of
from floatway.control import present_sg
from floatway.control.decide import default_rules, security_group_rules, security_groups
from floatway.control.draft import Draft
from floatway.control.entities import DefaultSecurityGroupRule, RbacPolicy, SecurityGroup, SecurityGroupRule

MISSING = "11111111-1111-4111-8111-111111111111"


def ready(**settings: object) -> Draft:
    """A cloud as a server begins with it."""
    draft = a_draft(**settings)
    default_rules.bootstrap(draft)
    return draft


def test_the_default_group_lets_its_members_in_and_everything_out() -> None:
    draft = ready()
    group = security_groups.default_group(draft, PROJECT)
    assert (group.name, group.description, group.is_default) == ("default", "Default security group", True)
    found = sorted((rule.direction, rule.ethertype, rule.remote_group_id) for rule in rules_of(draft, group))
    assert found == [
        ("egress", "IPv4", None),
        ("egress", "IPv6", None),
        ("ingress", "IPv4", group.id),
        ("ingress", "IPv6", group.id),
    ]
    assert security_groups.default_group(draft, PROJECT) is group
    assert security_groups.default_group(draft, STRANGER).id != group.id


def test_another_group_lets_everything_out_and_brings_the_default_along() -> None:
    draft = ready()
    group = a_group(draft)
    found = sorted((rule.direction, rule.ethertype, rule.project_id) for rule in rules_of(draft, group))
    assert found == [("egress", "IPv4", PROJECT), ("egress", "IPv6", PROJECT)]
    assert {one.name for one in draft.find(SecurityGroup, "project", PROJECT)} == {"web", "default"}


def test_templates_shape_the_groups_made_after_them() -> None:
    draft = ready()
    before = a_group(draft)
    a_template(draft, ADMIN, protocol="tcp", port_range_min=22, port_range_max=22)
    a_template(draft, ADMIN, protocol="icmp", used_in_default_sg=True, used_in_non_default_sg=False)
    assert not [rule for rule in rules_of(draft, before) if rule.protocol]
    assert [rule.port_range_min for rule in rules_of(draft, a_group(draft)) if rule.protocol == "tcp"] == [22]
    default = security_groups.default_group(draft, STRANGER)
    assert [rule.protocol for rule in rules_of(draft, default) if rule.protocol] == ["icmp"]


def test_templates_say_something_new_for_the_groups_they_are_for() -> None:
    draft = ready()
    first = a_template(draft, ADMIN, protocol="tcp")
    refused(lambda: a_template(draft, ADMIN, protocol="6"), 409, "DefaultSecurityGroupRuleExists", first.id)
    a_template(draft, ADMIN, protocol="tcp", used_in_default_sg=True, used_in_non_default_sg=False)
    refused(lambda: a_template(draft, ADMIN, remote_group_id=MISSING), 404, "SecurityGroupNotFound", MISSING)
    a_template(draft, ADMIN, remote_group_id="PARENT")
    default_rules.delete(draft, ADMIN, first)
    a_template(draft, ADMIN, protocol="tcp")
    shown = present_sg.PRESENT[DefaultSecurityGroupRule.KIND](draft, first)
    assert "project_id" not in shown and "created_at" not in shown


def test_quotas_hold_for_groups_and_for_the_rules_they_begin_with() -> None:
    few = ready(default_quotas={"security_group": 2})
    a_group(few)
    refused(lambda: a_group(few), 409, "OverQuota", "Quota exceeded for resources: ['security_group'].")
    no_rules = ready(default_quotas={"security_group_rule": 3})
    refused(lambda: security_groups.default_group(no_rules, PROJECT), 409, "OverQuota", "['security_group_rule']")


def test_a_group_in_use_stays_as_it_is() -> None:
    draft = ready()
    group = a_group(draft)
    port = port_of(draft, network_of(draft), security_groups=[group.id])
    in_use = f"Security Group {group.id} in use."
    refused(lambda: security_groups.delete(draft, MEMBER, group), 409, "SecurityGroupInUse", in_use)
    refused(
        lambda: security_groups.update(draft, MEMBER, group, {"stateful": False}), 409, "SecurityGroupInUse", in_use
    )
    assert security_groups.update(draft, MEMBER, group, {"stateful": True, "name": "still"}).name == "still"
    draft.remove(port)
    assert security_groups.update(draft, MEMBER, group, {"stateful": False}).stateful is False


def test_the_default_group_is_no_user_s_to_rename_or_delete() -> None:
    draft = ready()
    group = security_groups.default_group(draft, PROJECT)
    for name in ("default", "other"):
        refused(
            lambda name=name: security_groups.update(draft, ADMIN, group, {"name": name}),
            409,
            "SecurityGroupCannotUpdateDefault",
        )
    assert security_groups.update(draft, MEMBER, group, {"description": "d"}).description == "d"
    refused(lambda: security_groups.delete(draft, MEMBER, group), 409, "SecurityGroupCannotRemoveDefault")
    security_groups.delete(draft, ADMIN, group)
    assert security_groups.default_of(draft, PROJECT) is None
    assert security_groups.default_group(draft, PROJECT).id != group.id


def test_a_deleted_group_takes_the_rules_along_that_name_it() -> None:
    draft = ready()
    gone, left = a_group(draft), a_group(draft)
    own = a_rule(draft, gone, protocol="tcp")
    naming = a_rule(draft, left, remote_group_id=gone.id)
    given_to(draft, gone, STRANGER)
    draft = later(draft)
    before = draft.need(SecurityGroup, left.id).revision_number
    security_groups.delete(draft, MEMBER, draft.need(SecurityGroup, gone.id))
    for rule in (own, naming):
        assert draft.get(SecurityGroupRule, rule.id) is None
    assert draft.need(SecurityGroup, left.id).revision_number == before + 1
    assert list(draft.all(RbacPolicy)) == []


@pytest.mark.parametrize("change", ["made", "deleted"])
def test_a_group_s_revision_moves_with_its_rules(change: str) -> None:
    draft = ready()
    group = a_group(draft)
    rule = a_rule(draft, group, protocol="udp")
    draft = later(draft)
    before = draft.need(SecurityGroup, group.id).revision_number
    if change == "made":
        a_rule(draft, group, protocol="tcp")
    else:
        security_group_rules.delete(draft, MEMBER, rule)
    assert draft.need(SecurityGroup, group.id).revision_number == before + 1


def test_a_group_shows_its_rules_oldest_first() -> None:
    draft = ready()
    group = a_group(draft)
    a_rule(draft, group, protocol="tcp", remote_ip_prefix="10.0.0.5/24")
    shown = present_sg.PRESENT[SecurityGroup.KIND](draft, draft.need(SecurityGroup, group.id))
    assert [rule["direction"] for rule in shown["security_group_rules"]] == ["egress", "egress", "ingress"]
    last = shown["security_group_rules"][-1]
    assert (last["remote_ip_prefix"], last["normalized_cidr"], last["tags"]) == ("10.0.0.5/24", "10.0.0.0/24", ())
    assert last["belongs_to_default_sg"] is False
    default = security_groups.default_group(draft, PROJECT)
    rule = rules_of(draft, default)[0]
    assert present_sg.PRESENT[SecurityGroupRule.KIND](draft, rule)["belongs_to_default_sg"] is True


def test_a_project_makes_ports_with_groups_shared_with_it() -> None:
    draft = ready()
    group = a_group(draft)
    network = network_of(draft, STRANGER)
    values = {"project_id": STRANGER, "security_groups": [group.id]}
    refused(lambda: port_of(draft, network, OTHER, **values), 404, "SecurityGroupNotFound", group.id)
    given_to(draft, group, STRANGER)
    assert port_of(draft, network, OTHER, **values).security_groups == (group.id,)
