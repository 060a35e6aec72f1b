"""Extra DHCP options are edited, not replaced; names count where the cloud has a domain of its own."""

import msgspec
import pytest

from control_cloud import a_draft, changed, network_of, port_of, refused, slaac_of, subnet_of
from floatway.control import present_port
from floatway.control.entities import DhcpOption
from floatway.control.settings import Settings


def option(name: str, value: str | None, **more: int) -> dict[str, object]:
    return {"opt_name": name, "opt_value": value, **more}


def test_options_with_values_are_kept() -> None:
    draft = a_draft()
    wanted = [option("bootfile-name", "a"), option("mtu", None), option("server", ""), option("router", "")]
    port = port_of(draft, network_of(draft), extra_dhcp_opts=wanted)
    assert port.extra_dhcp_opts == (DhcpOption("bootfile-name", "a", 4), DhcpOption("router", "", 4))


def test_an_option_is_given_once_for_a_family() -> None:
    draft = a_draft()
    network = network_of(draft)
    both = [option("a", "1"), option("a", "2", ip_version=6)]
    assert len(port_of(draft, network, extra_dhcp_opts=both).extra_dhcp_opts) == 2
    refused(
        lambda: port_of(draft, network, extra_dhcp_opts=[*both, option("a", "3", ip_version=4)]),
        409,
        "NeutronDbObjectDuplicateEntry",
        "ExtraDhcpOpt",
    )


def test_updates_edit() -> None:
    draft = a_draft()
    wanted = [option("bootfile-name", "a"), option("tftp-server", "10.0.0.9"), option("mtu", "9", ip_version=6)]
    port = port_of(draft, network_of(draft), extra_dhcp_opts=wanted)
    edits = [option("bootfile-name", "b"), option("tftp-server", None), option("mtu", "7"), option("gone", None)]
    port = changed(draft, port, extra_dhcp_opts=edits)
    assert port.extra_dhcp_opts == (
        DhcpOption("bootfile-name", "b", 4),
        DhcpOption("mtu", "7", 4),
        DhcpOption("mtu", "9", 6),
    )
    assert changed(draft, port, extra_dhcp_opts=None) == port
    assert changed(draft, port, extra_dhcp_opts=[]) == port
    assert changed(draft, port, extra_dhcp_opts=[option("mtu", "")]) == port


def shown(settings: Settings, port: object) -> list[dict[str, str]]:
    document = present_port.presenter(settings)(a_draft(), port)
    found: list[dict[str, str]] = document["dns_assignment"]
    return found


def test_names_count_under_a_domain_of_the_cloud_s_own() -> None:
    draft = a_draft(dns_domain="cloud.example")
    network = network_of(draft)
    subnet_of(draft, network)
    slaac_of(draft, network)
    port = port_of(draft, network, dns_name="web1", mac_address="fa:16:3e:12:34:56")
    assert (port.dns_name, port.dns_domain) == ("web1", "")
    for entry in shown(draft.settings, port):
        assert entry["hostname"] == "web1"
        assert entry["fqdn"] == "web1.cloud.example."
    port = changed(draft, port, dns_name="", dns_domain="other.example.")
    assert (port.dns_name, port.dns_domain) == ("", "other.example.")
    assert {entry["fqdn"] for entry in shown(draft.settings, port)} >= {
        "host-2001-db8--f816-3eff-fe12-3456.cloud.example."
    }
    assert changed(draft, port, name="n").dns_domain == "other.example."
    assert shown(draft.settings, changed(draft, port, dns_name="a.cloud.example."))[0]["fqdn"] == "a.cloud.example."


@pytest.mark.parametrize("domain", ["", "openstacklocal", "openstacklocal."])
def test_names_are_not_kept_under_the_default_domain(domain: str) -> None:
    draft = a_draft(dns_domain=domain)
    network = network_of(draft)
    subnet_of(draft, network)
    port = port_of(draft, network, dns_name="web1", dns_domain="d.example.")
    assert (port.dns_name, port.dns_domain) == ("", "")
    assert changed(draft, port, dns_name="web2") == port
    (entry,) = shown(draft.settings, port)
    host = "host-" + entry["ip_address"].replace(".", "-")
    assert entry["hostname"] == host
    assert entry["fqdn"] == (f"{host}.openstacklocal." if domain else host)


@pytest.mark.parametrize("name", ["a." + "b" * 63 + "." + "c" * 63 + "." + "d" * 63 + "." + "e" * 50, "x.elsewhere."])
def test_names_fit_under_the_domain(name: str) -> None:
    draft = a_draft(dns_domain="cloud.example.")
    network = network_of(draft)
    refused(
        lambda: port_of(draft, network, dns_name=name),
        400,
        "HTTPBadRequest",
        "Invalid input for dns_name. Reason: The dns_name passed is a",
    )


def test_documents_have_every_field_of_the_api() -> None:
    draft = a_draft()
    network = network_of(draft)
    subnet_of(draft, network)
    port = port_of(draft, network, allowed_address_pairs=[{"ip_address": "10.0.0.7"}])
    document = msgspec.json.decode(msgspec.json.encode(present_port.port(draft, port)))
    assert set(document) == {
        *(
            "id",
            "name",
            "network_id",
            "project_id",
            "tenant_id",
            "mac_address",
            "admin_state_up",
            "status",
            "fixed_ips",
        ),
        *("device_id", "device_owner", "security_groups", "allowed_address_pairs", "extra_dhcp_opts"),
        *("port_security_enabled", "binding:host_id", "binding:vnic_type", "binding:profile", "binding:vif_type"),
        *("binding:vif_details", "dns_name", "dns_domain", "dns_assignment", "ip_allocation"),
        *("propagate_uplink_status", "description", "revision_number", "created_at", "updated_at", "tags"),
    }
    assert document["allowed_address_pairs"] == [{"ip_address": "10.0.0.7", "mac_address": port.mac_address}]
