"""Where ports are plugged in: the active binding, its status, and bindings that wait on other hosts."""

import msgspec
import pytest

from control_cloud import ADMIN, a_draft, agent_of, changed, later, network_of, port_of, refused
from floatway.control import present_port
from floatway.control.decide import binding, bindings
from floatway.control.draft import Draft
from floatway.control.entities import Port, PortBinding

DETAILS = {
    "port_filter": True,
    "connectivity": "l2",
    "ovs_hybrid_plug": True,
    "datapath_type": "system",
    "bridge_name": "br-int",
    "bound_drivers": {"0": "openvswitch"},
}


def two_hosts() -> tuple[Draft, Port]:
    draft = a_draft()
    agent_of(draft, "h1")
    agent_of(draft, "h2")
    port = port_of(draft, network_of(draft), ADMIN, device_owner="compute:nova", binding_host_id="h1")
    return draft, port


def test_a_host_with_an_agent_plugs_the_port() -> None:
    _, port = two_hosts()
    assert (port.binding_host_id, port.binding_vif_type, port.status) == ("h1", "ovs", "DOWN")
    assert port.binding_vif_details == DETAILS


@pytest.mark.parametrize(
    ("network", "vif_type"),
    [
        ({"provider_network_type": "vxlan"}, "ovs"),
        ({"provider_network_type": "gre"}, "binding_failed"),
        ({"provider_network_type": "local"}, "ovs"),
        ({"provider_network_type": "vlan", "provider_physical_network": "physnet1"}, "ovs"),
        ({"provider_network_type": "flat", "provider_physical_network": "physnet2"}, "binding_failed"),
    ],
)
def test_the_agent_must_reach_the_network(network: dict[str, str], vif_type: str) -> None:
    draft = a_draft()
    agent_of(draft, "h1")
    port = port_of(draft, network_of(draft, **network), ADMIN, binding_host_id="h1")
    assert port.binding_vif_type == vif_type
    assert bool(port.binding_vif_details) == (vif_type == "ovs")


def test_a_failed_binding_is_tried_again_with_every_update() -> None:
    draft = a_draft()
    port = port_of(draft, network_of(draft), ADMIN, binding_host_id="h1")
    assert port.binding_vif_type == "binding_failed"
    assert changed(draft, port, name="a").binding_vif_type == "binding_failed"
    agent_of(draft, "h1")
    assert changed(draft, port, name="b").binding_vif_type == "ovs"


def test_silent_agents_plug_nothing() -> None:
    draft = a_draft()
    agent = agent_of(draft, "h1")
    draft.put(msgspec.structs.replace(agent, heartbeat_timestamp="2020-01-01 00:00:00"))
    assert port_of(draft, network_of(draft), ADMIN, binding_host_id="h1").binding_vif_type == "binding_failed"


def test_only_plain_ports_are_plugged() -> None:
    draft = a_draft()
    agent_of(draft, "h1")
    port = port_of(draft, network_of(draft), ADMIN, binding_host_id="h1", binding_vnic_type="direct")
    assert (port.binding_vif_type, port.binding_vnic_type) == ("binding_failed", "direct")
    refused(lambda: changed(draft, port, ADMIN, binding_vnic_type="normal"), 409, "PortInUse", port.id)
    free = changed(draft, port, ADMIN, binding_host_id="")
    assert changed(draft, free, ADMIN, binding_vnic_type="normal").binding_vnic_type == "normal"


def test_a_physical_device_keeps_its_mac() -> None:
    draft = a_draft()
    network = network_of(draft)
    port = port_of(draft, network, ADMIN, device_owner="compute:a", device_id="d", binding_vnic_type="direct-physical")
    device = "11:22:33:44:55:66"
    on = changed(draft, port, ADMIN, binding_host_id="h1", binding_profile={"device_mac_address": device})
    assert on.mac_address == device
    other = port_of(draft, network, ADMIN, binding_vnic_type="direct-physical")
    profile = {"device_mac_address": device}
    refused(lambda: changed(draft, other, ADMIN, binding_host_id="h1", binding_profile=profile), 409, "MacAddressInUse")
    profile = {"device_mac_address": "no"}
    refused(lambda: changed(draft, other, ADMIN, binding_host_id="h1", binding_profile=profile), 400, "InvalidInput")
    off = changed(draft, on, ADMIN, device_owner="", device_id="", binding_host_id="", binding_profile=None)
    assert off.mac_address not in {device, port.mac_address}


def test_profiles_are_kept_emptied_and_not_too_large() -> None:
    draft = a_draft()
    port = port_of(draft, network_of(draft), ADMIN, binding_profile={"a": 1})
    assert port.binding_profile == {"a": 1}
    assert changed(draft, port, name="n").binding_profile == {"a": 1}
    assert changed(draft, port, ADMIN, binding_profile=None).binding_profile == {}
    refused(
        lambda: changed(draft, port, ADMIN, binding_profile={"a": "x" * 4096}),
        400,
        "InvalidInput",
        "binding:profile value too large",
    )
    for host in (5, "h" * 256):
        refused(
            lambda host=host: changed(draft, port, ADMIN, binding_host_id=host), 400, "InvalidInput", "binding:host_id"
        )


def test_status_follows_the_host_that_the_port_is_on() -> None:
    draft, port = two_hosts()
    assert binding.reported(draft, port, "h2", "ACTIVE") == port
    port = binding.reported(draft, port, "h1", "ACTIVE")
    assert port.status == "ACTIVE"
    down = changed(draft, port, admin_state_up=False)
    assert down.status == "DOWN"
    assert changed(draft, down, admin_state_up=True).status == "ACTIVE"
    refused(lambda: changed(draft, port, ADMIN, mac_address=None), 409, "PortBound", "port type: ovs")
    moved = changed(draft, port, ADMIN, binding_host_id="h2")
    assert (moved.status, moved.binding_host_id, moved.up_hosts) == ("DOWN", "h2", ())
    freed = changed(draft, port, ADMIN, binding_host_id=None)
    assert (freed.status, freed.binding_vif_type, freed.binding_vif_details) == ("DOWN", "unbound", {})
    assert binding.reported(draft, port, "h1", "DOWN").status == "DOWN"
    port = binding.reported(draft, port, "h1", "ERROR")
    assert (port.status, binding.reported(draft, port, "h2", "BUILD")) == ("ERROR", port)
    port = binding.reported(draft, port, "h1", "BUILD")
    assert (port.status, binding.reported(draft, port, "h1", "ACTIVE").troubled_hosts) == ("BUILD", {})


def test_a_report_that_says_nothing_new_changes_nothing() -> None:
    draft, port = two_hosts()
    port = binding.reported(draft, port, "h1", "ACTIVE")
    after = later(draft)
    assert binding.reported(after, port, "h1", "ACTIVE") == port
    assert after.changes() == ()


def test_distributed_interfaces_are_everywhere() -> None:
    draft = a_draft()
    owner = "network:router_interface_distributed"
    port = port_of(draft, network_of(draft), ADMIN, device_owner=owner, binding_host_id="h1")
    assert (port.binding_host_id, port.binding_vif_type, port.binding_vif_details) == ("", "distributed", {})
    up = binding.reported(draft, port, "h1", "ACTIVE")
    up = binding.reported(draft, up, "h2", "ACTIVE")
    assert (up.status, up.up_hosts) == ("ACTIVE", ("h1", "h2"))
    up = binding.reported(draft, up, "h1", "DOWN")
    assert up.status == "ACTIVE"
    assert binding.reported(draft, up, "h2", "DOWN").status == "DOWN"
    central = changed(draft, up, ADMIN, device_owner="network:router_interface")
    assert (central.binding_vif_type, central.up_hosts, central.status) == ("unbound", (), "DOWN")


def test_ports_of_the_network_keep_their_own_status() -> None:
    draft = a_draft()
    network = network_of(draft)
    port = port_of(draft, network, ADMIN, device_owner="network:floatingip", status="N/A")
    assert changed(draft, port, ADMIN, admin_state_up=False).status == "N/A"


def test_a_second_binding_waits() -> None:
    draft, port = two_hosts()
    one = bindings.create(draft, ADMIN, {"port_id": port.id, "host": "h2", "profile": {"a": 1}})
    assert (one.status, one.vif_type, one.profile) == ("INACTIVE", "ovs", {"a": 1})
    assert one.vif_details == {name: value for name, value in DETAILS.items() if name != "bound_drivers"}
    assert [(b.host, b.status) for b in bindings.of_port(draft, port)] == [("h1", "ACTIVE"), ("h2", "INACTIVE")]
    assert bindings.find(draft, port, "h2") == one
    port = draft.need(Port, port.id)
    refused(
        lambda: bindings.create(draft, ADMIN, {"port_id": port.id, "host": "h1"}),
        409,
        "PortBindingAlreadyExists",
        f"Binding for port {port.id} on host h1 already exists.",
    )
    refused(lambda: bindings.find(draft, port, "h3"), 404, "PortBindingNotFound", port.id, "h3")
    refused(lambda: bindings.create(draft, ADMIN, {"port_id": "p", "host": "h3"}), 404, "PortNotFound")
    refused(lambda: bindings.create(draft, ADMIN, {"port_id": port.id, "host": "h3"}), 409, "PortBindingError", "h3")
    assert set(present_port.binding(draft, one)) == {
        "host",
        "vif_type",
        "vif_details",
        "vnic_type",
        "profile",
        "status",
    }


def test_activating_swaps_them() -> None:
    draft, port = two_hosts()
    port = binding.reported(draft, port, "h1", "ACTIVE")
    bindings.create(draft, ADMIN, {"port_id": port.id, "host": "h2"})
    active = bindings.activate(draft, ADMIN, port, "h2")
    port = draft.need(Port, port.id)
    assert (active.host, active.status, active.vif_type) == ("h2", "ACTIVE", "ovs")
    assert (port.binding_host_id, port.binding_vif_type, port.status) == ("h2", "ovs", "DOWN")
    assert port.binding_vif_details == DETAILS
    left = bindings.find(draft, port, "h1")
    assert (left.status, left.vif_type, left.vif_details) == ("INACTIVE", "unbound", {})
    refused(lambda: bindings.activate(draft, ADMIN, port, "h2"), 409, "PortBindingAlreadyActive", "h2")
    refused(lambda: bindings.activate(draft, ADMIN, port, "h9"), 404, "PortBindingNotFound", "h9")
    assert len(draft.find(PortBinding, "port", port.id)) == 1


def test_bindings_change_and_go() -> None:
    draft, port = two_hosts()
    one = bindings.create(draft, ADMIN, {"port_id": port.id, "host": "h2", "profile": {"a": 1}})
    one = bindings.update(draft, ADMIN, one, {"profile": {"b": 2}})
    assert one.profile == {"b": 2}
    refused(lambda: bindings.update(draft, ADMIN, one, {"host": "h1"}), 409, "PortBindingAlreadyExists")
    refused(lambda: bindings.update(draft, ADMIN, one, {"vnic_type": "direct"}), 409, "PortBindingError")
    agent_of(draft, "h3")
    one = bindings.update(draft, ADMIN, one, {"host": "h3"})
    assert [b.host for b in draft.find(PortBinding, "port", port.id)] == ["h3"]
    bindings.delete(draft, ADMIN, one)
    assert not draft.has(PortBinding, "port", port.id)
    active = bindings.update(draft, ADMIN, bindings.find(draft, port, "h1"), {"profile": {"c": 3}})
    assert active.profile == draft.need(Port, port.id).binding_profile == {"c": 3}
    bindings.delete(draft, ADMIN, active)
    assert draft.need(Port, port.id).binding_vif_type == "unbound"


def test_only_what_moves_has_bindings_to_speak_of() -> None:
    draft = a_draft()
    port = port_of(draft, network_of(draft))
    message = f"Bad port request: Invalid port {port.id}. Operation only valid on compute and shared filesystem ports."
    for rule in (
        lambda: bindings.of_port(draft, port),
        lambda: bindings.create(draft, ADMIN, {"port_id": port.id, "host": "h"}),
        lambda: bindings.activate(draft, ADMIN, port, "h"),
    ):
        refused(rule, 400, "BadRequest", message)
