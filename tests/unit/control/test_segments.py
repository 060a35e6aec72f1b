"""On which wire a network is: what an administrator may ask for, and what everybody else is given."""

import pytest

from control_cloud import ADMIN, a_draft, refused
from control_l2 import a_network
from floatway.control.decide import networks
from floatway.control.draft import Draft
from floatway.control.entities import Network

WIRES = {"physnet1": ((100, 102),), "physnet2": ((200, 200), (300, 300))}


def vlan(draft: Draft, physical: str | None = None, id_: int | None = None) -> Network:
    return a_network(
        draft,
        ADMIN,
        provider_network_type="vlan",
        provider_physical_network=physical,
        provider_segmentation_id=id_,
    )


def ids(draft: Draft) -> set[tuple[str | None, int | None]]:
    return {(one.provider_physical_network, one.provider_segmentation_id) for one in draft.all(Network)}


def test_everybody_gets_a_network_of_their_own_until_none_is_left() -> None:
    draft = a_draft(vni_ranges=((5, 6), (9, 9)))
    made = [a_network(draft) for _ in range(3)]
    assert ids(draft) == {(None, 5), (None, 6), (None, 9)}
    refused(
        lambda: a_network(draft),
        503,
        "NoNetworkAvailable",
        "Unable to create the network. No project network is available for allocation.",
    )
    networks.delete(draft, ADMIN, made[1])
    assert a_network(draft).provider_segmentation_id == made[1].provider_segmentation_id


def test_the_next_type_is_used_when_one_is_exhausted() -> None:
    draft = a_draft(tenant_network_types=("vxlan", "vlan", "local"), vni_ranges=((5, 5),), vlan_ranges=WIRES)
    types = [a_network(draft).provider_network_type for _ in range(8)]
    assert types == ["vxlan", *["vlan"] * 5, "local", "local"]


def test_a_vlan_is_given_whole_in_part_or_not_at_all() -> None:
    draft = a_draft(vlan_ranges=WIRES)
    assert vlan(draft, "physnet1", 4094).provider_segmentation_id == 4094
    assert {vlan(draft, "physnet2").provider_segmentation_id for _ in range(2)} == {200, 300}
    refused(lambda: vlan(draft, "physnet2"), 503, "NoNetworkAvailable")
    assert {vlan(draft).provider_segmentation_id for _ in range(3)} == {100, 101, 102}
    refused(lambda: vlan(draft), 503, "NoNetworkAvailable")
    refused(
        lambda: vlan(draft, "physnet1", 100),
        409,
        "VlanIdInUse",
        "Unable to create the network. The VLAN 100 on physical network physnet1 is in use.",
    )
    assert vlan(draft, "physnet2", 100).provider_segmentation_id == 100


@pytest.mark.parametrize(
    ("physical", "id_", "message"),
    [
        ("nowhere", 5, "physical_network 'nowhere' unknown for VLAN provider network."),
        ("physnet1", 0, "segmentation_id out of range (1 through 4094)."),
        ("physnet1", 4095, "segmentation_id out of range (1 through 4094)."),
        (None, 5, "segmentation_id requires physical_network for VLAN provider network."),
    ],
)
def test_a_vlan_that_cannot_be_is_refused(physical: str | None, id_: int, message: str) -> None:
    draft = a_draft(vlan_ranges=WIRES)
    refused(lambda: vlan(draft, physical, id_), 400, "InvalidInput", f"Invalid input for operation: {message}")


def test_flat_networks_have_a_wire_each() -> None:
    draft = a_draft(flat_networks=("physnet1",))
    flat = {"provider_network_type": "flat", "provider_physical_network": "physnet1"}
    assert a_network(draft, ADMIN, **flat).provider_segmentation_id is None
    refused(lambda: a_network(draft, ADMIN, **flat), 409, "FlatNetworkInUse", "Physical network physnet1 is in use.")
    refused(
        lambda: a_network(draft, ADMIN, **(flat | {"provider_physical_network": "physnet2"})),
        400,
        "InvalidInput",
        "physical_network 'physnet2' unknown for flat provider network",
    )
    refused(
        lambda: a_network(draft, ADMIN, provider_network_type="flat"), 400, "InvalidInput", "physical_network required"
    )
    refused(lambda: a_network(draft, ADMIN, **flat, provider_segmentation_id=5), 400, "InvalidInput", "segmentation_id")
    refused(lambda: a_network(a_draft(flat_networks=()), ADMIN, **flat), 400, "InvalidInput", "networks are disabled")
    assert a_network(a_draft(flat_networks=("*",)), ADMIN, **flat).provider_network_type == "flat"


def test_local_networks_have_nothing_and_may_be_many() -> None:
    draft = a_draft()
    for _ in range(2):
        assert a_network(draft, ADMIN, provider_network_type="local").mtu == 1500
    for name, value in (("physical_network", "physnet1"), ("segmentation_id", 5)):
        refused(
            lambda name=name, value=value: a_network(
                draft, ADMIN, provider_network_type="local", **{f"provider_{name}": value}
            ),
            400,
            "InvalidInput",
            f"{name} prohibited for local provider network",
        )


def test_a_tunnel_s_id_may_be_outside_the_ranges_but_not_taken() -> None:
    draft = a_draft(vni_ranges=((5, 6),))
    given = {"provider_network_type": "vxlan", "provider_segmentation_id": 70_000}
    assert a_network(draft, ADMIN, **given).provider_segmentation_id == 70_000
    refused(
        lambda: a_network(draft, ADMIN, **given),
        409,
        "TunnelIdInUse",
        "Unable to create the network. The tunnel ID 70000 is in use.",
    )
    refused(
        lambda: a_network(draft, ADMIN, provider_network_type="vxlan", provider_physical_network="physnet1"),
        400,
        "InvalidInput",
        "provider:physical_network specified for vxlan network",
    )
    refused(
        lambda: a_network(draft, ADMIN, provider_network_type="vxlan", provider_segmentation_id=2**24),
        400,
        "InvalidInput",
        "out of range",
    )


def test_types_that_are_not_configured_are_refused() -> None:
    draft = a_draft()
    for unknown in ("gre", "geneve", "wet string"):
        refused(
            lambda unknown=unknown: a_network(draft, ADMIN, provider_network_type=unknown),
            400,
            "InvalidInput",
            f"network_type value '{unknown}' not supported",
        )
    refused(lambda: a_network(draft, ADMIN, provider_segmentation_id=5), 400, "InvalidInput", "network_type required")
    assert a_network(draft, ADMIN, provider_network_type=None).provider_network_type == "vxlan"
