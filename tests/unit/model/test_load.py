"""Bad input gets a clear error that names file, line, path and rule; good input is what it says."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import floatway.lab
from effort import examples
from floatway.model.load import CloudError, cloud_from_text, load_cloud

REFERENCE = Path(floatway.lab.__file__).parent / "clouds" / "reference.yaml"
TEXT = REFERENCE.read_text()


def problems(text: str) -> list[str]:
    with pytest.raises(CloudError) as raised:
        cloud_from_text(text, "cloud.yaml")
    return str(raised.value).splitlines()


def test_the_reference_is_the_reference() -> None:
    cloud = load_cloud(REFERENCE)
    (server,) = cloud.servers.values()
    (fip,) = cloud.floating_ips.values()
    assert (server.name, server.host) == ("test", "cy2-compute02")
    assert (fip.floating_ip_address, fip.fixed_ip_address) == ("192.168.10.106", "172.12.10.4")
    assert set(cloud.hosts["cy2-compute02"].pins.local_vlans.values()) == {1, 2}


@pytest.mark.parametrize(
    ("before", "after", "path", "rule"),
    [
        ("gateway_ip: 172.12.10.1", "gateway_ip: 172.13.10.1", "subnets[0].gateway_ip", "gateway-in-subnet"),
        ("gateway_ip: 172.12.10.1", "gateway_ip: 172.12.10.0", "subnets[0].gateway_ip", "gateway-in-subnet"),
        ("address: 172.12.10.16", "address: 172.12.10.4", "ports[2].fixed_ips[0].ip_address", "unique-ip"),
        ("fa:16:3e:5d:21:0c", "fa:16:3e:ae:b3:e7", "ports[2].mac_address", "unique-mac"),
        ("fa:16:3e:ae:b3:e7", "FA:16:3E:AE:B3:E7", "ports[0].mac_address", "well-formed"),
        ("fa:16:3e:ae:b3:e7", "01:16:3e:ae:b3:e7", "ports[0].mac_address", "well-formed"),
        (
            "_address: 192.168.10.106",
            "_address: 10.1.2.3",
            "floating_ips[0].floating_ip_address",
            "floating-ip-in-external-network",
        ),
        ("_address: 192.168.10.106", "_address: 192.168.10.103", "floating_ips[0].floating_ip_address", "unique-ip"),
        ("cidr: 172.12.10.0/24", "cidr: 172.12.10.1/24", "subnets[0].cidr", "well-formed"),
        ("cidr: 172.12.10.0/24", "cidr: 172.12.10.0/33", "subnets[0].cidr", "well-formed"),
        (
            "fixed_ip_address: 172.12.10.4",
            "fixed_ip_address: 172.12.10.9",
            "floating_ips[0].fixed_ip_address",
            "fixed-ip-of-port",
        ),
        ("    host: cy2-compute02", "    host: cy3", "servers[0].host", "known-reference"),
        ("mtu: 1450", "mtu: 20", "networks[0].mtu", "well-formed"),
        ("mtu: 1450", "mtu: big", "networks[0].mtu", "field-type"),
        ("segmentation_id: 9520", "segmentation_id: 16777216", "networks[0].provider_segmentation_id", "segment-range"),
        (
            "port_range_min: 1, port_range_max: 65535",
            "port_range_min: 9, port_range_max: 8",
            "security_groups[0].rules[2].port_range_min",
            "well-formed",
        ),
        (
            "direction: ingress, protocol: icmp",
            "direction: ingress, protocol: icnp",
            "security_groups[0].rules[0].protocol",
            "well-formed",
        ),
        ("distributed: true", "distributed: false", "routers[0].distributed", "distributed-router"),
        ("tunnel_ip: 10.10.20.12", "tunnel_ip: 10.10.20.22", "hosts[2].tunnel_ip", "unique-ip"),
        ("{physnet1: br-ex}", "{}", "floating_ips[0].port_id", "external-bridge"),
        ("network:floatingip_agent_gateway", "compute:none", "floating_ips[0].port_id", "agent-gateway-port"),
        (
            "f547a01: 1\n",
            "f547a01: 2\n",
            "hosts[0].pins.local_vlans.eddc07d8-7544-4f3a-b9f4-27f005fb114f",
            "unique-pin",
        ),
    ],
)
def test_a_broken_rule_is_named_where_it_is_broken(before: str, after: str, path: str, rule: str) -> None:
    if before.startswith("f547a01"):
        before, after = "8f7a01: 1\n", "8f7a01: 2\n"
    assert before in TEXT
    found = problems(TEXT.replace(before, after))
    assert any(f": {path}: " in line and line.endswith(f"({rule})") for line in found), found
    assert all(line.startswith("cloud.yaml:") for line in found)


def test_overlapping_subnets() -> None:
    extra = "  - {id: aaaa, network_id: 5f1c2a9e-7d34-4a0b-9c55-2f6f3f8f7a01, cidr: 172.12.0.0/16}\n"
    (line,) = problems(TEXT.replace("subnets:\n", "subnets:\n" + extra))
    assert "172.12.10.0/24 overlaps 172.12.0.0/16" in line
    assert line.endswith("(no-overlap)")


def test_all_problems_are_told_at_once() -> None:
    found = problems(TEXT.replace("mtu: 1450", "mtu: 1").replace("mtu: 1500", "mtu: 2"))
    assert len(found) == 2


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("networks: [", "well-formed-yaml"),
        ("[]", "document-is-a-mapping"),
        ("", "document-is-a-mapping"),
        ("ports: {}", "collection-is-a-list"),
        ("prots: []", "known-key"),
        ("networks: [{id: a}, {id: a}]", "unique-id"),
        ("a: *b", "well-formed-yaml"),
        ("hosts: [7]", "field-type"),
    ],
)
def test_malformed_documents(text: str, rule: str) -> None:
    assert problems(text)[0].endswith(f"({rule})")


def test_a_mistyped_name_gets_a_guess() -> None:
    assert "did you mean 'ports'" in problems("prots: []")[0]
    assert "did you mean 'mtu'" in problems(TEXT.replace("mtu: 1450", "mtx: 1450"))[0]


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CloudError, match=r"no-such\.yaml: document: cannot be read"):
        load_cloud(tmp_path / "no-such.yaml")


def test_a_mac_of_digits_is_no_number() -> None:
    """YAML 1.1 reads 52:54:00:12:34:56 as a base-60 integer."""
    cloud = cloud_from_text(TEXT.replace("fa:16:3e:5d:21:0c", "52:54:00:12:34:56"), "x")
    assert "52:54:00:12:34:56" in {port.mac_address for port in cloud.ports.values()}


@examples(200)
@given(st.text(max_size=200))
def test_no_text_breaks_the_loader(text: str) -> None:
    try:
        cloud_from_text(text, "x")
    except CloudError as error:
        assert error.problems


@examples(150)
@given(st.data())
def test_no_damaged_reference_breaks_the_loader(data: st.DataObject) -> None:
    lines = TEXT.splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    lines[at] = data.draw(
        st.sampled_from(
            ["", lines[at].partition(":")[0] + ": 7", "  - x", lines[at] + " {", lines[at].replace("172", "999")]
        )
    )
    try:
        cloud_from_text("\n".join(lines), "x")
    except CloudError as error:
        assert error.problems


def test_every_fault_of_a_resource_is_told_with_its_line() -> None:
    text = "routers:\n- nmae: x\n  external_gateway_info:\n    netwrok_id: 3\n    external_fixed_ips: [4]\n  distributed: 7\n"
    assert problems(text) == [
        "cloud.yaml:2: routers[0].nmae: unknown field; did you mean 'name'? (field-type)",
        "cloud.yaml:6: routers[0].distributed: expected `bool`, got `int` (field-type)",
        "cloud.yaml:4: routers[0].external_gateway_info.netwrok_id: unknown field; did you mean 'network_id'? (field-type)",
        "cloud.yaml:4: routers[0].external_gateway_info.network_id: is missing (field-type)",
        "cloud.yaml:5: routers[0].external_gateway_info.external_fixed_ips[0]: expected a mapping, got `int` (field-type)",
        "cloud.yaml:2: routers[0].id: is missing (field-type)",
    ]


def test_faults_of_type_hide_no_fault_of_form() -> None:
    found = problems(TEXT.replace("mtu: 1450", "mtu: big").replace("mtu: 1500", "mtu: 2"))
    assert [line.rpartition(" ")[2] for line in found] == ["(field-type)", "(well-formed)"]


def test_a_number_for_a_text_says_quotes() -> None:
    (line,) = problems("networks: [{id: 12, provider:segmentation_id: 5}]")
    assert "put it in quotes" in line


def test_a_wrong_word_lists_the_right_ones() -> None:
    (line,) = problems(TEXT.replace("provider:network_type: vxlan", "provider:network_type: vxlam"))
    assert "networks[0].provider_network_type" in line
    assert "'vlan'" in line
    assert "did you mean 'vxlan'" in line


@pytest.mark.parametrize("again", ["provider:segmentation_id: 7", "provider_segmentation_id: 7"])
def test_a_key_given_twice_is_told(again: str) -> None:
    """PyYAML would silently take the last."""
    found = problems(TEXT.replace("segmentation_id: 9520\n", f"segmentation_id: 9520\n    {again}\n"))
    assert [line.partition(": ")[2] for line in found] == [
        "networks[0].provider_segmentation_id: is given twice (unique-key)"
    ]


@pytest.mark.parametrize("text", ["&a [*a]", "networks: &a [*a]", "[" * 100_000, "{a: " * 100_000])
def test_endless_documents_end(text: str) -> None:
    assert "(well-formed-yaml)" in problems(text)[0]
