"""Hear of devices that come to the host's own namespace or leave it: an instance was plugged, or taken away (rtnetlink(7))."""

import asyncio
import socket
import struct

from floatway.linux.netlink import attributes, read_text

__all__ = ["Plugged"]

_RTMGRP_LINK = 1
_IFLA_IFNAME = 3
_NEW, _DELETED = 16, 17
_HEADER = struct.Struct("=IHHII")
_LINK_HEADER = 16


class Plugged:
    """The names of devices that came or went since the last question."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, _RTMGRP_LINK))
        self._socket.setblocking(False)
        self._known: dict[str, int] = {}

    def close(self) -> None:
        """Hear nothing any more."""
        self._socket.close()

    async def next(self) -> frozenset[str]:
        """Wait for devices that came (new, or under a new number) or went. After an overrun: the empty set, anything may have."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(self._socket, 1 << 16)
            except OSError:  # ENOBUFS: messages were lost
                return frozenset()
            if found := frozenset(self._changed(data)):
                return found

    def _changed(self, data: bytes) -> list[str]:
        found: list[str] = []
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, at)
            if length < _HEADER.size:
                break
            if kind in {_NEW, _DELETED}:
                (index,) = struct.unpack_from("=i", data, at + _HEADER.size + 4)
                name = read_text(attributes(data, at + _HEADER.size + _LINK_HEADER, at + length).get(_IFLA_IFNAME, b""))
                if kind == _DELETED and self._known.pop(name, None) is not None:
                    found.append(name)
                elif kind == _NEW and self._known.get(name) != index:
                    self._known[name] = index
                    found.append(name)
            at += (length + 3) & ~3
        return found
