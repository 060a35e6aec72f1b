"""Each step as the commands that a person would type for it: what ``plan`` prints and what errors name."""

from collections.abc import Iterator

from floatway.host.records import Address, Flow, Link, Neighbour, OvsBridge, OvsPort, Pairs, Route, Rule
from floatway.host.steps import (
    AddressAdd,
    AddressDelete,
    Announce,
    BridgeDelete,
    BridgeSet,
    ConntrackDelete,
    Ip,
    IpOp,
    IpsetRestore,
    LinkAdd,
    LinkDelete,
    LinkMove,
    LinkSet,
    NeighbourDelete,
    NeighbourReplace,
    NetnsAdd,
    NetnsDelete,
    OfBundle,
    OvsOp,
    OvsTransaction,
    PortDelete,
    PortSet,
    Restore,
    RouteDelete,
    RouteReplace,
    RuleAdd,
    RuleDelete,
    Step,
    SysctlWrite,
    quote,
)

_NAMED_TABLES = {253: "default", 254: "main", 255: "local"}


def commands(step: Step) -> tuple[str, ...]:
    """The step's commands, in order. A here-document is one command of several lines."""
    return tuple(_commands(step))


def _inside(netns: str) -> str:
    return f"ip netns exec {netns} " if netns else ""


def _commands(step: Step) -> Iterator[str]:
    match step:
        case NetnsAdd(name=name):
            yield f"ip netns add {name}"
            yield f"ip -n {name} link set lo up"
        case NetnsDelete(name=name):
            yield f"ip netns delete {name}"
        case Ip(ops=ops):
            for op in ops:
                yield from _ip(op)
        case SysctlWrite(netns=netns, settings=settings):
            for name, value in settings:
                yield f"{_inside(netns)}sysctl -w {name}={value}"
        case Restore(netns=netns, text=text):
            yield f"{_inside(netns)}iptables-restore --noflush <<'EOF'\n{text}EOF"
        case IpsetRestore(netns=netns, text=text):
            yield f"{_inside(netns)}ipset restore <<'EOF'\n{text}EOF"
        case OvsTransaction(ops=ops):
            yield "ovs-vsctl " + " ".join(f"-- {words}" for op in ops for words in _vsctl(op))
        case OfBundle(bridge=bridge, delete=delete, add=add):
            lines = [f"delete_strict {_flow(flow, actions=False)}" for flow in delete] + [
                f"add {_flow(flow)}" for flow in add
            ]
            body = "\n".join(lines)
            yield f"ovs-ofctl -O OpenFlow14 --names --bundle add-flows {bridge} - <<'EOF'\n{body}\nEOF"
        case ConntrackDelete(netns=netns, direction=direction, address=address, zone=zone):
            yield f"{_inside(netns)}conntrack -D -f ipv4 --{direction} {address}" + (
                f" --zone {zone}" if zone is not None else ""
            )
        case Announce(netns=netns, dev=dev, address=address):
            # the address is not the device's own: arping may only speak for it with this
            yield f"{_inside(netns)}sysctl -qw net.ipv4.ip_nonlocal_bind=1"
            yield f"{_inside(netns)}arping -U -c 1 -I {dev} {address}"
            yield f"{_inside(netns)}arping -A -c 1 -I {dev} {address}"


# --- ip -------------------------------------------------------------------------------------------


def _ip(op: IpOp) -> Iterator[str]:
    match op:
        case LinkAdd(link=link, peer=peer):
            yield from _link_add(link, peer)
        case LinkSet(link=link, before=before):
            yield from _link_set(link, before)
        case LinkMove(link=link):
            yield f"ip link set {link.name} netns {link.netns}"
        case LinkDelete(link=link):
            yield f"{_tool(link.netns)} link delete {link.name}"
        case AddressAdd(address=address):
            yield f"{_tool(address.netns)} address replace {_address(address)}"
        case AddressDelete(address=address):
            yield f"{_tool(address.netns)} address delete {address.cidr} dev {address.link}"
        case RouteReplace(route=route):
            yield f"{_tool(route.netns)} route replace {_route(route)}"
        case RouteDelete(route=route):
            yield f"{_tool(route.netns)} route delete {_route(route)}"
        case RuleAdd(rule=rule):
            yield f"{_tool(rule.netns)} rule add {_rule(rule)}"
        case RuleDelete(rule=rule):
            yield f"{_tool(rule.netns)} rule delete {_rule(rule)}"
        case NeighbourReplace(neighbour=entry):
            yield f"{_tool(entry.netns)} neighbour replace {_neighbour(entry)}"
        case NeighbourDelete(neighbour=entry):
            yield f"{_tool(entry.netns)} neighbour delete {entry.address} dev {entry.link}"


def _tool(netns: str) -> str:
    return f"ip -n {netns}" if netns else "ip"


def _link_add(link: Link, peer: Link | None) -> Iterator[str]:
    made = (
        f"{_tool(link.netns)} link add {link.name}" + (f" address {link.mac}" if link.mac else "") + f" mtu {link.mtu}"
    )
    if peer is None:
        settings = " stp_state 0 forward_delay 0 mcast_snooping 0" if link.kind == "bridge" else ""
        yield f"{made} type {link.kind}{settings}"
    else:
        where = f" netns {peer.netns}" if peer.netns and peer.netns != link.netns else ""
        mac = f" address {peer.mac}" if peer.mac else ""
        yield f"{made} type veth peer name {peer.name}{mac} mtu {peer.mtu}{where}"
    for end in (link, peer) if peer else (link,):
        blank = Link(netns=end.netns, name=end.name, kind=end.kind, mac=end.mac, mtu=end.mtu, up=False)
        yield from _link_set(end, blank)


def _link_set(link: Link, before: Link | None) -> Iterator[str]:
    words: list[str] = []
    if link.mac and (before is None or before.mac != link.mac):
        words.append(f"address {link.mac}")
    if link.mtu and (before is None or before.mtu != link.mtu):
        words.append(f"mtu {link.mtu}")
    if link.kind != "foreign" and link.alias != (before.alias if before else ""):
        words.append(f"alias {quote(link.alias)}")
    if link.master != (before.master if before else ""):
        words.append(f"master {link.master}" if link.master else "nomaster")
    if before is None or before.up != link.up:
        words.append("up" if link.up else "down")
    if words:
        yield f"{_tool(link.netns)} link set {link.name} {' '.join(words)}"
    if not link.tx_checksum and (before is None or before.tx_checksum):
        yield f"{_inside(link.netns)}ethtool -K {link.name} tx off"


def _address(address: Address) -> str:
    broadcast = f" broadcast {address.broadcast}" if address.broadcast else ""
    scope = f" scope {address.scope}" if address.scope != "global" else ""
    return f"{address.cidr}{broadcast} dev {address.link}{scope}"


def _route(route: Route) -> str:
    words = [route.type] if route.type != "unicast" else []
    words.append(route.prefix)
    words += [f"via {route.via}"] if route.via else []
    words += [f"dev {route.dev}"] if route.dev else []
    words += [f"table {_NAMED_TABLES.get(route.table, route.table)}"] if route.table != 254 else []
    words += [f"src {route.src}"] if route.src else []
    words += [f"scope {route.scope}"] if route.scope != "global" else []
    words += [f"metric {route.metric}"] if route.metric else []
    words += [f"mtu lock {route.mtu_lock}"] if route.mtu_lock else []
    return " ".join([*words, f"proto {route.proto}"])


def _rule(rule: Rule) -> str:
    words = [f"priority {rule.priority}", f"from {rule.src}"]
    words += [f"iif {rule.iif}"] if rule.iif else []
    return " ".join([*words, f"lookup {_NAMED_TABLES.get(rule.table, rule.table)}"])


def _neighbour(entry: Neighbour) -> str:
    return f"{entry.address} lladdr {entry.mac} dev {entry.link} nud {entry.state.lower()}"


# --- ovs-vsctl, ovs-ofctl -------------------------------------------------------------------------


def _vsctl(op: OvsOp) -> Iterator[str]:
    match op:
        case BridgeSet(bridge=bridge, before=before):
            yield from _bridge(bridge, before)
        case BridgeDelete(name=name):
            yield f"--if-exists del-br {name}"
        case PortSet(port=port, before=before):
            yield from _port(port, before)
        case PortDelete(bridge=bridge, name=name):
            yield f"--if-exists del-port {bridge} {name}"


def _bridge(bridge: OvsBridge, before: OvsBridge | None) -> Iterator[str]:
    yield f"--may-exist add-br {bridge.name}"
    columns = [f"fail_mode={bridge.fail_mode}"] if bridge.fail_mode else []
    columns += [f"datapath_type={bridge.datapath_type}"] if bridge.datapath_type else []
    columns += [f"protocols={','.join(bridge.protocols) or '[]'}"]
    columns += [*_map("other_config", bridge.other_config), *_map("external_ids", bridge.external_ids)]
    yield f"set bridge {bridge.name} {' '.join(columns)}"
    if before is not None:
        yield from _remove("bridge", bridge.name, "other_config", before.other_config, bridge.other_config)
        yield from _remove("bridge", bridge.name, "external_ids", before.external_ids, bridge.external_ids)
        if before.fail_mode and not bridge.fail_mode:
            yield f"del-fail-mode {bridge.name}"
    # the same controller again would be another one to vswitchd: it would connect anew
    if bridge.controller and (before is None or before.controller != bridge.controller):
        yield f"set-controller {bridge.name} {' '.join(bridge.controller)}"
    elif before is not None and before.controller and not bridge.controller:
        yield f"del-controller {bridge.name}"


def _port(port: OvsPort, before: OvsPort | None) -> Iterator[str]:
    yield f"--may-exist add-port {port.bridge} {port.name}"
    tag = "tag=[]" if port.tag is None else f"tag={port.tag}"
    yield " ".join(["set port", port.name, tag, *_map("other_config", port.port_other_config)])
    kind = f"type={port.type}" if port.type else "type='\"\"'"
    yield " ".join(
        ["set interface", port.name, kind, *_map("options", port.options), *_map("external_ids", port.external_ids)]
    )
    if before is not None:
        yield from _remove("port", port.name, "other_config", before.port_other_config, port.port_other_config)
        yield from _remove("interface", port.name, "options", before.options, port.options)
        yield from _remove("interface", port.name, "external_ids", before.external_ids, port.external_ids)


def _remove(table: str, name: str, column: str, before: Pairs, after: Pairs) -> Iterator[str]:
    """Setting a key leaves the others as they are: those that are not wanted are removed."""
    keys = [key for key, _ in before if key not in dict(after)]
    if keys:
        yield f"remove {table} {name} {column} {' '.join(map(quote, keys))}"


def _map(column: str, pairs: Pairs) -> list[str]:
    return [
        quote(f"{column}:{key}={value if value.replace('-', '').isalnum() else chr(34) + value + chr(34)}")
        for key, value in pairs
    ]


def _flow(flow: Flow, *, actions: bool = True) -> str:
    words = [f"table={flow.table}", f"priority={flow.priority}"]
    words.append(f"cookie={flow.cookie:#x}" + ("" if actions else "/-1"))
    if actions:
        words += [f"idle_timeout={flow.idle_timeout}"] if flow.idle_timeout else []
        words += [f"hard_timeout={flow.hard_timeout}"] if flow.hard_timeout else []
    words += [flow.match] if flow.match else []
    return ",".join([*words, f"actions={flow.actions}"] if actions else words)
