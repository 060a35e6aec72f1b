"""The MAC address of a port: given or made, and on its network the only one.

base_mac fa:16:3e:00:00:00  ──▶  fa:16:3e:5a:01:c7     the bytes after the base are drawn until nobody has them
"""

import re
from typing import Final

from floatway.control.decide import owners
from floatway.control.draft import Draft
from floatway.control.entities import Port
from floatway.control.errors import ApiError, conflict, invalid_input

__all__ = ["changed", "chosen", "of_device"]

_UNPLUGGED: Final = frozenset({"unbound", "binding_failed"})
_MAC: Final = re.compile("[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def chosen(draft: Draft, network_id: str, given: str | None) -> str:
    """The MAC of a new port: ``given``, or a fresh one.

    Raises:
        ApiError: 409 MacAddressInUse.
    """
    if not given:
        return _made(draft, network_id)
    if draft.has(Port, "mac", (network_id, given)):
        raise _in_use(network_id, given)
    return given


def changed(draft: Draft, port: Port, given: str | None, device_owner: str) -> str:
    """The MAC of ``port`` after an update that names it; None asks for a fresh one.

    Raises:
        ApiError: 409: the port is plugged in, is a router's, or the MAC is taken.
    """
    mac = given or _made(draft, port.network_id)
    if mac == port.mac_address:
        return mac
    if port.binding_vif_type not in _UNPLUGGED:
        raise conflict(
            "PortBound",
            f"Unable to complete operation on port {port.id}, port is already bound, "
            f"port type: {port.binding_vif_type}, old_mac {port.mac_address}, new_mac {mac}.",
        )
    if owners.trusted(device_owner):
        raise conflict(
            "UnsupportedPortDeviceOwner",
            f"Operation mac address update is not supported for device_owner {device_owner} on port {port.id}.",
        )
    if draft.has(Port, "mac", (port.network_id, mac)):
        raise _in_use(port.network_id, mac)
    return mac


def of_device(draft: Draft, port: Port) -> str:
    """The MAC of a port that is a physical function on its host: the device's, which the binding profile tells.

    Raises:
        ApiError: 400, it tells no MAC; 409 MacAddressInUse.
    """
    told = port.binding_profile.get("device_mac_address")
    if not told:
        return _made(draft, port.network_id)
    mac = str(told).lower()
    if not _MAC.fullmatch(mac):
        raise invalid_input(f"binding:profile device_mac_address '{told}' is not a valid MAC address")
    if mac != port.mac_address and draft.has(Port, "mac", (port.network_id, mac)):
        raise _in_use(port.network_id, mac)
    return mac


def _made(draft: Draft, network_id: str) -> str:
    base = draft.settings.base_mac.lower().split(":")
    kept = 3 if int(base[3], 16) == 0 else 4
    prefix = int("".join(base[:kept]), 16)
    bits = 8 * (6 - kept)
    start = draft.random.getrandbits(bits)
    for step in range(1 << bits):
        digits = f"{prefix << bits | (start + step) & ((1 << bits) - 1):012x}"
        mac = ":".join((digits[:2], digits[2:4], digits[4:6], digits[6:8], digits[8:10], digits[10:]))
        if not draft.has(Port, "mac", (network_id, mac)):
            return mac
    raise ApiError(503, "MacAddressGenerationFailure", f"Unable to generate unique mac on network {network_id}.")


def _in_use(network_id: str, mac: str) -> ApiError:
    return conflict(
        "MacAddressInUse",
        f"Unable to complete operation for network {network_id}. The mac address {mac} is in use.",
    )
