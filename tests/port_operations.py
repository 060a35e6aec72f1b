"""Requests about ports, drawn: from the sensible to the absurd, on a cloud so small that they get in each other's way.

Three networks (IPv4 alone; IPv4 and SLAAC; none), tiny pools, few MACs: addresses and MACs collide, pools run dry.
A request is a value, so that a failing sequence prints as what was asked.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec
from hypothesis import strategies as st

from control_cloud import (
    ADMIN,
    MEMBER,
    PROJECT,
    STRANGER,
    a_draft,
    agent_of,
    group_of,
    later,
    network_of,
    slaac_of,
    subnet_of,
)
from floatway.control import prefixes
from floatway.control.caller import Caller
from floatway.control.decide import bindings, ports
from floatway.control.draft import Draft
from floatway.control.entities import FixedIp, Network, Port, PortBinding, SecurityGroup, Subnet
from floatway.control.errors import ApiError
from floatway.control.snapshot import Model, built

__all__ = ["Request", "broken", "cloud", "requests", "tried"]

OWNERS: Final = ("", "compute:a", "network:dhcp", "network:router_interface", "network:router_interface_distributed")
MACS: Final = (*(f"fa:16:3e:00:00:0{n}" for n in range(4)), None)
ADDRESSES: Final = (
    *("10.0.0.1", "10.0.0.2", "10.0.0.5", "10.0.0.7", "10.0.1.1", "10.9.9.9", "10.0.0.0"),
    *("2001:db8::1", "2001:db8::f816:3eff:fe00:1", "2001:db8::f816:3eff:fe00:2"),
)


class Request(msgspec.Struct, frozen=True):
    """``kind`` of request by ``caller``; ``at`` picks the port (or network) it is about among those there are."""

    kind: str
    at: int
    caller: Caller
    values: dict[str, Any]


def cloud() -> Draft:
    """Where the requests play."""
    draft = a_draft(max_allowed_address_pair=2)
    plain, dual, _ = network_of(draft), network_of(draft), network_of(draft, port_security_enabled=False)
    subnet_of(draft, plain, "10.0.0.0/29")
    subnet_of(draft, plain, "10.0.1.0/30", service_types=("compute:a",))
    subnet_of(draft, dual, "10.0.0.0/30")
    slaac_of(draft, dual)
    group_of(draft)
    group_of(draft, STRANGER)
    agent_of(draft, "h1")
    agent_of(draft, "h2", tunnel_types=[])
    return later(draft)


def requests() -> st.SearchStrategy[Request]:
    """Any request."""
    callers = st.sampled_from((MEMBER, ADMIN))
    kinds = st.sampled_from(("create", "create", "create", "update", "update", "delete", "bind", "activate"))
    values = _values()
    plain = st.sampled_from(
        ({}, {"name": "a"}, {"device_owner": "compute:a"}, {"device_owner": "compute:a", "binding:host_id": "h1"})
    )
    return st.builds(Request, kind=kinds, at=st.integers(0, 11), caller=callers, values=st.one_of(plain, plain, values))


def tried(draft: Draft, request: Request) -> Draft:
    """The cloud after the request; when it is refused, as before it."""
    after = later(draft)
    try:
        _ask(after, request)
    except ApiError as error:
        assert 400 <= error.status < 600
        assert error.type
        assert "{" not in error.message.partition("'")[0]
        return draft
    return after


def broken(model: Model) -> list[str]:
    """What does not hold of the ports, in words; nothing is the answer to hope for."""
    every = list(model.all(Port))
    return [
        *_twice("address", Counter((ip.subnet_id, ip.ip_address) for port in every for ip in port.fixed_ips)),
        *_twice("MAC", Counter((port.network_id, port.mac_address) for port in every)),
        *(f"{port.id}: {wrong}" for port in every for wrong in _wrong(model, port)),
        *(f"{b.id}: no port" for b in model.all(PortBinding) if model.get(Port, b.port_id) is None),
        *([] if _reindexed(model) == model.indexes else ["indexes differ from those of the same entities put at once"]),
    ]


def _values() -> st.SearchStrategy[dict[str, Any]]:
    pair = st.fixed_dictionaries(
        {"ip_address": st.sampled_from(ADDRESSES)}, optional={"mac_address": st.sampled_from(MACS[:-1])}
    )
    wish = st.fixed_dictionaries(
        {}, optional={"ip_address": st.sampled_from(ADDRESSES), "subnet_id": st.integers(0, 4).map(str)}
    )
    option = st.fixed_dictionaries(
        {"opt_name": st.sampled_from(("router", "mtu")), "opt_value": st.sampled_from(("", "1", None))},
        optional={"ip_version": st.sampled_from((4, 6))},
    )
    return st.fixed_dictionaries(
        {},
        optional={
            "name": st.sampled_from(("", "a")),
            "admin_state_up": st.booleans(),
            "mac_address": st.sampled_from(MACS),
            "fixed_ips": st.lists(wish, max_size=3),
            "device_owner": st.sampled_from(OWNERS),
            "device_id": st.sampled_from(("", "d")),
            "port_security_enabled": st.booleans(),
            "security_groups": st.lists(st.integers(0, 2).map(str), max_size=2),
            "allowed_address_pairs": st.lists(pair, max_size=3),
            "extra_dhcp_opts": st.lists(option, max_size=2),
            "binding:host_id": st.sampled_from(("", "h1", "h2", "h3", None)),
            "binding:vnic_type": st.sampled_from(("normal", "direct")),
            "binding:profile": st.sampled_from(({}, {"a": 1}, None)),
        },
    )


def _ask(draft: Draft, request: Request) -> None:
    values = _named(draft, request.values)
    networks = sorted(draft.all(Network), key=lambda network: network.sequence)
    every = sorted(draft.all(Port), key=lambda port: port.sequence)
    if request.kind == "create":
        network = networks[request.at % len(networks)]
        ports.create(draft, request.caller, {"network_id": network.id, "project_id": PROJECT, **values})
        return
    if not every:
        return
    port = every[request.at % len(every)]
    host = values.get("binding:host_id") or "h1"
    acts: dict[str, Callable[[], object]] = {
        "update": lambda: ports.update(draft, request.caller, port, values),
        "delete": lambda: ports.delete(draft, request.caller, port),
        "bind": lambda: bindings.create(draft, request.caller, {"port_id": port.id, "host": host}),
        "activate": lambda: bindings.activate(draft, request.caller, port, host),
    }
    acts[request.kind]()


def _named(draft: Draft, values: dict[str, Any]) -> dict[str, Any]:
    """With ids of subnets and groups for their places in the order of creation; a place too far is an unknown id."""
    subnets = dict(enumerate(sorted(draft.all(Subnet), key=lambda subnet: subnet.sequence)))
    groups = dict(enumerate(sorted(draft.all(SecurityGroup), key=lambda group: group.sequence)))
    named = dict(values)
    if "fixed_ips" in values:
        named["fixed_ips"] = [
            {key: subnets[int(v)].id if key == "subnet_id" and int(v) in subnets else v for key, v in wish.items()}
            for wish in values["fixed_ips"]
        ]
    if "security_groups" in values:
        named["security_groups"] = [groups[int(at)].id if int(at) in groups else at for at in values["security_groups"]]
    return named


def _wrong(model: Model, port: Port) -> list[str]:
    wrong = [f"{ip} is not of its network" for ip in port.fixed_ips if not _belongs(model, port, ip)]
    if not port.port_security_enabled and (port.security_groups or port.allowed_address_pairs):
        wrong.append("groups or pairs without port security")
    if len(port.allowed_address_pairs) > 2 or len(set(port.allowed_address_pairs)) < len(port.allowed_address_pairs):
        wrong.append("address pairs too many or twice")
    if len({(o.opt_name, o.ip_version) for o in port.extra_dhcp_opts}) < len(port.extra_dhcp_opts):
        wrong.append("a DHCP option twice")
    if list(port.fixed_ips) != sorted(port.fixed_ips, key=lambda ip: (ip.ip_address, ip.subnet_id)):
        wrong.append("addresses out of order")
    if (port.binding_vif_type == "unbound") != (not port.binding_host_id) and port.binding_vif_type != "distributed":
        wrong.append(f"{port.binding_vif_type} on host {port.binding_host_id!r}")
    return wrong


def _belongs(model: Model, port: Port, ip: FixedIp) -> bool:
    subnet = model.get(Subnet, ip.subnet_id)
    return (
        subnet is not None
        and subnet.network_id == port.network_id
        and prefixes.address(ip.ip_address) in prefixes.network(subnet.cidr)
    )


def _twice(what: str, counted: Counter[tuple[str, str]]) -> list[str]:
    return [f"{what} {key} {count} times" for key, count in counted.items() if count > 1]


def _reindexed(model: Model) -> object:
    return built((entity for table in model.tables.values() for entity in table.values()), model.revision).indexes
