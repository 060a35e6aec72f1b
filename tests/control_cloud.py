"""A small cloud to try rules of the control plane on: a draft, a project's caller, and entities put without ceremony."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from floatway.control import ipam
from floatway.control.caller import ADMIN, Caller
from floatway.control.decide import ports
from floatway.control.draft import Draft
from floatway.control.entities import Agent, FixedIp, Network, Port, SecurityGroup, Subnet
from floatway.control.errors import ApiError
from floatway.control.settings import Settings
from floatway.control.snapshot import EMPTY

PROJECT = "5b0b8b4e6f3f4a1e8a8d1f7f3a3e0001"
STRANGER = "5b0b8b4e6f3f4a1e8a8d1f7f3a3e0002"
MEMBER = Caller(user_id="u", project_id=PROJECT, roles=frozenset({"member", "reader"}))
OTHER = Caller(user_id="o", project_id=STRANGER, roles=frozenset({"member", "reader"}))
__all__ = ["ADMIN", "MEMBER", "OTHER", "PROJECT", "STRANGER"]


def a_draft(**settings: Any) -> Draft:
    """Nothing yet, the same each time."""
    return Draft(EMPTY, Settings(**settings), seconds=1_795_000_000.0, seed=7)


def later(draft: Draft, **settings: Any) -> Draft:
    """The next request on what ``draft`` left."""
    after = msgspec.structs.replace(draft.settings, **settings)
    return Draft(
        draft.model.at(draft.base.revision + 1), after, seconds=draft.seconds + 1, seed=1000 + draft.base.revision
    )


def network_of(draft: Draft, project: str = PROJECT, **fields: Any) -> Network:
    given = {"provider_network_type": "vxlan", "provider_segmentation_id": 9, "mtu": 1450} | fields
    return draft.put(Network(id=draft.new_id(), project_id=project, **given))


def subnet_of(draft: Draft, network: Network, cidr: str = "10.0.0.0/24", **fields: Any) -> Subnet:
    version = 6 if ":" in cidr else 4
    pools = ipam.default_pools(cidr, fields.get("gateway_ip"))
    given = {"allocation_pools": pools} | fields
    return draft.put(
        Subnet(
            id=draft.new_id(),
            project_id=network.project_id,
            network_id=network.id,
            ip_version=version,
            cidr=cidr,
            **given,
        )
    )


def slaac_of(draft: Draft, network: Network, cidr: str = "2001:db8::/64", mode: str = "slaac") -> Subnet:
    return subnet_of(draft, network, cidr, ipv6_ra_mode=mode, ipv6_address_mode=mode)


def group_of(draft: Draft, project: str = PROJECT, **fields: Any) -> SecurityGroup:
    return draft.put(SecurityGroup(id=draft.new_id(), project_id=project, name="g", **fields))


def agent_of(draft: Draft, host: str, **configurations: Any) -> Agent:
    """An agent that has just been heard of."""
    now = draft.now.replace("T", " ").removesuffix("Z")
    reported = {
        "tunnel_types": ["vxlan"],
        "bridge_mappings": {"physnet1": "br-ex"},
        "ovs_hybrid_plug": True,
        "datapath_type": "system",
        "integration_bridge": "br-int",
    } | configurations
    return draft.put(
        Agent(
            id=draft.new_id(),
            agent_type="Open vSwitch agent",
            binary="neutron-openvswitch-agent",
            host=host,
            created_at=now,
            started_at=now,
            heartbeat_timestamp=now,
            configurations=reported,
        )
    )


def port_of(draft: Draft, network: Network, caller: Caller = MEMBER, **values: Any) -> Port:
    """A port as the API makes it; ``binding_host_id`` and the like stand for names with a colon."""
    given = {"network_id": network.id, "project_id": PROJECT, "admin_state_up": True, "name": ""} | values
    return ports.create(draft, caller, {_name(name): value for name, value in given.items()})


def changed(draft: Draft, port: Port, caller: Caller = MEMBER, **values: Any) -> Port:
    return ports.update(draft, caller, port, {_name(name): value for name, value in values.items()})


def addresses(port: Port) -> list[str]:
    return [ip.ip_address for ip in port.fixed_ips]


def fixed(port: Port) -> list[dict[str, str]]:
    return [{"subnet_id": ip.subnet_id, "ip_address": ip.ip_address} for ip in port.fixed_ips]


def refused(rule: Callable[[], object], status: int, type_: str, *words: str) -> ApiError:
    """``rule`` is refused with this status and type, and the message has these words."""
    with pytest.raises(ApiError) as raised:
        rule()
    error = raised.value
    assert (error.status, error.type) == (status, type_), error.message
    for word in words:
        assert word in error.message
    return error


def _name(name: str) -> str:
    return name.replace("binding_", "binding:", 1) if name.startswith("binding_") else name


def at(subnet: Subnet, address: str) -> FixedIp:
    return FixedIp(subnet.id, address)
