"""A cloud.yaml told to the API is, for hosts, the cloud that it describes, ids included; told again nothing changes."""

from importlib.resources import files

import msgspec
import pytest

from control_cloud import ADMIN, a_draft, later, network_of, port_of, refused
from floatway.control import entities as e
from floatway.control.decide import agents, floatingips, owners, ports
from floatway.control.decide.load import load
from floatway.control.draft import Draft
from floatway.control.view import cloud_view
from floatway.model.cloud import Cloud
from floatway.model.load import cloud_from_text

REFERENCE = cloud_from_text(files("floatway.lab").joinpath("clouds/reference.yaml").read_text(), "reference.yaml")


def without_names(cloud: Cloud) -> Cloud:
    """The API knows no names of instances, rules of groups have their group's project, subnets their pools."""
    servers = {key: msgspec.structs.replace(one, name="") for key, one in cloud.servers.items()}
    groups = {
        key: msgspec.structs.replace(
            group, rules=tuple(msgspec.structs.replace(rule, project_id=group.project_id) for rule in group.rules)
        )
        for key, group in cloud.security_groups.items()
    }
    hosts = {key: msgspec.structs.replace(host, datapath_type="system") for key, host in cloud.hosts.items()}
    subnets = {key: msgspec.structs.replace(one, allocation_pools=()) for key, one in cloud.subnets.items()}
    return msgspec.structs.replace(cloud, servers=servers, security_groups=groups, hosts=hosts, subnets=subnets)


def loaded() -> Draft:
    draft = a_draft()
    load(draft, REFERENCE, {})
    return later(draft)


def test_the_reference_comes_back_as_it_was_told() -> None:
    assert without_names(cloud_view(loaded().model)) == without_names(REFERENCE)


def test_told_again_nothing_changes() -> None:
    draft = loaded()
    load(draft, REFERENCE, {})
    assert draft.changes() == ()


def test_a_host_that_is_described_takes_ports_and_does_not_live_before_it_was_heard() -> None:
    draft = loaded()
    described = list(draft.all(e.Agent))
    assert {agent.host for agent in described} == set(REFERENCE.hosts)
    assert not any(agents.is_alive(draft, agent) for agent in described)
    (port,) = [one for one in draft.all(e.Port) if one.device_owner == "compute:nova"]
    assert port.binding_vif_type == "ovs"
    kind = {"agent_type": "Open vSwitch agent", "host": port.binding_host_id}
    heard = agents.report(draft, kind)
    assert agents.is_alive(draft, heard) and heard.started_at == heard.heartbeat_timestamp
    assert heard.configurations == next(one for one in described if one.id == heard.id).configurations
    draft.seconds += 2 * draft.settings.agent_down_seconds
    assert not agents.is_usable(draft, heard)


def test_what_holds_addresses_is_made() -> None:
    draft = loaded()
    (gateway,) = [port for port in draft.all(e.Port) if port.device_owner == owners.ROUTER_GATEWAY]
    assert [ip.ip_address for ip in gateway.fixed_ips] == ["192.168.10.101"]
    (floating,) = draft.all(e.FloatingIp)
    assert [ip.ip_address for ip in draft.need(e.Port, floating.floating_port_id).fixed_ips] == ["192.168.10.106"]
    assert next(iter(draft.all(e.SecurityGroup))).is_default


def test_it_can_be_taken_away_again() -> None:
    draft = loaded()
    tables = ("floating_ips", "ports", "routers", "subnets", "networks", "hosts")
    load(draft, Cloud(), {table: tuple(getattr(REFERENCE, table)) for table in tables})
    assert not [one for kind in (e.Network, e.Port, e.Router, e.FloatingIp, e.Agent) for one in draft.all(kind)]


def test_nothing_of_it_is_made_when_something_is_taken() -> None:
    draft = a_draft()
    network = network_of(draft, provider_segmentation_id=9520)
    refused(lambda: load(draft, REFERENCE, {}), 409, "NetworkInUse", network.id)


@pytest.mark.parametrize("change", ["mac_address", "fixed_ips"])
def test_a_ports_mac_and_address_are_its_own(change: str) -> None:
    draft = loaded()
    port = next(port for port in REFERENCE.ports.values() if port.device_owner == "compute:nova")
    other = port_of(draft, draft.need(e.Network, port.network_id), ADMIN)
    taken = {"mac_address": other.mac_address} if change == "mac_address" else {"fixed_ips": other.fixed_ips}
    wrong = (
        msgspec.structs.replace(port, **taken)
        if change == "mac_address"
        else msgspec.structs.replace(
            port,
            fixed_ips=tuple(
                msgspec.structs.replace(port.fixed_ips[0], ip_address=ip.ip_address) for ip in other.fixed_ips
            ),
        )
    )
    cloud = msgspec.structs.replace(REFERENCE, ports={**REFERENCE.ports, port.id: wrong}, floating_ips={})
    refused(
        lambda: load(draft, cloud, {}),
        409,
        "MacAddressInUse" if change == "mac_address" else "IpAddressAlreadyAllocated",
    )


def test_a_cloud_that_is_not_right_is_refused_whole() -> None:
    broken = msgspec.structs.replace(REFERENCE, networks={})
    refused(lambda: load(a_draft(), broken, {}), 400, "InvalidCloud")


def test_what_is_loaded_is_the_apis_to_change() -> None:
    draft = loaded()
    port = next(port for port in draft.all(e.Port) if port.device_owner == "compute:nova")
    ports.update(draft, ADMIN, port, {"name": "renamed"})
    assert draft.need(e.Port, port.id).name == "renamed"


def test_what_the_rules_made_for_themselves_makes_room() -> None:
    draft = loaded()
    (gateway,) = [port for port in draft.all(e.Port) if port.device_owner == owners.AGENT_GATEWAY]
    (floating_ip,) = draft.all(e.FloatingIp)
    floatingips.update(draft, ADMIN, floating_ip, {"port_id": None})
    draft = later(draft)
    assert draft.get(e.Port, gateway.id) is None
    port = next(port for port in draft.all(e.Port) if port.device_owner == "compute:nova")
    floatingips.update(draft, ADMIN, draft.need(e.FloatingIp, floating_ip.id), {"port_id": port.id})
    draft = later(draft)
    (another,) = [one for one in draft.all(e.Port) if one.device_owner == owners.AGENT_GATEWAY]
    assert another.id != gateway.id
    draft.put(msgspec.structs.replace(another, fixed_ips=gateway.fixed_ips))  # by chance, the very address
    load(draft, REFERENCE, {})
    assert [one.id for one in draft.all(e.Port) if one.device_owner == owners.AGENT_GATEWAY] == [gateway.id]
