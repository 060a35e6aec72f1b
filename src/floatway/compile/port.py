"""An instance's port on its host: the hybrid plug.

tap (the instance's) -- qbr (Linux bridge, where iptables filters) -- qvb == qvo -- br-int
"""

from functools import lru_cache
from ipaddress import IPv6Address

from floatway.compile import names
from floatway.compile.names import BR_INT
from floatway.compile.openflow import (
    ARP_SPOOF,
    DEAD_VLAN,
    EXTENSION_IN,
    LOCAL,
    MAC_SPOOF,
    TRANSIENT,
    flow,
    goto,
    quoted,
)
from floatway.compile.view import mac_of
from floatway.host.ownership import ALIAS
from floatway.host.records import Link, OvsPort, Record, Sysctl
from floatway.model.resources import Host, Network, Port
from floatway.net.address import network

EVERYTHING = "0.0.0.0/0"


@lru_cache(maxsize=65536)
def canonical(prefix: str) -> str:
    """An address or prefix as the tools print it: no host bits, and /32 left out."""
    return str(network(prefix)).removesuffix("/32")


def devices(port: Port) -> tuple[str, str, str, str]:
    """(tap, qbr, qvb, qvo)."""
    tap, qbr, qvb, qvo = (names.device(prefix, port.id) for prefix in ("tap", "qbr", "qvb", "qvo"))
    return tap, qbr, qvb, qvo


def instance_port(port: Port, net: Network, tag: int, host: Host) -> list[Record]:
    """Devices, the br-int port and its anti-spoofing flows."""
    tap, qbr, qvb, qvo = devices(port)
    qvb_mac = mac_of(host, qvb)
    # the userspace datapath reads frames without the kernel's checksum metadata: they must be complete when they leave qvb
    offload = host.datapath_type != "netdev"
    records: list[Record] = [
        Link(netns="", name=qbr, kind="bridge", mac=host.pins.macs.get(qbr) or qvb_mac, mtu=net.mtu, alias=ALIAS),
        Link(
            netns="", name=qvb, kind="veth", mac=qvb_mac, mtu=net.mtu, master=qbr, peer=qvo, alias=ALIAS, tx_checksum=offload,
        ),
        Link(netns="", name=qvo, kind="veth", mac=mac_of(host, qvo), mtu=net.mtu, peer=qvb, alias=ALIAS),
        Link(netns="", name=tap, kind="foreign", mtu=net.mtu, master=qbr),
        *(Sysctl(netns="", name=f"net.ipv6.conf.{device}.disable_ipv6", value="1") for device in (qbr, qvb, qvo)),
        vlan_port(port, net, tag, qvo, dead=not port.admin_state_up),
    ]  # fmt: skip
    if not port.admin_state_up:
        return [*records, flow(BR_INT, LOCAL, 2, f"in_port={quoted(qvo)}", "drop")]
    if port.port_security_enabled:
        records += _anti_spoofing(port, quoted(qvo))
    return records


def vlan_port(port: Port, net: Network, tag: int, device: str, kind: str = "", *, dead: bool = False) -> OvsPort:
    """The br-int port of a Neutron port, with the external_ids and other_config that Neutron writes.

    A ``dead`` port is on a VLAN that goes nowhere; its network's tag stays written beside it, as the host's only memory.
    """
    external = [("attached-mac", port.mac_address), ("iface-id", port.id), ("iface-status", "active"), ("owner", ALIAS)]
    if port.device_id and not port.device_owner.startswith("network:"):
        external.append(("vm-uuid", port.device_id))
    segment = net.provider_segmentation_id
    config = [
        ("net_uuid", net.id),
        ("network_type", net.provider_network_type),
        ("physical_network", net.provider_physical_network or "None"),
        *([("segmentation_id", str(segment))] if segment is not None else []),
        ("tag", str(tag)),
    ]
    return OvsPort(
        bridge=BR_INT,
        name=device,
        type=kind,
        tag=DEAD_VLAN if dead else tag,
        external_ids=tuple(external),
        port_other_config=tuple(config),
    )


def allowed_pairs(port: Port) -> list[tuple[str, str]]:
    """(address or prefix, MAC) that the port may send from, its own first."""
    own = [(fixed.ip_address, port.mac_address) for fixed in port.fixed_ips]
    extra = [(canonical(pair.ip_address), pair.mac_address or port.mac_address) for pair in port.allowed_address_pairs]
    return list(dict.fromkeys([*own, *extra]))


@lru_cache(maxsize=65536)
def link_local(mac: str) -> str:
    """The IPv6 link-local address that a MAC makes (RFC 4291, appendix A)."""
    octets = bytearray.fromhex(mac.replace(":", ""))
    octets[0] ^= 2
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + octets[:3] + b"\xff\xfe" + octets[3:]))


def _anti_spoofing(port: Port, in_port: str) -> list[Record]:
    """Tables 24 and 25: ARP and neighbour advertisements only for own addresses, frames only from own MACs."""
    pairs = allowed_pairs(port)
    macs = list(dict.fromkeys([port.mac_address, *(mac for _, mac in pairs)]))
    flows: list[Record] = [
        flow(BR_INT, LOCAL, 10, f"icmp6,in_port={in_port},icmp_type=136", goto(ARP_SPOOF)),
        flow(BR_INT, LOCAL, 10, f"arp,in_port={in_port}", goto(ARP_SPOOF)),
        flow(BR_INT, LOCAL, 9, f"in_port={in_port}", goto(MAC_SPOOF)),
    ]
    flows += [
        flow(
            BR_INT, ARP_SPOOF, 2, f"icmp6,in_port={in_port},icmp_type=136,nd_target={link_local(mac)}", goto(TRANSIENT)
        )
        for mac in macs
    ]
    for address in dict.fromkeys(canonical(address) for address, _ in pairs):
        spa = "" if address == EVERYTHING else f",arp_spa={address}"
        flows.append(flow(BR_INT, ARP_SPOOF, 2, f"arp,in_port={in_port}{spa}", goto(MAC_SPOOF)))
    flows += [flow(BR_INT, MAC_SPOOF, 2, f"in_port={in_port},dl_src={mac}", goto(EXTENSION_IN)) for mac in macs]
    return flows
