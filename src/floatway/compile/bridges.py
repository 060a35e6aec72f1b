"""The bridges every host has, and what is in them before any network is.

qvo, qr-, fg-          vxlan-…
    |                     |
 br-int == patch-tun/patch-int == br-tun          br-int == int-br-ex/phy-br-ex == br-ex -- NIC
"""

from floatway.compile import names
from floatway.compile.dvr import dvr_mac
from floatway.compile.names import BR_INT, BR_TUN, PATCH_INT, PATCH_TUN
from floatway.compile.openflow import (
    ARP_SPOOF,
    CANARY,
    DEAD_VLAN,
    DVR_PROVIDER,
    DVR_TUNNEL,
    EXTENSION_IN,
    EXTENSION_OUT,
    LAST_CANARY,
    LOCAL,
    OUTPUT,
    OWNED,
    PROVIDER_DVR,
    PROVIDER_IN,
    PROVIDER_VLAN,
    TO_DVR_PROVIDER,
    TO_DVR_TUNNEL,
    TRANSIENT,
    TRANSIENT_LAST,
    flow,
    goto,
    quoted,
)
from floatway.compile.tunnels import tunnel_bridge
from floatway.host.records import Link, OvsBridge, OvsPort, Record, Sysctl
from floatway.model.resources import Host

CONTROLLER = ("tcp:127.0.0.1:6633",)
PROTOCOLS = ("OpenFlow10", "OpenFlow13", "OpenFlow14")


def host_bridges(host: Host, others: tuple[Host, ...]) -> list[Record]:
    """Bridges, patches, tunnels, NICs and the flows that do not depend on any network."""
    records: list[Record] = [_bridge(name, host.datapath_type) for name in (BR_INT, BR_TUN, *_provider_bridges(host))]
    records += _patch(BR_INT, PATCH_TUN, BR_TUN, PATCH_INT)
    records += _integration_flows(host, others)
    records += tunnel_bridge(host, others)
    for bridge in _provider_bridges(host):
        records += _provider_bridge(bridge, host, others)
    records += [
        Sysctl(netns="", name=f"net.bridge.bridge-nf-call-{kind}", value="1")
        for kind in ("arptables", "ip6tables", "iptables")
    ]
    return records


def _provider_bridges(host: Host) -> tuple[str, ...]:
    return tuple(dict.fromkeys(host.bridge_mappings.values()))


def _bridge(name: str, datapath_type: str) -> OvsBridge:
    return OvsBridge(
        name=name,
        datapath_type=datapath_type,
        controller=CONTROLLER,
        protocols=PROTOCOLS,
        other_config=(("disable-in-band", "true"), ("mac-table-size", "50000")),
        external_ids=OWNED,
    )


def _patch(bridge: str, port: str, peer_bridge: str, peer: str) -> list[Record]:
    return [
        OvsPort(bridge=bridge, name=port, type="patch", options=(("peer", peer),), external_ids=OWNED),
        OvsPort(bridge=peer_bridge, name=peer, type="patch", options=(("peer", port),), external_ids=OWNED),
    ]


def _integration_flows(host: Host, others: tuple[Host, ...]) -> list[Record]:
    mac, tun = dvr_mac(host), quoted(PATCH_TUN)
    flows: list[Record] = [
        flow(BR_INT, LOCAL, 65535, f"dl_vlan={DEAD_VLAN}", "drop"),
        flow(BR_INT, LOCAL, 5, f"in_port={tun},dl_dst={mac}", goto(TO_DVR_TUNNEL)),
        flow(BR_INT, LOCAL, 0, "", goto(TRANSIENT)),
        flow(BR_INT, DVR_TUNNEL, 1, "", "drop"),
        flow(BR_INT, DVR_PROVIDER, 1, "", "drop"),
        flow(BR_INT, CANARY, 0, "", "drop"),
        flow(BR_INT, ARP_SPOOF, 0, "", "drop"),
        flow(BR_INT, EXTENSION_IN, 0, "", goto(TRANSIENT)),
        flow(BR_INT, EXTENSION_OUT, 0, "", goto(TRANSIENT)),
        flow(BR_INT, TRANSIENT, 0, "", goto(TRANSIENT_LAST)),
        flow(BR_INT, TRANSIENT_LAST, 0, "", goto(OUTPUT)),
        flow(BR_INT, OUTPUT, 1, "", "NORMAL"),
        flow(BR_INT, LAST_CANARY, 3, "", "NORMAL"),
    ]
    flows += [
        flow(BR_INT, LOCAL, 4, f"in_port={tun},dl_src={dvr_mac(other)}", goto(DVR_TUNNEL))
        for other in others
        if other.tunnel_ip
    ]
    for bridge in _provider_bridges(host):
        port = quoted(names.integration_patch(bridge))
        flows.append(flow(BR_INT, LOCAL, 5, f"in_port={port},dl_dst={mac}", goto(TO_DVR_PROVIDER)))
        flows.append(flow(BR_INT, LOCAL, 2, f"in_port={port}", "drop"))
        flows += [
            flow(BR_INT, LOCAL, 4, f"in_port={port},dl_src={dvr_mac(other)}", goto(DVR_PROVIDER)) for other in others
        ]
    return flows


def _provider_bridge(bridge: str, host: Host, others: tuple[Host, ...]) -> list[Record]:
    inner, outer = names.integration_patch(bridge), names.provider_patch(bridge)
    patch = quoted(outer)
    records = _patch(BR_INT, inner, bridge, outer)
    nic = host.bridge_nics.get(bridge)
    if nic:
        records.append(OvsPort(bridge=bridge, name=nic, external_ids=OWNED))
        records.append(Link(netns="", name=nic, kind="foreign", mtu=0))
    records += [
        flow(bridge, LOCAL, 2, f"in_port={patch}", goto(PROVIDER_DVR)),
        flow(bridge, LOCAL, 1, "", goto(PROVIDER_IN)),
        flow(bridge, LOCAL, 0, "", "NORMAL"),
        flow(bridge, PROVIDER_DVR, 0, "", goto(PROVIDER_VLAN)),
        flow(bridge, PROVIDER_VLAN, 2, f"in_port={patch}", "drop"),
        flow(bridge, PROVIDER_IN, 1, "", "NORMAL"),
    ]
    records += [flow(bridge, PROVIDER_IN, 2, f"dl_src={dvr_mac(other)}", f"output:{patch}") for other in others]
    return records
