"""The line that decides, as the usual command prints it, and that command as an operator would type it.

57481:  from 172.12.10.4 lookup 16      <──  ip netns exec qrouter-… ip rule
"""

from floatway.host.records import Address, Flow, Link, Neighbour, OfPort, OvsFdb, OvsPort, Route, Rule
from floatway.net.address import network
from floatway.text import ofctl
from floatway.trace.index import Index
from floatway.trace.result import Evidence

SHOWN = 6
TABLES = {255: "local", 254: "main", 253: "default"}


def inside(netns: str, command: str) -> str:
    """The command as typed on the host for one of its namespaces."""
    return f"ip netns exec {netns} {command}" if netns else command


def netns(name: str) -> Evidence:
    """The namespace's line in ``ip netns``."""
    return Evidence("ip netns", name)


def address(known: Index, record: Address) -> Evidence:
    """The device's MAC and the address, as in ``ip a``."""
    broadcast = f" brd {record.broadcast}" if record.broadcast else ""
    lines = [f"    inet {record.cidr}{broadcast} scope {record.scope} {record.link}"]
    device = known.link(record.netns, record.link)
    if device is not None and device.mac and device.kind != "loopback":
        lines.insert(0, f"    link/ether {device.mac} brd ff:ff:ff:ff:ff:ff")
    return Evidence(inside(record.netns, f"ip a show {record.link}"), "\n".join(lines))


def link(record: Link) -> Evidence:
    """What ``ip link`` says of a device: state and MTU."""
    flags = "BROADCAST,MULTICAST,UP,LOWER_UP" if record.up else "BROADCAST,MULTICAST"
    master = f" master {record.master}" if record.master else ""
    line = f"{record.name}: <{flags}> mtu {record.mtu}{master} state {'UP' if record.up else 'DOWN'}"
    return Evidence(inside(record.netns, f"ip link show {record.name}"), line)


def rule(record: Rule) -> Evidence:
    """The rule's line in ``ip rule``."""
    iif = f" iif {record.iif}" if record.iif else ""
    table = TABLES.get(record.table, str(record.table))
    return Evidence(inside(record.netns, "ip rule"), f"{record.priority}:\tfrom {record.src}{iif} lookup {table}")


def route(record: Route) -> Evidence:
    """The route's line: ``route -n`` for the main table, as the reference reads it, else ``ip route ls table N``."""
    if record.table == 254 and record.type == "unicast":
        return Evidence(inside(record.netns, "route -n"), _route_n(record))
    return route_as_ip(record)


def route_as_ip(record: Route) -> Evidence:
    """The route's line in ``ip route``."""
    words = [] if record.type == "unicast" else [record.type]
    words.append(record.prefix)
    words += ["via", record.via] if record.via else []
    words += ["dev", record.dev] if record.dev else []
    words += ["proto", record.proto] if record.proto not in ("boot", "") else []
    words += ["scope", record.scope] if record.scope not in ("global", "") else []
    words += ["src", record.src] if record.src else []
    words += ["metric", str(record.metric)] if record.metric else []
    words += ["mtu", "lock", str(record.mtu_lock)] if record.mtu_lock else []
    table = TABLES.get(record.table, str(record.table))
    return Evidence(inside(record.netns, f"ip route ls table {table}"), " ".join(words))


def main_table(known: Index, netns: str) -> Evidence | None:
    """All of a small main table, to show what is not in it."""
    routes = [one for networks in known.routes(netns, 254).values() for found in networks.values() for one in found]
    if not routes or len(routes) > SHOWN:
        return None
    lines = [_route_n(one) for one in sorted(routes, key=lambda one: one.prefix)]
    return Evidence(inside(netns, "route -n"), "\n".join(lines))


def _route_n(record: Route) -> str:
    net = network("0.0.0.0/0" if record.prefix == "default" else record.prefix)
    flags = "U" + ("G" if record.via else "") + ("H" if net.prefixlen == 32 else "")
    gateway = record.via or "0.0.0.0"  # noqa: S104 - how route(8) writes "none"
    return f"{net.network_address!s:<15} {gateway:<15} {net.netmask!s:<15} {flags:<5} {record.metric:<6} {0:<2} {0:>7} {record.dev}"


def neighbour(record: Neighbour) -> Evidence:
    """The entry's line in ``arp -a``."""
    state = " PERM" if record.state == "PERMANENT" else ""
    hardware = f"{record.mac} [ether]{state}" if record.mac else "<incomplete>"
    return Evidence(inside(record.netns, "arp -an"), f"? ({record.address}) at {hardware} on {record.link}")


def sysctl(netns: str, name: str, value: str) -> Evidence:
    """The setting's line in ``sysctl``."""
    return Evidence(inside(netns, f"sysctl {name}"), f"{name} = {value}")


def rule_of_chain(netns: str, table: str, chain: str, text: str) -> Evidence:
    """An iptables rule. The filter table's chains are long: there the command names the chain."""
    command = f"iptables -S {chain}" if table == "filter" else f"iptables -t {table} -S"
    return Evidence(inside(netns, command), f"-A {chain} {text}")


def policy(netns: str, table: str, chain: str, verdict: str) -> Evidence:
    """A built-in chain's policy."""
    option = "" if table == "filter" else f"-t {table} "
    return Evidence(inside(netns, f"iptables {option}-S {chain}"), f"-P {chain} {verdict}")


def flow(record: Flow) -> Evidence:
    """The flow's line in ``ovs-ofctl dump-flows``."""
    return Evidence(f"ovs-ofctl --names --no-stats dump-flows {record.bridge}", ofctl.line(record))


def vsctl(known: Index, port: OvsPort) -> tuple[Evidence, ...]:
    """The port's lines in ``ovs-vsctl show``."""
    command = "ovs-vsctl show"
    lines = [f"        Port {port.name}"]
    if port.tag is not None:
        lines.append(f"            tag: {port.tag}")
    if port.type:
        lines += [f"            Interface {port.name}", f"                type: {port.type}"]
    if port.options:
        options = ", ".join(f"{key}={_quoted(value)}" for key, value in port.options)
        lines.append(f"                options: {{{options}}}")
    return (Evidence(command, "\n".join(lines)),)


def _quoted(value: str) -> str:
    return (
        value
        if value.replace("-", "").isalnum() and not value[0].isdigit() and value not in ("true", "false")
        else f'"{value}"'
    )


def of_port(known: Index, bridge: str, name: str) -> tuple[Evidence, ...]:
    """The port's line in ``ovs-ofctl show``, when its number is known."""
    record = known.state.get(OfPort, bridge, name)
    if record is None:
        return ()
    number = "LOCAL" if record.ofport == 65534 else str(record.ofport)
    return (Evidence(f"ovs-ofctl show {bridge}", f" {number}({name}): addr:{record.mac or '00:00:00:00:00:00'}"),)


def ovs_fdb(known: Index, record: OvsFdb) -> Evidence:
    """The learned MAC's line in ``ovs-appctl fdb/show``."""
    numbered = known.state.get(OfPort, record.bridge, record.port)
    number = record.port if numbered is None else "LOCAL" if numbered.ofport == 65534 else str(numbered.ofport)
    line = f"{number:>5}  {record.vlan:>4}  {record.mac}  {record.age:>3}"
    return Evidence(f"ovs-appctl fdb/show {record.bridge}", line)


def brctl(known: Index, bridge: Link) -> Evidence:
    """The bridge's lines in ``brctl show``."""
    members = [member.name for member in known.members.get((bridge.netns, bridge.name), ())]
    identity = f"8000.{bridge.mac.replace(':', '')}"
    first = f"{bridge.name}\t\t{identity}\tno\t\t{members[0] if members else ''}"
    return Evidence(
        inside(bridge.netns, "brctl show"), "\n".join([first, *(f"\t\t\t\t\t\t\t{name}" for name in members[1:])])
    )


def showmacs(netns: str, bridge: str, mac: str, port_number: str) -> Evidence:
    """A learned MAC's line in ``brctl showmacs``."""
    return Evidence(inside(netns, f"brctl showmacs {bridge}"), f"{port_number:>3}\t{mac}\tno")


def absent(netns: str, command: str) -> Evidence:
    """A command that shows nothing where something should be."""
    return Evidence(inside(netns, command), "(nothing)")
