"""Routing netlink, writing: the requests behind ``ip link|address|route|rule|neigh add|set|del``.

Pure functions from a record to a Request; names of devices are used where the kernel takes them, indexes come in as arguments.
"""

import socket

from floatway.host.records import Address, Link, Neighbour, Route, Rule
from floatway.linux.netlink import CREATE, EXCL, REPLACE, Request, attr, nest, text, u8, u32
from floatway.linux.rtread import IFADDR, IFF_UP, IFINFO, NDMSG, PROTOCOLS, ROUTE_TYPES, RTMSG, RULE, SCOPES
from floatway.net.address import interface, network

RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR = 16, 17, 20, 21
RTM_NEWROUTE, RTM_DELROUTE, RTM_NEWNEIGH, RTM_DELNEIGH, RTM_NEWRULE, RTM_DELRULE = 24, 25, 28, 29, 32, 33
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_NET_NS_FD = (
    1,
    3,
    4,
    10,
    18,
    20,
    28,
)
_INFO_KIND, _INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_BR_FORWARD_DELAY, _BR_STP_STATE, _BR_MCAST_SNOOPING = 1, 5, 23
_NUD_PERMANENT = 0x80

_SCOPE_NUMBER = {name: number for number, name in SCOPES.items()}
_TYPE_NUMBER = {name: number for number, name in ROUTE_TYPES.items()}
_PROTOCOL_NUMBER = {name: number for number, name in PROTOCOLS.items()}


def mac_bytes(mac: str) -> bytes:
    """Six bytes of ``fa:16:3e:ae:b3:e7``."""
    return bytes.fromhex(mac.replace(":", ""))


def ip_bytes(address: str) -> bytes:
    """Four bytes of ``172.12.10.4``."""
    return socket.inet_aton(address)


def _ends(link: Link) -> bytes:
    parts = text(_IFLA_IFNAME, link.name)
    if link.mac:
        parts += attr(_IFLA_ADDRESS, mac_bytes(link.mac))
    return parts + (u32(_IFLA_MTU, link.mtu) if link.mtu else b"")


def link_add(link: Link, peer: Link | None, peer_netns_fd: int | None) -> Request:
    """``ip link add``: a bridge without STP, forwarding delay and snooping, or a veth pair with each end in its namespace."""
    head = IFINFO.pack(0, 0, 0, 0, 0) + _ends(link)
    if peer is None:
        options = nest(_INFO_DATA, u32(_BR_FORWARD_DELAY, 0), u32(_BR_STP_STATE, 0), u8(_BR_MCAST_SNOOPING, 0))
        info = nest(_IFLA_LINKINFO, text(_INFO_KIND, "bridge"), options)
    else:
        other = IFINFO.pack(0, 0, 0, 0, 0) + _ends(peer)
        if peer_netns_fd is not None:
            other += u32(_IFLA_NET_NS_FD, peer_netns_fd)
        info = nest(_IFLA_LINKINFO, text(_INFO_KIND, "veth"), nest(_INFO_DATA, attr(_VETH_INFO_PEER, other)))
    return Request(RTM_NEWLINK, head + info, CREATE | EXCL)


def link_set(
    name: str,
    *,
    mac: str = "",
    mtu: int = 0,
    up: bool | None = None,
    master_index: int | None = None,
    alias: str | None = None,
    netns_fd: int | None = None,
) -> Request:
    """``ip link set NAME …``: only what is given. ``master_index`` 0 is ``nomaster``; ``alias`` "" removes it."""
    change = 0 if up is None else IFF_UP
    body = IFINFO.pack(0, 0, 0, IFF_UP if up else 0, change) + text(_IFLA_IFNAME, name)
    if mac:
        body += attr(_IFLA_ADDRESS, mac_bytes(mac))
    if mtu:
        body += u32(_IFLA_MTU, mtu)
    if master_index is not None:
        body += u32(_IFLA_MASTER, master_index)
    if alias is not None:
        body += attr(_IFLA_IFALIAS, alias.encode() or b"\0")
    if netns_fd is not None:
        body += u32(_IFLA_NET_NS_FD, netns_fd)
    return Request(RTM_NEWLINK, body)


def link_delete(name: str) -> Request:
    """``ip link del``."""
    return Request(RTM_DELLINK, IFINFO.pack(0, 0, 0, 0, 0) + text(_IFLA_IFNAME, name))


def address(record: Address, index: int, *, delete: bool = False) -> Request:
    """``ip address add|del``."""
    own = interface(record.cidr)
    raw = own.ip.packed
    scope = _SCOPE_NUMBER[record.scope]
    body = IFADDR.pack(socket.AF_INET, own.network.prefixlen, 0, scope, index) + attr(2, raw) + attr(1, raw)
    if record.broadcast:
        body += attr(4, ip_bytes(record.broadcast))
    return Request(RTM_DELADDR if delete else RTM_NEWADDR, body, 0 if delete else CREATE | REPLACE)


def route(record: Route, index: int | None, *, delete: bool = False) -> Request:
    """``ip route replace|del``. ``index`` is that of ``dev``."""
    net = None if record.prefix == "default" else network(record.prefix)
    length = net.prefixlen if net else 0
    table = record.table if record.table < 256 else 0
    kind = _TYPE_NUMBER[record.type]
    protocol = _PROTOCOL_NUMBER[record.proto] if record.proto in _PROTOCOL_NUMBER else int(record.proto)
    scope = _SCOPE_NUMBER[record.scope] if record.scope in _SCOPE_NUMBER else int(record.scope)
    body = RTMSG.pack(socket.AF_INET, length, 0, 0, table, protocol, scope, kind, 0) + u32(15, record.table)
    if net:
        body += attr(1, net.network_address.packed)
    if record.via:
        body += attr(5, ip_bytes(record.via))
    if index is not None:
        body += u32(4, index)
    if record.src:
        body += attr(7, ip_bytes(record.src))
    if record.metric:
        body += u32(6, record.metric)
    if record.mtu_lock:
        body += nest(8, u32(1, 1 << 2), u32(2, record.mtu_lock))
    return Request(RTM_DELROUTE if delete else RTM_NEWROUTE, body, 0 if delete else CREATE | REPLACE)


def rule(record: Rule, *, delete: bool = False) -> Request:
    """``ip rule add|del``. Host bits of ``src`` are kept, as iproute2 does."""
    src, length = b"", 0
    if record.src != "all":
        base, _, bits = record.src.partition("/")
        src, length = attr(2, ip_bytes(base)), int(bits or 32)
    table = record.table if record.table < 256 else 0
    body = (
        RULE.pack(socket.AF_INET, 0, length, 0, table, 0, 0, 1, 0)
        + u32(6, record.priority)
        + u32(15, record.table)
        + src
    )
    if record.iif:
        body += text(3, record.iif)
    return Request(RTM_DELRULE if delete else RTM_NEWRULE, body, 0 if delete else CREATE | EXCL)


def neighbour(record: Neighbour, index: int, *, delete: bool = False) -> Request:
    """``ip neigh replace … nud permanent`` or ``ip neigh del``."""
    body = NDMSG.pack(socket.AF_INET, 0, index, _NUD_PERMANENT, 0, 1) + attr(1, ip_bytes(record.address))
    if not delete:
        body += attr(2, mac_bytes(record.mac))
    return Request(RTM_DELNEIGH if delete else RTM_NEWNEIGH, body, 0 if delete else CREATE | REPLACE)


def loopback_up() -> Request:
    """``ip link set lo up``."""
    return link_set("lo", up=True)
