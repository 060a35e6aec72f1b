"""What a failure is called, and what to do about it: the catalogue of DVR faults, as far as the state shows them.

no route for 172.12.10.4, a floating IP exists, no `from 172.12.10.4 lookup 16`  ──▶  FIP_RULE_MISSING
"""

import re
from collections.abc import Iterator

from floatway.host.records import Chain, Link, Netns
from floatway.net.packet import Packet
from floatway.text.iptables import parse_rule
from floatway.trace import evidence, routing
from floatway.trace.course import Context, Place
from floatway.trace.index import Index
from floatway.trace.matches import Sight
from floatway.trace.result import Evidence

FIP_TABLE = 16
DEAD_VLAN = 4095
PORT_CHAIN = re.compile(r"^neutron-openvswi-([ios])[0-9a-f]{8}-")
COMMENT = re.compile(r'--comment (?:"([^"]*)"|(\S+))')

REPAIRS = {
    "FIP_NS_MISSING": "build the fip namespace: floatway apply (or resync the router)",
    "FG_MISSING": "plug the fg- port into br-int again and move it into the fip namespace; check rfp/fpr too",
    "FG_DEAD_VLAN": "give the fg- port its local VLAN: ovs-vsctl set port {device} tag=N",
    "FIP_VETH_GONE": "make the rfp/fpr pair again, with both addresses and neighbours",
    "FIP_VETH_NOIP": "add the /31 pair to rfp and fpr again",
    "FIP_RULE_MISSING": "ip netns exec QROUTER ip rule add from {src} lookup 16 priority 32768…72767",
    "FIP_T16_NODEFAULT": "ip netns exec QROUTER ip route add default via FPR-ADDRESS dev RFP table 16",
    "FIP_ROUTE_MISSING": "ip netns exec FIP ip route add {dst}/32 via RFP-ADDRESS dev FPR",
    "FIP_DNAT_MISSING": "add the rule: -A neutron-l3-agent-PREROUTING -d {dst}/32 -i RFP -j DNAT --to-destination FIXED",
    "FIP_SNAT_MISSING": "add the rule: -A neutron-l3-agent-float-snat -s {src}/32 -j SNAT --to-source FLOATING",
    "PROXY_ARP_OFF": "sysctl -w net.ipv4.conf.{device}.proxy_arp=1 in the fip namespace",
    "QROUTER_MISSING": "build the router's namespace: floatway apply (or resync the router)",
    "RP_FILTER": "sysctl -w net.ipv4.conf.{device}.rp_filter=0 (and net.ipv4.conf.all.rp_filter=0)",
    "ASYM_ROUTING_CT": "make both directions go the same way: look for a missing ip rule or NAT rule",
    "ADDR_SCOPE_MARK": "mark the packet on its way in: -A neutron-l3-agent-scope -i DEVICE -j MARK",
    "PORT_DEAD_VLAN": "the port is not bound: ovs-vsctl set port {device} tag=N once the reason is mended",
    "FDB_STALE": "forget what was learned: ovs-appctl fdb/flush BRIDGE (or wait for it to age)",
    "DVR_ARP_MISSING": "ip netns exec QROUTER ip neigh replace {dst} lladdr MAC dev QR nud permanent",
    "TUNNEL_MISSING": "make the tunnel port to the other host on br-tun (tunnel sync)",
    "PHYSBR_MAPPING": "join the bridges with a patch pair: int-br-ex and phy-br-ex",
    "L2_IFACE_DOWN": "ip link set {device} up, or make it again where it is missing",
    "MTU_OVERLAY": "send at most what the narrowest device carries, or raise the MTU below it",
    "BR_NF_OFF": "modprobe br_netfilter; sysctl -w net.bridge.bridge-nf-call-iptables=1",
    "SG_NO_RULE": "openstack security group rule create --protocol {proto}{port} GROUP",
    "SG_SPOOF_DROP": "openstack port set --allowed-address ip-address={src},mac-address={src_mac} PORT",
    "OVS_RESTART_FLOWS_LOST": "write the flows again: floatway apply",
    "SG_CHAIN_MISSING": "write the port's chains and the jumps to them again: floatway apply",
    "IP_FORWARD_OFF": "sysctl -w net.ipv4.ip_forward=1 in the namespace",
}


def repair(code: str, packet: Packet | None, device: str = "DEVICE") -> str:
    """The one-line repair for a fault, filled in from the packet and the device."""
    text = REPAIRS.get(code, "")
    if packet is None:
        return text.replace("{device}", device)
    port = f" --dst-port {packet.dport}" if packet.proto != "icmp" else ""
    words = {
        "{src}": packet.src, "{dst}": packet.dst, "{src_mac}": packet.src_mac, "{proto}": packet.proto, "{port}": port,
        "{device}": device,
    }  # fmt: skip
    for word, value in words.items():
        text = text.replace(word, value)
    return text


# --- iptables ---------------------------------------------------------------------------------------


def direction(chain: str) -> str:
    """``i`` for a chain to an instance, ``o`` from it, ``s`` its spoof check; "" for any other chain."""
    match = PORT_CHAIN.match(chain)
    return match[1] if match else ""


def comment(rule: str) -> str:
    """The words of a rule's comment, "" when it has none."""
    match = COMMENT.search(rule)
    return (match[1] or match[2] or "") if match else ""


def of_drop(chain: str, rule: str, sight: Sight) -> str:
    """The fault behind an iptables drop."""
    if chain.endswith("sg-fallback"):
        return "SG_NO_RULE"
    if direction(chain) == "s":
        return "SG_SPOOF_DROP"
    if "INVALID" in rule and direction(chain):
        return "ASYM_ROUTING_CT"
    if chain.endswith("-scope") and sight.netns.startswith(("qrouter-", "snat-")):
        return "ADDR_SCOPE_MARK"
    return ""


# --- switches ---------------------------------------------------------------------------------------


def of_flow(match: str | None, tag: int | None, port: str) -> str:
    """The fault behind a drop in Open vSwitch: ``match`` of the flow that dropped (None: no flow matched)."""
    if tag == DEAD_VLAN:
        return "FG_DEAD_VLAN" if port.startswith("fg-") else "PORT_DEAD_VLAN"
    return "OVS_RESTART_FLOWS_LOST" if match is None else ""


def of_device(device: str, *, present: bool) -> str:
    """The fault behind a device that is missing or down."""
    if device.startswith("fg-"):
        return "FG_MISSING"
    if device.startswith(("rfp-", "fpr-")) and not present:
        return "FIP_VETH_GONE"
    return "L2_IFACE_DOWN"


def of_unreached(ctx: Context, mac: str) -> tuple[str, str, tuple[Evidence, ...]]:
    """Why a frame for this MAC found nobody: fault, words and proof."""
    owners = ctx.owners(mac)
    if not owners:
        return "", "no machine here has that address", ()
    for place in owners:
        known = ctx.index(place.host)
        link = known.link(place.netns, place.device)
        if link is not None and not link.up:
            where = f"{place.device} of {place.netns or place.host} is down"
            return of_device(place.device, present=True), where, (evidence.link(link),)
        for port in _ports_towards(ctx, place):
            there = ctx.index(port.host)
            record = there.port(port.device)
            if record is not None and record.tag == DEAD_VLAN:
                return (
                    of_flow("", DEAD_VLAN, port.device),
                    f"the port {port.device} is in the dead VLAN {DEAD_VLAN}",
                    evidence.vsctl(there, record),
                )
            device = there.internal.get(port.device)
            unplugged = record is None and port.device.startswith(("qvo", "qr-", "fg-"))
            if device is None or not device.up or unplugged:
                proof = evidence.link(device) if device else evidence.absent("", f"ip link show {port.device}")
                return (
                    of_device(port.device, present=device is not None),
                    f"{port.device} is {_lack(device)}",
                    (proof,),
                )
    first = owners[0]
    return "", f"{first.device} of {first.netns or first.host} has it, but no copy got there", ()


def _lack(device: Link | None) -> str:
    if device is None:
        return "missing"
    return "on no bridge" if device.up else "down"


def _ports_towards(ctx: Context, place: Place) -> Iterator[Place]:
    """The devices between a machine's device and the Open vSwitch bridge: itself, or the far end, its bridge's ports and theirs."""
    yield from [place] if ctx.index(place.host).port(place.device) is not None else []
    for far in ctx.wired(place) or ():
        known = ctx.index(far.host)
        link = known.link(far.netns, far.device)
        if link is None or not link.up:
            yield far
            continue
        if known.port(far.device) is not None:
            yield far
            continue
        suffix = far.device[3:]
        if far.device.startswith("tap"):
            yield from (Place(far.host, "", prefix + suffix) for prefix in ("qvb", "qvo"))
        for member in known.members.get((far.netns, link.master), ()) if link.master else ():
            if member.name != far.device and member.peer:
                yield Place(far.host, member.peer_netns, member.peer)


# --- routing and neighbours -------------------------------------------------------------------------


def floating_of(known: Index, netns: str, fixed: str) -> str:
    """The floating IP that this router translates to the fixed address; "" when none."""
    for floating, target in _floating(known, netns):
        if target == fixed:
            return floating
    return ""


def _floating(known: Index, netns: str) -> Iterator[tuple[str, str]]:
    for chain in known.state.table(Chain).values():
        if chain.table != "nat" or chain.netns != netns:
            continue
        for text in chain.rules:
            if "-j DNAT" not in text and "-j SNAT" not in text:
                continue
            rule = parse_rule(text)
            options = dict(rule.options)
            matched = {match.name: match.value.partition("/")[0] for match in rule.matches}
            if rule.target == "DNAT" and "destination" in matched:
                yield matched["destination"], options.get("to-destination", "").partition(":")[0]
            elif rule.target == "SNAT" and "source" in matched:
                yield options.get("to-source", "").partition(":")[0], matched["source"]


def routers(ctx: Context, floating: str) -> list[tuple[str, str, str]]:
    """(host, namespace, fixed address) of the routers that know this floating IP."""
    found: list[tuple[str, str, str]] = []
    for name in ctx.world.machines:
        known = ctx.index(name)
        for space in known.state.table(Netns).values():
            if space.name.startswith(("qrouter-", "snat-")):
                found += [(name, space.name, fixed) for one, fixed in _floating(known, space.name) if one == floating]
    return list(dict.fromkeys(found))


def of_no_route(known: Index, netns: str, packet: Packet, device: str, found: routing.Found) -> tuple[str, str]:
    """The fault behind a missing route, and the words for it."""
    if netns.startswith("qrouter-"):
        if device.startswith("rfp-"):
            return "FIP_DNAT_MISSING", f"nothing translates {packet.dst}: it is still the destination here"
        missing = _lost_way_out(known, netns)
        if any(rule.table == FIP_TABLE for rule in found.looked):
            code = missing or "FIP_T16_NODEFAULT"
            return code, "table 16 leads nowhere" + (": rfp- is gone" if missing else "")
        if (floating := floating_of(known, netns, packet.src)) != "":
            return "FIP_RULE_MISSING", f"{packet.src} has the floating IP {floating}, but no rule sends it to table 16"
        return "", "it has no floating IP, and no rule sends it to a central SNAT"
    if netns.startswith("fip-"):
        if not any(link.name.startswith("fg-") for link in known.state.table(Link).values() if link.netns == netns):
            return "FG_MISSING", "the namespace has no fg- device"
        if device.startswith("fpr-"):
            return "FG_MISSING" if _down(known, netns, "fg-") else "", "its table for the router has no way out"
    return "", ""


def _lost_way_out(known: Index, netns: str) -> str:
    devices = [
        link for link in known.state.table(Link).values() if link.netns == netns and link.name.startswith("rfp-")
    ]
    if not devices:
        return "FIP_VETH_GONE"
    return "L2_IFACE_DOWN" if not devices[0].up else ""


def _down(known: Index, netns: str, prefix: str) -> bool:
    return any(
        link.netns == netns and link.name.startswith(prefix) and not link.up
        for link in known.state.table(Link).values()
    )


def of_redirect(known: Index, netns: str, packet: Packet, found: routing.Found) -> str:
    """Does a packet go to central SNAT although its sender has a floating IP here? Then the fault that sends it there."""
    rule = found.rule
    if rule is None or rule.src == "all" or rule.table == FIP_TABLE or not netns.startswith("qrouter-"):
        return ""
    if not floating_of(known, netns, packet.src):
        return ""
    if any(one.table == FIP_TABLE for one in found.looked):
        return _lost_way_out(known, netns) or "FIP_T16_NODEFAULT"
    return "FIP_RULE_MISSING"


def of_source(known: Index, netns: str, packet: Packet, egress: str) -> str:
    """Does a packet leave for the fip namespace with a fixed address as its source?"""
    if not egress.startswith("rfp-") or not netns.startswith("qrouter-"):
        return ""
    if (netns, packet.src) in known.local or packet.src in floating_ips(known):
        return ""
    return "FIP_SNAT_MISSING"


def of_unanswered(ctx: Context, place: Place, address: str) -> tuple[str, str, tuple[Evidence, ...]]:
    """Why nobody answers for an address on this device: fault, words and proof."""
    for home in ctx.home(address):
        mac = _mac(ctx, home)
        code, text, proof = of_unreached(ctx, mac) if mac else ("", "", ())
        if code:
            return code, text, proof
        if home != place:
            return (
                code,
                f"{home.device} of {home.netns or home.host} has the address, but question or answer is lost",
                proof,
            )
    for host, router, fixed in routers(ctx, address):
        known = ctx.index(host)
        spaces = [one.name for one in known.state.table(Netns).values() if one.name.startswith("fip-")]
        if not spaces:
            return "FIP_NS_MISSING", f"{host} has no fip- namespace", (evidence.absent("", "ip netns | grep fip-"),)
        for space in spaces:
            if (found := _proxy(known, space, address)) is not None:
                return found
        return "", f"{router} on {host} translates it to {fixed}, and its fip namespace looks whole", ()
    return "", "no machine here has it", ()


def _proxy(known: Index, space: str, address: str) -> tuple[str, str, tuple[Evidence, ...]] | None:
    """What is wrong with a fip namespace that should answer for the address by proxy ARP."""
    link = next(
        (one for one in known.state.table(Link).values() if one.netns == space and one.name.startswith("fg-")), None
    )
    if link is None:
        return "FG_MISSING", f"{space} has no fg- device", (evidence.absent(space, "ip a | grep fg-"),)
    if not link.up:
        return "FG_MISSING", f"{link.name} in {space} is down", (evidence.link(link),)
    port = known.port(link.name)
    if port is None:
        return (
            "FG_MISSING",
            f"{link.name} is on no bridge",
            (evidence.absent("", f"ovs-vsctl show | grep {link.name}"),),
        )
    if port.tag == DEAD_VLAN:
        return "FG_DEAD_VLAN", f"{link.name} is in the dead VLAN {DEAD_VLAN}", evidence.vsctl(known, port)
    found = routing.lookup(known, space, address, "", link.name)
    if found.route is None or found.route.dev == link.name:
        shown = (
            (evidence.route(found.route),) if found.route else (evidence.absent(space, f"route -n | grep {address}"),)
        )
        return "FIP_ROUTE_MISSING", f"{space} has no route for {address} to its router", shown
    if not known.conf(space, link.name, "proxy_arp"):
        name = f"net.ipv4.conf.{link.name}.proxy_arp"
        proof = evidence.sysctl(space, name, known.sysctl(space, name))
        return "PROXY_ARP_OFF", f"{link.name} does not answer for addresses behind it", (proof,)
    return None


def _mac(ctx: Context, place: Place) -> str:
    link = ctx.index(place.host).link(place.netns, place.device)
    return link.mac if link is not None else ""


def floating_ips(known: Index) -> list[str]:
    """The floating IPs that the host's routers translate."""
    spaces = [one.name for one in known.state.table(Netns).values() if one.name.startswith(("qrouter-", "snat-"))]
    return sorted({floating for space in spaces for floating, _ in _floating(known, space)})
