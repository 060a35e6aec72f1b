"""The reference cloud, made through the rules of the API, is for hosts the reference cloud."""

from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import msgspec

from control_cloud import ADMIN, a_draft, port_of, subnet_of
from control_l3 import Routed
from floatway.control import entities as e
from floatway.control import ipam
from floatway.control.decide import (
    address_groups,
    agents,
    floatingips,
    networks,
    ports,
    router_interfaces,
    routers,
    security_group_rules,
    security_groups,
    subnets,
)
from floatway.control.draft import Draft
from floatway.control.view import cloud_view
from floatway.model import resources as r
from floatway.model.cloud import Cloud
from floatway.model.load import cloud_from_text

REFERENCE = files("floatway.lab").joinpath("clouds/reference.yaml").read_text()


class Told:
    """The reference, told to the API; what it calls what is noted in ``names``, from the reference's words to ours."""

    def __init__(self) -> None:
        self.draft = a_draft()
        self.there = cloud_from_text(REFERENCE, "reference.yaml")
        self.names: dict[str, str] = {}
        self.project = next(server.project_id for server in self.there.servers.values())
        for host in self.there.hosts.values():
            self.report(host)
        self.networks()
        self.group()
        self.instances()
        self.router()
        self.floating_ips()

    def note(self, theirs: str, ours: str) -> None:
        self.names[theirs] = ours

    def report(self, host: r.Host) -> None:
        said = {
            "tunneling_ip": host.tunnel_ip,
            "tunnel_types": ["vxlan"],
            "bridge_mappings": host.bridge_mappings,
            "bridge_nics": host.bridge_nics,
        }
        agents.report(self.draft, {"agent_type": "Open vSwitch agent", "host": host.name, "configurations": said})
        pins = self.translated(host.pins)
        mode = {"agent_mode": host.agent_mode, "pins": pins}
        agents.report(self.draft, {"agent_type": "L3 agent", "host": host.name, "configurations": mode})

    def translated(self, what: Any) -> Any:
        text = msgspec.json.encode(what).decode()
        for theirs, ours in self.names.items():
            text = text.replace(theirs, ours)
        return msgspec.json.decode(text)

    def networks(self) -> None:
        for network in self.there.networks.values():
            given = {
                "project_id": network.project_id,
                "name": network.name,
                "provider:network_type": network.provider_network_type,
                "provider:segmentation_id": network.provider_segmentation_id,
                "provider:physical_network": network.provider_physical_network,
                "router:external": network.router_external,
                "mtu": network.mtu,
            }
            wanted = {name: value for name, value in given.items() if value is not None}
            self.note(network.id, networks.create(self.draft, ADMIN, wanted).id)
        for subnet in self.there.subnets.values():
            told: dict[str, Any] = {
                "project_id": subnet.project_id,
                "name": subnet.name,
                "network_id": self.names[subnet.network_id],
                "ip_version": 4,
                "cidr": subnet.cidr,
                "gateway_ip": subnet.gateway_ip,
                "enable_dhcp": subnet.enable_dhcp,
            }
            if subnet.allocation_pools:
                told["allocation_pools"] = [msgspec.structs.asdict(pool) for pool in subnet.allocation_pools]
            self.note(subnet.id, subnets.create(self.draft, ADMIN, told).id)

    def group(self) -> None:
        """The default group, closed again, with the reference's rules."""
        (group,) = self.there.security_groups.values()
        ours = security_groups.default_group(self.draft, self.project)
        self.note(group.id, ours.id)
        for rule in self.draft.find(e.SecurityGroupRule, "group", ours.id):
            self.draft.remove(rule)
        nothing = dict.fromkeys(("protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id"))
        for opening in group.rules:
            said = self.translated(msgspec.structs.asdict(opening))
            given = nothing | said | {"remote_address_group_id": None, "security_group_id": ours.id}
            security_group_rules.create(self.draft, ADMIN, given | {"project_id": self.project})

    def instances(self) -> None:
        for port in self.there.ports.values():
            if port.device_owner == r.OWNER_COMPUTE:
                given = self.translated(msgspec.structs.asdict(port))
                wanted = {
                    "binding:host_id": given["binding_host_id"],
                    **{
                        name: given[name]
                        for name in ("project_id", "network_id", "mac_address", "device_id", "device_owner")
                    },
                }
                made = ports.create(self.draft, ADMIN, {**wanted, "fixed_ips": given["fixed_ips"]})
                self.note(port.id, made.id)

    def router(self) -> None:
        (router,) = self.there.routers.values()
        gateway = self.translated(msgspec.structs.asdict(router))["external_gateway_info"]
        said = {"project_id": router.project_id, "name": router.name, "distributed": router.distributed}
        made = routers.create(self.draft, ADMIN, {**said, "external_gateway_info": gateway})
        self.note(router.id, made.id)
        inside = next(port for port in self.there.ports.values() if port.device_owner == r.OWNER_ROUTER_INTERFACE)
        body = {"subnet_id": self.names[inside.fixed_ips[0].subnet_id]}
        router_interfaces.add(self.draft, ADMIN, made, body)

    def floating_ips(self) -> None:
        for floating_ip in self.there.floating_ips.values():
            given = self.translated(msgspec.structs.asdict(floating_ip))
            given = {name: value for name, value in given.items() if name not in {"id", "name", "router_id"}}
            self.note(floating_ip.id, floatingips.create(self.draft, ADMIN, given).id)

    def expected(self) -> Cloud:
        """The reference in our words; what ports were given and not asked for is taken from ``draft``."""
        text = REFERENCE
        for port in self.there.ports.values():
            if port.device_owner == r.OWNER_COMPUTE:
                continue
            (ours,) = (one for one in self.draft.all(e.Port) if one.device_owner == port.device_owner)
            self.note(port.id, ours.id)
            self.note(port.mac_address, ours.mac_address)
            self.note(f"ip_address: {port.fixed_ips[0].ip_address}}}", f"ip_address: {ours.fixed_ips[0].ip_address}}}")
        for theirs, name in self.names.items():
            text = text.replace(theirs, name)
        return cloud_from_text(text, "expected.yaml")


def plain(cloud: Cloud) -> dict[str, Any]:
    """Without what a host does not ask: names of servers and ports, whose the service's ports are, ids of rules."""
    return {
        "networks": cloud.networks,
        "subnets": {
            id_: msgspec.structs.replace(subnet, allocation_pools=subnet.allocation_pools or pools(subnet))
            for id_, subnet in cloud.subnets.items()
        },
        "ports": {
            id_: msgspec.structs.replace(
                port,
                name="",
                project_id=port.project_id if port.device_owner == r.OWNER_COMPUTE else "",
            )
            for id_, port in cloud.ports.items()
        },
        "routers": cloud.routers,
        "floating_ips": cloud.floating_ips,
        "groups": {id_: {canonical(rule) for rule in group.rules} for id_, group in cloud.security_groups.items()},
        "servers": {id_: msgspec.structs.replace(server, name="") for id_, server in cloud.servers.items()},
        "hosts": cloud.hosts,
    }


def canonical(rule: r.SecurityGroupRule) -> r.SecurityGroupRule:
    """All ports of a protocol are no ports to the API."""
    every = {"port_range_min": None, "port_range_max": None} if rule.port_range_max == 65535 else {}
    return msgspec.structs.replace(rule, id="", project_id="", **every)


def pools(subnet: r.Subnet) -> tuple[r.AllocationPool, ...]:
    return tuple(r.AllocationPool(pool.start, pool.end) for pool in ipam.default_pools(subnet.cidr, subnet.gateway_ip))


def test_the_reference_cloud_told_to_the_api_is_the_reference_cloud() -> None:
    told = Told()
    for host in told.there.hosts.values():
        told.report(host)
    assert plain(cloud_view(told.draft.model)) == plain(told.expected())


def rules_of(draft: Draft) -> Iterable[r.SecurityGroupRule]:
    return [rule for group in cloud_view(draft.model).security_groups.values() for rule in group.rules]


def test_a_rule_to_an_address_group_is_one_for_each_of_its_prefixes() -> None:
    draft = a_draft()
    addresses = ["192.0.2.0/24", "198.51.100.7/32", "2001:db8::/64"]
    group = address_groups.create(draft, ADMIN, {"project_id": "p", "name": "a", "addresses": addresses})
    opened = draft.put(e.SecurityGroup(id=draft.new_id(), project_id="p"))
    for ethertype in ("IPv4", "IPv6"):
        draft.put(
            e.SecurityGroupRule(
                id=ethertype,
                security_group_id=opened.id,
                direction="ingress",
                ethertype=ethertype,
                remote_address_group_id=group.id,
            )
        )
    assert [(rule.ethertype, rule.remote_ip_prefix) for rule in rules_of(draft)] == [
        ("IPv4", "192.0.2.0/24"),
        ("IPv4", "198.51.100.7/32"),
        ("IPv6", "2001:db8::/64"),
    ]


def test_hosts_realise_ipv4() -> None:
    cloud = Routed()
    v6 = subnet_of(cloud.draft, cloud.network, "2001:db8:1::/64", gateway_ip="2001:db8:1::1")
    both = [{"subnet_id": cloud.subnet.id}, {"subnet_id": v6.id}]
    port = port_of(cloud.draft, cloud.network, fixed_ips=both, allowed_address_pairs=[{"ip_address": "10.0.0.77"}])
    view = cloud_view(cloud.draft.model)
    assert v6.id not in view.subnets
    assert [ip.subnet_id for ip in view.ports[port.id].fixed_ips] == [cloud.subnet.id]
    assert view.ports[port.id].allowed_address_pairs == (r.AddressPair("10.0.0.77"),)
    assert not [one for one in view.ports.values() if one.device_owner in {"network:router_gateway"}]
    assert view == cloud_view(cloud.draft.model)
