"""The rules of networks: on which wire, how large its packets, who shares it, what must go before it goes."""

from typing import Any, Final

import msgspec

from floatway.control import entities as e
from floatway.control.caller import Caller
from floatway.control.decide import (
    availability_zones,
    floatingips,
    owners,
    ports,
    quotas,
    security_groups,
    segments,
    sharing,
    subnets,
)
from floatway.control.draft import Draft
from floatway.control.errors import conflict, invalid_input

__all__ = ["check_subnet_mtu", "create", "delete", "update"]

_MIN_MTU: Final = {4: 68, 6: 1280}  # RFC 791, RFC 8200
# Ports that are the system's own and go with their network.
_AUTO_DELETE: Final = (owners.DHCP, owners.AGENT_GATEWAY, owners.DISTRIBUTED_SERVICE)
_PLAIN: Final = ("name", "admin_state_up", "description", "port_security_enabled", "dns_domain")


def create(draft: Draft, caller: Caller, values: dict[str, Any]) -> e.Network:
    """A network on a segment given or found (see ``decide.segments``). A project's first brings its default security group."""
    project_id = values["project_id"]
    quotas.check(draft, project_id, "network")
    if project_id:
        security_groups.default_group(draft, project_id)
    hints = tuple(values.get("availability_zone_hints") or ())
    availability_zones.check_hints(draft, "network", hints)
    segment = _segment(draft, values)
    external = bool(values.get("router:external"))
    if values.get("is_default") and not external:
        values["is_default"] = False
    network = e.Network(
        id=draft.new_id(),
        project_id=project_id,
        mtu=_mtu(draft, segment, values.get("mtu", 0)),
        provider_network_type=segment.network_type,
        provider_physical_network=segment.physical_network,
        provider_segmentation_id=segment.segmentation_id,
        router_external=external,
        is_default=bool(values.get("is_default")),
        availability_zone_hints=hints,
        tags=tuple(sorted(set(values.get("tags") or ()))),
        **{name: values[name] for name in _PLAIN if name in values},
    )
    if network.is_default:
        _only_default(draft, network)
    network = draft.put(network)
    if values.get("shared"):
        sharing.set_shared(draft, network, True)
    if external:
        sharing.add(draft, network, sharing.EXTERNAL)
    del caller
    return network


def update(draft: Draft, caller: Caller, network: e.Network, values: dict[str, Any]) -> e.Network:
    """Change what may change; the segmentation id of a VLAN network is all that may change of its segment."""
    del caller
    before = network
    network = msgspec.structs.replace(network, **{name: values[name] for name in _PLAIN if name in values})
    network = _moved(draft, network, values)
    if "mtu" in values:
        network = msgspec.structs.replace(network, mtu=_checked_mtu(draft, network, values["mtu"]))
    if "router:external" in values and values["router:external"] != network.router_external:
        network = _set_external(draft, network, values["router:external"])
    if "is_default" in values:
        network = msgspec.structs.replace(network, is_default=values["is_default"] and network.router_external)
        if network.is_default:
            _only_default(draft, network)
    if "shared" in values:
        _set_shared(draft, network, values["shared"])
        network = draft.put(network)
        return draft.touch(network) if network == before else network
    return draft.put(network)


def delete(draft: Draft, caller: Caller, network: e.Network) -> None:
    """Delete it with its subnets, the system's own ports, and floating IPs that lead nowhere.

    Raises:
        ApiError: 409 NetworkInUse while any other port is on it.
    """
    floatingips.network_deleted(draft, network)
    in_use = [port for port in draft.find(e.Port, "network", network.id) if port.device_owner not in _AUTO_DELETE]
    if in_use:
        listed = ",".join(port.id for port in in_use)
        raise conflict(
            "NetworkInUse",
            f"Unable to complete operation on network {network.id}. There are one or more ports still in use on the network,"
            f" id for these ports is: {listed}.",
        )
    for port in draft.find(e.Port, "network", network.id):
        ports.delete(draft, caller, port, l3_check=False)
    for subnet in draft.find(e.Subnet, "network", network.id):
        subnets.remove(draft, subnet)
    for binding in draft.find(e.AgentBinding, "object", network.id):
        draft.remove(binding)
    sharing.remove_all(draft, network)
    draft.remove(network)


def _segment(draft: Draft, values: dict[str, Any]) -> segments.Segment:
    kind, physical, id_ = (values.get(name) for name in segments.PROVIDER)
    if kind is None and physical is None and id_ is None:
        return segments.tenant_segment(draft)
    return segments.provider_segment(draft, kind, physical, id_)


def _mtu(draft: Draft, segment: segments.Segment, wanted: int) -> int:
    """The MTU in bytes: what is asked for, the most that fits for 0. How small it may be depends on the subnets."""
    most = segments.mtu(draft, segment)
    if most and wanted > most:
        raise invalid_input(f"Requested MTU is too big, maximum is {most}")
    return wanted or most


def _checked_mtu(draft: Draft, network: e.Network, wanted: int) -> int:
    segment = segments.Segment(
        network.provider_network_type or "local", network.provider_physical_network, network.provider_segmentation_id
    )
    mtu = _mtu(draft, segment, wanted)
    # what is asked for is held to the subnets' needs, though 0 means the most that fits
    for version in {subnet.ip_version for subnet in draft.find(e.Subnet, "network", network.id)}:
        check_subnet_mtu(msgspec.structs.replace(network, mtu=wanted), version)
    return mtu


def _moved(draft: Draft, network: e.Network, values: dict[str, Any]) -> e.Network:
    now = {
        "provider:network_type": network.provider_network_type,
        "provider:physical_network": network.provider_physical_network,
        "provider:segmentation_id": network.provider_segmentation_id,
    }
    changed = {name: values[name] for name in now if values.get(name) not in {None, now[name]}}
    if not changed:
        return network
    if set(changed) != {"provider:segmentation_id"}:
        raise invalid_input(
            "Plugin does not support updating the following provider network attributes: provider:network_type,"
            " provider:physical_network"
        )
    if network.provider_network_type != "vlan":
        raise invalid_input("Only VLAN type networks can be updated.")
    segment = segments.provider_segment(
        draft, "vlan", network.provider_physical_network, changed["provider:segmentation_id"]
    )
    return msgspec.structs.replace(network, provider_segmentation_id=segment.segmentation_id)


def _set_external(draft: Draft, network: e.Network, external: bool) -> e.Network:
    if external:
        sharing.add(draft, network, sharing.EXTERNAL)
        return msgspec.structs.replace(network, router_external=True)
    if draft.has(e.Port, "owner", (network.id, owners.ROUTER_GATEWAY)):
        raise conflict(
            "ExternalNetworkInUse",
            f"External network {network.id} cannot be updated to be made non-external, since it has existing gateway ports.",
        )
    for policy in sharing.policies(draft, "network", network.id, sharing.EXTERNAL):
        draft.remove(policy)
    return msgspec.structs.replace(network, router_external=False, is_default=False)


def _only_default(draft: Draft, network: e.Network) -> None:
    for other in draft.find(e.Network, "external", True):
        if other.is_default and other.id != network.id:
            raise conflict("DefaultExternalNetworkExists", f"A default external network already exists: {other.id}.")


def _set_shared(draft: Draft, network: e.Network, shared: bool) -> None:
    if shared == any(p.target_tenant == "*" for p in sharing.policies(draft, "network", network.id, sharing.SHARED)):
        return
    if not shared:
        _check_unshare(draft, network)
    sharing.set_shared(draft, network, shared)


def _check_unshare(draft: Draft, network: e.Network) -> None:
    """Whether nobody depends on the network being everybody's; the system's own ports do not count."""
    policies = sharing.policies(draft, "network", network.id, sharing.SHARED)
    kept = {policy.target_tenant for policy in policies} | {network.project_id}
    ports_of = draft.find(e.Port, "network", network.id)
    users = {port.project_id for port in ports_of if not owners.trusted(port.device_owner)}
    users |= {subnet.project_id for subnet in draft.find(e.Subnet, "network", network.id)}
    if users - kept:
        raise conflict(
            "InvalidSharedSetting",
            f"Unable to reconfigure sharing settings for network {network.name}. Multiple projects are using it.",
        )


def check_subnet_mtu(network: e.Network, version: int) -> None:
    """Whether a subnet of this family may be on the network.

    Raises:
        ApiError: 409 NetworkMTUSubnetConflict.
    """
    least = next((mtu for mtu in (_MIN_MTU[4], _MIN_MTU[version]) if network.mtu < mtu), None)
    if least is not None:
        raise conflict(
            "NetworkMTUSubnetConflict", f"MTU of {network.id} is not valid, subnet requires a minimum of {least}"
        )
