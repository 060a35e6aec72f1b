"""A port's life: made with the API's defaults, changed piece by piece, deleted unless something stands on it."""

import pytest

from control_cloud import (
    ADMIN,
    MEMBER,
    OTHER,
    PROJECT,
    STRANGER,
    a_draft,
    addresses,
    changed,
    later,
    network_of,
    port_of,
    refused,
    subnet_of,
)
from floatway.control.decide import ports
from floatway.control.entities import FloatingIp, Network, Port, PortBinding, Quota, RbacPolicy, Router, SecurityGroup

INTERFACE = "network:router_interface_distributed"


def test_a_port_has_the_api_s_defaults() -> None:
    draft = a_draft()
    network = network_of(draft)
    subnet_of(draft, network, gateway_ip="10.0.0.1")
    port = ports.create(draft, MEMBER, {"network_id": network.id, "project_id": PROJECT})
    (default,) = draft.find(SecurityGroup, "default", PROJECT)
    assert (port.status, port.admin_state_up, port.binding_vif_type, port.ip_allocation) == (
        "DOWN",
        True,
        "unbound",
        "immediate",
    )
    assert port.security_groups == (default.id,)
    assert port.mac_address.startswith("fa:16:3e:")
    assert len(port.fixed_ips) == 1
    assert port.revision_number == 0
    assert port.created_at == port.updated_at == draft.now
    assert draft.get(Port, port.id) == port


def test_network_must_exist_for_the_caller() -> None:
    draft = a_draft()
    network = network_of(draft, STRANGER)
    refused(lambda: port_of(draft, network), 404, "NetworkNotFound", network.id)
    assert port_of(draft, network, ADMIN).network_id == network.id
    draft.put(
        RbacPolicy(
            id="r", object_type="network", object_id=network.id, action="access_as_shared", target_tenant=PROJECT
        )
    )
    assert port_of(draft, network).project_id == PROJECT


def test_quota_counts_every_port_of_a_bulk() -> None:
    draft = a_draft()
    network = network_of(draft)
    draft.put(Quota(id=PROJECT, limits={"port": 2}))
    port_of(draft, network)
    port_of(draft, network)
    refused(lambda: port_of(draft, network), 409, "OverQuota", "port")
    values = {"network_id": network.id, "project_id": PROJECT}
    assert ports.create(draft, MEMBER, values, quota=False).id


def test_macs_are_unique_on_their_network_only() -> None:
    draft = a_draft()
    one, two = network_of(draft), network_of(draft)
    port_of(draft, one, mac_address="fa:16:3e:00:00:07")
    refused(
        lambda: port_of(draft, one, mac_address="fa:16:3e:00:00:07"),
        409,
        "MacAddressInUse",
        f"Unable to complete operation for network {one.id}. The mac address fa:16:3e:00:00:07 is in use.",
    )
    assert port_of(draft, two, mac_address="fa:16:3e:00:00:07").mac_address == "fa:16:3e:00:00:07"


def test_made_macs_keep_to_the_base_until_all_are_taken() -> None:
    draft = a_draft(base_mac="fa:16:3e:4f:00:00")
    network = network_of(draft)
    macs = {port_of(draft, network).mac_address for _ in range(30)}
    assert len(macs) == 30
    assert all(mac.startswith("fa:16:3e:4f:") for mac in macs)


def test_mac_changes_while_unplugged_only() -> None:
    draft = a_draft()
    network = network_of(draft)
    port = port_of(draft, network)
    port = changed(draft, port, mac_address="12:34:56:78:be:6d")
    assert port.mac_address == "12:34:56:78:be:6d"
    fresh = changed(draft, port, mac_address=None)
    assert fresh.mac_address.startswith("fa:16:3e:")
    other = port_of(draft, network)
    refused(lambda: changed(draft, fresh, mac_address=other.mac_address), 409, "MacAddressInUse")
    own = port_of(draft, network, ADMIN, device_owner="network:dhcp", device_id="d")
    refused(lambda: changed(draft, own, ADMIN, mac_address=None), 409, "UnsupportedPortDeviceOwner", "network:dhcp")
    assert changed(draft, own, ADMIN, mac_address=own.mac_address).mac_address == own.mac_address


def test_device_of_another_project_s_router_is_refused() -> None:
    draft = a_draft()
    network = network_of(draft)
    theirs = draft.put(Router(id=draft.new_id(), project_id=STRANGER))
    refused(
        lambda: port_of(draft, network, device_owner="network:router_interface", device_id=theirs.id),
        409,
        "DeviceIDNotOwnedByTenant",
        theirs.id,
    )
    plain = port_of(draft, network, device_id=theirs.id)
    refused(lambda: changed(draft, plain, device_owner=INTERFACE), 409, "DeviceIDNotOwnedByTenant")
    interface = port_of(draft, network, device_owner=INTERFACE)
    refused(lambda: changed(draft, interface, device_id=theirs.id), 409, "DeviceIDNotOwnedByTenant")
    assert port_of(draft, network, ADMIN, device_owner=INTERFACE, device_id=theirs.id).device_id == theirs.id


def test_update_changes_what_it_names() -> None:
    draft = a_draft()
    port = port_of(draft, network_of(draft), name="a", description="b", tags=["x", "y", "x"])
    assert port.tags == ("x", "y")
    after = later(draft)
    same = changed(after, port)
    assert same is port or same == port
    assert after.changes() == ()
    renamed = changed(after, port, name="c", admin_state_up=False, propagate_uplink_status=False)
    assert (renamed.name, renamed.description, renamed.admin_state_up) == ("c", "b", False)
    assert not renamed.propagate_uplink_status
    assert renamed.revision_number == port.revision_number + 1


def test_deleting_takes_bindings_along() -> None:
    draft = a_draft()
    port = port_of(draft, network_of(draft), device_owner="compute:nova")
    draft.put(PortBinding(id=f"{port.id}@h2", port_id=port.id, host="h2"))
    ports.delete(draft, MEMBER, port)
    assert draft.get(Port, port.id) is None
    assert not draft.has(PortBinding, "port", port.id)


@pytest.mark.parametrize(
    "owner",
    [
        "network:router_interface",
        INTERFACE,
        "network:router_gateway",
        "network:router_centralized_snat",
        "network:ha_router_replicated_interface",
    ],
)
def test_a_router_s_port_goes_with_its_router(owner: str) -> None:
    draft = a_draft()
    network = network_of(draft)
    router = draft.put(Router(id=draft.new_id(), project_id=PROJECT))
    port = port_of(draft, network, ADMIN, device_owner=owner, device_id=router.id)
    refused(
        lambda: ports.delete(draft, ADMIN, port),
        409,
        "ServicePortInUse",
        f"Port {port.id} cannot be deleted directly via the port API: has device owner {owner}.",
    )
    ports.delete(draft, ADMIN, port, l3_check=False)
    orphan = port_of(draft, network, ADMIN, device_owner=owner, device_id="gone")
    ports.delete(draft, ADMIN, orphan)
    assert draft.get(Port, orphan.id) is None


def test_a_floating_ip_s_port_goes_with_it() -> None:
    draft = a_draft()
    network = network_of(draft, provider_network_type="flat")
    subnet_of(draft, network)
    port = port_of(draft, network, ADMIN, device_owner="network:floatingip", device_id="f", status="N/A")
    assert port.status == "N/A"
    draft.put(_floating(port, network, "f"))
    refused(lambda: ports.delete(draft, ADMIN, port), 409, "ServicePortInUse", "network:floatingip")


def test_a_floating_ip_of_another_project_holds_the_port() -> None:
    draft = a_draft()
    network = network_of(draft)
    subnet_of(draft, network)
    port = port_of(draft, network)
    outer = port_of(draft, network, ADMIN, device_owner="network:floatingip", device_id="f")
    draft.put(_floating(outer, network, "f", port))
    refused(lambda: ports.delete(draft, OTHER, port), 409, "FipAssociated", port.id)


def test_an_address_under_a_floating_ip_stays() -> None:
    draft = a_draft()
    network = network_of(draft)
    subnet = subnet_of(draft, network)
    port = port_of(draft, network)
    (address,) = addresses(port)
    draft.put(_floating(port, network, "f", port))
    refused(
        lambda: changed(draft, port, fixed_ips=[{"subnet_id": subnet.id}]),
        400,
        "BadRequest",
        f"Bad port request: Cannot update the fixed_ips of the port {port.id}, because its original fixed_ip has been "
        "associated to a floating ip.",
    )
    more = changed(draft, port, fixed_ips=[{"ip_address": address}, {"subnet_id": subnet.id}])
    assert len(more.fixed_ips) == 2


def _floating(outer: Port, network: Network, id_: str, inner: Port | None = None) -> FloatingIp:
    return FloatingIp(
        id=id_,
        project_id=PROJECT,
        floating_network_id=network.id,
        floating_ip_address="192.0.2.7",
        floating_port_id=outer.id,
        port_id=inner.id if inner else None,
        fixed_ip_address=inner.fixed_ips[0].ip_address if inner else None,
    )
