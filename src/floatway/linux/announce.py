"""Gratuitous ARP: tell the neighbours that an address now lives at this device (RFC 5227, section 2.3).

A broadcast request for the own address, then the same as a reply: some stacks update only on the one, some only on the other.
"""

import socket
import struct

from floatway.linux.connection import HostConnection
from floatway.linux.rtread import mac_text
from floatway.linux.rtwrite import ip_bytes

_ETH_P_ARP = 0x0806
_BROADCAST = b"\xff" * 6
_ARP = struct.Struct("!HHBBH6s4s6s4s")


def frame(mac: bytes, address: str, operation: int) -> bytes:
    """An Ethernet broadcast with sender and target protocol address both ``address``."""
    ip = ip_bytes(address)
    target = bytes(6) if operation == 1 else mac
    return _BROADCAST + mac + struct.pack("!H", _ETH_P_ARP) + _ARP.pack(1, 0x0800, 6, 4, operation, mac, ip, target, ip)


def announce(conn: HostConnection, netns: str, dev: str, address: str) -> str:
    """Send request and reply from ``dev``; returns its MAC. Raises OSError when the device is absent or down."""
    with conn.inside(netns):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC)
    with sock:
        sock.bind((dev, 0))
        mac: bytes = sock.getsockname()[4]
        for operation in (1, 2):
            sock.send(frame(mac, address, operation))
        return mac_text(mac)
