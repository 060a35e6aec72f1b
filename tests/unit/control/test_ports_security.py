"""Port security, security groups and allowed address pairs hold together, whichever of them a request names."""

import pytest

from control_cloud import (
    ADMIN,
    MEMBER,
    PROJECT,
    STRANGER,
    a_draft,
    changed,
    group_of,
    network_of,
    port_of,
    refused,
    subnet_of,
)
from floatway.control.decide import ports, security_groups
from floatway.control.entities import AddressPair, RbacPolicy

PAIR = {"ip_address": "10.0.0.9", "mac_address": "fa:16:3e:00:00:09"}
NO_SECURITY = "Port security must be enabled and port must have an IP address in order to use security groups."


@pytest.mark.parametrize("of_network", [True, False])
@pytest.mark.parametrize("given", [None, True, False])
def test_security_is_the_network_s_unless_given(of_network: bool, given: bool | None) -> None:
    draft = a_draft()
    network = network_of(draft, port_security_enabled=of_network)
    values = {} if given is None else {"port_security_enabled": given}
    port = port_of(draft, network, **values)
    expected = of_network if given is None else given
    assert port.port_security_enabled is expected
    assert port.security_groups == ((security_groups.default_group(draft, PROJECT).id,) if expected else ())


def test_the_network_s_own_ports_have_none() -> None:
    draft = a_draft()
    network = network_of(draft)
    group = group_of(draft)
    port = port_of(draft, network, ADMIN, device_owner="network:dhcp", port_security_enabled=True)
    assert (port.port_security_enabled, port.security_groups) == (False, ())
    values = {"network_id": network.id, "device_owner": "network:dhcp"}
    assert ports.create(draft, ADMIN, values).project_id == ""
    refused(
        lambda: port_of(draft, network, ADMIN, device_owner="network:dhcp", security_groups=[group.id]),
        400,
        "PortSecurityAndIPRequiredForSecurityGroups",
        NO_SECURITY,
    )


def test_groups_given_replace_the_default() -> None:
    draft = a_draft()
    network = network_of(draft)
    one, two = group_of(draft), group_of(draft)
    assert port_of(draft, network, security_groups=[two.id, one.id, two.id]).security_groups == (two.id, one.id)
    assert port_of(draft, network, security_groups=[]).security_groups == ()
    refused(
        lambda: port_of(draft, network, security_groups=[one.id], port_security_enabled=False),
        400,
        "PortSecurityAndIPRequiredForSecurityGroups",
        NO_SECURITY,
    )


def test_groups_must_be_there_for_the_caller() -> None:
    draft = a_draft()
    network = network_of(draft)
    port = port_of(draft, network)
    theirs = group_of(draft, STRANGER)
    for rule in (
        lambda: port_of(draft, network, security_groups=[theirs.id]),
        lambda: changed(draft, port, security_groups=[theirs.id]),
    ):
        refused(rule, 404, "SecurityGroupNotFound", f"Security group {theirs.id} does not exist")
    refused(lambda: port_of(draft, network, ADMIN, security_groups=["gone"]), 404, "SecurityGroupNotFound", "gone")
    assert port_of(draft, network, ADMIN, security_groups=[theirs.id]).security_groups == (theirs.id,)
    draft.put(
        RbacPolicy(
            id="r",
            object_type="security_group",
            object_id=theirs.id,
            action="access_as_shared",
            target_tenant=PROJECT,
        )
    )
    assert port_of(draft, network, security_groups=[theirs.id]).security_groups == (theirs.id,)


def test_stateful_and_stateless_groups_do_not_mix() -> None:
    draft = a_draft()
    network = network_of(draft)
    one, two = group_of(draft), group_of(draft, stateful=False)
    refused(
        lambda: port_of(draft, network, security_groups=[one.id, two.id]),
        409,
        "SecurityGroupConflict",
        "Cannot apply both stateful and stateless security groups on the same port at the same time",
    )


def test_pairs_need_security() -> None:
    draft = a_draft()
    network = network_of(draft)
    message = "Port Security must be enabled in order to have allowed address pairs on a port."
    bare = port_of(draft, network, port_security_enabled=False)
    secured = port_of(draft, network, security_groups=[], allowed_address_pairs=[PAIR])
    for rule in (
        lambda: port_of(draft, network, port_security_enabled=False, allowed_address_pairs=[PAIR]),
        lambda: changed(draft, bare, allowed_address_pairs=[PAIR]),
        lambda: changed(draft, secured, port_security_enabled=False),
    ):
        refused(rule, 409, "AddressPairAndPortSecurityRequired", message)
    off = changed(draft, secured, port_security_enabled=False, allowed_address_pairs=[])
    assert (off.port_security_enabled, off.allowed_address_pairs) == (False, ())


def test_security_is_not_turned_off_under_groups() -> None:
    draft = a_draft()
    network = network_of(draft)
    group = group_of(draft)
    port = port_of(draft, network, security_groups=[group.id])
    refused(lambda: changed(draft, port, port_security_enabled=False), 409, "PortSecurityPortHasSecurityGroup")
    off = changed(draft, port, port_security_enabled=False, security_groups=[])
    assert (off.port_security_enabled, off.security_groups) == (False, ())
    refused(lambda: changed(draft, off, security_groups=[group.id]), 400, "PortSecurityAndIPRequiredForSecurityGroups")
    on = changed(draft, off, port_security_enabled=True, security_groups=[group.id])
    assert (on.port_security_enabled, on.security_groups) == (True, (group.id,))


def test_pairs_are_kept_as_given_and_have_the_port_s_mac_otherwise() -> None:
    draft = a_draft()
    network = network_of(draft)
    subnet_of(draft, network)
    pairs = [PAIR, {"ip_address": "10.1.0.0/16"}]
    port = port_of(draft, network, allowed_address_pairs=pairs)
    assert port.allowed_address_pairs == (
        AddressPair("10.0.0.9", "fa:16:3e:00:00:09"),
        AddressPair("10.1.0.0/16", port.mac_address),
    )
    assert changed(draft, port, name="n").allowed_address_pairs == port.allowed_address_pairs
    assert changed(draft, port, allowed_address_pairs=[PAIR]).allowed_address_pairs == port.allowed_address_pairs[:1]


def test_pairs_are_different_and_not_too_many() -> None:
    draft = a_draft(max_allowed_address_pair=3)
    network = network_of(draft)
    twice = [{"ip_address": "10.0.0.9"}, {"ip_address": "10.0.0.9", "mac_address": "fa:16:3e:00:00:01"}]
    refused(
        lambda: port_of(draft, network, mac_address="fa:16:3e:00:00:01", allowed_address_pairs=twice),
        400,
        "DuplicateAddressPairInRequest",
        "Request contains duplicate address pair: mac_address fa:16:3e:00:00:01 ip_address 10.0.0.9.",
    )
    many = [{"ip_address": f"10.0.0.{n}"} for n in range(4)]
    refused(
        lambda: port_of(draft, network, allowed_address_pairs=many),
        400,
        "AllowedAddressPairExhausted",
        "The number of allowed address pair exceeds the maximum 3.",
    )


def test_the_default_group_is_made_once() -> None:
    draft = a_draft()
    network = network_of(draft)
    assert port_of(draft, network, MEMBER).security_groups == port_of(draft, network, ADMIN).security_groups
