"""A distributed router on one host: its namespace, interfaces, neighbours, way out and NAT (R5 of the reference).

qr-… 172.12.10.1/24        qrouter-<id>        rfp-… 169.254.106.114/31 == fpr-… (fip namespace)
     main: connected routes only               table 16: default via fpr
     from <fixed IP> lookup 16                 from <gateway>/24 lookup N: to centralised SNAT
"""

from collections.abc import Iterable

from floatway.compile import names
from floatway.compile.allocations import FIP_TABLE
from floatway.compile.port import EVERYTHING, canonical
from floatway.compile.view import Interface, mac_of
from floatway.host.ownership import MAIN_TABLE
from floatway.host.records import Address, Chain, Link, Neighbour, Record, Route, Rule, Sysctl
from floatway.model.resources import FloatingIp, Host, HostRoute, Network, Port
from floatway.net.address import in_prefix, interface, ip_int

L3 = "neutron-l3-agent"
SCOPE_MARK = "0x4000000/0xffff0000"
METADATA_PORT = 9697
_BUILTIN = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}
SYSCTLS = (
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv4.conf.all.arp_announce", "2"),
    ("net.ipv4.conf.all.arp_ignore", "1"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.netfilter.nf_conntrack_tcp_be_liberal", "1"),
)


def namespace_sysctls(netns: str) -> list[Record]:
    """What a routing namespace needs of the kernel."""
    return [Sysctl(netns=netns, name=name, value=value) for name, value in SYSCTLS]


def next_address(address: str) -> str:
    """The fpr end of a link-local pair, given the rfp end."""
    return ".".join(str(byte) for byte in (ip_int(address) + 1).to_bytes(4, "big"))


def chains(netns: str, tables: dict[str, dict[str, list[str]]]) -> list[Record]:
    """Chain records of a namespace that is wholly ours: built-in chains of a used table are ours too."""
    return [
        Chain(
            netns=netns, table=table, name=name, policy="ACCEPT" if name in _BUILTIN[table] else "", rules=tuple(rules)
        )
        for table, content in tables.items()
        for name, rules in (_empty(table) | content).items()
    ]


def _empty(table: str) -> dict[str, list[str]]:
    return {name: [] for name in _BUILTIN[table]}


def hooks(table: str, *, top: bool = False) -> dict[str, list[str]]:
    """The jump from each built-in chain to its neutron-l3-agent twin, and the empty twins."""
    content: dict[str, list[str]] = {}
    for name in _BUILTIN[table]:
        content[name] = [f"-j {L3}-{name}"]
        content[f"{L3}-{name}"] = []
    if top:
        for name in ("FORWARD", "OUTPUT"):
            content[name].insert(0, "-j neutron-filter-top")
        content["neutron-filter-top"] = [f"-j {L3}-local"]
        content[f"{L3}-local"] = []
    return content


def interface_records(router_id: str, one: Interface, device: str) -> list[Record]:
    """The qr- device's address. The device itself is in :func:`interface_link`: a port may have several addresses."""
    cidr = f"{one.address}/{one.subnet.cidr.partition('/')[2]}"
    broadcast = str(interface(cidr).network.broadcast_address)
    return [Address(netns=names.qrouter(router_id), link=device, cidr=cidr, broadcast=broadcast)]


def interface_link(router_id: str, port: Port, net: Network, device: str) -> list[Record]:
    """The qr- device."""
    return [Link(netns=names.qrouter(router_id), name=device, kind="internal", mac=port.mac_address, mtu=net.mtu)]


def neighbours(router_id: str, device: str, subnet_id: str, ports: Iterable[Port], own: Port) -> list[Record]:
    """A distributed router never asks the wire: every port of the subnet is a permanent neighbour."""
    netns = names.qrouter(router_id)
    return [
        Neighbour(netns=netns, link=device, address=fixed.ip_address, mac=port.mac_address)
        for port in ports
        if port is not own and not port.device_owner.startswith("network:router_interface")
        for fixed in port.fixed_ips
        if fixed.subnet_id == subnet_id
    ]


def extra_routes(router_id: str, routes: tuple[HostRoute, ...], interfaces: tuple[Interface, ...]) -> list[Record]:
    """The router's own static routes, each by the interface that its next hop is behind."""
    behind = [(one.subnet.cidr, names.device("qr-", one.port.id)) for one in interfaces]
    return [*static_routes(names.qrouter(router_id), routes, behind)]


def static_routes(
    netns: str, routes: tuple[HostRoute, ...], behind: Iterable[tuple[str, str]], table: int = MAIN_TABLE
) -> list[Route]:
    """Those of the routes whose next hop is ``behind`` one of the (prefix, device). Of several for one destination the last
    counts, as with ``ip route replace``."""
    devices = tuple(behind)
    records: dict[str, Route] = {}
    for route in routes:
        device = next((name for prefix, name in devices if in_prefix(route.nexthop, prefix)), "")
        if device:
            prefix = "default" if route.destination == EVERYTHING else canonical(route.destination)
            records[prefix] = Route(netns=netns, prefix=prefix, table=table, via=route.nexthop, dev=device)
    return list(records.values())


def link_to_fip(router_id: str, external: Network, host: Host, rfp_address: str) -> list[Record]:
    """The veth pair to the fip namespace, both ends with their permanent neighbour (Launchpad bug 1791989), and table 16."""
    inside, outside = names.qrouter(router_id), names.fip(external.id)
    rfp, fpr = names.device("rfp-", router_id), names.device("fpr-", router_id)
    fpr_address = next_address(rfp_address)
    rfp_mac, fpr_mac = mac_of(host, rfp), mac_of(host, fpr)
    number = ip_int(fpr_address)
    return [
        Link(netns=inside, name=rfp, kind="veth", mac=rfp_mac, mtu=external.mtu, peer_netns=outside, peer=fpr),
        Link(netns=outside, name=fpr, kind="veth", mac=fpr_mac, mtu=external.mtu, peer_netns=inside, peer=rfp),
        Address(netns=inside, link=rfp, cidr=f"{rfp_address}/31"),
        Address(netns=outside, link=fpr, cidr=f"{fpr_address}/31"),
        Neighbour(netns=inside, link=rfp, address=fpr_address, mac=fpr_mac),
        Neighbour(netns=outside, link=fpr, address=rfp_address, mac=rfp_mac),
        Route(netns=inside, prefix="default", table=FIP_TABLE, via=fpr_address, dev=rfp),
        Rule(netns=outside, priority=number, iif=fpr, table=number),
    ]


def filter_chains(router_id: str, devices: tuple[str, ...], rfp: str, floating: tuple[FloatingIp, ...]) -> list[Record]:
    """raw, mangle, filter and nat of the namespace. ``devices`` are the qr- names; ``rfp`` is "" without a way out."""
    netns = names.qrouter(router_id)
    marked = [*devices, *([rfp] if rfp else [])]
    mangle = hooks("mangle") | {f"{L3}-{name}": [] for name in ("float-snat", "floatingip", "mark", "scope")}
    mangle[f"{L3}-PREROUTING"] = [
        f"-j {L3}-mark",
        f"-j {L3}-scope",
        "-m connmark ! --mark 0x0/0xffff0000 -j CONNMARK --restore-mark --nfmask 0xffff0000 --ctmask 0xffff0000",
        f"-j {L3}-floatingip",
        "-d 169.254.169.254/32 -i qr-+ -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x1/0xffff",
    ]
    mangle[f"{L3}-float-snat"] = [
        "-m connmark --mark 0x0/0xffff0000 -j CONNMARK --save-mark --nfmask 0xffff0000 --ctmask 0xffff0000"
    ]
    mangle[f"{L3}-scope"] = [f"-i {device} -j MARK --set-xmark {SCOPE_MARK}" for device in marked]
    filters = hooks("filter", top=True)
    filters[f"{L3}-FORWARD"] = [f"-j {L3}-scope"]
    filters[f"{L3}-INPUT"] = ["-m mark --mark 0x1/0xffff -j ACCEPT", f"-p tcp -m tcp --dport {METADATA_PORT} -j DROP"]
    filters[f"{L3}-scope"] = [f"-o {device} -m mark ! --mark {SCOPE_MARK} -j DROP" for device in marked]
    nat = {name: rules for name, rules in hooks("nat").items() if name not in ("INPUT", f"{L3}-INPUT")}
    nat["POSTROUTING"].append("-j neutron-postrouting-bottom")
    translated = sorted(floating, key=lambda fip: ip_int(fip.floating_ip_address))
    nat[f"{L3}-PREROUTING"] = [
        *(
            f"-d {fip.floating_ip_address}/32 -i {rfp} -j DNAT --to-destination {fip.fixed_ip_address}"
            for fip in translated
        ),
        f"-d 169.254.169.254/32 -i qr-+ -p tcp -m tcp --dport 80 -j REDIRECT --to-ports {METADATA_PORT}",
    ]
    if rfp:
        nat[f"{L3}-POSTROUTING"] = [f"! -i {rfp} ! -o {rfp} -m conntrack ! --ctstate DNAT -j ACCEPT"]
    nat[f"{L3}-float-snat"] = [
        f"-s {fip.fixed_ip_address}/32 -j SNAT --to-source {fip.floating_ip_address} --random-fully"
        for fip in translated
    ]
    nat[f"{L3}-snat"] = [f"-j {L3}-float-snat"]
    nat["neutron-postrouting-bottom"] = [f'-m comment --comment "Perform source NAT on outgoing traffic." -j {L3}-snat']
    return chains(netns, {"raw": hooks("raw"), "mangle": mangle, "filter": filters, "nat": nat})
