"""Which addresses a port has: asked for by address or by subnet, given by the network, or made from the MAC.

    nothing asked          one IPv4 address and one IPv6 address, from whichever subnets have room
    {subnet_id}            any free address of the subnet          {ip_address}   this one, of the subnet that holds it
    SLAAC, stateless       every such subnet gives every port its address, derived from the MAC (RFC 4291, appendix A);
                           router ports are the ones that announce the prefix and get none unasked

An update keeps what it names, by address first, then any one address of each subnet named; the rest goes, but for derived
addresses. Checks come before allocation, exact addresses before any: a free one must not be what a later line asks for.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from floatway.control import ipam
from floatway.control import prefixes as p
from floatway.control.caller import ADMIN, Caller
from floatway.control.decide import owners, visible
from floatway.control.draft import Draft
from floatway.control.entities import FixedIp, Port, Router, Subnet
from floatway.control.errors import bad_request, conflict, invalid_input

__all__ = ["FixedIps", "Holder", "add_derived", "allocate", "reallocate"]

FixedIps = Sequence[dict[str, str]]
"""``fixed_ips`` as a request has them: ``subnet_id``, ``ip_address``, or both."""


class Holder(msgspec.Struct, frozen=True):
    """What of a port decides which addresses it may have, and who asks for them."""

    network_id: str
    device_owner: str
    mac: str
    caller: Caller = ADMIN


class _Wish(msgspec.Struct, frozen=True):
    """One address out of the first of ``subnets`` that has one; ``address`` when it must be this one."""

    subnets: tuple[Subnet, ...]
    address: str | None = None


def allocate(draft: Draft, holder: Holder, wanted: FixedIps | None) -> tuple[FixedIp, ...]:
    """The addresses of a new port. ``wanted`` None: one of each family, as the network has it.

    Raises:
        ApiError: 400 for what cannot be, 409 for what is taken or used up.
    """
    subnets = _candidates(draft, holder)
    if wanted is None:
        families: list[tuple[Subnet, ...]] = [
            tuple(subnet for subnet in subnets if subnet.ip_version == version and not ipam.automatic(subnet))
            for version in (4, 6)
        ]
        wishes = [_Wish(family) for family in families if family]
    else:
        wishes = _wishes(draft, holder, wanted, subnets)
    wishes += _derived_wishes(holder, subnets, {subnet.id for wish in wishes for subnet in wish.subnets})
    return _ordered(_granted(draft, holder, wishes, ()))


def reallocate(
    draft: Draft, port: Port, mac: str, wanted: FixedIps | None, caller: Caller = ADMIN
) -> tuple[FixedIp, ...]:
    """The addresses of ``port`` after an update. ``wanted`` None: those it has, but for what follows from a new MAC.

    Raises:
        ApiError: as ``allocate``; and 400, the IPv4 addresses of a router's port are the router's business.
    """
    renewed: tuple[FixedIp, ...] = ()
    if mac != port.mac_address:
        renewed = tuple(ip for ip in port.fixed_ips if p.is_eui64(ip.ip_address))
        if wanted is None and not renewed:
            return port.fixed_ips
    if wanted is None:
        wanted = [{"subnet_id": ip.subnet_id, "ip_address": ip.ip_address} for ip in port.fixed_ips]
    fresh = {ip.subnet_id for ip in renewed}
    stale = {ip.ip_address for ip in renewed}
    wanted = [w for w in wanted if w.get("subnet_id") not in fresh and w.get("ip_address") not in stale]
    kept, removed, added = _difference(draft, port, wanted, fresh)
    if port.device_owner in owners.FIXED_V4 and draft.need(Router, port.device_id):
        _spare_v4(draft, port, removed, added)
    holder = Holder(port.network_id, port.device_owner, mac, caller)
    subnets = _candidates(draft, holder)
    wishes = _wishes(draft, holder, added, subnets)
    handled = {subnet.id for wish in wishes for subnet in wish.subnets}
    handled |= {ip.subnet_id for ip in (*kept, *removed)} - fresh
    wishes += _derived_wishes(holder, subnets, handled)
    wishes += [_Wish((subnet,)) for subnet in subnets if subnet.id in fresh and not ipam.automatic(subnet)]
    return _ordered((*kept, *_granted(draft, holder, wishes, removed)))


def add_derived(draft: Draft, subnet: Subnet) -> None:
    """A subnet with derived addresses is new: every port on its network that takes such addresses gets one."""
    for port in draft.find(Port, "network", subnet.network_id):
        if port.device_owner in owners.INTERFACES_AND_SNAT or not _serves(subnet, port.device_owner):
            continue
        address = p.eui64(subnet.cidr, port.mac_address)
        if not draft.has(Port, "address", (subnet.id, address)):
            fixed_ips = _ordered((*port.fixed_ips, FixedIp(subnet.id, address)))
            draft.put(msgspec.structs.replace(port, fixed_ips=fixed_ips))


def _candidates(draft: Draft, holder: Holder) -> list[Subnet]:
    """The subnets that serve such a port, those meant for it first."""
    every = draft.find(Subnet, "network", holder.network_id)
    serving = [subnet for subnet in every if _serves(subnet, holder.device_owner)]
    if every and not serving:
        raise conflict(
            "IpAddressGenerationFailureNoMatchingSubnet",
            f"No valid service subnet for the given device owner, network {holder.network_id}, "
            f"service type {holder.device_owner}.",
        )
    return sorted(serving, key=lambda subnet: not subnet.service_types)


def _serves(subnet: Subnet, device_owner: str) -> bool:
    types = subnet.service_types
    return not types or device_owner in types or (device_owner == owners.DHCP and subnet.enable_dhcp)


def _wishes(draft: Draft, holder: Holder, wanted: FixedIps, subnets: list[Subnet]) -> list[_Wish]:
    wishes = []
    for wish in wanted:
        address = wish.get("ip_address")
        subnet = _subnet_for(draft, holder, wish, subnets)
        if address is not None:
            address = _canonical(address)
            by_hand = holder.device_owner in owners.INTERFACES or not ipam.automatic(subnet)
            if not by_hand and address != p.eui64(subnet.cidr, holder.mac):
                raise bad_request(
                    "AllocationOnAutoAddressSubnet",
                    f"IPv6 address {address} cannot be directly assigned to a port on subnet {subnet.id} as the "
                    "subnet is configured for automatic addresses",
                )
            wishes.append(_Wish((subnet,), address))
        elif holder.device_owner in owners.INTERFACES_AND_SNAT or not ipam.automatic(subnet):
            wishes.append(_Wish((subnet,)))
    return wishes


def _subnet_for(draft: Draft, holder: Holder, wish: dict[str, str], subnets: list[Subnet]) -> Subnet:
    if not subnets:
        raise invalid_input("IP allocation requires subnets for network")
    subnet_id, address = wish.get("subnet_id"), wish.get("ip_address")
    if subnet_id is not None:
        for subnet in subnets:
            if subnet.id == subnet_id:
                if address is not None and not _fits(subnet, address, holder.device_owner):
                    raise bad_request(
                        "InvalidIpForSubnet", f"IP address {address} is not a valid IP for the specified subnet."
                    )
                return subnet
        visible.subnet(draft, holder.caller, subnet_id)
        raise invalid_input(
            f"Failed to create port on network {holder.network_id}, because fixed_ips included invalid subnet {subnet_id}"
        )
    if address is None:
        raise invalid_input("IP allocation requires subnet_id or ip_address")
    for subnet in subnets:
        if _fits(subnet, address, holder.device_owner):
            return subnet
    raise bad_request(
        "InvalidIpForNetwork",
        f"IP address {address} is not a valid IP for any of the subnets on the specified network.",
    )


def _derived_wishes(holder: Holder, subnets: Iterable[Subnet], handled: Iterable[str]) -> list[_Wish]:
    if holder.device_owner in owners.INTERFACES_AND_SNAT:
        return []
    return [
        _Wish((subnet,), p.eui64(subnet.cidr, holder.mac))
        for subnet in subnets
        if ipam.automatic(subnet) and subnet.id not in handled
    ]


def _granted(draft: Draft, holder: Holder, wishes: list[_Wish], released: Iterable[FixedIp]) -> list[FixedIp]:
    """An address for each wish; the released ones are free already."""
    granted: list[FixedIp] = []
    lowest = holder.device_owner in {owners.DHCP, owners.DISTRIBUTED_SERVICE}
    for wish in sorted(wishes, key=lambda wish: wish.address is None):
        if wish.address is not None:
            ip = FixedIp(wish.subnets[0].id, wish.address)
            if ip in granted or (draft.has(Port, "address", (ip.subnet_id, ip.ip_address)) and ip not in released):
                raise conflict(
                    "IpAddressAlreadyAllocated",
                    f"IP address {ip.ip_address} already allocated in subnet {ip.subnet_id}",
                )
            granted.append(ip)
            continue
        for subnet in wish.subnets:
            mine = {ip.ip_address for ip in granted if ip.subnet_id == subnet.id}
            address = ipam.free_address(draft, subnet, lowest=lowest, besides=mine)
            if address is not None:
                granted.append(FixedIp(subnet.id, address))
                break
        else:
            raise conflict(
                "IpAddressGenerationFailure", f"No more IP addresses available on network {holder.network_id}."
            )
    return granted


def _difference(
    draft: Draft, port: Port, wanted: FixedIps, fresh: set[str]
) -> tuple[list[FixedIp], list[FixedIp], list[dict[str, str]]]:
    """What is kept, removed, added. Addresses of the subnets in ``fresh`` are not kept."""
    kept: list[FixedIp] = []
    added: list[dict[str, str]] = []
    loose: list[FixedIp] = []
    has = {ip.ip_address: ip for ip in port.fixed_ips}
    for wish in wanted:
        if "ip_address" in wish:
            original = has.pop(_canonical(wish["ip_address"]), None)
            if original is not None:
                kept.append(original)
            else:
                added.append(wish)
    left: defaultdict[str, list[FixedIp]] = defaultdict(list)
    for ip in has.values():
        left[ip.subnet_id].append(ip)
    for wish in wanted:
        if "ip_address" in wish:
            continue
        same = left.get(wish.get("subnet_id", ""))
        if not same:
            added.append(wish)
            continue
        original = same.pop()
        if p.is_eui64(original.ip_address):
            added.append(wish)
            loose.append(original)
        else:
            kept.append(original)
    loose += [ip for ips in left.values() for ip in ips]
    removed = [ip for ip in loose if ip.subnet_id in fresh or _goes(draft, port, ip)]
    return [*kept, *(ip for ip in loose if ip not in removed)], removed, added


def _goes(draft: Draft, port: Port, ip: FixedIp) -> bool:
    """Whether an address that an update does not name goes: a derived one stays, hosts have it anyway."""
    if port.device_owner in owners.INTERFACES_AND_SNAT:
        return True
    subnet = draft.get(Subnet, ip.subnet_id)
    return subnet is None or not ipam.automatic(subnet)


def _spare_v4(draft: Draft, port: Port, removed: list[FixedIp], added: FixedIps) -> None:
    for wish in (*added, *({"ip_address": ip.ip_address} for ip in removed)):
        address = wish.get("ip_address")
        if address is not None:
            is_v4 = ":" not in address
        else:
            subnet = draft.get(Subnet, wish.get("subnet_id", ""))
            is_v4 = subnet is not None and subnet.ip_version == 4
        if is_v4:
            raise bad_request("BadRequest", f"Bad ports request: IP updates for port {port.id} are not allowed.")


def _ordered(addresses: Iterable[FixedIp]) -> tuple[FixedIp, ...]:
    return tuple(sorted(addresses, key=lambda ip: (ip.ip_address, ip.subnet_id)))


def _fits(subnet: Subnet, address: str, device_owner: str) -> bool:
    """Whether a port may have the address on the subnet: not IPv4's network and broadcast addresses, nor IPv6's anycast."""
    net, number = p.network(subnet.cidr), p.address(address)
    if number not in net:
        return False
    if net.version == 4:
        return number != net.network_address and (net.prefixlen > 30 or number != net.broadcast_address)
    return number != net.network_address or device_owner in owners.ROUTER_PORTS or not device_owner


def _canonical(address: str) -> str:
    return str(p.address(address))
