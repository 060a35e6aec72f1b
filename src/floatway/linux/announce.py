"""Gratuitous ARP: tell the neighbours that an address now lives at this device (RFC 5227, section 2.3).

A broadcast request for the own address, then the same as a reply: some stacks update only on the one, some only on the other.
"""

import struct

from floatway.linux import ethtool
from floatway.linux.connection import HostConnection
from floatway.linux.rtwrite import ip_bytes

_ETH_P_ARP = 0x0806
_BROADCAST = b"\xff" * 6
_ARP = struct.Struct("!HHBBH6s4s6s4s")


def frame(mac: bytes, address: str, operation: int) -> bytes:
    """An Ethernet broadcast with sender and target protocol address both ``address``."""
    ip = ip_bytes(address)
    target = bytes(6) if operation == 1 else mac
    return _BROADCAST + mac + struct.pack("!H", _ETH_P_ARP) + _ARP.pack(1, 0x0800, 6, 4, operation, mac, ip, target, ip)


def announce(conn: HostConnection, netns: str, dev: str, address: str) -> None:
    """Send request and reply from ``dev``. Raises OSError when the device is absent or down."""
    sock = conn.handle(netns).packet
    mac = ethtool.mac(sock, dev)
    for operation in (1, 2):
        sock.sendto(frame(mac, address, operation), (dev, _ETH_P_ARP))
