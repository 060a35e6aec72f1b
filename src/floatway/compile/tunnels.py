"""br-tun: frames of the tenants' networks between hosts, over VXLAN.

    patch-int -> 1 (DVR) -> 2 -> 20 unicast: to the tunnel of the MAC's host   21 ARP: answered here   22 the rest: flooded
    vxlan-…   -> 4 (VNI to local VLAN) -> 9 (not learnt: DVR MACs) -> 10 learn into 20 -> patch-int

The MACs and addresses of ports on other hosts are known beforehand, so table 20 seldom has to learn and no ARP request
for an instance leaves the host (what Neutron calls l2population).
"""

from floatway.compile import names
from floatway.compile.dvr import dvr_mac
from floatway.compile.names import BR_TUN, PATCH_INT
from floatway.compile.openflow import (
    LOCAL,
    MULTICAST,
    OWNED,
    TUN_ARP,
    TUN_DVR,
    TUN_DVR_IN,
    TUN_FLOOD,
    TUN_GENEVE,
    TUN_GRE,
    TUN_LEARN,
    TUN_PATCH,
    TUN_UNICAST,
    TUN_VXLAN,
    UNICAST,
    flow,
    goto,
    output,
    quoted,
)
from floatway.host.ownership import LEARN_COOKIE
from floatway.host.records import OvsPort, Record
from floatway.model.resources import Host, Network, Port


def tunnel_bridge(host: Host, others: tuple[Host, ...]) -> list[Record]:
    """br-tun's own flows, and a VXLAN port for every other host with a tunnel address."""
    patch = quoted(PATCH_INT)
    learn = (
        f"learn(table={TUN_UNICAST},hard_timeout=300,priority=1,cookie={LEARN_COOKIE:#x},"
        "NXM_OF_VLAN_TCI[0..11],NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:0->NXM_OF_VLAN_TCI[],"
        f"load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[],output:OXM_OF_IN_PORT[]),output:{patch}"
    )
    records: list[Record] = [
        flow(BR_TUN, LOCAL, 1, f"in_port={patch}", goto(TUN_DVR)),
        flow(BR_TUN, LOCAL, 0, "", "drop"),
        flow(BR_TUN, TUN_DVR, 0, "", goto(TUN_PATCH)),
        flow(BR_TUN, TUN_PATCH, 1, "arp,dl_dst=ff:ff:ff:ff:ff:ff", goto(TUN_ARP)),
        flow(BR_TUN, TUN_PATCH, 0, UNICAST, goto(TUN_UNICAST)),
        flow(BR_TUN, TUN_PATCH, 0, MULTICAST, goto(TUN_FLOOD)),
        flow(BR_TUN, TUN_GRE, 0, "", "drop"),
        flow(BR_TUN, TUN_VXLAN, 0, "", "drop"),
        flow(BR_TUN, TUN_GENEVE, 0, "", "drop"),
        flow(BR_TUN, TUN_DVR_IN, 0, "", goto(TUN_LEARN)),
        flow(BR_TUN, TUN_LEARN, 1, "", learn),
        flow(BR_TUN, TUN_UNICAST, 0, "", goto(TUN_FLOOD)),
        flow(BR_TUN, TUN_ARP, 0, "", goto(TUN_FLOOD)),
        flow(BR_TUN, TUN_FLOOD, 0, "", "drop"),
    ]
    if not host.tunnel_ip:
        return records
    for other in others:
        if not other.tunnel_ip:
            continue
        port = names.tunnel_port("vxlan", other.tunnel_ip)
        options = (
            ("df_default", "true"),
            ("in_key", "flow"),
            ("local_ip", host.tunnel_ip),
            ("out_key", "flow"),
            ("remote_ip", other.tunnel_ip),
        )
        records += [
            OvsPort(bridge=BR_TUN, name=port, type="vxlan", options=options, external_ids=OWNED),
            flow(BR_TUN, LOCAL, 1, f"in_port={quoted(port)}", goto(TUN_VXLAN)),
            # a frame from another host's router carries that host's MAC, which must not be learnt as an instance's
            flow(BR_TUN, TUN_DVR_IN, 1, f"dl_src={dvr_mac(other)}", f"output:{patch}"),
        ]
    return records


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
