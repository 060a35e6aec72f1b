"""R1: the names and where they are cut."""

import pytest

from floatway.compile import names
from floatway.compile.openflow import quoted
from floatway.compile.port import canonical, link_local

PORT, ROUTER = "8aa5e3b4-6c0b-4d77-8c45-146cacf576ec", "d3218b9c-73bb-4788-87e4-5828625fe586"


@pytest.mark.parametrize("prefix", ["tap", "qbr", "qvb", "qvo"])
def test_devices_of_a_port_keep_eleven_characters_of_its_id(prefix: str) -> None:
    assert names.device(prefix, PORT) == f"{prefix}8aa5e3b4-6c"


def test_devices_of_a_router() -> None:
    assert names.device("qr-", "56718ce4-c6d1-4f0e-9a3b-6b1d2e7c8f03") == "qr-56718ce4-c6"
    assert names.device("rfp-", ROUTER) == "rfp-d3218b9c-7"
    assert names.device("fpr-", ROUTER) == "fpr-d3218b9c-7"


def test_chains_sets_tunnels_and_namespaces() -> None:
    assert names.port_chain("i", PORT) == "neutron-openvswi-i8aa5e3b4-6"
    assert names.group_set("15ca6cb4-09b4-418e-aee4-3c0f9d5b7e10") == "NIPv415ca6cb4-09b4-418e-aee4-"
    assert len(names.group_set("x" * 36)) == 29
    assert names.tunnel_port("vxlan", "10.10.20.13") == "vxlan-0a0a140d"
    assert names.qrouter(ROUTER) == f"qrouter-{ROUTER}"
    assert names.fip(ROUTER) == f"fip-{ROUTER}"


def test_patches_of_bridges_with_long_names_stay_apart() -> None:
    assert names.integration_patch("br-ex") == "int-br-ex"
    assert names.provider_patch("br-ex") == "phy-br-ex"
    one, other = names.integration_patch("br-external-001"), names.integration_patch("br-external-002")
    assert one.startswith("int-br-ex")
    assert len(one) == len(other) == 15
    assert one != other


def test_made_up_macs_are_stable_local_and_unicast() -> None:
    one = names.made_up_mac("h1", "qvb8aa5e3b4-6c")
    assert one == names.made_up_mac("h1", "qvb8aa5e3b4-6c")
    assert one != names.made_up_mac("h2", "qvb8aa5e3b4-6c")
    assert int(one[:2], 16) & 3 == 2
    assert names.dvr_mac("h1").startswith("fa:16:3f:")


@pytest.mark.parametrize(
    ("mac", "address"),
    [
        ("fa:16:3e:8a:a7:ee", "fe80::f816:3eff:fe8a:a7ee"),
        ("02:00:00:00:00:01", "fe80::ff:fe00:1"),
        ("00:00:5e:00:01:01", "fe80::200:5eff:fe00:101"),
    ],
)
def test_link_local_address_of_a_mac(mac: str, address: str) -> None:
    assert link_local(mac) == address


@pytest.mark.parametrize(
    ("given", "printed"),
    [("10.1.2.3/8", "10.0.0.0/8"), ("10.1.2.3/32", "10.1.2.3"), ("10.1.2.3", "10.1.2.3"), ("0.0.0.0/0", "0.0.0.0/0")],
)
def test_prefixes_as_the_tools_print_them(given: str, printed: str) -> None:
    assert canonical(given) == printed


def test_port_names_are_quoted_unless_they_are_words() -> None:
    assert quoted("eth4") == "eth4"
    assert quoted("qvo8aa5e3b4-6c") == '"qvo8aa5e3b4-6c"'
