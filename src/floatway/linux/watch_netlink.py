"""What the kernel says by itself about one namespace: rtnetlink's multicast groups, and that its nf_tables ruleset moved.

    ip link set tap6f… up     ─▶ RTM_NEWLINK  ─▶ heard("links", "tap6f…")     in the host's own namespace, by name
    ip -n qrouter-… route del ─▶ RTM_DELROUTE ─▶ heard("addressing", "qrouter-…")
    iptables -D …             ─▶ NFT_MSG_NEWGEN ─▶ heard("chains", …)

Most of what is said changes nothing that a host's state holds: neighbours that are asked and answer, counters, the routes that
the kernel keeps by itself. It is dropped here: a device by comparing what is known of it, a neighbour unless it is a permanent one.
A device that goes down takes its routes with it without a word about them: every word about a device means all of its namespace.
"""

import ctypes
import errno
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Protocol

from floatway.linux import rtread
from floatway.linux.netlink import NETLINK_NETFILTER, NETLINK_ROUTE, Socket, attributes, messages, read_i32
from floatway.linux.rtread import IFINFO, NDMSG, RTMSG, LinkRow


class Heard(Protocol):
    """Takes what was touched: a field of ``Touched``, the name in it, and by how many changes (0: unknown)."""

    def __call__(self, field: str, name: str, changes: int = 0) -> None:
        """Take it."""


_LINK, _NEIGH, _ADDR, _ROUTE, _RULE, _NETCONF = 1 << 0, 1 << 2, 1 << 4, 1 << 6, 1 << 7, 1 << 23  # RTNLGRP_*, as bits
_NFT = 1 << 6  # NFNLGRP_NFTABLES
_NEWLINK, _DELLINK, _NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE = 16, 17, 20, 21, 24, 25
_NEWNEIGH, _DELNEIGH, _NEWRULE, _DELRULE, _NEWNETCONF, _DELNETCONF = 28, 29, 32, 33, 80, 81
_PERMANENT = 0x80
_NETCONFMSG, _NETCONFA_IFINDEX = 4, 1
_RTPROT_KERNEL, _RTM_F_CLONED = 2, 0x200
_NEWGEN = int.from_bytes(((10 << 8) | 15).to_bytes(2, sys.byteorder), "big")  # NFT_MSG_NEWGEN as a filter reads it
_ATTACH_FILTER = 26
_FILTER = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x28, 0, 0, 4),  # load the half word at 4: the message's type
        (0x15, 0, 1, _NEWGEN),  # go on if equal, else skip one
        (0x06, 0, 0, 0xFFFFFFFF),  # take it
        (0x06, 0, 0, 0),  # drop it
    )
)
"""A socket filter (bpf(4)): the end of a change comes by itself, after a word about each rule, of which a host has thousands."""
_RCVBUFFORCE, _RECEIVE = 33, 1 << 17

NeighbourKey = tuple[int, bytes]


class Namespace:
    """The ears in one namespace. Made by a thread that is in it; ``name`` is "" for the host's own."""

    def __init__(self, name: str, inode: int) -> None:
        self.name = name
        self.inode = inode
        self._links: dict[int, LinkRow] = {}
        self._permanent: set[NeighbourKey] = set()
        # In the host's own namespace only devices and settings can be ours.
        groups = _LINK | _NETCONF | (_ADDR | _ROUTE | _RULE | _NEIGH if name else 0)
        self.route = _listener(NETLINK_ROUTE, groups)
        try:
            self.netfilter = _listener(NETLINK_NETFILTER, _NFT, _FILTER)
        except OSError:
            self.route.close()
            raise
        self._learn()

    def close(self) -> None:
        """Give the sockets back, which would keep the namespace alive."""
        self.route.close()
        self.netfilter.close()

    def hear_route(self, heard: Heard) -> None:
        """Read all that rtnetlink has said."""
        for data in _received(self.route):
            if data is None:
                self._learn()
                heard("addressing", self.name)
                heard("settings", self.name)
                continue
            for kind, _, _, body in messages(data):
                self._message(kind, body, heard)

    def hear_netfilter(self, heard: Heard) -> None:
        """Count the words that end a change of the ruleset: what changed is asked when somebody looks."""
        for data in _received(self.netfilter, 1):
            heard("chains", self.name, 0 if data is None else 1)

    def _learn(self) -> None:
        """Know the devices and permanent neighbours that are there."""
        asking = Socket()
        try:
            self._links = {row.index: row for row in rtread.links(asking)}
            self._permanent = set()
            if self.name:
                for _, body in asking.dump(rtread.RTM_GETNEIGH, NDMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0)):
                    self._neighbour(_NEWNEIGH, body)
        finally:
            asking.close()

    def _message(self, kind: int, body: bytes, heard: Heard) -> None:
        family = body[0] if body else 0
        if kind in (_NEWLINK, _DELLINK):
            # what a Linux bridge says of its ports has a family of its own, and is said again without
            if family == socket.AF_UNSPEC and (name := self._link(kind, body)):
                heard(*(("addressing", self.name) if self.name else ("links", name)))
        elif family != socket.AF_INET:
            return
        elif kind in (_NEWADDR, _DELADDR, _NEWRULE, _DELRULE):
            heard("addressing", self.name)
        elif kind in (_NEWROUTE, _DELROUTE):
            if _is_configured(body):
                heard("addressing", self.name)
        elif kind in (_NEWNEIGH, _DELNEIGH):
            if self._neighbour(kind, body):
                heard("addressing", self.name)
        elif kind in (_NEWNETCONF, _DELNETCONF):
            self._setting(body, heard)

    def _link(self, kind: int, body: bytes) -> str:
        """The name of the device if anything changed of what is known of it, else ""."""
        index = int(IFINFO.unpack_from(body)[2])
        known = self._links.get(index)
        if kind == _DELLINK:
            self._links.pop(index, None)
            return known.name if known else rtread.link_row(body).name
        row = rtread.link_row(body)
        self._links[index] = row
        return row.name if row != known else ""

    def _setting(self, body: bytes, heard: Heard) -> None:
        """A device that comes has settings too: that it comes is heard anyway."""
        index = read_i32(attributes(body, _NETCONFMSG).get(_NETCONFA_IFINDEX, bytes(4)))
        if index <= 0:  # those for all devices, and for those to come
            heard("settings", self.name)
        elif (known := self._links.get(index)) is not None:
            heard(*(("settings", self.name) if self.name else ("links", known.name)))

    def _neighbour(self, kind: int, body: bytes) -> bool:
        """Does this tell of a permanent neighbour, or of what was one?"""
        _, _, index, state, _, _ = NDMSG.unpack_from(body)
        key = (int(index), attributes(body, NDMSG.size).get(1, b""))
        if kind == _NEWNEIGH and state & _PERMANENT:
            self._permanent.add(key)
            return True
        if key in self._permanent:
            self._permanent.discard(key)
            return True
        return False


def _is_configured(body: bytes) -> bool:
    _, _, _, _, _, protocol, _, _, flags = RTMSG.unpack_from(body)
    return bool(protocol != _RTPROT_KERNEL and not flags & _RTM_F_CLONED)


def _listener(protocol: int, groups: int, program: bytes = b"") -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, 1 << 20)
        if program:
            code = ctypes.create_string_buffer(program, len(program))
            sock.setsockopt(
                socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
            )
        sock.bind((0, groups))
    except OSError:
        sock.close()
        raise
    return sock


def _received(sock: socket.socket, size: int = _RECEIVE) -> Iterator[bytes | None]:
    """All that waits; None where the kernel had to drop something."""
    while True:
        try:
            yield sock.recv(size)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            yield None
