"""Which wire a network is on: its type, physical network and segmentation id, given or taken from the operator's ranges.

    vxlan, geneve, gre   an id from ``vni_ranges``, one network each            tenant networks get the first type that has room
    vlan                 physical network and id from ``vlan_ranges``
    flat                 a physical network, one network each
    local                nothing

Only an admin names a segment (policy sees to that); an id outside the ranges is theirs to give.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from floatway.control import entities as e
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, conflict, invalid_input

__all__ = ["PROVIDER", "Segment", "mtu", "provider_segment", "tenant_segment"]

PROVIDER: Final = ("provider:network_type", "provider:physical_network", "provider:segmentation_id")
_TUNNELS: Final = {"vxlan": 50, "geneve": 58, "gre": 46}  # bytes around an IPv4 packet, outer IPv4 header included
_MOST: Final = {"vxlan": 2**24 - 1, "geneve": 2**24 - 1, "gre": 2**32 - 1}


class Segment(msgspec.Struct, frozen=True):
    """``physical_network`` and ``segmentation_id`` are None where the type has none."""

    network_type: str
    physical_network: str | None = None
    segmentation_id: int | None = None


def mtu(draft: Draft, segment: Segment) -> int:
    """The largest MTU in bytes that fits: the physical network's, less the tunnel's headers."""
    settings = draft.settings
    physical = settings.global_physnet_mtu
    if segment.network_type in _TUNNELS:
        path = min(one for one in (settings.path_mtu, physical) if one > 0)
        return max(path - _TUNNELS[segment.network_type], 0)
    return physical


def tenant_segment(draft: Draft) -> Segment:
    """A free segment of the first tenant type that has one.

    Raises:
        ApiError: 503 when none has.
    """
    for network_type in draft.settings.tenant_network_types:
        segment = _free(draft, network_type, None)
        if segment is not None:
            return segment
    raise _nothing_free()


def provider_segment(draft: Draft, network_type: str | None, physical: str | None, id_: int | None) -> Segment:
    """The segment that an admin asks for.

    Raises:
        ApiError: 400 when the parts do not fit each other, 409 when it is taken, 503 when nothing is free.
    """
    if not network_type:
        raise invalid_input("network_type required")
    if network_type not in draft.settings.network_types:
        raise invalid_input(f"network_type value '{network_type}' not supported")
    segment = _CHECKS[network_type](draft, Segment(network_type, physical or None, id_))
    if draft.has(e.Network, "segment", (segment.network_type, segment.physical_network, segment.segmentation_id)):
        if network_type == "local":
            return segment
        raise _taken(segment)
    return segment


def _tunnel(draft: Draft, segment: Segment) -> Segment:
    kind = segment.network_type
    if segment.physical_network:
        raise invalid_input(f"provider:physical_network specified for {kind} network")
    if segment.segmentation_id is None:
        return _free(draft, kind, None) or _raise(_nothing_free())
    if not 1 <= segment.segmentation_id <= _MOST[kind]:
        raise invalid_input(
            f"segmentation_id out of range (1 through {_MOST[kind]}) for {kind} network: {segment.segmentation_id}"
        )
    return segment


def _vlan(draft: Draft, segment: Segment) -> Segment:
    settings = draft.settings
    if not segment.physical_network:
        if segment.segmentation_id is not None:
            raise invalid_input("segmentation_id requires physical_network for VLAN provider network")
        return _free(draft, "vlan", None) or _raise(_nothing_free())
    if segment.physical_network not in settings.vlan_ranges:
        raise invalid_input(f"physical_network '{segment.physical_network}' unknown for VLAN provider network")
    if segment.segmentation_id is None:
        return _free(draft, "vlan", segment.physical_network) or _raise(_nothing_free())
    if not 1 <= segment.segmentation_id <= 4094:
        raise invalid_input("segmentation_id out of range (1 through 4094)")
    return segment


def _flat(draft: Draft, segment: Segment) -> Segment:
    if not segment.physical_network:
        raise invalid_input("physical_network required for flat provider network")
    if segment.segmentation_id is not None:
        raise invalid_input("segmentation_id prohibited for flat provider network")
    allowed = draft.settings.flat_networks
    if not allowed:
        raise invalid_input("Flat provider networks are disabled")
    if "*" not in allowed and segment.physical_network not in allowed:
        raise invalid_input(f"physical_network '{segment.physical_network}' unknown for flat provider network")
    return segment


def _local(draft: Draft, segment: Segment) -> Segment:
    del draft
    for name in ("physical_network", "segmentation_id"):
        if getattr(segment, name) is not None:
            raise invalid_input(f"{name} prohibited for local provider network")
    return segment


_CHECKS: Final[dict[str, Callable[[Draft, Segment], Segment]]] = {
    "vxlan": _tunnel,
    "geneve": _tunnel,
    "gre": _tunnel,
    "vlan": _vlan,
    "flat": _flat,
    "local": _local,
}


def _raise(error: ApiError) -> Segment:
    raise error


def _free(draft: Draft, network_type: str, physical: str | None) -> Segment | None:
    if network_type == "local":
        return Segment("local")
    if network_type in _TUNNELS:
        return _first(draft, network_type, None, draft.settings.vni_ranges)
    for name, ranges in draft.settings.vlan_ranges.items() if network_type == "vlan" else ():
        if physical is None or physical == name:
            segment = _first(draft, "vlan", name, ranges)
            if segment is not None:
                return segment
    return None


def _first(draft: Draft, network_type: str, physical: str | None, ranges: Iterable[tuple[int, int]]) -> Segment | None:
    """A free id, the first from a random start: one just given back rests before it is handed on."""
    for least, most in ranges:
        size = most - least + 1
        start = draft.random.randrange(size)
        for offset in range(size):
            id_ = least + (start + offset) % size
            if not draft.has(e.Network, "segment", (network_type, physical, id_)):
                return Segment(network_type, physical, id_)
    return None


def _nothing_free() -> ApiError:
    return ApiError(
        503, "NoNetworkAvailable", "Unable to create the network. No project network is available for allocation."
    )


def _taken(segment: Segment) -> ApiError:
    if segment.network_type == "flat":
        return conflict(
            "FlatNetworkInUse",
            f"Unable to create the flat network. Physical network {segment.physical_network} is in use.",
        )
    if segment.network_type == "vlan":
        return conflict(
            "VlanIdInUse",
            f"Unable to create the network. The VLAN {segment.segmentation_id} on physical network"
            f" {segment.physical_network} is in use.",
        )
    return conflict(
        "TunnelIdInUse", f"Unable to create the network. The tunnel ID {segment.segmentation_id} is in use."
    )
