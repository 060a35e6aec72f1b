"""Routing netlink, reading (rtnetlink(7)): what ``ip link|address|route|rule|neigh`` and ``bridge fdb`` show, as records.

Interface indexes are resolved to names here and go no further. IPv4 only. What a record cannot say (a multipath route, a
rule by mark) becomes an Opaque record, so that the tracer answers "unknown" instead of guessing.
"""

import errno
import socket
import struct
import sys
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from floatway.host.records import Address, BridgeFdb, Neighbour, Opaque, Route, Rule
from floatway.linux.errors import NetlinkError
from floatway.linux.netlink import Socket, attributes, read_i32, read_text, read_u32, text, u32

RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH, RTM_GETRULE, RTM_GETNSID = 18, 22, 26, 30, 34, 90
RTM_GETNEIGHTBL = 66
IFINFO = struct.Struct("=BxHiII")
IFADDR = struct.Struct("=BBBBI")
RTMSG = struct.Struct("=BBBBBBBBI")
NDMSG = struct.Struct("=BxHiHBB")
RULE = struct.Struct("=BBBBBBBBI")
IFF_UP, IFF_LOWER_UP = 0x1, 0x10000
_ARPHRD_LOOPBACK = 772
_IFLA_IFNAME, _IFLA_EXT_MASK, _SKIP_STATS = 3, 29, 1 << 3
_AF_BRIDGE = 7

SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
ROUTE_TYPES = {
    1: "unicast",
    2: "local",
    3: "broadcast",
    4: "anycast",
    5: "multicast",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
}
PROTOCOLS = {
    0: "unspec",
    1: "redirect",
    2: "kernel",
    3: "boot",
    4: "static",
    9: "ra",
    11: "zebra",
    12: "bird",
    16: "dhcp",
    186: "bgp",
    188: "ospf",
}
NEIGHBOUR_STATES = {
    1: "INCOMPLETE",
    2: "REACHABLE",
    4: "STALE",
    8: "DELAY",
    16: "PROBE",
    32: "FAILED",
    128: "PERMANENT",
}
_NUD_PERMANENT = 0x80
# What a Rule can say: SRC, IIFNAME, PRIORITY, TABLE; plus what the kernel always or harmlessly adds (PAD, PROTOCOL).
_RULE_KNOWN = {2, 3, 6, 15, 18, 21}
_FR_ACT_TO_TBL, _FIB_RULE_INVERT = 1, 2
_ROUTE_OPAQUE = {9: "nexthop", 18: "via inet6", 22: "encap", 30: "nhid"}


class LinkRow(msgspec.Struct, frozen=True):
    """A device as the kernel numbers it. ``peer_index`` is 0 without a peer, ``peer_nsid`` -1 for a peer in the same namespace.
    ``carrier`` is IFF_LOWER_UP: a tap without it has lost the process that served it."""

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    up: bool
    carrier: bool
    loopback: bool
    master_index: int = 0
    peer_index: int = 0
    peer_nsid: int = -1
    alias: str = ""


@lru_cache(maxsize=65536)
def mac_text(raw: bytes) -> str:
    """``fa:16:3e:ae:b3:e7`` for six bytes."""
    return raw.hex(":")


@lru_cache(maxsize=65536)
def ip_text(raw: bytes) -> str:
    """``172.12.10.4`` for four bytes."""
    return socket.inet_ntoa(raw)


def links(sock: Socket) -> list[LinkRow]:
    """All devices of the socket's namespace."""
    request = IFINFO.pack(0, 0, 0, 0, 0) + u32(_IFLA_EXT_MASK, _SKIP_STATS)
    return [link_row(body) for _, body in sock.dump(RTM_GETLINK, request)]


def link_named(sock: Socket, name: str) -> LinkRow | None:
    """The device of this name, None when there is none."""
    return _one_link(sock, IFINFO.pack(0, 0, 0, 0, 0) + text(_IFLA_IFNAME, name))


def link_at(sock: Socket, index: int) -> LinkRow | None:
    """The device of this number, None when there is none; 0 numbers none."""
    return None if not index else _one_link(sock, IFINFO.pack(0, 0, index, 0, 0))


def _one_link(sock: Socket, body: bytes) -> LinkRow | None:
    try:
        _, answer = sock.ask(RTM_GETLINK, body + u32(_IFLA_EXT_MASK, _SKIP_STATS))
    except NetlinkError as error:
        if error.errno in (errno.ENODEV, errno.ENXIO):
            return None
        raise
    return link_row(answer)


@lru_cache(maxsize=4096)  # a device that did not change is described by the same bytes, 60 attributes in 1.5 KiB
def link_row(body: bytes) -> LinkRow:
    """A device as a message about it describes it."""
    _, kind, index, flags, _ = IFINFO.unpack_from(body)
    got = attributes(body, IFINFO.size)
    info = attributes(got[18]) if 18 in got else {}
    return LinkRow(
        index=index,
        name=read_text(got[3]),
        kind=read_text(info[1]) if 1 in info else "",
        mac=mac_text(got[1]) if len(got.get(1, b"")) == 6 else "",
        mtu=read_u32(got[4]) if 4 in got else 0,
        up=bool(flags & IFF_UP),
        carrier=bool(flags & IFF_LOWER_UP),
        loopback=kind == _ARPHRD_LOOPBACK,
        master_index=read_u32(got[10]) if 10 in got else 0,
        peer_index=read_u32(got[5]) if 5 in got else 0,
        peer_nsid=read_i32(got[37]) if 37 in got else -1,
        alias=read_text(got[20]) if 20 in got else "",
    )


def nsid(sock: Socket, netns_fd: int) -> int:
    """The number by which the socket's namespace knows another one; -1 when it has none for it."""
    _, body = sock.ask(RTM_GETNSID, struct.pack("=B3x", 0) + u32(3, netns_fd))
    got = attributes(body, 4)
    return read_i32(got[1]) if 1 in got else -1


def addresses(sock: Socket, netns: str, names: Mapping[int, str]) -> list[Address]:
    """The IPv4 addresses."""
    found = []
    for _, body in sock.dump(RTM_GETADDR, IFADDR.pack(socket.AF_INET, 0, 0, 0, 0)):
        _, length, _, scope, index = IFADDR.unpack_from(body)
        got = attributes(body, IFADDR.size)
        local = got.get(2) or got[1]
        found.append(
            Address(
                netns=netns,
                link=names.get(index, f"if{index}"),
                cidr=f"{ip_text(local)}/{length}",
                broadcast=ip_text(got[4]) if 4 in got else "",
                scope=SCOPES.get(scope, str(scope)),
            )
        )
    return found


def prefix_text(raw: bytes | None, length: int) -> str:
    """As iproute2 writes it: ``default``, ``10.0.0.0/8``, a /32 bare."""
    if not length:
        return "default"
    address = ip_text(raw) if raw else "0.0.0.0"  # noqa: S104  (a prefix, nothing is bound)
    return address if length == 32 else f"{address}/{length}"


def routes(sock: Socket, netns: str, names: Mapping[int, str]) -> list[Route | Opaque]:
    """The IPv4 routes of all tables; the first of several under one key, which is the one the kernel uses."""
    found: list[Route | Opaque] = []
    for _, body in sock.dump(RTM_GETROUTE, RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)):
        _, length, _, tos, table, protocol, scope, kind, flags = RTMSG.unpack_from(body)
        got = attributes(body, RTMSG.size)
        if flags & 0x200:  # RTM_F_CLONED: a cached exception, not a configured route
            continue
        prefix = prefix_text(got.get(1), length)
        number = read_u32(got[15]) if 15 in got else table
        unknown = [word for attribute, word in _ROUTE_OPAQUE.items() if attribute in got] + (["tos"] if tos else [])
        if unknown:
            command = f"ip -n {netns} route show table all" if netns else "ip route show table all"
            found.append(Opaque(source=command, line=f"{prefix} table {number} {' '.join(unknown)}"))
            continue
        found.append(
            Route(
                netns=netns,
                prefix=prefix,
                table=number,
                type=ROUTE_TYPES.get(kind, str(kind)),
                via=ip_text(got[5]) if 5 in got else "",
                dev=names.get(read_u32(got[4]), "") if 4 in got else "",
                src=ip_text(got[7]) if 7 in got else "",
                scope=SCOPES.get(scope, str(scope)),
                proto=PROTOCOLS.get(protocol, str(protocol)),
                metric=read_u32(got[6]) if 6 in got else 0,
                mtu_lock=_mtu_lock(got[8]) if 8 in got else 0,
            )
        )
    return found


def _mtu_lock(metrics: bytes) -> int:
    """The MTU of a route's metrics if it is locked (RTAX_LOCK has the bit of RTAX_MTU), else 0."""
    got = attributes(metrics)
    return read_u32(got[2]) if 2 in got and 1 in got and read_u32(got[1]) & 1 << 2 else 0


def rules(sock: Socket, netns: str) -> list[Rule | Opaque]:
    """The IPv4 policy routing rules."""
    found: list[Rule | Opaque] = []
    for _, body in sock.dump(RTM_GETRULE, RULE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)):
        _, to_length, from_length, tos, table, _, _, action, flags = RULE.unpack_from(body)
        got = attributes(body, RULE.size)
        priority = read_u32(got[6]) if 6 in got else 0
        number = read_u32(got[15]) if 15 in got else table
        # The kernel always reports SUPPRESS_PREFIXLENGTH (14); all ones is "none".
        extra = [str(a) for a in got if a not in _RULE_KNOWN and not (a == 14 and read_i32(got[a]) == -1)]
        if extra or to_length or tos or action != _FR_ACT_TO_TBL or flags & _FIB_RULE_INVERT:
            command = f"ip -n {netns} rule" if netns else "ip rule"
            found.append(
                Opaque(
                    source=command,
                    line=f"{priority}: table {number} action {action} attributes {','.join(extra) or '-'}",
                )
            )
            continue
        src = "all"
        if 2 in got:
            src = ip_text(got[2]) if from_length == 32 else f"{ip_text(got[2])}/{from_length}"
        iif = read_text(got[3]) if 3 in got else ""
        found.append(Rule(netns=netns, priority=priority, table=number, src=src, iif=iif))
    return found


def neighbours(sock: Socket, netns: str, names: Mapping[int, str]) -> list[Neighbour]:
    """The IPv4 neighbours that ``ip neigh`` shows (not the NOARP entries of loopback and multicast)."""
    found = []
    for _, body in sock.dump(RTM_GETNEIGH, NDMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0)):
        _, _, index, state, _, _ = NDMSG.unpack_from(body)
        if state not in NEIGHBOUR_STATES:
            continue
        got = attributes(body, NDMSG.size)
        mac = mac_text(got[2]) if len(got.get(2, b"")) == 6 else ""
        found.append(
            Neighbour(
                netns=netns,
                link=names.get(index, f"if{index}"),
                address=ip_text(got[1]),
                mac=mac,
                state=NEIGHBOUR_STATES[state],
            )
        )
    return found


def bridge_fdb(sock: Socket, netns: str, names: Mapping[int, str]) -> list[BridgeFdb]:
    """The MACs known to Linux bridges (``brctl showmacs``; ``bridge fdb`` has the same under ``master``)."""
    found = []
    for _, body in sock.dump(RTM_GETNEIGH, IFINFO.pack(_AF_BRIDGE, 0, 0, 0, 0)):
        _, _, index, state, _, _ = NDMSG.unpack_from(body)
        got = attributes(body, NDMSG.size)
        if 9 not in got or len(got.get(2, b"")) != 6:
            continue
        master = read_u32(got[9])
        if master == index:  # the bridge's own address, which brctl does not show
            continue
        bridge, port = names.get(master, f"if{master}"), names.get(index, f"if{index}")
        found.append(
            BridgeFdb(netns=netns, bridge=bridge, mac=mac_text(got[2]), port=port, local=bool(state & _NUD_PERMANENT))
        )
    return found


def proxy_delays(sock: Socket, names: Mapping[int, str]) -> dict[str, int]:
    """ARP's proxy delay of each device in milliseconds (``ip ntable``)."""
    found: dict[str, int] = {}
    for _, body in sock.dump(RTM_GETNEIGHTBL, struct.pack("=B3x", socket.AF_INET)):
        got = attributes(body, 4)
        parameters = attributes(got[6]) if 6 in got else {}
        if 1 in parameters and 13 in parameters:
            found[names.get(read_u32(parameters[1]), "")] = int.from_bytes(parameters[13], sys.byteorder)
    return found
