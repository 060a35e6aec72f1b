"""Ports and their bindings."""

import ipaddress
from typing import Any, Final

from floatway.api import converters as c
from floatway.api import validators as v
from floatway.api import validators_dns as dns
from floatway.api.attributes.base import STANDARD, TAG_FILTERS, UNSET, Attribute, table
from floatway.control.errors import bad_request


def _address_pairs(value: Any) -> str | None:
    """A list of different ``ip_address`` with or without ``mac_address``; none of them multicast."""
    if not isinstance(value, list):
        raise bad_request("HTTPBadRequest", "Allowed address pairs must be a list.")
    seen: list[tuple[Any, Any]] = []
    for pair in value:
        if not isinstance(pair, dict):
            return f"'{pair}' is not a dictionary"
        _address_pair(pair)
        both = (pair.get("mac_address"), pair["ip_address"])
        if both in seen:
            raise bad_request(
                "DuplicateAddressPairInRequest",
                f"Request contains duplicate address pair: mac_address {both[0]} ip_address {both[1]}.",
            )
        seen.append(both)
    return None


def _address_pair(pair: dict[str, Any]) -> None:
    if "mac_address" in pair and (message := v.mac_address(pair["mac_address"])):
        raise bad_request("HTTPBadRequest", message)
    if "ip_address" not in pair:
        raise bad_request("AllowedAddressPairsMissingIP", "AllowedAddressPair must contain ip_address")
    unknown = set(pair) - {"mac_address", "ip_address"}
    if unknown:
        raise bad_request("HTTPBadRequest", f"Unrecognized attribute(s) '{', '.join(sorted(unknown))}'")
    address = pair["ip_address"]
    message = v.subnet(address) if isinstance(address, str) and "/" in address else v.ip_address(address)
    if message:
        raise bad_request("HTTPBadRequest", message)
    if message := _multicast(address):
        raise bad_request("HTTPBadRequest", message)
    mac = pair.get("mac_address")
    if mac is not None and int(mac.replace("-", ":").split(":")[0], 16) & 1:
        raise bad_request("HTTPBadRequest", f"MAC address {mac} is a multicast address, which is not supported.")


_MULTICAST: Final = (ipaddress.ip_network("224.0.0.0/4"), ipaddress.ip_network("ff00::/8"))


def _multicast(address: str) -> str | None:
    if "/" not in address:
        multicast = ipaddress.ip_address(address).is_multicast
        return f"IP {address} is a multicast address, which is not supported." if multicast else None
    network = ipaddress.ip_interface(address).network
    if network.version == 4 and network.prefixlen == 0:
        return None  # any address at all
    for group in _MULTICAST:
        if network.version == group.version and network.overlaps(group):
            return f"Subnet {address} overlaps with multicast range {group}, which is not supported."
    return None


_FAMILY: Final = v.Key(v.values(4, 6), convert=c.to_int)
_DHCP_OPTIONS: Final = v.any_of_dicts(
    {
        "opt_name": v.Key(v.values("router", "classless-static-route"), required=True),
        "opt_value": v.Key(v.optional(v.string(255)), required=True),
        "ip_version": _FAMILY,
    },
    {
        "opt_name": v.Key(v.oneline(64), required=True),
        "opt_value": v.Key(v.optional(v.oneline(255)), required=True),
        "ip_version": _FAMILY,
    },
)
_VNIC_TYPES: Final = v.values(
    "normal",
    "direct",
    "macvtap",
    "baremetal",
    "direct-physical",
    "virtio-forwarder",
    "smart-nic",
    "vdpa",
    "accelerator-direct",
    "accelerator-direct-physical",
    "remote-managed",
)


PORTS: Final = table(
    Attribute("id", validate=v.uuid, filter=True, sort=True),
    Attribute("name", post=True, put=True, default="", validate=v.name(255), filter=True, sort=True),
    Attribute("tenant_id", post=True, validate=v.string(255), filter=True, sort=True),
    Attribute("admin_state_up", post=True, put=True, default=True, convert=c.to_bool, filter=True, sort=True),
    Attribute(
        "allowed_address_pairs",
        post=True,
        put=True,
        default=UNSET,
        convert=c.none_to_list,
        validate=_address_pairs,
        policy=True,
    ),
    Attribute("binding:host_id", post=True, put=True, default=UNSET, filter=True, policy=True),
    Attribute("binding:profile", post=True, put=True, default=UNSET, validate=v.optional(v.dict_of()), policy=True),
    Attribute("binding:vif_details", default=UNSET, validate=v.optional(v.dict_of()), policy=True),
    Attribute("binding:vif_type", default=UNSET, policy=True),
    Attribute("binding:vnic_type", post=True, put=True, default="normal", validate=_VNIC_TYPES, policy=True),
    Attribute(
        "device_id", post=True, put=True, default="", validate=v.string(255), filter=True, sort=True, policy=True
    ),
    Attribute(
        "device_owner", post=True, put=True, default="", validate=v.string(255), filter=True, sort=True, policy=True
    ),
    Attribute("dns_assignment"),
    Attribute("dns_domain", post=True, put=True, default="", convert=c.lower, validate=dns.dns_domain(255)),
    Attribute("dns_name", post=True, put=True, default="", convert=c.lower, validate=dns.dns_name(255)),
    Attribute("extra_dhcp_opts", post=True, put=True, default=None, validate=_DHCP_OPTIONS),
    Attribute("fixed_ips", post=True, put=True, default=UNSET, validate=v.fixed_ips, filter=True, policy=True),
    Attribute("ip_allocation", filter=True, sort=True),
    Attribute(
        "mac_address",
        post=True,
        put=True,
        default=UNSET,
        convert=c.mac,
        validate=v.optional(v.mac_address),  # null asks for a fresh one
        filter=True,
        sort=True,
        policy=True,
    ),
    Attribute("network_id", post=True, validate=v.uuid, filter=True, sort=True),
    Attribute("port_security_enabled", post=True, put=True, default=UNSET, convert=c.to_bool, policy=True),
    Attribute("propagate_uplink_status", post=True, put=True, default=True, convert=c.to_bool),
    Attribute(
        "security_groups",
        post=True,
        put=True,
        default=UNSET,
        convert=c.none_to_list,
        validate=v.list_of(v.uuid),
        filter=True,
    ),
    Attribute("status", filter=True, sort=True),
    Attribute("tags", post=True, default=(), validate=v.list_of(v.string(255)), filter=True),
    *STANDARD,
    *TAG_FILTERS,
)

BINDINGS: Final = table(
    Attribute("project_id", post=True, validate=v.string(255)),
    Attribute("host", post=True, put=True, filter=True),
    Attribute("profile", post=True, put=True, default=UNSET, validate=v.optional(v.dict_of()), policy=True),
    Attribute("status", filter=True),
    Attribute("vif_details", default=UNSET, validate=v.optional(v.dict_of()), policy=True),
    Attribute("vif_type", default=UNSET, filter=True, policy=True),
    Attribute("vnic_type", post=True, put=True, default="normal", validate=_VNIC_TYPES, filter=True, policy=True),
)
