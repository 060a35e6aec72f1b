"""ovs-ofctl(8): ``dump-flows`` and ``show``, both ways; a match and an action list taken apart.

cookie=0xf10a7, table=24, priority=2,arp,in_port="qvo8aa5e3b4-6c",arp_spa=172.12.10.4 actions=goto_table:25
"""

import re
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from floatway.host.records import Flow, OfPort
from floatway.host.state import HostState

LOCAL_PORT = 65534


class Field(msgspec.Struct, frozen=True):
    """One condition of a match. A protocol keyword (``arp``, ``icmp6``) has an empty value."""

    name: str
    value: str = ""
    mask: str = ""


class Action(msgspec.Struct, frozen=True):
    """One action: ``output`` + ``"qvo…"``, ``set_field`` + ``fa:…->eth_dst``, ``resubmit`` + ``,2``, ``NORMAL`` + ""."""

    name: str
    argument: str = ""


_STAT = re.compile(
    r"^(cookie|duration|n_packets|n_bytes|idle_age|hard_age|table|idle_timeout|hard_timeout|importance|send_flow_rem)\b"
)
_NOTES = frozenset({"send_flow_rem", "check_overlap", "reset_counts", "no_packet_counts", "no_byte_counts"})


def parse_flows(text: str, bridge: str) -> list[Flow]:
    """The flows of a ``dump-flows``, with or without statistics; lines that are none (the reply's header) are left out."""
    flows: list[Flow] = []
    for line in text.splitlines():
        head, found, actions = line.partition(" actions=")
        if not found:
            continue
        flow = _head(head.strip(), bridge, actions.strip())
        if flow is not None:
            flows.append(flow)
    return flows


def _head(head: str, bridge: str, actions: str) -> Flow | None:
    numbers = {"cookie": 0, "table": 0, "idle_timeout": 0, "hard_timeout": 0}
    match: list[str] = []
    priority = 32768
    for part in head.split(","):
        word = part.strip()
        name, equals, value = word.partition("=")
        if match or not equals or not (name in numbers or _STAT.match(word)):
            if name == "priority" and not match:
                priority = int(value)
            elif word and word not in _NOTES:
                match.append(word)
        elif name in numbers:
            numbers[name] = int(value, 0)
    return Flow(
        bridge=bridge,
        table=numbers["table"],
        priority=priority,
        match=",".join(match),
        actions=actions,
        cookie=numbers["cookie"],
        idle_timeout=numbers["idle_timeout"],
        hard_timeout=numbers["hard_timeout"],
    )


def line(flow: Flow) -> str:
    """The flow as ``ovs-ofctl --names --no-stats dump-flows`` prints it."""
    words = [f" cookie={flow.cookie:#x},"]
    if flow.table:
        words.append(f"table={flow.table},")
    if flow.idle_timeout:
        words.append(f"idle_timeout={flow.idle_timeout},")
    if flow.hard_timeout:
        words.append(f"hard_timeout={flow.hard_timeout},")
    words.append(f"priority={flow.priority}{',' if flow.match else ''}{flow.match}")
    words.append(f"actions={flow.actions}")
    return " ".join(words)


render_flow = line


def render_flows(state: HostState, bridge: str) -> str:
    """``ovs-ofctl --names --no-stats dump-flows`` of the bridge."""
    flows = sorted(
        state.records(Flow, lambda flow: flow.bridge == bridge), key=lambda flow: (flow.table, -flow.priority)
    )
    return "".join(f"{line(flow)}\n" for flow in flows)


@lru_cache(maxsize=65536)
def parse_match(text: str) -> tuple[Field, ...]:
    """A match taken apart. Port names lose their quotes."""
    fields: list[Field] = []
    for part in text.split(",") if text else ():
        name, _, value = part.partition("=")
        value, _, mask = value.partition("/")
        fields.append(Field(name, value.strip('"'), mask))
    return tuple(fields)


_NAME = re.compile(r"[A-Za-z_0-9]+")


@lru_cache(maxsize=65536)
def parse_actions(text: str) -> tuple[Action, ...]:
    """An action list taken apart; what is in parentheses stays as text."""
    actions: list[Action] = []
    for part in _split(text):
        match = _NAME.match(part)
        name = match[0] if match else part
        rest = part[len(name) :]
        if rest.startswith("(") and rest.endswith(")"):
            rest = rest[1:-1]
        elif rest[:1] in (":", "="):
            rest = rest[1:]
        actions.append(Action(name, rest.strip('"')))
    return tuple(actions)


def _split(text: str) -> list[str]:
    """At commas outside parentheses."""
    if "(" not in text:
        return text.split(",") if text else []
    parts: list[str] = []
    depth, start = 0, 0
    for at, character in enumerate(text):
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character == "," and not depth:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


_PORT = re.compile(r"^\s*(\d+|LOCAL)\(([^)]*)\): addr:(\S+)")


def parse_show(text: str, bridge: str) -> list[OfPort]:
    """The ports of an ``ovs-ofctl show``."""
    ports: list[OfPort] = []
    for row in text.splitlines():
        match = _PORT.match(row)
        if match:
            number = LOCAL_PORT if match[1] == "LOCAL" else int(match[1])
            ports.append(OfPort(bridge=bridge, name=match[2], ofport=number, mac=match[3]))
        elif ports and row.strip().startswith("state:") and "LINK_DOWN" in row:
            ports[-1] = msgspec.structs.replace(ports[-1], down=True)
    return ports


def port_line(port: OfPort) -> str:
    """The port's first line in ``ovs-ofctl show``."""
    return f" {number(port)}({port.name}): addr:{port.mac or '00:00:00:00:00:00'}"


def number(port: OfPort) -> str:
    """The port's number, or LOCAL."""
    return "LOCAL" if port.ofport == LOCAL_PORT else str(port.ofport)


def render_show(ports: Iterable[OfPort]) -> str:
    """The port lines of ``ovs-ofctl show`` in the order of their numbers."""
    lines: list[str] = []
    for port in sorted(ports, key=lambda port: port.ofport):
        lines += [port_line(port), "     config:     0", f"     state:      {'LINK_DOWN' if port.down else '0'}"]
    return "".join(f"{row}\n" for row in lines)
