"""Address groups: prefixes, each once, that rules may name."""

from typing import Any

import pytest

from control_cloud import MEMBER, STRANGER, a_draft, refused
from control_security import a_group, a_rule, an_address_group, given_to
from floatway.control.decide import address_groups, security_group_rules
from floatway.control.entities import AddressGroup, RbacPolicy

ADD, REMOVE = address_groups.add_addresses, address_groups.remove_addresses


def test_prefixes_are_kept_without_host_bits_and_once() -> None:
    group = an_address_group(a_draft(), MEMBER, "10.0.0.5/24", "10.0.0.0/24", "2001:0db8::1/64")
    assert group.addresses == ("10.0.0.0/24", "2001:db8::/64")


def test_addresses_come_and_go() -> None:
    draft = a_draft()
    group = an_address_group(draft, MEMBER, "10.0.0.0/24")
    group = ADD(draft, MEMBER, group, {"addresses": ["10.1.0.9", "10.2.0.0/16", "10.2.3.4/16"]})["address_group"]
    assert group.addresses == ("10.0.0.0/24", "10.1.0.9/32", "10.2.0.0/16")
    refused(
        lambda: ADD(draft, MEMBER, group, {"addresses": ["10.3.0.0/16", "10.0.0.7/24"]}),
        400,
        "AddressesAlreadyExist",
        f"Addresses ['10.0.0.0/24'] already exist in the address group {group.id}.",
    )
    refused(
        lambda: REMOVE(draft, MEMBER, group, {"addresses": ["10.9.0.0/16", "10.1.0.9"]}),
        404,
        "AddressesNotFound",
        f"Addresses ['10.9.0.0/16'] not found in the address group {group.id}.",
    )
    assert draft.need(AddressGroup, group.id) == group
    left = REMOVE(draft, MEMBER, group, {"addresses": ["10.1.0.9", "10.0.0.0/24"]})["address_group"]
    assert left.addresses == ("10.2.0.0/16",)
    assert ADD(draft, MEMBER, left, {"addresses": []})["address_group"] == left


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        ({"addresses": ["x"]}, "AddrFormatError"),
        ({"addresses": [None]}, "AddrFormatError"),
        ({"addresses": [5]}, "AddrFormatError"),
        ({"addresses": ["10.0.0.0/33"]}, "AddrFormatError"),
        ({"addresses": "10.0.0.0/8"}, "InvalidInput"),
        ({"addresses": None}, "InvalidInput"),
        ({}, "InvalidInput"),
        ([], "InvalidInput"),
    ],
)
def test_what_is_no_list_of_prefixes(body: Any, type_: str) -> None:
    draft = a_draft()
    group = an_address_group(draft)
    for action in (ADD, REMOVE):
        refused(lambda action=action: action(draft, MEMBER, group, body), 400, type_)


def test_a_group_that_a_rule_names_stays() -> None:
    draft = a_draft()
    group = an_address_group(draft)
    given_to(draft, group, STRANGER)
    rule = a_rule(draft, a_group(draft), remote_address_group_id=group.id)
    refused(
        lambda: address_groups.delete(draft, MEMBER, group),
        409,
        "AddressGroupInUse",
        f"Address group {group.id} is in use on one or more security group rules.",
    )
    security_group_rules.delete(draft, MEMBER, rule)
    address_groups.delete(draft, MEMBER, group)
    assert draft.get(AddressGroup, group.id) is None
    assert not list(draft.all(RbacPolicy))


def test_a_group_is_renamed_not_readdressed() -> None:
    draft = a_draft()
    group = an_address_group(draft, MEMBER, "10.0.0.0/8")
    changed = address_groups.update(draft, MEMBER, group, {"name": "n", "description": "d"})
    assert (changed.name, changed.description, changed.addresses) == ("n", "d", ("10.0.0.0/8",))
