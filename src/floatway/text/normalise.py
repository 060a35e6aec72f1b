"""What may differ between the reference's transcript (2018) and the same cloud here, rule by rule, in one place.

``TOOL_AGE``: a newer kernel or tool prints the same thing differently. ``CHOSEN``: we do it differently, for the reason given.
The golden test applies all rules to both sides and then wants equality; the documentation lists them.
"""

import re
from collections.abc import Callable
from typing import Literal

import msgspec

Command = Literal[
    "ip a",
    "ip rule",
    "ip route",
    "route -n",
    "arp -a",
    "brctl show",
    "iptables -S",
    "ovs-vsctl show",
    "fdb/show",
    "ofctl show",
    "ip netns",
]


class Difference(msgspec.Struct, frozen=True):
    """One named difference: for which commands, why, and the function that makes both sides alike."""

    name: str
    commands: tuple[Command, ...]
    reason: str
    apply: Callable[[str], str]


def _sub(pattern: str, replacement: str = "") -> Callable[[str], str]:
    compiled = re.compile(pattern, re.MULTILINE)
    return lambda text: compiled.sub(replacement, text)


def _without(pattern: str) -> Callable[[str], str]:
    """Drop the lines that match."""
    compiled = re.compile(pattern)
    return lambda text: "".join(line for line in text.splitlines(keepends=True) if not compiled.search(line))


def _sorted_blocks(text: str) -> str:
    """``ovs-vsctl show`` with bridges, and ports within a bridge, by name: the database has no order."""
    bridges: dict[str, list[str]] = {}
    current = bridges.setdefault("", [])
    for line in text.splitlines():
        if line.startswith("    Bridge "):
            current = bridges.setdefault(line, [])
        elif line.startswith("        Port "):
            current.append(line)
        elif current and line.startswith("            "):
            current[-1] += "\n" + line
        else:
            current.append(line)
    return "".join(
        f"{line}\n" for name, lines in sorted(bridges.items()) for line in ([name] if name else []) + sorted(lines)
    )


def _sorted_lines(text: str) -> str:
    return "".join(sorted(text.splitlines(keepends=True)))


def _port_names(text: str) -> str:
    """The names in ``ovs-ofctl show``: numbers are given in order of creation, and patch and tap MACs at random."""
    names = re.findall(r"^\s*(?:\d+|LOCAL)\(([^)]+)\)", text, re.MULTILINE)
    return "".join(f"{name}\n" for name in sorted(names))


TOOL_AGE: tuple[Difference, ...] = (
    Difference(
        "white-space",
        ("brctl show", "ip rule", "route -n", "arp -a", "ovs-vsctl show", "ip a", "ip route"),
        "columns are tabs here, the transcript's are spaces; some lines end in a blank",
        lambda t: _sub(r"[ \t]+$")(_sub(r"(?<=\S)[ \t]+", " ")(t)),
    ),
    Difference(
        "brctl-second-column",
        ("brctl show",),
        "further interfaces stand alone on a line, indented by what the terminal had",
        _sub(r"^\s+(?=\S)"),
    ),
    Difference(
        "interface-index",
        ("ip a",),
        "device numbers count what the host made before; newer iproute2 adds @ifN to a veth",
        lambda t: _sub(r"^\d+: ")(_sub(r"@\S+?(?=:)")(t)),
    ),
    Difference(
        "link-details",
        ("ip a",),
        "newer iproute2 prints group, queue length and the peer's namespace by name",
        _sub(r" (group \S+|qlen \d+|qdisc \S+|link-netns(id)? \S+)"),
    ),
    Difference(
        "duplicate-address-detection",
        ("ip a",),
        "a fresh IPv6 address is tentative for a second",
        _sub(r" (tentative|noprefixroute)"),
    ),
    Difference("lifetime", ("ip a",), "a DHCP lease counts down; addresses here are for ever", _without(r"valid_lft")),
    Difference(
        "quoted-names",
        ("ovs-vsctl show",),
        "older ovs-vsctl put names with a dash in quotes",
        _sub(r'(?<=Port |face )"([^"]+)"', r"\1"),
    ),
    Difference(
        "database-order",
        ("ovs-vsctl show",),
        "bridges and ports come in the order of their random UUIDs",
        _sorted_blocks,
    ),
    Difference("database-uuid", ("ovs-vsctl show",), "each database has a UUID of its own", _without(r"^[0-9a-f]{8}-")),
    Difference(
        "mac-case",
        ("iptables -S",),
        "legacy iptables prints MACs in upper case",
        lambda t: re.sub(r"(?<=--mac-source )\S+", lambda m: m[0].lower(), t),
    ),
    Difference("chain-order", ("iptables -S",), "newer iptables lists chains in the order of creation", _sorted_lines),
    Difference(
        "namespace-id",
        ("ip netns",),
        "newer iproute2 adds the namespace's id, and lists in another order",
        lambda t: _sorted_lines(_sub(r" \(id: \d+\)")(t)),
    ),
    Difference("neighbour-order", ("arp -a",), "the neighbour table is a hash: no order", _sorted_lines),
    Difference("port-numbers", ("ofctl show",), "OpenFlow numbers follow the order of creation", _port_names),
)

CHOSEN: tuple[Difference, ...] = (
    Difference(
        "userspace-datapath",
        ("ovs-vsctl show",),
        "without the kernel module the bridges have datapath_type netdev",
        _without(r"datapath_type: netdev"),
    ),
    Difference(
        "promiscuous-taps",
        ("ip a",),
        "the userspace datapath's internal ports are taps in promiscuous mode",
        _sub(r",PROMISC(?=[,>])"),
    ),
    Difference(
        "no-controller-listens",
        ("ovs-vsctl show",),
        "flows go over each bridge's own management socket as bundles; the controller target stands there (so no bridge falls back to "
        "learning), but nothing has to listen on it, so nothing can be lost with it",
        _without(r"is_connected: true"),
    ),
    Difference(
        "random-fully",
        ("iptables -S",),
        "source ports are chosen at random, which avoids clashes at many connections (Launchpad bug 1814002); Neutron does so today",
        _sub(r" --random-fully"),
    ),
    Difference(
        "proto-static",
        ("ip route",),
        "our routes are marked static, as Neutron does today: that tells them from the kernel's own",
        _sub(r" proto static"),
    ),
    Difference(
        "static-instance-address", ("ip a",), "the lab's instances get their address without DHCP", _sub(r" dynamic")
    ),
    Difference(
        "no-ipv6-in-instances",
        ("ip a",),
        "the lab's instances have IPv6 off: nothing but the reference's packets is on the wire",
        _without(r"inet6"),
    ),
    Difference(
        "locked-mtu",
        ("ip route",),
        "the route to a floating IP carries the instance's MTU (mtu lock): a packet too big is answered from the fip namespace, which "
        "has an address that outside knows; Neutron's router drops it without a word, having no way to answer",
        _sub(r" mtu lock \d+"),
    ),
    Difference(
        "gateway-name", ("arp -a",), "the lab has no name service: the gateway has no name", _sub(r"^\S+(?= \()", "?")
    ),
    Difference(
        "no-docker", ("brctl show",), "the reference host runs docker, with a bridge of its own", _without(r"^docker0")
    ),
)


def normalise(text: str, command: Command) -> str:
    """The text with every rule for the command applied."""
    for difference in (*TOOL_AGE, *CHOSEN):
        if command in difference.commands:
            text = difference.apply(text)
    return text.strip() + "\n"
