"""The published JSON Schema of ``cloud.yaml``, generated from the structs (JSON Schema 2020-12).

Types, defaults and required fields come from ``model.resources``; what a type cannot say (what a field means, the form of
an address) stands in the tables below, by field name. The rules between resources are in ``model.validate`` alone.
"""

from typing import Any

import msgspec

from floatway.model.load import COLLECTIONS, SPELLINGS
from floatway.model.shape import MTU_MAX, MTU_MIN

DESCRIPTIONS = {
    "id": "What other resources call it; devices and chains on the hosts are named after its head.",
    "name": "For people.",
    "project_id": "The project (tenant) that it belongs to.",
    "provider_network_type": "How frames of the network travel between hosts.",
    "provider_segmentation_id": "The VNI of a vxlan network, the VLAN id of a vlan network; none for flat and local.",
    "provider_physical_network": "The physical network of a flat or vlan network; hosts map it to a bridge.",
    "router_external": "Does the network lead outside? Floating IPs and router gateways are on such networks.",
    "mtu": "The largest IP packet, in bytes.",
    "admin_state_up": "False takes it out of service.",
    "network_id": "The network that it is on.",
    "subnet_id": "The subnet that the address is of.",
    "cidr": "Network address and prefix length, no host bits.",
    "gateway_ip": "The address of the way out of the subnet.",
    "allocation_pools": "Ranges that addresses are given from.",
    "host_routes": "Static routes that instances on the subnet get.",
    "dns_nameservers": "Name servers that instances on the subnet get.",
    "enable_dhcp": "Do instances get their addresses by DHCP?",
    "start": "The first address.",
    "end": "The last address.",
    "destination": "Where the route leads to.",
    "nexthop": "The neighbour that it goes through.",
    "ip_address": "An address; of an address pair, an address or a network.",
    "mac_address": "Lower case, unicast; once in a network.",
    "fixed_ips": "The port's addresses, each once in its subnet.",
    "binding_host_id": "The host that the port is realised on; none for a distributed router's interface.",
    "device_id": "The id of the instance or router that the port is of.",
    "device_owner": "compute:nova of an instance, network:router_interface_distributed of a router's interface, "
    "network:floatingip_agent_gateway of a host's way out.",
    "security_groups": "Ids of the groups whose rules open the port.",
    "allowed_address_pairs": "Further sources that the port may use.",
    "port_security_enabled": "False: no security group and no spoof check.",
    "distributed": "Only distributed routers are realised.",
    "external_gateway_info": "The router's way out.",
    "enable_snat": "Are addresses without a floating IP translated centrally?",
    "external_fixed_ips": "The router's addresses outside, for centralised SNAT.",
    "routes": "Static routes of the router.",
    "floating_network_id": "The external network that the address is of.",
    "floating_ip_address": "The address outside.",
    "port_id": "The port behind the floating IP; none: not associated.",
    "fixed_ip_address": "The port's address that it is translated to.",
    "router_id": "The router that translates.",
    "direction": "Into the instance or out of it.",
    "ethertype": "IPv6 rules are accepted, not realised.",
    "protocol": "Name or number; none is any.",
    "port_range_min": "First port; for ICMP the type.",
    "port_range_max": "Last port; for ICMP the code.",
    "remote_ip_prefix": "The other side, as a network.",
    "remote_group_id": "The other side, as the members of a security group.",
    "rules": "What the group opens.",
    "host": "The host that the instance runs on.",
    "tunnel_ip": "The address that tunnels to this host end at.",
    "agent_mode": "dvr: routes for its own instances; dvr_snat: does centralised SNAT too.",
    "bridge_mappings": "Physical network to bridge.",
    "bridge_nics": "Bridge to the NIC on it.",
    "datapath_type": "Open vSwitch's: netdev without the kernel module.",
    "pins": "Numbers to take when the host has none yet.",
    "local_vlans": "Network id to local VLAN tag.",
    "floating_ip_priorities": "Fixed IP to the priority of its rule.",
    "link_local": "Router id to the rfp address of its /31 pair.",
    "macs": "Device name to MAC.",
}
_MAC = {"pattern": "^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$"}
_NETWORK = {"pattern": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$"}
_ADDRESS = {"format": "ipv4"}
_PORT = {"minimum": 0, "maximum": 65535}
FORMS: dict[str, dict[str, Any]] = {
    "mtu": {"minimum": MTU_MIN, "maximum": MTU_MAX},
    "cidr": _NETWORK,
    "destination": _NETWORK,
    "mac_address": _MAC,
    "gateway_ip": _ADDRESS,
    "nexthop": _ADDRESS,
    "start": _ADDRESS,
    "end": _ADDRESS,
    "floating_ip_address": _ADDRESS,
    "fixed_ip_address": _ADDRESS,
    "port_range_min": _PORT,
    "port_range_max": _PORT,
}


def cloud_schema() -> dict[str, Any]:
    """The schema as JSON-ready data: every collection a list of its resource, both spellings of a field accepted."""
    kinds = list(COLLECTIONS.values())
    _, components = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    for component in components.values():
        properties = component.get("properties", {})
        for field, value in properties.items():
            properties[field] = _with_form(value, FORMS.get(field, {})) | {"description": DESCRIPTIONS[field]}
        for alias, field in SPELLINGS.items():
            if field in properties:
                properties[alias] = {**properties[field], "description": f"The Networking API's spelling of {field}."}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Floatway cloud",
        "description": "A cloud's networks, routers, ports, floating IPs, security groups, instances and hosts.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            key: {"type": "array", "items": {"$ref": f"#/$defs/{kind.__name__}"}} for key, kind in COLLECTIONS.items()
        },
        "$defs": components,
    }
    data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schema))  # defaults are tuples before
    return data


def _with_form(value: dict[str, Any], form: dict[str, Any]) -> dict[str, Any]:
    """The form goes to the value's type, not to the null beside it."""
    if "anyOf" not in value:
        return {**value, **form}
    return {**value, "anyOf": [branch if branch.get("type") == "null" else branch | form for branch in value["anyOf"]]}
