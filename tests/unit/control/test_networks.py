"""A network's life: made with a segment and an MTU, shared and taken back, gone with what is the system's on it."""

from control_cloud import ADMIN, MEMBER, OTHER, PROJECT, STRANGER, a_draft, later, port_of, refused
from control_l2 import a_network, a_pool, a_subnet, renetworked
from floatway.control import entities as e
from floatway.control.decide import networks, rbac, sharing
from floatway.control.draft import Draft


def policies(draft: Draft, network: e.Network) -> list[tuple[str, str]]:
    return sorted((one.action, one.target_tenant) for one in sharing.policies(draft, "network", network.id))


def test_a_network_has_the_api_s_defaults() -> None:
    draft = a_draft()
    network = a_network(draft)
    assert (network.status, network.admin_state_up, network.port_security_enabled) == ("ACTIVE", True, True)
    assert (network.provider_network_type, network.provider_physical_network) == ("vxlan", None)
    assert 1 <= (network.provider_segmentation_id or 0) <= 65535
    assert network.mtu == 1450
    assert (network.router_external, network.is_default, network.dns_domain) == (False, False, "")
    assert policies(draft, network) == []


def test_quota_counts_networks() -> None:
    draft = a_draft(default_quotas={"network": 1})
    a_network(draft)
    refused(lambda: a_network(draft), 409, "OverQuota", "['network']")
    assert a_network(draft, OTHER).project_id == STRANGER


def test_an_mtu_fits_the_wire() -> None:
    draft = a_draft()
    assert a_network(draft, mtu=1450).mtu == 1450
    refused(lambda: a_network(draft, mtu=1451), 400, "InvalidInput", "Requested MTU is too big, maximum is 1450.")
    tagged = a_draft(vlan_ranges={"physnet1": ((100, 102),)}, global_physnet_mtu=9000, path_mtu=4000)
    vlan = a_network(tagged, ADMIN, provider_network_type="vlan")
    assert vlan.mtu == 9000
    tunnel = a_network(tagged)
    assert tunnel.mtu == 3950
    assert renetworked(tagged, tunnel, mtu=1400).mtu == 1400
    tunnel = renetworked(tagged, tunnel, mtu=0)
    assert tunnel.mtu == 3950
    refused(lambda: renetworked(tagged, tunnel, mtu=3951), 400, "InvalidInput", "maximum is 3950")


def test_an_mtu_is_not_below_what_the_subnets_need() -> None:
    draft = a_draft()
    network = a_network(draft, mtu=67)
    message = f"MTU of {network.id} is not valid, subnet requires a minimum of 68"
    refused(lambda: a_subnet(draft, network), 409, "NetworkMTUSubnetConflict", message)
    network = renetworked(draft, network, mtu=68)
    a_subnet(draft, network)
    refused(lambda: a_subnet(draft, network, "2001:db8::/64"), 409, "NetworkMTUSubnetConflict", "minimum of 1280")
    for mtu in (0, 67):
        refused(lambda mtu=mtu: renetworked(draft, network, mtu=mtu), 409, "NetworkMTUSubnetConflict", "minimum of 68")
    network = renetworked(draft, network, mtu=1280)
    a_subnet(draft, network, "2001:db8::/64")
    refused(lambda: renetworked(draft, network, mtu=1279), 409, "NetworkMTUSubnetConflict", "minimum of 1280")


def test_shared_is_a_policy_for_everybody() -> None:
    draft = a_draft()
    network = a_network(draft, ADMIN, shared=True)
    assert policies(draft, network) == [("access_as_shared", "*")]
    assert sharing.allows(draft, network, STRANGER)
    renetworked(draft, network, ADMIN, shared=True)
    assert policies(draft, network) == [("access_as_shared", "*")]
    renetworked(draft, network, ADMIN, shared=False)
    assert not sharing.allows(draft, network, STRANGER)


def test_sharing_that_others_rely_on_is_not_taken_back() -> None:
    draft = a_draft()
    network = a_network(draft, shared=True)
    a_subnet(draft, network)
    port_of(draft, network, ADMIN, project_id="", device_owner="network:dhcp", device_id="d")
    port_of(draft, network, ADMIN, project_id=STRANGER, device_owner="network:router_interface", device_id="r")
    theirs = port_of(draft, network, OTHER, project_id=STRANGER)
    message = "Unable to reconfigure sharing settings for network n. Multiple projects are using it."
    refused(lambda: renetworked(draft, network, shared=False), 409, "InvalidSharedSetting", message)
    rbac.create(
        draft,
        ADMIN,
        {
            "project_id": PROJECT,
            "object_type": "network",
            "object_id": network.id,
            "action": sharing.SHARED,
            "target_tenant": STRANGER,
        },
    )
    renetworked(draft, draft.need(e.Network, network.id), shared=False)
    assert policies(draft, network) == [("access_as_shared", STRANGER)]
    assert draft.need(e.Port, theirs.id) == theirs


def test_external_is_a_policy_too() -> None:
    draft = a_draft()
    network = a_network(draft, ADMIN, router_external=True)
    assert policies(draft, network) == [("access_as_external", "*")]
    inside = renetworked(draft, network, ADMIN, router_external=False)
    assert (inside.router_external, policies(draft, network)) == (False, [])
    outside = renetworked(draft, inside, ADMIN, router_external=True)
    assert policies(draft, network) == [("access_as_external", "*")]
    port_of(draft, outside, ADMIN, project_id="", device_owner="network:router_gateway", device_id="r")
    refused(
        lambda: renetworked(draft, outside, ADMIN, router_external=False),
        409,
        "ExternalNetworkInUse",
        f"External network {network.id} cannot be updated to be made non-external, since it has existing gateway ports.",
    )


def test_one_external_network_is_the_default() -> None:
    draft = a_draft()
    default = a_network(draft, ADMIN, router_external=True, is_default=True)
    assert default.is_default
    assert not a_network(draft, ADMIN, is_default=True).is_default
    refused(
        lambda: a_network(draft, ADMIN, router_external=True, is_default=True),
        409,
        "DefaultExternalNetworkExists",
        default.id,
    )
    other = a_network(draft, ADMIN, router_external=True)
    refused(lambda: renetworked(draft, other, ADMIN, is_default=True), 409, "DefaultExternalNetworkExists", default.id)
    assert not renetworked(draft, default, ADMIN, router_external=False).is_default
    assert renetworked(draft, other, ADMIN, is_default=True).is_default


def test_only_a_vlan_s_id_may_change_of_a_segment() -> None:
    draft = a_draft(vlan_ranges={"physnet1": ((100, 102),)})
    one = a_network(
        draft, ADMIN, provider_network_type="vlan", provider_physical_network="physnet1", provider_segmentation_id=7
    )
    two = renetworked(draft, one, ADMIN, provider_segmentation_id=8)
    assert two.provider_segmentation_id == 8
    again = a_network(
        draft, ADMIN, provider_network_type="vlan", provider_physical_network="physnet1", provider_segmentation_id=7
    )
    refused(lambda: renetworked(draft, again, ADMIN, provider_segmentation_id=8), 409, "VlanIdInUse", "The VLAN 8")
    refused(lambda: renetworked(draft, again, ADMIN, provider_segmentation_id=4095), 400, "InvalidInput", "4094")
    assert renetworked(draft, again, ADMIN, provider_segmentation_id=7, provider_network_type=None) == again
    refused(
        lambda: renetworked(draft, again, ADMIN, provider_physical_network="physnet2"),
        400,
        "InvalidInput",
        "Plugin does not support updating the following provider network attributes: provider:network_type,"
        " provider:physical_network.",
    )
    tunnel = a_network(draft)
    refused(
        lambda: renetworked(draft, tunnel, ADMIN, provider_segmentation_id=8), 400, "InvalidInput", "Only VLAN type"
    )


def test_an_update_moves_the_revision_only_when_something_changed() -> None:
    draft = a_draft()
    network = a_network(draft)
    after = later(draft)
    assert renetworked(after, network, name="n").revision_number == 0
    assert after.changes() == ()
    assert renetworked(after, network, name="other", description="d").revision_number == 1
    last = later(after)
    assert renetworked(last, last.need(e.Network, network.id), ADMIN, shared=True).revision_number == 2


def test_a_network_in_use_is_not_deleted() -> None:
    draft = a_draft()
    network = a_network(draft)
    a_subnet(draft, network)
    one, two = port_of(draft, network), port_of(draft, network)
    refused(
        lambda: networks.delete(draft, MEMBER, network),
        409,
        "NetworkInUse",
        f"Unable to complete operation on network {network.id}. There are one or more ports still in use on the network,"
        f" id for these ports is: {one.id},{two.id}.",
    )


def test_a_network_goes_with_its_subnets_policies_and_the_system_s_ports() -> None:
    draft = a_draft()
    kept = a_network(draft)
    a_subnet(draft, kept)
    pool = a_pool(draft, "10.0.0.0/16")
    network = a_network(draft, ADMIN, shared=True, router_external=True)
    a_subnet(draft, network, None, prefixlen=24, subnetpool_id=pool.id)
    for owner in ("network:dhcp", "network:distributed", "network:floatingip_agent_gateway"):
        port_of(draft, network, ADMIN, project_id="", device_owner=owner, device_id="d")
    networks.delete(draft, ADMIN, draft.need(e.Network, network.id))
    assert [one.id for one in draft.all(e.Network)] == [kept.id]
    assert [one.network_id for one in draft.all(e.Subnet)] == [kept.id]
    assert list(draft.all(e.Port)) == []
    assert list(draft.all(e.RbacPolicy)) == []
    assert not draft.has(e.Subnet, "pool", pool.id)
