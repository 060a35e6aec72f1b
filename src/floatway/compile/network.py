"""A network on a host: its local VLAN tag translated to the segment on the wire, both ways, and who of it is elsewhere."""

from floatway.compile import names
from floatway.compile.bridges import dvr_mac
from floatway.compile.names import BR_INT, BR_TUN
from floatway.compile.openflow import (
    DVR_TUNNEL,
    LOCAL,
    OUTPUT,
    PROVIDER_DVR,
    PROVIDER_VLAN,
    TO_DVR_PROVIDER,
    TO_DVR_TUNNEL,
    TRANSIENT,
    TUN_ARP,
    TUN_DVR,
    TUN_DVR_IN,
    TUN_FLOOD,
    TUN_PATCH,
    TUN_UNICAST,
    TUN_VXLAN,
    flow,
    goto,
    output,
    push_tag,
    quoted,
)
from floatway.host.records import Record
from floatway.model.resources import Host, Network, Port


def network(net: Network, tag: int, host: Host) -> list[Record]:
    """The segment's translation between wire and local VLAN."""
    if net.provider_network_type == "vxlan":
        match = f"tun_id={net.provider_segmentation_id:#x}"
        return [flow(BR_TUN, TUN_VXLAN, 1, match, push_tag(tag, TUN_DVR_IN))]
    bridge = host.bridge_mappings.get(net.provider_physical_network or "")
    if bridge is None:
        return []
    inner, outer = quoted(names.integration_patch(bridge)), quoted(names.provider_patch(bridge))
    if net.provider_network_type == "flat":
        inward = flow(BR_INT, LOCAL, 3, f"in_port={inner},vlan_tci=0x0000/0x1fff", push_tag(tag, TRANSIENT))
        outward = "pop_vlan,NORMAL"
    else:
        segment = net.provider_segmentation_id or 0
        rewrite = f"set_field:{4096 + tag}->vlan_vid,{goto(TRANSIENT)}"
        inward = flow(BR_INT, LOCAL, 3, f"in_port={inner},dl_vlan={segment}", rewrite)
        outward = f"set_field:{4096 + segment}->vlan_vid,NORMAL"
    return [inward, flow(bridge, PROVIDER_VLAN, 4, f"in_port={outer},dl_vlan={tag}", outward)]


def remote_ports(net: Network, tag: int, ports: tuple[tuple[Port, str], ...]) -> list[Record]:
    """Where the network's ports on other hosts are: unicast, ARP answers and flooding (what Neutron calls l2population).

    ``ports`` are (port, tunnel IP of its host). Only for VXLAN networks.
    """
    if net.provider_network_type != "vxlan" or not ports:
        return []
    vni = f"{net.provider_segmentation_id:#x}"
    flows: list[Record] = []
    tunnels: dict[str, None] = {}
    for port, remote_ip in ports:
        tunnel = names.tunnel_port("vxlan", remote_ip)
        tunnels[tunnel] = None
        actions = f"pop_vlan,set_field:{vni}->tun_id,{output(tunnel)}"
        flows.append(flow(BR_TUN, TUN_UNICAST, 2, f"dl_vlan={tag},dl_dst={port.mac_address}", actions))
        flows += [
            flow(
                BR_TUN,
                TUN_ARP,
                1,
                f"arp,dl_vlan={tag},arp_tpa={fixed.ip_address}",
                _arp_answer(port.mac_address, fixed.ip_address),
            )
            for fixed in port.fixed_ips
        ]
    flood = f"pop_vlan,set_field:{vni}->tun_id,{output(*sorted(tunnels))}"
    flows.append(flow(BR_TUN, TUN_FLOOD, 1, f"dl_vlan={tag}", flood))
    return flows


def _arp_answer(mac: str, address: str) -> str:
    """Turn the request around: the answer leaves by the port the question came in (RFC 826)."""
    return (
        f"move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:{mac}->eth_src,set_field:2->arp_op,"
        "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],"
        f"set_field:{mac}->arp_sha,set_field:{address}->arp_spa,IN_PORT"
    )


def distributed_interface(net: Network, tag: int, host: Host, interface: Port, device: str) -> list[Record]:
    """One router interface on every host: its MAC never leaves the host, the host's own DVR MAC goes in its place.

    Out: br-tun (or the provider bridge) table 1 hides the gateway's MAC. In: frames to the DVR MAC go to the interface.
    """
    gateway, own = interface.mac_address, dvr_mac(host)
    back = f"set_field:{gateway}->eth_dst"
    flows: list[Record] = [
        flow(BR_INT, LOCAL, 99, f"arp,dl_dst={own},arp_op=2,arp_tha={gateway}", f"{back},{goto(TRANSIENT)}"),
    ]
    to_interface = f"{back},pop_vlan,{output(device)}"
    if net.provider_network_type == "vxlan":
        flows += [
            flow(BR_INT, TO_DVR_TUNNEL, 5, f"dl_vlan={tag},dl_dst={own}", to_interface),
            flow(BR_TUN, TUN_DVR, 2, f"dl_vlan={tag},dl_dst={gateway}", "drop"),
            flow(BR_TUN, TUN_DVR, 1, f"dl_vlan={tag},dl_src={gateway}", f"set_field:{own}->eth_src,{goto(TUN_PATCH)}"),
        ]
        # who asks for the gateway is answered on its own host; the question must not reach the others
        flows += [
            flow(BR_TUN, TUN_FLOOD, 3, f"arp,dl_vlan={tag},arp_tpa={fixed.ip_address}", "drop")
            for fixed in interface.fixed_ips
        ]
        return flows
    bridge = host.bridge_mappings.get(net.provider_physical_network or "")
    if bridge is None:
        return flows
    flows += [
        flow(BR_INT, TO_DVR_PROVIDER, 5, f"dl_vlan={tag},dl_dst={own}", to_interface),
        flow(bridge, PROVIDER_DVR, 2, f"dl_vlan={tag},dl_dst={gateway}", "drop"),
        flow(
            bridge,
            PROVIDER_DVR,
            1,
            f"dl_vlan={tag},dl_src={gateway}",
            f"set_field:{own}->eth_src,{goto(PROVIDER_VLAN)}",
        ),
    ]
    return flows


def behind_distributed_router(tag: int, port: Port, device: str, gateway_mac: str) -> list[Record]:
    """An instance behind a distributed router: frames routed on another host arrive with that host's DVR MAC and get the gateway's back."""
    match = f"dl_vlan={tag},dl_dst={port.mac_address}"
    return [
        flow(BR_INT, DVR_TUNNEL, 20, match, f"set_field:{gateway_mac}->eth_src,{goto(TRANSIENT)}"),
        flow(BR_INT, OUTPUT, 20, match, f"pop_vlan,{output(device)}"),
    ]
