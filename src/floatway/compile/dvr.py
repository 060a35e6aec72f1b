"""Distributed routing in OpenFlow: one gateway MAC on every host, and on no wire.

    instance A -> qr (host 1) -> br-tun table 1: source gateway -> host 1's DVR MAC -> tunnel -> host 2
    -> br-int table 0: known DVR MAC -> table 1: source back to the gateway's -> instance B

A router interface has the same MAC on every host that has the router. Were it seen on the wire, every switch on the
way would learn it in turn from each of them; so it is replaced by the host's own DVR MAC on the way out and put back
on the way in. Provider networks (vlan, flat) do the same in br-int's tables 2 and 4 and in their own bridge.
"""

import msgspec

from floatway.compile import names
from floatway.compile.names import BR_INT, BR_TUN
from floatway.compile.openflow import (
    DVR_PROVIDER,
    DVR_TUNNEL,
    LOCAL,
    OUTPUT,
    PROVIDER_DVR,
    PROVIDER_VLAN,
    TO_DVR_PROVIDER,
    TO_DVR_TUNNEL,
    TRANSIENT,
    TUN_DVR,
    TUN_FLOOD,
    TUN_PATCH,
    flow,
    goto,
    output,
    push_tag,
    quoted,
    set_tag,
)
from floatway.host.records import Flow, Record
from floatway.model.resources import Host, Network, Port


def dvr_mac(host: Host) -> str:
    """The MAC by which this host's routers are known to others."""
    return host.pins.macs.get("dvr") or names.dvr_mac(host.name)


def wire_match(net: Network) -> str:
    """How a provider network's frames look when they come in by the provider bridge: not yet with the local VLAN."""
    return (
        "vlan_tci=0x0000/0x1fff" if net.provider_network_type == "flat" else f"dl_vlan={net.provider_segmentation_id}"
    )


def wire_to_local(net: Network, tag: int, table: int) -> str:
    """The actions that give such a frame the local VLAN and go on."""
    return push_tag(tag, table) if net.provider_network_type == "flat" else set_tag(tag, table)


class Distributed(msgspec.Struct, frozen=True):
    """A router interface on one host. ``own`` is the host's DVR MAC; ``first`` marks the one that gets the frames sent to it:
    where a network has several, nothing in such a frame but an ARP target tells them apart."""

    net: Network
    tag: int
    interface: Port
    device: str
    own: str
    first: bool


def distributed_interface(one: Distributed, host: Host) -> list[Record]:
    """The flows of a router interface on a host."""
    if one.net.provider_network_type == "vxlan":
        return _on_tunnels(one)
    bridge = host.bridge_mappings.get(one.net.provider_physical_network or "")
    return [] if bridge is None else _on_provider(one, bridge)


def _on_tunnels(one: Distributed) -> list[Record]:
    gateway, own = one.interface.mac_address, one.own
    back = f"set_field:{gateway}->eth_dst"
    flows: list[Record] = [
        flow(BR_INT, LOCAL, 99, f"arp,dl_dst={own},arp_op=2,arp_tha={gateway}", f"{back},{goto(TRANSIENT)}"),
        *_leaving(one, BR_TUN, TUN_DVR, TUN_PATCH),
    ]
    if one.first:
        to_interface = f"{back},pop_vlan,{output(one.device)}"
        flows.append(flow(BR_INT, TO_DVR_TUNNEL, 5, f"dl_vlan={one.tag},dl_dst={own}", to_interface))
    return [*flows, *_questions(one, BR_TUN, TUN_FLOOD)]


def _on_provider(one: Distributed, bridge: str) -> list[Record]:
    gateway, own, wire = one.interface.mac_address, one.own, wire_match(one.net)
    back = f"set_field:{gateway}->eth_dst"
    answer = f"arp,in_port={quoted(names.integration_patch(bridge))},{wire},dl_dst={own},arp_op=2,arp_tha={gateway}"
    flows: list[Record] = [
        flow(BR_INT, LOCAL, 99, answer, f"{back},{wire_to_local(one.net, one.tag, TRANSIENT)}"),
        *_leaving(one, bridge, PROVIDER_DVR, PROVIDER_VLAN),
    ]
    if one.first:
        bare = back if one.net.provider_network_type == "flat" else f"{back},pop_vlan"
        flows.append(flow(BR_INT, TO_DVR_PROVIDER, 5, f"{wire},dl_dst={own}", f"{bare},{output(one.device)}"))
    return [*flows, *_questions(one, bridge, PROVIDER_DVR)]


def _leaving(one: Distributed, bridge: str, table: int, following: int) -> list[Flow]:
    """Frames to the gateway stay on the host; frames from it leave with the host's own MAC."""
    gateway, replaced = one.interface.mac_address, f"set_field:{one.own}->eth_src,{goto(following)}"
    return [
        flow(bridge, table, 2, f"dl_vlan={one.tag},dl_dst={gateway}", "drop"),
        flow(bridge, table, 1, f"dl_vlan={one.tag},dl_src={gateway}", replaced),
    ]


def _questions(one: Distributed, bridge: str, table: int) -> list[Flow]:
    """Who asks for the gateway is answered on its own host; the question must not reach the others."""
    return [
        flow(bridge, table, 3, f"arp,dl_vlan={one.tag},arp_tpa={fixed.ip_address}", "drop")
        for fixed in one.interface.fixed_ips
    ]


def behind_distributed_router(net: Network, tag: int, port: Port, device: str, gateway_mac: str) -> list[Record]:
    """An instance behind a distributed router: what was routed on another host gets the gateway's MAC back and is delivered."""
    mac, back = port.mac_address, f"set_field:{gateway_mac}->eth_src"
    deliver = flow(BR_INT, OUTPUT, 20, f"dl_vlan={tag},dl_dst={mac}", f"pop_vlan,{output(device)}")
    if net.provider_network_type == "vxlan":
        return [flow(BR_INT, DVR_TUNNEL, 20, f"dl_vlan={tag},dl_dst={mac}", f"{back},{goto(TRANSIENT)}"), deliver]
    if net.provider_network_type == "local":
        return []
    # Neutron matches the segment here and in table 60, where it can be another network's local VLAN: translated at once instead
    match = f"{wire_match(net)},dl_dst={mac}"
    return [flow(BR_INT, DVR_PROVIDER, 20, match, f"{back},{wire_to_local(net, tag, TRANSIENT)}"), deliver]
