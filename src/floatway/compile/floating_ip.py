"""Floating IPs of one external network on one host (R6 of the reference).

qrouter … rfp == fpr-…   fip-<network>   fg-… 192.168.10.103/16 -- br-int
                <floating IP> via rfp    proxy ARP: outside, every floating IP shows fg's MAC
"""

from floatway.compile import names
from floatway.compile.allocations import FIP_TABLE
from floatway.compile.router import L3, chains, hooks, namespace_sysctls, next_address, static_routes
from floatway.host.records import Address, Link, Netns, Record, Route, Rule, Sysctl
from floatway.model.resources import FloatingIp, HostRoute, Network, Port, Subnet
from floatway.net.address import interface, ip_int


def fip_namespace(external: Network, gateway_port: Port, subnets: tuple[Subnet, ...]) -> list[Record]:
    """The namespace, its fg- device and its tables: connections are tracked in the routers' namespaces, not here."""
    netns, fg = names.fip(external.id), names.device("fg-", gateway_port.id)
    records: list[Record] = [
        Netns(name=netns),
        *namespace_sysctls(netns),
        Sysctl(netns=netns, name=f"net.ipv4.conf.{fg}.proxy_arp", value="1"),
        # the default of 0.8 s would delay the first packet to a floating IP (Launchpad bug 1920975)
        Sysctl(netns=netns, name=f"net.ipv4.neigh.{fg}.proxy_delay", value="1"),
        Link(netns=netns, name=fg, kind="internal", mac=gateway_port.mac_address, mtu=external.mtu),
    ]
    lengths = {subnet.id: subnet.cidr.partition("/")[2] for subnet in subnets}
    for fixed in gateway_port.fixed_ips:
        cidr = f"{fixed.ip_address}/{lengths[fixed.subnet_id]}"
        records.append(
            Address(netns=netns, link=fg, cidr=cidr, broadcast=str(interface(cidr).network.broadcast_address))
        )
    raw = hooks("raw")
    raw[f"{L3}-PREROUTING"] = ["-j CT --notrack"]
    mangle = hooks("mangle") | {f"{L3}-mark": []}
    mangle[f"{L3}-PREROUTING"] = [f"-j {L3}-mark"]
    nat = {name: rules for name, rules in hooks("nat").items() if name not in ("INPUT", f"{L3}-INPUT")}
    nat["POSTROUTING"].append("-j neutron-postrouting-bottom")
    nat |= {
        f"{L3}-float-snat": [],
        f"{L3}-snat": [f"-j {L3}-float-snat"],
        "neutron-postrouting-bottom": [f'-m comment --comment "Perform source NAT on outgoing traffic." -j {L3}-snat'],
    }
    tables = {"raw": raw, "mangle": mangle, "filter": hooks("filter", top=True), "nat": nat}
    return [*records, *chains(netns, tables)]


def way_out(external: Network, gateway_port: Port, subnets: tuple[Subnet, ...], rfp_address: str) -> list[Record]:
    """One router's way to the external gateway, in the table numbered as its fpr address."""
    by_id = {subnet.id: subnet for subnet in subnets}
    fg = names.device("fg-", gateway_port.id)
    gateway = next((g for fixed in gateway_port.fixed_ips if (g := by_id[fixed.subnet_id].gateway_ip)), None)
    if gateway is None:
        return []
    table = ip_int(next_address(rfp_address))
    return [Route(netns=names.fip(external.id), prefix="default", table=table, via=gateway, dev=fg)]


def outer_routes(
    external: Network, gateway_port: Port, subnets: tuple[Subnet, ...], routes: tuple[HostRoute, ...], rfp_address: str
) -> list[Record]:
    """A router's static routes whose next hop is outside: beside its default route, where its floating IPs' packets come by."""
    fg = names.device("fg-", gateway_port.id)
    own = {fixed.subnet_id for fixed in gateway_port.fixed_ips}
    behind = [(subnet.cidr, fg) for subnet in sorted(subnets, key=lambda s: s.id) if subnet.id in own]
    table = ip_int(next_address(rfp_address))
    found = static_routes(names.fip(external.id), routes, behind, table)
    return [route for route in found if route.prefix != "default"]


def floating_ip(fip: FloatingIp, priority: int, rfp_address: str, mtu: int) -> list[Record]:
    """The rule that sends the fixed address to table 16, and the route that leads the floating IP to the router.

    ``mtu`` is that of the instance's network where it is smaller than the external one's, else 0. It is locked to the route:
    a packet too big is answered here, from an address that outside knows. The router could not: it has no way to
    answer with an address of its own (main holds no default route), and path MTU discovery (RFC 1191) would fail.
    """
    router_id, fixed = fip.router_id or "", fip.fixed_ip_address or ""
    return [
        Rule(netns=names.qrouter(router_id), priority=priority, src=fixed, table=FIP_TABLE),
        Route(
            netns=names.fip(fip.floating_network_id),
            prefix=fip.floating_ip_address,
            via=rfp_address,
            dev=names.device("fpr-", router_id),
            mtu_lock=mtu,
        ),
    ]
