"""Security groups as iptables chains on the qbr bridges (R3 of the reference), in its order and with its comments.

FORWARD -> neutron-openvswi-FORWARD -> sg-chain -> i… (to the instance) / o… (from it) -> RETURN or sg-fallback: DROP
"""

from collections.abc import Iterable, Iterator

from floatway.compile import names
from floatway.compile.names import WRAP
from floatway.compile.port import EVERYTHING, allowed_pairs, canonical, devices
from floatway.compile.protocols import printed_protocol
from floatway.host.records import Chain, Ipset, Record
from floatway.model.resources import Port, SecurityGroup, SecurityGroupRule

FALLBACK = f"{WRAP}-sg-fallback"
SG_CHAIN = f"{WRAP}-sg-chain"
ZONE_BASE = 4096

_TO_CHAIN = '-m comment --comment "Direct traffic from the VM interface to the security group chain." -j ' + SG_CHAIN
_TO_INPUT = '-m comment --comment "Direct incoming traffic from VM to the security group chain." -j '
_TO_PORT = '-m comment --comment "Jump to the VM specific chain." -j '
_TRUSTED = '-m comment --comment "Accept all packets when port is trusted." -j ACCEPT'
_KNOWN = (
    '-m state --state RELATED,ESTABLISHED -m comment --comment "Direct packets associated with a known session to the '
    'RETURN chain." -j RETURN'
)
_INVALID = (
    '-m state --state INVALID -m comment --comment "Drop packets that appear related to an existing connection '
    '(e.g. TCP ACK/FIN) but do not have an entry in conntrack." -j DROP'
)
_UNMATCHED = f'-m comment --comment "Send unmatched traffic to the fallback chain." -j {FALLBACK}'
_DHCP_CLIENT = '--sport 68 --dport 67 -m comment --comment "Allow DHCP client traffic." -j RETURN'
_DHCP_SERVER = '--sport 67 --dport 68 -m comment --comment "Prevent DHCP Spoofing by VM." -j DROP'
_PAIR = '-m comment --comment "Allow traffic from defined IP/MAC pairs." -j RETURN'
_NO_PAIR = '-m comment --comment "Drop traffic without an IP/MAC allow rule." -j DROP'
_DROP = '-m comment --comment "Default drop rule for unmatched traffic." -j DROP'

# the protocols with a match extension of their name; the ports of the others are matched by multiport alone
_WITH_EXTENSION = frozenset({"tcp", "udp", "sctp", "dccp"})
_ANY_ICMP = 255  # not a type on the wire: iptables reads and prints it as "any"


def port_chains(port: Port, groups: tuple[SecurityGroup, ...]) -> list[Record]:
    """The i, o and s chains of one filtered port."""
    rules = [rule for group in groups for rule in group.rules if rule.ethertype == "IPv4"]
    addresses = [fixed.ip_address for fixed in port.fixed_ips]
    spoof = names.port_chain("s", port.id)
    inward = [
        _KNOWN,
        *(f"-d {address}/32 -p udp -m udp --sport 67 --dport 68 -j RETURN" for address in addresses),
        "-d 255.255.255.255/32 -p udp -m udp --sport 67 --dport 68 -j RETURN",
        *dict.fromkeys(rule_text(rule) for rule in rules if rule.direction == "ingress"),
        _INVALID,
        _UNMATCHED,
    ]
    outward = [
        f"-s 0.0.0.0/32 -d 255.255.255.255/32 -p udp -m udp {_DHCP_CLIENT}",
        f"-j {spoof}",
        f"-p udp -m udp {_DHCP_CLIENT}",
        f"-p udp -m udp {_DHCP_SERVER}",
        _KNOWN,
        *dict.fromkeys(rule_text(rule) for rule in rules if rule.direction == "egress"),
        _INVALID,
        _UNMATCHED,
    ]
    pairs = [f"{_source(address)}-m mac --mac-source {mac} {_PAIR}" for address, mac in allowed_pairs(port)]
    return [
        _filter(names.port_chain("i", port.id), inward),
        _filter(names.port_chain("o", port.id), outward),
        _filter(spoof, [*pairs, _NO_PAIR]),
    ]


def _filter(name: str, rules: Iterable[str], policy: str = "") -> Chain:
    return Chain(netns="", table="filter", name=name, policy=policy, rules=tuple(rules))


def _prefix(address: str) -> str:
    """As iptables-save prints it: with a length always, without host bits."""
    address = canonical(address)
    return address if "/" in address else f"{address}/32"


def _source(address: str) -> str:
    return "" if canonical(address) == EVERYTHING else f"-s {_prefix(address)} "


def rule_text(rule: SecurityGroupRule) -> str:
    """One opening as ``iptables-save`` prints it."""
    words: list[str] = []
    inward = rule.direction == "ingress"
    if rule.remote_ip_prefix and canonical(rule.remote_ip_prefix) != EVERYTHING:
        words.append(f"{'-s' if inward else '-d'} {_prefix(rule.remote_ip_prefix)}")
    protocol = printed_protocol(rule.protocol)
    if protocol:
        words.append(f"-p {protocol}")
    if rule.port_range_min is not None:
        words.append(_icmp(rule) if protocol == "icmp" else _ports(rule, protocol))
    if rule.remote_group_id:
        words.append(f"-m set --match-set {names.group_set(rule.remote_group_id)} {'src' if inward else 'dst'}")
    return " ".join([*words, "-j RETURN"])


def _icmp(rule: SecurityGroupRule) -> str:
    if rule.port_range_min == _ANY_ICMP:
        return "-m icmp --icmp-type any"
    code = "" if rule.port_range_max is None else f"/{rule.port_range_max}"
    return f"-m icmp --icmp-type {rule.port_range_min}{code}"


def _ports(rule: SecurityGroupRule, protocol: str) -> str:
    low, high = rule.port_range_min, rule.port_range_max
    extension = f"-m {protocol} " if protocol in _WITH_EXTENSION else ""
    if low == high:
        return f"{extension}--dport {low}" if extension else f"-m multiport --dports {low}"
    return f"{extension}-m multiport --dports {low}:{high}"


def remote_groups(groups: Iterable[SecurityGroup]) -> Iterator[str]:
    """The groups whose members the rules of these groups name."""
    for group in groups:
        for rule in group.rules:
            if rule.remote_group_id and rule.ethertype == "IPv4":
                yield rule.remote_group_id


def group_members(group_id: str, members: tuple[Port, ...]) -> list[Record]:
    """The set of the group's addresses. A set cannot hold /0, which is written as its two halves."""
    addresses: set[str] = set()
    for port in members:
        addresses.update(fixed.ip_address for fixed in port.fixed_ips)
        addresses.update(canonical(pair.ip_address) for pair in port.allowed_address_pairs)
    if EVERYTHING in addresses:
        addresses = (addresses - {EVERYTHING}) | {"0.0.0.0/1", "128.0.0.0/1"}
    return [Ipset(netns="", name=names.group_set(group_id), members=tuple(sorted(addresses)))]


def shared_chains(ports: tuple[Port, ...], tags: dict[str, int]) -> list[Record]:
    """The chains that every port has a rule in, and the hooks in the kernel's own. ``tags``: network id -> local VLAN."""
    forward: list[str] = []
    inputs: list[str] = []
    to_port: list[str] = []
    zones: list[str] = []
    for port in ports:
        tap, _, qvb, _ = devices(port)
        for way in ("out", "in"):
            tail = _TO_CHAIN if port.port_security_enabled else _TRUSTED
            forward.append(f"-m physdev --physdev-{way} {tap} --physdev-is-bridged {tail}")
        if not port.port_security_enabled:
            continue
        target = names.port_chain("o", port.id)
        inputs.append(f"-m physdev --physdev-in {tap} --physdev-is-bridged {_TO_INPUT}{target}")
        to_port.append(
            f"-m physdev --physdev-out {tap} --physdev-is-bridged {_TO_PORT}{names.port_chain('i', port.id)}"
        )
        to_port.append(f"-m physdev --physdev-in {tap} --physdev-is-bridged {_TO_PORT}{target}")
        zone = f'-m comment --comment "Set zone for {port.id}" -j CT --zone {ZONE_BASE + tags[port.network_id]}'
        zones += [f"-m physdev --physdev-in {qvb} {zone}", f"-i {qvb} {zone}", f"-m physdev --physdev-in {tap} {zone}"]
    top = "neutron-filter-top"

    def raw(name: str, rules: Iterable[str], policy: str = "") -> Chain:
        return Chain(netns="", table="raw", name=name, policy=policy, rules=tuple(rules))

    return [
        _filter("INPUT", [f"-j {WRAP}-INPUT"], "ACCEPT"),
        _filter("FORWARD", [f"-j {top}", f"-j {WRAP}-FORWARD"], "ACCEPT"),
        _filter("OUTPUT", [f"-j {top}", f"-j {WRAP}-OUTPUT"], "ACCEPT"),
        _filter(top, [f"-j {WRAP}-local"]),
        _filter(f"{WRAP}-local", []),
        _filter(f"{WRAP}-OUTPUT", []),
        _filter(f"{WRAP}-INPUT", inputs),
        _filter(f"{WRAP}-FORWARD", forward),
        _filter(SG_CHAIN, [*to_port, "-j ACCEPT"]),
        _filter(FALLBACK, [_DROP]),
        raw("PREROUTING", [f"-j {WRAP}-PREROUTING"], "ACCEPT"),
        raw("OUTPUT", [f"-j {WRAP}-OUTPUT"], "ACCEPT"),
        raw(f"{WRAP}-OUTPUT", []),
        raw(f"{WRAP}-PREROUTING", zones),
    ]
