"""Rules about what a cloud becomes on its hosts: bridges and NICs, names that are cut to fit, owners, pinned numbers.

bridge_mappings  physnet1 -> br-ex      one bridge each, not br-int or br-tun
bridge_nics      br-ex    -> eth4       of a bridge that is mapped, one NIC each
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from floatway.model.cloud import Cloud
from floatway.model.fields import nearest
from floatway.model.resources import (
    OWNER_AGENT_GATEWAY,
    OWNER_ROUTER_GATEWAY,
    OWNER_ROUTER_INTERFACE,
    OWNER_ROUTER_SNAT,
    Host,
)
from floatway.model.shape import Finding

RESERVED_BRIDGES = frozenset({"br-int", "br-tun"})
ROUTER_OWNERS = frozenset({OWNER_ROUTER_INTERFACE, OWNER_ROUTER_SNAT, OWNER_ROUTER_GATEWAY})
NETWORK_OWNERS = ROUTER_OWNERS | {OWNER_AGENT_GATEWAY, "network:dhcp", "network:floatingip", "network:distributed"}
TAG_MAX = 4094
PRIORITY_MIN, PRIORITY_MAX = 32768, 72767
# How much of an id a name on the host has room for: qvo + 11 and neutron-openvswi-i + 10 characters, rfp- + 10, NIPv4 + 24.
SIGNIFICANT = {"ports": 10, "routers": 10, "security_groups": 24}


def bridges_are_apart(cloud: Cloud) -> Iterator[Finding]:
    """Every physical network has a bridge of its own, every bridge a NIC of its own; the agent's own bridges are not for sale."""
    for host in cloud.hosts.values():
        for what, field, taken in (
            ("bridge", "bridge_mappings", host.bridge_mappings),
            ("NIC", "bridge_nics", host.bridge_nics),
        ):
            for key, other in _twice(taken):
                message = f"{what} {taken[key]} is already that of {other}"
                yield Finding("hosts", host.name, f"{field}.{key}", "unique-bridge", message)
        for physical, bridge in host.bridge_mappings.items():
            if bridge in RESERVED_BRIDGES:
                message = f"{bridge} is the host's own bridge; map {physical} to another, such as br-ex"
                yield Finding("hosts", host.name, f"bridge_mappings.{physical}", "reserved-bridge", message)
        mapped = set(host.bridge_mappings.values())
        for bridge in host.bridge_nics:
            if bridge not in mapped:
                message = f"no physical network is mapped to bridge {bridge}{nearest(bridge, mapped)}"
                yield Finding("hosts", host.name, f"bridge_nics.{bridge}", "known-reference", message)


def names_stay_apart_when_cut(cloud: Cloud) -> Iterator[Finding]:
    """Devices, chains and sets carry the head of an id: no two ids may share it."""
    for collection, length in SIGNIFICANT.items():
        heads: dict[str, str] = {}
        for identity in getattr(cloud, collection):
            if (other := heads.setdefault(identity[:length], identity)) != identity:
                message = f"devices are named after the first {length} characters, which are those of {other} too"
                yield Finding(collection, identity, "id", "unique-device-name", message)


def owners_fit_their_devices(cloud: Cloud) -> Iterator[Finding]:
    """A port of an instance is compute:…; a port of a router is one of a distributed router's; other network:… words exist."""
    for port in cloud.ports.values():
        owner, message = port.device_owner, ""
        if port.device_id in cloud.servers and not owner.startswith("compute:"):
            name = cloud.servers[port.device_id].name or port.device_id
            message = f"{owner!r} on a port of server {name}: an instance's port is owned by compute:nova"
        elif port.device_id in cloud.routers and owner not in ROUTER_OWNERS:
            message = f"{owner!r} on a port of a router{nearest(owner, ROUTER_OWNERS)}"
        elif owner.startswith("network:") and owner not in NETWORK_OWNERS:
            message = f"{owner!r} is no owner that is realised{nearest(owner, NETWORK_OWNERS)}"
        elif owner.startswith("compute:") and port.device_id and port.device_id not in cloud.servers:
            yield Finding("ports", port.id, "device_id", "known-reference", f"there is no server {port.device_id!r}")
        if message:
            yield Finding("ports", port.id, "device_owner", "device-owner", message)


def one_agent_gateway_per_host(cloud: Cloud) -> Iterator[Finding]:
    """A host goes out to an external network through one fg device."""
    seen: dict[tuple[str, str], str] = {}
    for port in cloud.ports.values():
        if port.device_owner != OWNER_AGENT_GATEWAY:
            continue
        if (other := seen.setdefault((port.network_id, port.binding_host_id), port.id)) != port.id:
            message = f"host {port.binding_host_id} already has agent gateway port {other} on this network"
            yield Finding("ports", port.id, "binding_host_id", "one-agent-gateway", message)


def hosts_have_the_bridges(cloud: Cloud) -> Iterator[Finding]:
    """A port of a flat or vlan network stands on a host that maps the physical network to a bridge."""
    for port in cloud.ports.values():
        physical = cloud.networks[port.network_id].provider_physical_network
        if port.binding_host_id and physical and physical not in cloud.hosts[port.binding_host_id].bridge_mappings:
            message = f"host {port.binding_host_id} has no bridge for physical network {physical}: add it to its bridge_mappings"
            yield Finding("ports", port.id, "binding_host_id", "physical-bridge", message)


def modes_are_realised(cloud: Cloud) -> Iterator[Finding]:
    """Routers are distributed, so a host with their instances is dvr or dvr_snat; one without an outside has no floating IPs."""
    for host in cloud.hosts.values():
        ports = [port for port in cloud.ports_by_host.get(host.name, ()) if port.device_owner.startswith("compute:")]
        if host.agent_mode == "legacy" and any(cloud.router_interfaces_by_network.get(p.network_id) for p in ports):
            message = "legacy hosts carry no distributed router, and instances here have one; set agent_mode: dvr"
            yield Finding("hosts", host.name, "agent_mode", "agent-mode", message)
        if host.agent_mode == "dvr_no_external" and any(port.id in cloud.floating_ips_by_port for port in ports):
            message = (
                "without an outside of its own the host has no floating IPs, and instances here do; set agent_mode: dvr"
            )
            yield Finding("hosts", host.name, "agent_mode", "agent-mode", message)


def pins_are_apart(cloud: Cloud) -> Iterator[Finding]:
    """No number or MAC is pinned twice on a host, and every number is of its range."""
    for host in cloud.hosts.values():
        yield from _pins_twice(host)
        pins = host.pins
        for network, tag in pins.local_vlans.items():
            if not 1 <= tag <= TAG_MAX:
                message = f"{tag} is not a local VLAN (1 to {TAG_MAX})"
                yield Finding("hosts", host.name, f"pins.local_vlans.{network}", "pin-range", message)
        for fixed, priority in pins.floating_ip_priorities.items():
            if not PRIORITY_MIN <= priority <= PRIORITY_MAX:
                message = f"{priority} is not a floating IP's rule priority ({PRIORITY_MIN} to {PRIORITY_MAX})"
                yield Finding("hosts", host.name, f"pins.floating_ip_priorities.{fixed}", "pin-range", message)


def _pins_twice(host: Host) -> Iterator[Finding]:
    pins = host.pins
    tables: dict[str, Mapping[str, object]] = {
        "local_vlans": pins.local_vlans,
        "floating_ip_priorities": pins.floating_ip_priorities,
        "link_local": pins.link_local,
        "macs": pins.macs,
    }
    for field, pinned in tables.items():
        for key, other in _twice(pinned):
            message = f"{pinned[key]} is already pinned to {other}"
            yield Finding("hosts", host.name, f"pins.{field}.{key}", "unique-pin", message)


def _twice(values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """(key, the earlier key with the same value)."""
    repeated = {value for value, count in Counter(values.values()).items() if count > 1}
    first: dict[object, str] = {}
    for key, value in values.items():
        if value in repeated and first.setdefault(value, key) != key:
            yield key, first[value]
