"""The packet on its walk: one Ethernet frame with the fields that any decision on a DVR host reads."""

from enum import StrEnum
from typing import Literal

import msgspec

from floatway.net.address import BROADCAST_MAC

ETH_IP = 0x0800
ETH_ARP = 0x0806

Protocol = Literal["icmp", "tcp", "udp"]
PROTOCOL_NUMBER: dict[str, int] = {"icmp": 1, "tcp": 6, "udp": 17}

ICMP_ECHO_REPLY = 0
ICMP_ECHO_REQUEST = 8


class TcpFlags(StrEnum):
    """What matters of a segment's flags to conntrack: the first of a connection, or a later one."""

    SYN = "syn"
    SYN_ACK = "syn,ack"
    ACK = "ack"


class Arp(msgspec.Struct, frozen=True):
    """An ARP body (RFC 826). ``op`` 1 is a request, 2 a reply."""

    op: int
    spa: str
    tpa: str
    sha: str
    tha: str = "00:00:00:00:00:00"


class Packet(msgspec.Struct, frozen=True):
    """One frame. ``vlan`` is the 802.1Q VID or None when untagged; ``length`` the IP total length in
    bytes (RFC 791); ``sport``/``dport`` hold the ICMP identifier twice for echo messages, as conntrack does.
    """

    src_mac: str
    dst_mac: str
    src: str = ""
    dst: str = ""
    proto: Protocol = "icmp"
    sport: int = 0
    dport: int = 0
    icmp_type: int = ICMP_ECHO_REQUEST
    icmp_code: int = 0
    tcp_flags: TcpFlags = TcpFlags.SYN
    ttl: int = 64
    length: int = 84
    df: bool = True
    vlan: int | None = None
    tun_id: int | None = None
    arp: Arp | None = None

    @property
    def ether_type(self) -> int:
        """0x0806 for ARP, else 0x0800."""
        return ETH_ARP if self.arp else ETH_IP


def arp_request(src_mac: str, spa: str, tpa: str) -> Packet:
    """The broadcast question "who has tpa, tell spa" (RFC 826)."""
    return Packet(src_mac=src_mac, dst_mac=BROADCAST_MAC, arp=Arp(op=1, spa=spa, tpa=tpa, sha=src_mac))
