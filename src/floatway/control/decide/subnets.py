"""The rules of subnets: a prefix on a network, given or cut from a pool, and what may be said about it."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from floatway.control import entities as e
from floatway.control import ipam
from floatway.control import prefixes as p
from floatway.control.caller import Caller
from floatway.control.decide import networks, owners, ports_addresses, quotas, router_gateway, sharing, subnetpools
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, bad_request, conflict, invalid_input, not_found

__all__ = ["create", "delete", "remove", "update"]

_MAX_DNS: Final = 5
_MAX_ROUTES: Final = 20
_MODES: Final = ("ipv6_ra_mode", "ipv6_address_mode")
_AUTO_DELETE: Final = (owners.DHCP, owners.AGENT_GATEWAY, owners.DISTRIBUTED_SERVICE)


def create(draft: Draft, caller: Caller, values: dict[str, Any]) -> e.Subnet:
    """A subnet. Ports that are on the network already get a SLAAC address of it."""
    quotas.check(draft, values["project_id"], "subnet")
    network = draft.need(e.Network, values["network_id"])
    cidr = values.get("cidr")
    if cidr and "prefixlen" in values:
        raise _bad("cidr and prefixlen must not be supplied together")
    pool = _pool(draft, caller, values)
    if pool is None and not cidr:
        raise _bad("a subnetpool must be specified in the absence of a cidr")
    if pool is not None and not cidr and values.get("allocation_pools"):
        raise _bad("allocation_pools allowed only for specific subnet requests.")
    version = values["ip_version"]
    _check(values, cidr, None)
    networks.check_subnet_mtu(network, version)
    gateway_ip = values["gateway_ip"] if "gateway_ip" in values else _first_gateway(cidr, version)
    if pool is not None:
        cidr, gateway_ip = _from_pool(draft, pool, values, cidr, gateway_ip)
        _check_derived(values, cidr)
    cidr = str(p.network(str(cidr)))
    if gateway_ip and _no_gateway(cidr, gateway_ip):
        raise conflict(
            "IpamValueInvalid", f"Gateway IP {gateway_ip} cannot be the network or broadcast IP address {cidr}"
        )
    _check_overlap(draft, network, cidr)
    _check_affinity(draft, network, version, pool)
    subnet = e.Subnet(
        id=draft.new_id(),
        project_id=values["project_id"],
        name=values.get("name", ""),
        description=values.get("description", ""),
        network_id=network.id,
        ip_version=version,
        cidr=cidr,
        gateway_ip=gateway_ip,
        allocation_pools=_pools(values.get("allocation_pools"), cidr, gateway_ip),
        host_routes=_routes(values.get("host_routes")),
        dns_nameservers=tuple(values.get("dns_nameservers") or ()),
        enable_dhcp=values.get("enable_dhcp", True),
        ipv6_ra_mode=values.get("ipv6_ra_mode"),
        ipv6_address_mode=values.get("ipv6_address_mode"),
        subnetpool_id=pool.id if pool is not None else None,
        service_types=tuple(values.get("service_types") or ()),
        dns_publish_fixed_ip=values.get("dns_publish_fixed_ip", False),
        tags=tuple(sorted(set(values.get("tags") or ()))),
    )
    subnet = draft.put(subnet)
    draft.touch(network)
    if network.router_external:
        router_gateway.subnet_added(draft, caller, network, subnet)
    if ipam.automatic(subnet):
        ports_addresses.add_derived(draft, subnet)
    return subnet


def update(draft: Draft, caller: Caller, subnet: e.Subnet, values: dict[str, Any]) -> e.Subnet:
    """Change what may change. The gateway not while a router has it."""
    del caller
    _check({**values, "ip_version": subnet.ip_version}, subnet.cidr, subnet)
    if "gateway_ip" in values and values["gateway_ip"] != subnet.gateway_ip:
        _check_gateway_free(draft, subnet)
    changed: dict[str, Any] = {
        name: values[name]
        for name in ("name", "description", "enable_dhcp", "gateway_ip", "dns_publish_fixed_ip")
        if name in values
    }
    if "dns_nameservers" in values:
        changed["dns_nameservers"] = tuple(values["dns_nameservers"] or ())
    if "host_routes" in values:
        changed["host_routes"] = _routes(values["host_routes"])
    if "service_types" in values:
        changed["service_types"] = tuple(values["service_types"] or ())
    if values.get("allocation_pools") is not None and "allocation_pools" in values:
        pools = _given_pools(values["allocation_pools"])
        ipam.check_pools(pools, subnet.cidr)
        changed["allocation_pools"] = pools
    after = msgspec.structs.replace(subnet, **changed)
    if after == subnet:
        return subnet
    if after.gateway_ip and (after.gateway_ip != subnet.gateway_ip or "allocation_pools" in changed):
        ipam.gateway_outside_pools(after.gateway_ip, after.allocation_pools)
    draft.touch(draft.need(e.Network, subnet.network_id))
    return draft.put(after)


def delete(draft: Draft, caller: Caller, subnet: e.Subnet) -> None:
    """Delete it; addresses that ports made for themselves there go with it.

    Raises:
        ApiError: 409 SubnetInUse while a router or a port has another address of it.
    """
    del caller
    for port in draft.find(e.Port, "subnet", subnet.id):
        router = port.device_owner in owners.INTERFACES
        if router or (not ipam.automatic(subnet) and port.device_owner not in _AUTO_DELETE):
            raise conflict(
                "SubnetInUse",
                f"Unable to complete operation on subnet {subnet.id}: One or more ports have an IP allocation from this subnet.",
            )
    remove(draft, subnet)
    network = draft.get(e.Network, subnet.network_id)
    if network is not None:
        draft.touch(network)


def remove(draft: Draft, subnet: e.Subnet) -> None:
    """Take it away with every address of it."""
    for port in draft.find(e.Port, "subnet", subnet.id):
        left = tuple(ip for ip in port.fixed_ips if ip.subnet_id != subnet.id)
        draft.put(msgspec.structs.replace(port, fixed_ips=left))
    draft.remove(subnet)


def _bad(message: str) -> ApiError:
    return bad_request("BadRequest", f"Bad subnets request: {message}.")


def _pool(draft: Draft, caller: Caller, values: dict[str, Any]) -> e.SubnetPool | None:
    named = values.get("subnetpool_id")
    if named == "prefix_delegation" and values.get("cidr"):
        named = None
    default = values.get("use_default_subnetpool")
    if named and default:
        raise _bad("subnetpool_id and use_default_subnetpool cannot both be specified")
    if default:
        cidr = values.get("cidr")
        version = p.network(cidr).version if cidr else values["ip_version"]
        pool = subnetpools.default_pool(draft, version)
        if pool is None:
            raise _bad(f"No default subnetpool found for IPv{version}")
        return pool
    if not named:
        return None
    if named == "prefix_delegation":
        raise _bad("Prefix Delegation is not supported here; name a subnet pool or give a cidr")
    pool = draft.get(e.SubnetPool, named)
    if pool is None or not (caller.is_admin or sharing.allows(draft, pool, caller.project_id)):
        raise not_found(e.SubnetPool.KIND, named)
    if values["ip_version"] != pool.ip_version:
        raise _bad(f"Cannot allocate IPv{values['ip_version']} subnet from IPv{pool.ip_version} subnet pool")
    return pool


def _from_pool(
    draft: Draft, pool: e.SubnetPool, values: dict[str, Any], cidr: str | None, gateway_ip: str | None
) -> tuple[str, str | None]:
    """The prefix cut from the pool, and the gateway: a gateway given alone says which prefix is meant."""
    project_id, length = values["project_id"], values.get("prefixlen", pool.default_prefixlen)
    if not cidr and not gateway_ip:
        cidr = subnetpools.allocate_any(draft, pool, project_id, length)
        return cidr, None if "gateway_ip" in values else _second(cidr)
    if not cidr:
        subnetpools.check_length(pool, length)
        cidr = str(p.network(f"{gateway_ip}/{length}"))
    subnetpools.allocate_given(draft, pool, project_id, cidr)
    return cidr, gateway_ip


def _first_gateway(cidr: str | None, version: int) -> str | None:
    if not cidr:
        return None
    return str(p.network(cidr).network_address) if version == 6 else _second(cidr)


def _second(cidr: str) -> str:
    """The address after the first, be it in the prefix or not."""
    net = p.network(cidr)
    return p.text(min(int(net.network_address) + 1, (1 << net.max_prefixlen) - 1), net.version)


def _given_pools(pools: Sequence[dict[str, str]]) -> tuple[e.AllocationPool, ...]:
    return tuple(e.AllocationPool(pool["start"], pool["end"]) for pool in pools)


def _pools(given: Sequence[dict[str, str]] | None, cidr: str, gateway_ip: str | None) -> tuple[e.AllocationPool, ...]:
    if not given:
        return ipam.default_pools(cidr, gateway_ip)
    pools = tuple(sorted(_given_pools(given), key=lambda pool: p.number(pool.start)))
    ipam.check_pools(pools, cidr)
    if gateway_ip:
        ipam.gateway_outside_pools(gateway_ip, pools)
    return pools


def _routes(routes: Iterable[dict[str, str]] | None) -> tuple[e.HostRoute, ...]:
    return tuple(e.HostRoute(route["destination"], route["nexthop"]) for route in routes or ())


def _check(values: dict[str, Any], cidr: str | None, current: e.Subnet | None) -> None:
    """What holds for any subnet, made or changed."""
    version = values["ip_version"]
    if cidr:
        _same_family(version, cidr, "cidr")
        net = p.network(cidr)
        if version == 6 and int(net.network_address) == 0:
            raise invalid_input("IPv6 subnet '::' is not supported")
        if values.get("enable_dhcp") and not (current is not None and current.enable_dhcp):
            _check_dhcp(cidr)
    if values.get("gateway_ip"):
        _same_family(version, values["gateway_ip"], "gateway_ip")
        if cidr and _no_gateway(cidr, values["gateway_ip"]):
            raise invalid_input("Gateway is not valid on subnet")
    _check_hosts(values, version, current)
    _check_modes(values, version, cidr, current)


def _same_family(version: int, value: str, name: str) -> None:
    if p.network(value).version != version:
        raise invalid_input(f"{name} '{value}' does not match the ip_version '{version}'")


def _check_dhcp(cidr: str) -> None:
    net = p.network(cidr)
    if net.prefixlen > (30 if net.version == 4 else 126):
        raise invalid_input("Subnet has a prefix length that is incompatible with DHCP service enabled")
    if net.is_multicast:
        raise invalid_input("Multicast IP subnet is not supported if enable_dhcp is True")
    if net.is_loopback:
        raise invalid_input("Loopback IP subnet is not supported if enable_dhcp is True")
    if net.version == 4 and int(net.network_address) == 0:
        raise invalid_input("First IP '0.0.0.0' of network is not supported if enable_dhcp is True.")


def _no_gateway(cidr: str, gateway_ip: str) -> bool:
    net = p.network(cidr)
    return net.version == 4 and p.address(gateway_ip) in {net.network_address, net.broadcast_address}


def _check_gateway_free(draft: Draft, subnet: e.Subnet) -> None:
    if subnet.gateway_ip is None:
        return
    for port in draft.find(e.Port, "address", (subnet.id, subnet.gateway_ip)):
        if port.device_owner in owners.ROUTER_PORTS:
            raise conflict(
                "GatewayIpInUse",
                f"Current gateway ip {subnet.gateway_ip} already in use by port {port.id}. Unable to update.",
            )


def _check_hosts(values: dict[str, Any], version: int, current: e.Subnet | None) -> None:
    which = current.id if current is not None else "new subnet"
    servers = values.get("dns_nameservers") or ()
    if len(servers) > _MAX_DNS:
        raise bad_request(
            "DNSNameServersExhausted",
            f"Unable to complete operation for {which}. The number of DNS nameservers exceeds the limit {_MAX_DNS}.",
        )
    for server in servers:
        _same_family(version, server, "dns_nameserver")
    routes = values.get("host_routes") or ()
    if len(routes) > _MAX_ROUTES:
        raise bad_request(
            "HostRoutesExhausted",
            f"Unable to complete operation for {which}. The number of host routes exceeds the limit {_MAX_ROUTES}.",
        )
    for route in routes:
        _same_family(version, route["nexthop"], "nexthop")
        _same_family(version, route["destination"], "destination")


def _check_modes(values: dict[str, Any], version: int, cidr: str | None, current: e.Subnet | None) -> None:
    ra_mode, address_mode = (values.get(name) for name in _MODES)
    if version == 4:
        for name in _MODES:
            if values.get(name):
                raise invalid_input(f"{name} is not valid when ip_version is 4")
        return
    if current is not None:
        if values.get("enable_dhcp") is False and (current.ipv6_ra_mode or current.ipv6_address_mode):
            raise invalid_input("Cannot disable enable_dhcp with ipv6 attributes set")
        return
    if (ra_mode or address_mode) and not values.get("enable_dhcp", True):
        raise invalid_input("ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False")
    if ra_mode and address_mode and ra_mode != address_mode:
        raise invalid_input(
            f"ipv6_ra_mode set to '{ra_mode}' with ipv6_address_mode set to '{address_mode}' is not valid. If both attributes are"
            " set, they must be the same value"
        )
    if cidr:
        _check_derived(values, cidr)


def _check_derived(values: dict[str, Any], cidr: str) -> None:
    """Whether hosts can make their own addresses there, if they are to."""
    automatic = {values.get(name) for name in _MODES} & {"slaac", "dhcpv6-stateless"}
    if automatic and p.network(cidr).prefixlen != 64:
        raise invalid_input(
            f"Invalid CIDR {cidr} for IPv6 address mode. OpenStack uses the EUI-64 address format, which requires the prefix to"
            " be /64"
        )


def _check_overlap(draft: Draft, network: e.Network, cidr: str) -> None:
    if p.network(cidr).prefixlen == 0:
        raise invalid_input("0 is not allowed as CIDR prefix length")
    for subnet in draft.find(e.Subnet, "network", network.id):
        if p.overlap(subnet.cidr, cidr):
            raise invalid_input(
                f"Requested subnet with cidr: {cidr} for network: {network.id} overlaps with another subnet"
            )


def _check_affinity(draft: Draft, network: e.Network, version: int, pool: e.SubnetPool | None) -> None:
    """Subnets of one family on a network come from one pool, or from pools of one address scope."""
    scope_id = subnetpools.scope_of_network(draft, network.id, version)
    if scope_id and pool is not None and pool.address_scope_id != scope_id:
        raise bad_request(
            "NetworkAddressScopeAffinityError",
            "Subnets of the same address family hosted on the same network must all participate in the same address scope.",
        )
    for subnet in draft.find(e.Subnet, "network", network.id):
        if subnet.ip_version != version:
            continue
        other = subnet.subnetpool_id != (pool.id if pool is not None else None)
        if other and (pool is None or not scope_id):
            raise bad_request(
                "NetworkSubnetPoolAffinityError",
                "Subnets hosted on the same network must be allocated from the same subnet pool.",
            )
