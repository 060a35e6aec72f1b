"""Addresses as canonical text, with cached arithmetic.

Records carry addresses as the text that the tools print (``172.12.10.4``, ``172.12.10.0/24``,
``fa:16:3e:ae:b3:e7``); equality of text is equality of address. Arithmetic goes through the
functions here, which parse each distinct text once.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

BROADCAST_MAC = "ff:ff:ff:ff:ff:ff"


@lru_cache(maxsize=65536)
def ip_int(address: str) -> int:
    """The IPv4 address as a 32-bit integer (host order)."""
    return int(IPv4Address(address))


@lru_cache(maxsize=65536)
def network(prefix: str) -> IPv4Network:
    """The network of ``a.b.c.d/len``; host bits are allowed and cut off; a bare address is a /32."""
    return IPv4Network(prefix, strict=False)


@lru_cache(maxsize=65536)
def _span(prefix: str) -> tuple[int, int]:
    net = network(prefix)
    return int(net.network_address), int(net.netmask)


def in_prefix(address: str, prefix: str) -> bool:
    """Is the IPv4 address inside the prefix (``default`` and ``0.0.0.0/0`` hold every address)?"""
    if prefix == "default":
        return True
    base, mask = _span(prefix)
    return ip_int(address) & mask == base


@lru_cache(maxsize=65536)
def interface(cidr: str) -> IPv4Interface:
    """``172.12.10.1/24`` as an address that knows its network."""
    return IPv4Interface(cidr)


def prefix_length(prefix: str) -> int:
    """24 for ``172.12.10.0/24``; 0 for ``default``; 32 for a bare address."""
    return 0 if prefix == "default" else network(prefix).prefixlen


def is_multicast_mac(mac: str) -> bool:
    """Is the group bit of the first octet set (broadcast included; IEEE 802)?"""
    return bool(int(mac[:2], 16) & 1)


def is_multicast(address: str) -> bool:
    """Is the IPv4 address in 224.0.0.0/4 (RFC 5771)?"""
    return ip_int(address) >> 28 == 0xE
