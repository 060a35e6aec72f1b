"""Arithmetic on addresses agrees with the standard library's and with the reference's numbers."""

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from floatway.net.address import (
    BROADCAST_MAC,
    in_prefix,
    interface,
    ip_int,
    is_multicast,
    is_multicast_mac,
    network,
    prefix_length,
)
from floatway.net.packet import ETH_ARP, ETH_IP, Packet, arp_request

addresses = st.integers(0, 2**32 - 1).map(IPv4Address)


@pytest.mark.parametrize(("address", "number"), [("172.12.10.1", 2886470145), ("169.254.106.115", 2852022899)])
def test_the_reference_s_table_numbers(address: str, number: int) -> None:
    assert ip_int(address) == number


@given(addresses, addresses, st.integers(0, 32))
def test_in_prefix_is_membership(address: IPv4Address, base: IPv4Address, length: int) -> None:
    prefix = f"{base}/{length}"
    assert in_prefix(str(address), prefix) == (address in IPv4Network(prefix, strict=False))
    assert in_prefix(str(base), prefix)
    assert prefix_length(prefix) == length


@given(addresses)
def test_default_holds_every_address_and_a_bare_one_itself(address: IPv4Address) -> None:
    assert in_prefix(str(address), "default")
    assert in_prefix(str(address), "0.0.0.0/0")
    assert in_prefix(str(address), str(address))
    assert (prefix_length("default"), prefix_length(str(address))) == (0, 32)


def test_an_interface_knows_its_network() -> None:
    assert interface("172.12.10.1/24").network == network("172.12.10.0/24") == network("172.12.10.1/24")


@pytest.mark.parametrize("text", ["", "172.12.10", "172.12.10.256", "172.12.10.1/33", "::1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        network(text)


@pytest.mark.parametrize(
    ("mac", "group"), [(BROADCAST_MAC, True), ("33:33:00:00:00:01", True), ("fa:16:3e:ae:b3:e7", False)]
)
def test_the_group_bit(mac: str, group: bool) -> None:
    assert is_multicast_mac(mac) is group


@given(addresses)
def test_multicast_is_224_slash_4(address: IPv4Address) -> None:
    assert is_multicast(str(address)) == address.is_multicast


def test_an_arp_request_is_a_broadcast_of_its_type() -> None:
    frame = arp_request("fa:16:3e:ae:b3:e7", "172.12.10.4", "172.12.10.1")
    assert (frame.dst_mac, frame.ether_type) == (BROADCAST_MAC, ETH_ARP)
    assert frame.arp is not None
    assert (frame.arp.op, frame.arp.sha) == (1, frame.src_mac)
    assert Packet(src_mac="a", dst_mac="b").ether_type == ETH_IP
