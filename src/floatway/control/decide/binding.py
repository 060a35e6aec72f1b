"""Where a port is plugged in: host, and what the host's virtual switch offers there.

    no host                                         ──▶  vif_type unbound
    host h1, an agent of h1 reaches the network     ──▶  vif_type ovs, vif_details {bridge_name: br-int, …}
    host h1, no usable agent reaches it             ──▶  vif_type binding_failed; tried again with every update
    a distributed router's interface                ──▶  vif_type distributed: it is on every host that needs it

A port is ACTIVE while the host that it is bound to has reported it wired, DOWN otherwise; a distributed one while any has.
"""

import json
from typing import Any, Final

import msgspec

from floatway.control.decide import agents, owners, ports_mac
from floatway.control.draft import Draft
from floatway.control.entities import Agent, Network, Port
from floatway.control.errors import ApiError, conflict, invalid_input

__all__ = [
    "Plug",
    "bind",
    "changed",
    "created",
    "failed",
    "of_binding",
    "on_port",
    "reported",
    "requested",
    "with_device_mac",
    "with_status",
]

AGENT_TYPE: Final = "Open vSwitch agent"
_VNIC_TYPES: Final = frozenset({"normal"})
_DRIVERS: Final = {"bound_drivers": {"0": "openvswitch"}}
_LONGEST_HOST: Final = 255
_LONGEST_PROFILE: Final = 4095
_UNPLUGGED: Final = frozenset({"unbound", "binding_failed"})


class Plug(msgspec.Struct, frozen=True):
    """What a binding is asked for."""

    host: str = ""
    vnic_type: str = "normal"
    profile: dict[str, Any] = {}


def requested(before: Plug, host: object, vnic_type: str | None, profile: dict[str, Any] | None) -> Plug:
    """``before`` with what is not None replaced.

    Raises:
        ApiError: 400, the host is no string, or it or the profile is too large.
    """
    if host is not None and not isinstance(host, str):
        raise invalid_input(f"binding:host_id '{host}' is not a string")
    if host is not None and len(host) > _LONGEST_HOST:  # Neutron's database has no room for more, and it answers 500
        raise invalid_input(f"binding:host_id '{host}' exceeds maximum length of {_LONGEST_HOST}")
    if profile and len(json.dumps(profile)) > _LONGEST_PROFILE:
        raise invalid_input("binding:profile value too large")
    return Plug(
        before.host if host is None else host,
        vnic_type or before.vnic_type,
        before.profile if profile is None else profile,
    )


def bind(draft: Draft, network: Network, plug: Plug) -> tuple[str, dict[str, Any]]:
    """``vif_type`` and ``vif_details`` of such a binding to a port of ``network``."""
    if not plug.host:
        return "unbound", {}
    if plug.vnic_type in _VNIC_TYPES:
        for agent in draft.find(Agent, "type_host", (AGENT_TYPE, plug.host)):
            if agents.is_usable(draft, agent) and _reaches(agent, network):
                return "ovs", _details(agent)
    return "binding_failed", {}


def on_port(details: dict[str, Any]) -> dict[str, Any]:
    """``vif_details`` as a port shows them: with who made the binding."""
    return details | _DRIVERS if details else details


def of_binding(details: dict[str, Any]) -> dict[str, Any]:
    """``vif_details`` as a binding shows them."""
    return {name: value for name, value in details.items() if name not in _DRIVERS}


def created(draft: Draft, network: Network, port: Port, values: dict[str, Any]) -> Port:
    """The new port, plugged in where ``values`` say."""
    plug = _asked(Plug(), values)
    return _plugged(draft, network, port, plug)


def changed(draft: Draft, network: Network, port: Port, values: dict[str, Any]) -> Port:
    """``port`` with its binding as ``values`` want it. A failed binding is tried again."""
    before = Plug(port.binding_host_id, port.binding_vnic_type, port.binding_profile)
    plug = _asked(before, values)
    distributed = port.device_owner == owners.DISTRIBUTED_INTERFACE
    if plug != before or distributed != (port.binding_vif_type == "distributed"):
        return _plugged(draft, network, port, plug)
    if plug.host and port.binding_vif_type in _UNPLUGGED:
        vif_type, details = bind(draft, network, plug)
        port = msgspec.structs.replace(port, binding_vif_type=vif_type, binding_vif_details=on_port(details))
        return with_device_mac(draft, port)
    return port


def with_device_mac(draft: Draft, port: Port) -> Port:
    """A port that is a whole device (``direct-physical``) has the device's MAC while it is on a host."""
    if port.binding_vnic_type != "direct-physical" or not port.binding_host_id:
        return port
    return msgspec.structs.replace(port, mac_address=ports_mac.of_device(draft, port))


def with_status(port: Port) -> Port:
    """``port`` with the status that follows from who reported it wired."""
    if port.status not in {"ACTIVE", "DOWN", "BUILD", "ERROR"}:
        return port
    if port.binding_vif_type == "distributed":
        states = {*port.troubled_hosts.values(), *(("ACTIVE",) if port.up_hosts else ())}
    elif port.binding_vif_type in _UNPLUGGED:
        states = set()
    else:
        wired = port.binding_host_id in port.up_hosts
        states = {"ACTIVE" if wired else port.troubled_hosts.get(port.binding_host_id, "DOWN")}
    status = next((state for state in ("ERROR", "ACTIVE", "BUILD") if state in states), "DOWN")
    if not port.admin_state_up:
        status = "DOWN"
    return port if port.status == status else msgspec.structs.replace(port, status=status)


def reported(draft: Draft, port: Port, host: str, state: str) -> Port:
    """``host`` says that it has wired the port (ACTIVE), is at it (BUILD), cannot (ERROR), or has not (any more: DOWN). From
    elsewhere than the binding it says nothing."""
    if port.binding_vif_type != "distributed" and host != port.binding_host_id:
        return port
    hosts = tuple(other for other in port.up_hosts if other != host)
    troubled = {other: said for other, said in port.troubled_hosts.items() if other != host}
    if state == "ACTIVE":
        hosts = tuple(sorted((*hosts, host)))
    elif state != "DOWN":
        troubled[host] = state
    if hosts == port.up_hosts and troubled == port.troubled_hosts:
        return port
    return draft.put(with_status(msgspec.structs.replace(port, up_hosts=hosts, troubled_hosts=troubled)))


def _asked(before: Plug, values: dict[str, Any]) -> Plug:
    host = values["binding:host_id"] or "" if "binding:host_id" in values else None
    profile = values["binding:profile"] or {} if "binding:profile" in values else None
    return requested(before, host, values.get("binding:vnic_type"), profile)


def _plugged(draft: Draft, network: Network, port: Port, plug: Plug) -> Port:
    if port.device_owner == owners.DISTRIBUTED_INTERFACE:
        plug = Plug("", plug.vnic_type, plug.profile)
        vif_type, details, hosts, troubled = "distributed", dict[str, Any](), port.up_hosts, port.troubled_hosts
    else:
        vif_type, details = bind(draft, network, plug)
        hosts, troubled = (), {}
    port = msgspec.structs.replace(
        port,
        binding_host_id=plug.host,
        binding_vnic_type=plug.vnic_type,
        binding_profile=plug.profile,
        binding_vif_type=vif_type,
        binding_vif_details=on_port(details),
        up_hosts=hosts,
        troubled_hosts=troubled,
    )
    return with_device_mac(draft, port)


def _reaches(agent: Agent, network: Network) -> bool:
    """Whether the agent's host can carry the network: a tunnel type that it speaks, or a physical network that it is on."""
    kind = network.provider_network_type
    if kind in {"flat", "vlan"}:
        return network.provider_physical_network in (agent.configurations.get("bridge_mappings") or {})
    return kind == "local" or kind in (agent.configurations.get("tunnel_types") or ())


def _details(agent: Agent) -> dict[str, Any]:
    configurations = agent.configurations
    details = {
        "port_filter": True,
        "connectivity": "l2",
        "ovs_hybrid_plug": configurations.get("ovs_hybrid_plug"),
        "datapath_type": configurations.get("datapath_type", "system"),
    }
    bridge = configurations.get("integration_bridge")
    if bridge:
        details["bridge_name"] = bridge
    return details


def failed(port_id: str, host: str) -> ApiError:
    """A binding that was asked for by name could not be made: 409 (Neutron says 500, but it is no fault of the server)."""
    return conflict("PortBindingError", f"Binding for port {port_id} on host {host} could not be created or updated.")
