"""What ioctl(2) tells about a device: its index, its MAC, and transmit checksum offload (``ethtool -k``, ``ethtool -K DEV tx off``).

A veth end leaves checksums to the receiver; the userspace datapath passes such frames on and TCP stalls. So ours are off.
"""

import ctypes
import fcntl
import struct
from typing import Protocol

_SIOCETHTOOL, _SIOCGIFINDEX, _SIOCGIFHWADDR = 0x8946, 0x8933, 0x8927
_GTXCSUM, _STXCSUM = 0x16, 0x17
_IFREQ = struct.Struct("=16sQ16x")


class Handle(Protocol):
    """Anything with a socket of the device's namespace behind it."""

    def fileno(self) -> int:
        """The file descriptor of the socket."""
        ...


def _value(sock: Handle, device: str, command: int, value: int) -> int:
    wanted = (ctypes.c_uint32 * 2)(command, value)
    fcntl.ioctl(sock.fileno(), _SIOCETHTOOL, bytearray(_IFREQ.pack(device.encode(), ctypes.addressof(wanted))))
    return int(wanted[1])


def tx_checksum(sock: Handle, device: str) -> bool:
    """Is transmit checksum offload on? Devices that have no such setting (and vanished ones) count as on."""
    try:
        return bool(_value(sock, device, _GTXCSUM, 0))
    except OSError:
        return True


def set_tx_checksum(sock: Handle, device: str, on: bool) -> None:
    """``ethtool -K DEVICE tx on|off``. Raises OSError."""
    _value(sock, device, _STXCSUM, int(on))


def index(sock: Handle, device: str) -> int:
    """The device's interface index in the socket's namespace. Raises OSError (ENODEV) when there is none."""
    request = bytearray(struct.pack("=16si20x", device.encode(), 0))
    fcntl.ioctl(sock.fileno(), _SIOCGIFINDEX, request)
    return int(struct.unpack_from("=i", request, 16)[0])


def mac(sock: Handle, device: str) -> bytes:
    """The device's hardware address, six bytes. Raises OSError (ENODEV) when there is none."""
    request = bytearray(struct.pack("=16s24x", device.encode()))
    fcntl.ioctl(sock.fileno(), _SIOCGIFHWADDR, request)
    return bytes(request[18:24])
