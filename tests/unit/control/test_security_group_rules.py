"""Rules of security groups: what fits together, what is the same said twice, what they may name."""

from typing import Any

import pytest

from control_cloud import ADMIN, MEMBER, OTHER, PROJECT, STRANGER, a_draft, refused
from control_security import a_group, a_rule, an_address_group, given_to, rule_values
from floatway.control.decide import security_group_rules, security_groups
from floatway.control.entities import SecurityGroupRule

MISSING = "11111111-1111-4111-8111-111111111111"
TCP_22 = {"protocol": "tcp", "port_range_min": 22, "port_range_max": 22}


@pytest.mark.parametrize(
    ("given", "type_", "words"),
    [
        (
            {"port_range_min": 1, "port_range_max": 2},
            "SecurityGroupProtocolRequiredWithPorts",
            "Must also specify protocol if port range is given.",
        ),
        (
            {**TCP_22, "port_range_max": 21},
            "SecurityGroupInvalidPortRange",
            "For TCP/UDP protocols, port_range_min must be <= port_range_max",
        ),
        ({**TCP_22, "port_range_max": None}, "SecurityGroupInvalidPortRange", ""),
        ({**TCP_22, "port_range_min": None}, "SecurityGroupInvalidPortRange", ""),
        ({**TCP_22, "port_range_min": 0}, "SecurityGroupInvalidPortValue", "Invalid value for port 0"),
        (
            {**TCP_22, "protocol": "gre"},
            "SecurityGroupInvalidProtocolForPort",
            "Ports cannot be specified for protocol 47. Ports are only supported for DCCP, SCTP, TCP, UDP, UDPLITE.",
        ),
        (
            {"protocol": "icmp", "port_range_min": 256},
            "SecurityGroupInvalidIcmpValue",
            "Invalid value for ICMP type (port_range_min) 256. It must be 0 to 255.",
        ),
        (
            {"protocol": "icmp", "port_range_min": 3, "port_range_max": 256},
            "SecurityGroupInvalidIcmpValue",
            "Invalid value for ICMP code (port_range_max) 256. It must be 0 to 255.",
        ),
        (
            {"protocol": "1", "port_range_max": 0},
            "SecurityGroupMissingIcmpType",
            "ICMP code (port-range-max) 0 is provided but ICMP type (port-range-min) is missing.",
        ),
        (
            {"protocol": "ipv6-icmp"},
            "SecurityGroupEthertypeConflictWithProtocol",
            "Invalid ethertype IPv4 for protocol ipv6-icmp.",
        ),
        ({"protocol": "58"}, "SecurityGroupEthertypeConflictWithProtocol", "for protocol 58."),
        (
            {"ethertype": "IPv6", "remote_ip_prefix": "10.0.0.0/8"},
            "SecurityGroupRuleParameterConflict",
            "Conflicting value ethertype IPv6 for CIDR 10.0.0.0/8",
        ),
        (
            {"remote_group_id": MISSING, "remote_ip_prefix": "10.0.0.0/8"},
            "SecurityGroupMultipleRemoteEntites",
            "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.",
        ),
    ],
)
def test_what_does_not_fit_together(given: dict[str, Any], type_: str, words: str) -> None:
    draft = a_draft()
    group = a_group(draft)
    refused(lambda: a_rule(draft, group, **given), 400, type_, words)


@pytest.mark.parametrize(
    "given",
    [
        {"protocol": "icmp", "port_range_min": 8, "port_range_max": 0},
        {"protocol": "icmp", "port_range_min": 0},
        {"protocol": "sctp", "port_range_min": 1, "port_range_max": 2},
        {"protocol": "ipv6-frag", "ethertype": "IPv6"},
        {"protocol": "255"},
        {"remote_ip_prefix": "10.0.0.0/8"},
        {"ethertype": "IPv6", "remote_ip_prefix": "2001:db8::/32"},
    ],
)
def test_what_fits_is_kept_as_given(given: dict[str, Any]) -> None:
    draft = a_draft()
    rule = a_rule(draft, a_group(draft), **given)
    assert {name: getattr(rule, name) for name in given} == given


def test_all_ports_are_no_range() -> None:
    draft = a_draft()
    group = a_group(draft)
    rule = a_rule(draft, group, protocol="tcp", port_range_min=1, port_range_max=65535)
    assert (rule.port_range_min, rule.port_range_max) == (None, None)
    refused(lambda: a_rule(draft, group, protocol="6"), 409, "SecurityGroupRuleExists", f"Rule id is {rule.id}.")


@pytest.mark.parametrize(
    ("said", "kept"), [("icmp", "ipv6-icmp"), ("icmpv6", "ipv6-icmp"), ("1", "58"), ("ipv6-icmp", "ipv6-icmp")]
)
def test_icmp_in_a_rule_of_ipv6_is_ipv6_s(said: str, kept: str) -> None:
    draft = a_draft()
    group = a_group(draft)
    rule = a_rule(draft, group, protocol=said, ethertype="IPv6")
    assert rule.protocol == kept
    refused(lambda: a_rule(draft, group, protocol="58", ethertype="IPv6"), 409, "SecurityGroupRuleExists", rule.id)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (TCP_22, {**TCP_22, "protocol": "6"}),
        ({}, {"remote_ip_prefix": "0.0.0.0/0"}),
        ({"ethertype": "IPv6"}, {"ethertype": "IPv6", "remote_ip_prefix": "::/0"}),
        ({"protocol": "0"}, {"protocol": "ip"}),
        ({"protocol": "tcp"}, {"protocol": "tcp", "description": "again"}),
    ],
)
def test_the_same_said_twice(one: dict[str, Any], same: dict[str, Any]) -> None:
    draft = a_draft()
    group = a_group(draft)
    first = a_rule(draft, group, **one)
    refused(
        lambda: a_rule(draft, group, **same),
        409,
        "SecurityGroupRuleExists",
        f"Security group rule already exists. Rule id is {first.id}.",
    )
    a_rule(draft, a_group(draft), **same)


@pytest.mark.parametrize(
    "other",
    [
        {**TCP_22, "direction": "egress"},
        {**TCP_22, "protocol": "udp"},
        {**TCP_22, "port_range_max": 23},
        {**TCP_22, "ethertype": "IPv6"},
        {**TCP_22, "remote_ip_prefix": "10.0.0.0/24"},
        {"protocol": "hopopt"},
        {"protocol": "ip"},
    ],
)
def test_what_differs_in_anything_is_another_rule(other: dict[str, Any]) -> None:
    draft = a_draft()
    group = a_group(draft)
    a_rule(draft, group, **TCP_22)
    a_rule(draft, group, protocol="hopopt", direction="egress")
    assert a_rule(draft, group, **other)


def test_rules_of_one_request_belong_together() -> None:
    draft = a_draft()
    group, another = a_group(draft), a_group(draft)
    check = security_group_rules.check_bulk
    check([rule_values(group, protocol="tcp"), rule_values(group, protocol="udp")])
    refused(
        lambda: check([rule_values(group, protocol="tcp"), rule_values(group, protocol="6")]),
        409,
        "DuplicateSecurityGroupRuleInPost",
        "Duplicate Security Group Rule in POST.",
    )
    refused(
        lambda: check([rule_values(group), rule_values(another, protocol="tcp")]),
        400,
        "SecurityGroupNotSingleGroupRules",
        "Only allowed to update rules for one security profile at a time",
    )
    refused(
        lambda: check([rule_values(group), rule_values(group, protocol="tcp", project_id=STRANGER)]),
        400,
        "SecurityGroupRulesNotSingleProject",
        "Multiple project_ids in bulk security group rule create not allowed",
    )


def test_a_rule_names_what_its_project_sees() -> None:
    draft = a_draft()
    own = a_group(draft)
    group, addresses = a_group(draft, OTHER), an_address_group(draft, OTHER)
    for name, hidden, type_ in (
        ("remote_group_id", group, "SecurityGroupNotFound"),
        ("remote_address_group_id", addresses, "AddressGroupNotFound"),
    ):
        for id_ in (hidden.id, MISSING):
            refused(lambda name=name, id_=id_: a_rule(draft, own, **{name: id_}), 404, type_, id_)
        given_to(draft, hidden, PROJECT, OTHER, project_id=STRANGER)
        assert getattr(a_rule(draft, own, **{name: hidden.id}), name) == hidden.id
    refused(lambda: a_rule(draft, group, OTHER, security_group_id=MISSING), 404, "SecurityGroupNotFound", MISSING)
    assert a_rule(draft, own, ADMIN, remote_group_id=own.id).remote_group_id == own.id


def test_only_the_description_changes() -> None:
    draft = a_draft()
    rule = a_rule(draft, a_group(draft), **TCP_22)
    changed = security_group_rules.update(draft, MEMBER, rule, {"description": "ssh"})
    assert (changed.description, changed.port_range_min) == ("ssh", 22)
    security_group_rules.delete(draft, MEMBER, changed)
    assert draft.get(SecurityGroupRule, rule.id) is None


def test_rules_count_for_the_project_that_makes_them() -> None:
    draft = a_draft(default_quotas={"security_group_rule": 2})
    group = security_groups.default_group(draft, PROJECT)
    a_rule(draft, group, protocol="tcp")
    a_rule(draft, group, protocol="udp")
    refused(lambda: a_rule(draft, group, protocol="icmp"), 409, "OverQuota", "['security_group_rule']")
