"""OpenFlow matches and the actions that change a packet, in ovs-fields(7)'s and ovs-actions(7)'s words.

in_port="qvo…",arp,arp_spa=172.12.10.4     vlan_tci=0x0000/0x1fff     dl_dst=01:00:00:00:00:00/01:00:00:00:00:00
"""

from collections.abc import Callable

import msgspec

from floatway.net.address import in_prefix, ip_int
from floatway.net.packet import ETH_ARP, ETH_IP, PROTOCOL_NUMBER, Arp, Packet
from floatway.text.ofctl import Field, parse_match
from floatway.trace.index import Index

PRESENT = 0x1000
"""The bit that says "tagged" in OpenFlow's vlan_vid and in vlan_tci (ovs-fields(7), "VLAN Fields")."""
SHORT = {
    "ip": (ETH_IP, 0), "icmp": (ETH_IP, 1), "tcp": (ETH_IP, 6), "udp": (ETH_IP, 17), "arp": (ETH_ARP, 0),
    "ipv6": (0x86DD, 0), "icmp6": (0x86DD, 58), "tcp6": (0x86DD, 6), "udp6": (0x86DD, 17), "rarp": (0x8035, 0),
}  # fmt: skip


class UnknownFieldError(ValueError):
    """A field or action that this model does not know."""


def matches(text: str, bridge: str, port: str, packet: Packet, known: Index) -> bool | None:
    """Does the flow's match hold for the packet on this port? None when that hangs on a field that is not understood."""
    unknown = False
    for field in parse_match(text):
        try:
            if not _field(field, bridge, port, packet, known):
                return False
        except ValueError:
            unknown = True
    return None if unknown else True


def cannot(text: str, port: str, packet: Packet, bridge: str) -> bool:
    """A quick no for the flows of other ports and other MACs, without parsing them."""
    if "in_port=" in text:
        at = text.index("in_port=") + 8
        if text[at] == '"' and not text.startswith(f'"{port}"', at):
            return True
    if "dl_dst=" in text:
        at = text.index("dl_dst=") + 7
        if text[at + 17 : at + 18] != "/" and not text.startswith(packet.dst_mac, at):
            return True
    return False


def _field(field: Field, bridge: str, port: str, packet: Packet, known: Index) -> bool:
    if field.name in SHORT:
        ether, number = SHORT[field.name]
        return packet.ether_type == ether and (not number or PROTOCOL_NUMBER[packet.proto] == number)
    if field.name == "in_port":
        named = field.value
        if named == "LOCAL":
            named = bridge
        elif named.isdigit():
            named = known.of_numbers.get((bridge, named), named)
        return named == port
    if (mac := MACS.get(field.name)) is not None:
        return mac(packet) != "" and _mac(field, mac(packet))
    read = ADDRESSES.get(field.name)
    if read is not None:
        value = read(packet)
        return value != "" and _address(field, value)
    number_of = NUMBERS.get(field.name)
    if number_of is None:
        raise UnknownFieldError(field.name)
    number = number_of(packet)
    mask = int(field.mask, 0) if field.mask else -1
    return number >= 0 and number & mask == int(field.value, 0) & mask


def _address(field: Field, value: str) -> bool:
    if "." in field.mask:
        mask = ip_int(field.mask)
        return ip_int(value) & mask == ip_int(field.value) & mask
    return in_prefix(value, f"{field.value}/{field.mask}" if field.mask else field.value)


def _mac(field: Field, mac: str) -> bool:
    if not field.mask:
        return field.value == mac
    mask = _mac_int(field.mask)
    return _mac_int(mac) & mask == _mac_int(field.value) & mask


def _mac_int(mac: str) -> int:
    return int(mac.replace(":", ""), 16)


def _arp(read: Callable[[Arp], str]) -> Callable[[Packet], str]:
    return lambda packet: "" if packet.arp is None else read(packet.arp)


def _tci(packet: Packet) -> int:
    return 0 if packet.vlan is None else PRESENT | packet.vlan


def _ip(number: Callable[[Packet], int]) -> Callable[[Packet], int]:
    return lambda packet: -1 if packet.arp else number(packet)


ADDRESSES: dict[str, Callable[[Packet], str]] = {
    "nw_src": lambda packet: packet.arp.spa if packet.arp else packet.src,
    "nw_dst": lambda packet: packet.arp.tpa if packet.arp else packet.dst,
    "ip_src": lambda packet: "" if packet.arp else packet.src,
    "ip_dst": lambda packet: "" if packet.arp else packet.dst,
    "arp_spa": _arp(lambda arp: arp.spa),
    "arp_tpa": _arp(lambda arp: arp.tpa),
}
NUMBERS: dict[str, Callable[[Packet], int]] = {
    "dl_vlan": lambda packet: 0xFFFF if packet.vlan is None else packet.vlan,
    "vlan_vid": _tci,
    "vlan_tci": _tci,
    "vlan_tci1": lambda packet: 0,
    "dl_vlan_pcp": lambda packet: 0 if packet.vlan is not None else -1,
    "dl_type": lambda packet: packet.ether_type,
    "eth_type": lambda packet: packet.ether_type,
    "nw_proto": lambda packet: packet.arp.op if packet.arp else PROTOCOL_NUMBER[packet.proto],
    "ip_proto": _ip(lambda packet: PROTOCOL_NUMBER[packet.proto]),
    "nw_ttl": _ip(lambda packet: packet.ttl),
    "arp_op": lambda packet: packet.arp.op if packet.arp else -1,
    "tun_id": lambda packet: packet.tun_id or 0,
    "tunnel_id": lambda packet: packet.tun_id or 0,
    "icmp_type": _ip(lambda packet: packet.icmp_type if packet.proto == "icmp" else -1),
    "icmp_code": _ip(lambda packet: packet.icmp_code if packet.proto == "icmp" else -1),
    "tcp_src": _ip(lambda packet: packet.sport if packet.proto == "tcp" else -1),
    "tcp_dst": _ip(lambda packet: packet.dport if packet.proto == "tcp" else -1),
    "udp_src": _ip(lambda packet: packet.sport if packet.proto == "udp" else -1),
    "udp_dst": _ip(lambda packet: packet.dport if packet.proto == "udp" else -1),
    "tp_src": _ip(lambda packet: packet.sport if packet.proto != "icmp" else packet.icmp_type),
    "tp_dst": _ip(lambda packet: packet.dport if packet.proto != "icmp" else packet.icmp_code),
    "ct_state": lambda packet: 0,
    "ip_frag": lambda packet: 0,
}
MACS: dict[str, Callable[[Packet], str]] = {
    "dl_src": lambda packet: packet.src_mac,
    "eth_src": lambda packet: packet.src_mac,
    "dl_dst": lambda packet: packet.dst_mac,
    "eth_dst": lambda packet: packet.dst_mac,
    "arp_sha": _arp(lambda arp: arp.sha),
    "arp_tha": _arp(lambda arp: arp.tha),
}


# --- changing fields -------------------------------------------------------------------------------


def set_field(packet: Packet, name: str, value: str) -> Packet:
    """The packet with one field set. Raises UnknownFieldError, or ValueError for a value that is none."""
    replace = msgspec.structs.replace
    match name:
        case "eth_src" | "dl_src" | "NXM_OF_ETH_SRC[]":
            return replace(packet, src_mac=_as_mac(value))
        case "eth_dst" | "dl_dst" | "NXM_OF_ETH_DST[]":
            return replace(packet, dst_mac=_as_mac(value))
        case "vlan_vid" | "dl_vlan" | "NXM_OF_VLAN_TCI[]":
            number = int(value, 0)
            return replace(packet, vlan=None if name.endswith("TCI[]") and not number & PRESENT else number & 0xFFF)
        case "tun_id" | "tunnel_id" | "NXM_NX_TUN_ID[]":
            return replace(packet, tun_id=int(value, 0))
        case "ip_src" | "nw_src" | "NXM_OF_IP_SRC[]":
            return replace(packet, src=_as_ip(value))
        case "ip_dst" | "nw_dst" | "NXM_OF_IP_DST[]":
            return replace(packet, dst=_as_ip(value))
        case "tcp_src" | "udp_src" | "tp_src":
            return replace(packet, sport=int(value, 0))
        case "tcp_dst" | "udp_dst" | "tp_dst":
            return replace(packet, dport=int(value, 0))
        case _ if packet.arp is not None and name in ARP_SETTERS:
            field = ARP_SETTERS[name]
            new: object = (
                int(value, 0) if field == "op" else _as_mac(value) if field in ("sha", "tha") else _as_ip(value)
            )
            return replace(packet, arp=replace(packet.arp, **{field: new}))
        case _ if name.startswith(("NXM_NX_REG", "reg", "metadata", "nw_tos", "vlan_pcp", "ip_dscp")):
            return packet
    raise UnknownFieldError(name)


ARP_SETTERS = {
    "arp_op": "op", "NXM_OF_ARP_OP[]": "op", "arp_spa": "spa", "NXM_OF_ARP_SPA[]": "spa", "arp_tpa": "tpa",
    "NXM_OF_ARP_TPA[]": "tpa", "arp_sha": "sha", "NXM_NX_ARP_SHA[]": "sha", "arp_tha": "tha", "NXM_NX_ARP_THA[]": "tha",
}  # fmt: skip
READERS: dict[str, Callable[[Packet], str]] = {
    "NXM_OF_ETH_SRC[]": lambda packet: packet.src_mac,
    "NXM_OF_ETH_DST[]": lambda packet: packet.dst_mac,
    "NXM_NX_ARP_SHA[]": _arp(lambda arp: arp.sha),
    "NXM_NX_ARP_THA[]": _arp(lambda arp: arp.tha),
    "NXM_OF_ARP_SPA[]": _arp(lambda arp: arp.spa),
    "NXM_OF_ARP_TPA[]": _arp(lambda arp: arp.tpa),
    "NXM_OF_IP_SRC[]": lambda packet: packet.src,
    "NXM_OF_IP_DST[]": lambda packet: packet.dst,
    "NXM_NX_TUN_ID[]": lambda packet: str(packet.tun_id or 0),
    "NXM_OF_VLAN_TCI[]": lambda packet: str(_tci(packet)),
}


def move(packet: Packet, argument: str) -> Packet:
    """``move:SRC->DST`` between whole fields."""
    source, _, target = argument.partition("->")
    if source not in READERS:
        raise UnknownFieldError(source)
    return set_field(packet, target, READERS[source](packet))


def _as_mac(value: str) -> str:
    if ":" in value:
        return value.lower()
    number = int(value, 0)
    return ":".join(f"{number >> shift & 0xFF:02x}" for shift in range(40, -8, -8))


def _as_ip(value: str) -> str:
    if "." in value:
        return value
    number = int(value, 0)
    return ".".join(str(number >> shift & 0xFF) for shift in (24, 16, 8, 0))
