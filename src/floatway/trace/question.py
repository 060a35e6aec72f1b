"""What is asked of a trace, and who is meant: a machine, an instance, a port, an address, a floating IP.

Question(source="test", target="192.168.0.1")  ──▶  from machine "test", its own address, to 192.168.0.1
"""

import difflib
from ipaddress import AddressValueError, IPv4Address

import msgspec

from floatway.host.records import OvsPort
from floatway.net.packet import ICMP_ECHO_REQUEST, Packet, Protocol, TcpFlags
from floatway.trace import faults
from floatway.trace.course import Context

SMALLEST = {"icmp": 28, "tcp": 40, "udp": 28}
USUAL = {"icmp": 84, "tcp": 60, "udp": 56}
EPHEMERAL = 40000
TTL = 64
NEAR = 0.5


class TraceError(ValueError):
    """A question that names nothing known, or makes no sense; the text says what would."""


class Question(msgspec.Struct, frozen=True):
    """A packet to follow. ``size`` is the IP packet's length in bytes (None: a ping's 84, a SYN's 60, a small datagram);
    ``dport`` None is 22 for TCP, 53 for UDP."""

    source: str
    target: str
    proto: str = "icmp"
    sport: int | None = None
    dport: int | None = None
    size: int | None = None
    df: bool = True
    ttl: int = TTL


class Party(msgspec.Struct, frozen=True):
    """Who a name means: a machine, a namespace of it, and an address; host "" when the address is on no machine here."""

    host: str
    netns: str
    address: str


def packet_of(ctx: Context, question: Question) -> tuple[Party, Packet]:
    """Where the packet starts, and the packet (no MACs yet). Raises TraceError."""
    protocols: dict[str, Protocol] = {"icmp": "icmp", "tcp": "tcp", "udp": "udp"}
    if question.proto not in protocols:
        raise TraceError(f"protocol {question.proto!r}: only icmp, tcp and udp can be followed")
    proto = protocols[question.proto]
    sender = source(ctx, question.source)
    receiver = target(ctx, question.target, sender)
    size = USUAL[proto] if question.size is None else question.size
    if not SMALLEST[proto] <= size <= 65535:
        raise TraceError(f"size {size}: a packet of {proto} has {SMALLEST[proto]} to 65535 bytes")
    for name, port in (("sport", question.sport), ("dport", question.dport)):
        if port is not None and not 0 <= port <= 65535:
            raise TraceError(f"{name} {port}: a port is a number up to 65535")
    if not 1 <= question.ttl <= 255:
        raise TraceError(f"ttl {question.ttl}: a time to live is a number from 1 to 255")
    sport = question.sport if question.sport is not None else EPHEMERAL
    dport = question.dport if question.dport is not None else {"tcp": 22, "udp": 53, "icmp": 0}[proto]
    if proto == "icmp":
        dport = sport
    return sender, Packet(
        src_mac="", dst_mac="", src=sender.address, dst=receiver.address, proto=proto, sport=sport, dport=dport,
        icmp_type=ICMP_ECHO_REQUEST, tcp_flags=TcpFlags.SYN, ttl=question.ttl, length=size, df=question.df,
    )  # fmt: skip


def source(ctx: Context, name: str) -> Party:
    """Who sends. A floating IP means the instance behind it. Raises TraceError."""
    machine = _machine(ctx, name)
    if machine:
        return Party(machine, "", "")
    address = _address(name)
    if address is None:
        raise _unknown(ctx, name)
    homes = ctx.home(address)
    hosts = dict.fromkeys((home.host, home.netns) for home in homes)
    if len(hosts) > 1:
        places = ", ".join(netns or host for host, netns in hosts)
        raise TraceError(f"{name} is an address of several: {places}; name the machine instead")
    if homes:
        return Party(homes[0].host, homes[0].netns, address)
    for _, _, fixed in faults.routers(ctx, address):
        for home in ctx.home(fixed):
            return Party(home.host, home.netns, fixed)
    raise TraceError(f"{name}: no machine here has that address or floating IP; known are {_known(ctx)}")


def target(ctx: Context, name: str, sender: Party) -> Party:
    """Who is to receive. From outside, an instance's name means its floating IP. Raises TraceError."""
    machine = _machine(ctx, name)
    if machine:
        known = ctx.index(machine)
        own = [
            record.cidr.partition("/")[0]
            for record in known.addresses.get("", ())
            if record.scope == "global" and not record.cidr.startswith("127.")
        ]
        if not own:
            raise TraceError(f"{name} has no address")
        if ctx.machine(machine).role == "instance" and sender.host and ctx.machine(sender.host).role != "instance":
            for floating in _floating_ips(ctx):
                for _, _, fixed in faults.routers(ctx, floating):
                    if fixed in own:
                        return Party(machine, "", floating)
        return Party(machine, "", own[0])
    address = _address(name)
    if address is None:
        raise _unknown(ctx, name)
    homes = ctx.home(address)
    return Party(homes[0].host, homes[0].netns, address) if homes else Party("", "", address)


def _machine(ctx: Context, name: str) -> str:
    """The machine with this name or id, or whose port has this id."""
    if name in ctx.world.machines:
        return name
    for machine in ctx.world.machines.values():
        if machine.id and machine.id == name:
            return machine.name
    for machine in ctx.world.machines.values():
        for port in machine.state.table(OvsPort).values():
            identity = dict(port.external_ids)
            if name in (identity.get("iface-id"), port.name) and identity.get("iface-id"):
                return _behind(ctx, identity)
    return ""


def _behind(ctx: Context, identity: dict[str, str]) -> str:
    for machine in ctx.world.machines.values():
        if machine.id and machine.id == identity.get("vm-uuid"):
            return machine.name
    for place in ctx.owners(identity.get("attached-mac", "")):
        if ctx.machine(place.host).role == "instance":
            return place.host
    return ""


def _address(name: str) -> str | None:
    try:
        return str(IPv4Address(name))
    except AddressValueError:
        return None


def _floating_ips(ctx: Context) -> list[str]:
    return sorted({floating for name in ctx.world.machines for floating in faults.floating_ips(ctx.index(name))})


def _known(ctx: Context) -> str:
    instances = [machine.name for machine in ctx.world.machines.values()]
    return ", ".join([*instances, *_floating_ips(ctx)]) or "none"


def _unknown(ctx: Context, name: str) -> TraceError:
    names = [*ctx.world.machines, *(machine.id for machine in ctx.world.machines.values() if machine.id)]
    close = difflib.get_close_matches(name, names, n=1, cutoff=NEAR)
    hint = f"; did you mean {close[0]}?" if close else ""
    return TraceError(f"{name!r} is no machine, instance, port or address here; known are {_known(ctx)}{hint}")
