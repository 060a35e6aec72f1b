"""A network on a host: its local VLAN tag translated to the segment on the wire, both ways.

br-int (dl_vlan = tag)  ==  br-tun (tun_id = VNI)  or  provider bridge (dl_vlan = segment, or untagged when flat)
"""

from floatway.compile import names
from floatway.compile.dvr import wire_match, wire_to_local
from floatway.compile.names import BR_INT, BR_TUN
from floatway.compile.openflow import (
    LOCAL,
    PROVIDER_VLAN,
    TRANSIENT,
    TUN_DVR_IN,
    TUN_VXLAN,
    flow,
    push_tag,
    quoted,
)
from floatway.host.records import Record
from floatway.model.resources import Host, Network


def network(net: Network, tag: int, host: Host) -> list[Record]:
    """The segment's translation between wire and local VLAN; nothing for a local network, which has no wire."""
    if net.provider_network_type == "vxlan":
        match = f"tun_id={net.provider_segmentation_id:#x}"
        return [flow(BR_TUN, TUN_VXLAN, 1, match, push_tag(tag, TUN_DVR_IN))]
    bridge = host.bridge_mappings.get(net.provider_physical_network or "")
    if bridge is None:
        return []
    inner, outer = quoted(names.integration_patch(bridge)), quoted(names.provider_patch(bridge))
    if net.provider_network_type == "flat":
        outward = "pop_vlan,NORMAL"
    else:
        outward = f"set_field:{4096 + (net.provider_segmentation_id or 0)}->vlan_vid,NORMAL"
    return [
        flow(BR_INT, LOCAL, 3, f"in_port={inner},{wire_match(net)}", wire_to_local(net, tag, TRANSIENT)),
        flow(bridge, PROVIDER_VLAN, 4, f"in_port={outer},dl_vlan={tag}", outward),
    ]
