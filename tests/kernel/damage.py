"""What can be broken on a host: for each kind of damage the commands that would do it to one of our things each."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from floatway.host.ownership import COOKIE, owned
from floatway.host.records import (
    Address,
    Chain,
    Flow,
    Ipset,
    Link,
    Neighbour,
    Netns,
    OvsBridge,
    OvsPort,
    Record,
    Route,
    Rule,
    Sysctl,
)
from floatway.host.state import HostState

R = TypeVar("R", bound=Record)
OFCTL = "ovs-ofctl -O OpenFlow14"


def _inside(record: Record, command: str) -> str:
    netns = getattr(record, "netns", "")
    return f"ip netns exec {netns} {command}" if netns else command


def _strict(flow: Flow) -> str:
    words = (f"table={flow.table},priority={flow.priority}", flow.match)
    return f"{OFCTL} --strict del-flows {flow.bridge} '{','.join(filter(None, words))}'"


def damages(state: HostState) -> dict[str, list[str]]:
    """Kind of damage -> commands."""
    ours = owned(state)

    def each(kind: type[R], command: Callable[[R], str], keep: Callable[[R], bool] | None = None) -> list[str]:
        return [_inside(record, command(record)) for record in ours.records(kind, keep)]

    def user_chain(chain: Chain) -> bool:
        return bool(chain.rules) and not chain.policy

    def members(sets: Iterable[Ipset]) -> list[str]:
        return [_inside(s, f"ipset del {s.name} {member}") for s in sets for member in s.members]

    def real(link: Link) -> bool:
        return link.kind != "loopback"

    slaves = state.records(Link, lambda link: link.master.startswith("qbr"))
    return {
        "link deleted": each(Link, lambda r: f"ip link del {r.name}", lambda r: r.kind in {"bridge", "veth"}),
        "link down": each(Link, lambda r: f"ip link set {r.name} down", real),
        "mtu": each(Link, lambda r: f"ip link set {r.name} mtu 1300", real),
        "mac": each(Link, lambda r: f"ip link set {r.name} address 02:00:00:00:00:77", real),
        "master": [f"ip link set {link.name} nomaster" for link in slaves],
        "address": each(Address, lambda r: f"ip addr del {r.cidr} dev {r.link}"),
        "address added": each(Address, lambda r: f"ip addr add 10.99.0.1/24 dev {r.link}"),
        "route": each(Route, lambda r: f"ip route del {r.prefix} table {r.table}"),
        "route added": each(
            Route, lambda r: f"ip route add 10.98.0.0/16 dev {r.dev} proto static", lambda r: bool(r.dev)
        ),
        "rule": each(Rule, lambda r: f"ip rule del prio {r.priority}"),
        "rule added": [f"ip -n {r.name} rule add from 10.97.0.1 lookup 16 prio 40000" for r in ours.records(Netns)],
        "neighbour": each(Neighbour, lambda r: f"ip neigh del {r.address} dev {r.link}"),
        "neighbour changed": each(
            Neighbour, lambda r: f"ip neigh replace {r.address} lladdr 02:00:00:00:00:66 nud permanent dev {r.link}"
        ),
        "namespace": [f"ip netns del {r.name}" for r in ours.records(Netns)],
        "sysctl": each(Sysctl, lambda r: f"sysctl -qw {r.name}={0 if r.value != '0' else 1}"),
        "chain flushed": each(Chain, lambda r: f"iptables -t {r.table} -F {r.name}", user_chain),
        "chain rule": each(Chain, lambda r: f"iptables -t {r.table} -D {r.name} 1", user_chain),
        "chain rule added": each(
            Chain, lambda r: f"iptables -t {r.table} -A {r.name} -s 10.96.0.1 -j ACCEPT", user_chain
        ),
        "ipset member": members(ours.records(Ipset)),
        "ipset member added": each(Ipset, lambda r: f"ipset add {r.name} 10.95.0.0/24"),
        "port": each(OvsPort, lambda r: f"ovs-vsctl del-port {r.name}"),
        "tag": each(OvsPort, lambda r: f"ovs-vsctl set port {r.name} tag=99", lambda r: r.tag is not None),
        "fail mode": each(OvsBridge, lambda r: f"ovs-vsctl set-fail-mode {r.name} standalone"),
        "bridge deleted": each(OvsBridge, lambda r: f"ovs-vsctl del-br {r.name}"),
        "controller": each(OvsBridge, lambda r: f"ovs-vsctl del-controller {r.name}"),
        "flows": each(OvsBridge, lambda r: f"{OFCTL} del-flows {r.name}"),
        "flow": each(Flow, _strict),
        "flow added": each(
            OvsBridge, lambda r: f"{OFCTL} add-flow {r.name} cookie={COOKIE},table=0,priority=77,udp,actions=drop"
        ),
    }
