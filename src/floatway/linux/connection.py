"""A host's handles: one file descriptor and one netlink socket per namespace, one database connection, what was read before.

Everything here assumes that the calling process is already inside the host's own network and mount namespaces. Handles make
repeated work cheap (a socket in a namespace costs 50 µs, a process 5 ms); they never outlive the thing they stand for: each
look at the list of namespaces drops those of vanished and re-made names.
"""

import os
import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from floatway.host.records import Flow, Record
from floatway.linux import netns, spawn
from floatway.linux.errors import LinuxError, OvsdbError
from floatway.linux.netlink import NETLINK_NETFILTER, Socket
from floatway.linux.ovsdb import Ovsdb, Tables

DEFAULT_NETNS_DIR = Path("/run/netns")
DEFAULT_OVS_RUNDIR = Path("/var/run/openvswitch")


class NetnsHandle:
    """An open namespace. The host's own has a descriptor too: a thread of the pool may have been born elsewhere."""

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self.fd = fd
        self.chains: tuple[int, list[Record]] | None = None
        """The chains as of an nf_tables generation: valid as long as the kernel reports the same."""

    @cached_property
    def route(self) -> Socket:
        """The routing netlink socket."""
        with netns.inside(self.fd):
            return Socket()

    @cached_property
    def netfilter(self) -> Socket:
        """The netfilter netlink socket."""
        with netns.inside(self.fd):
            return Socket(NETLINK_NETFILTER)

    @cached_property
    def conntrack(self) -> Socket:
        """Another one, to walk the table of connections with (10 ms) while something else is asked."""
        with netns.inside(self.fd):
            return Socket(NETLINK_NETFILTER)

    @cached_property
    def packet(self) -> socket.socket:
        """A packet socket to send from; it receives nothing. Kept, since closing one costs the kernel a grace period (10 ms)."""
        with netns.inside(self.fd):
            return socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)

    def close(self) -> None:
        """Give back everything that would keep the namespace alive."""
        for name in ("route", "netfilter", "conntrack", "packet"):
            if (sock := self.__dict__.pop(name, None)) is not None:
                sock.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class HostConnection:
    """The way to one host's kernel and Open vSwitch. Use as a context manager; not for two threads at a time."""

    def __init__(self, *, netns_dir: Path = DEFAULT_NETNS_DIR, ovs_rundir: Path = DEFAULT_OVS_RUNDIR) -> None:
        self.netns_dir = netns_dir
        self.ovs_rundir = ovs_rundir
        self.flow_texts: dict[str, tuple[str, list[Flow]]] = {}
        """Per bridge the last dump and what it meant: an unchanged dump is not parsed again."""
        self._handles: dict[str, NetnsHandle] = {"": NetnsHandle("", os.open(netns.OWN, os.O_RDONLY | os.O_CLOEXEC))}
        self._ovsdb: Ovsdb | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give all handles back."""
        for handle in self._handles.values():
            handle.close()
        self._handles.clear()
        if self._ovsdb is not None:
            self._ovsdb.close()
            self._ovsdb = None

    def namespaces(self) -> list[str]:
        """The named namespaces as they are now; handles of others are closed."""
        present = netns.names(self.netns_dir)
        for name in [known for known in self._handles if known]:
            if name not in present or not self._same(name):
                self.forget(name)
        return present

    def handle(self, name: str) -> NetnsHandle:
        """The handle of a namespace ("" the host's own). Raises LinuxError when there is no such namespace."""
        known = self._handles.get(name)
        if known is None:
            known = self._handles[name] = NetnsHandle(name, netns.open_fd(self.netns_dir, name))
        return known

    def netns_fd(self, name: str) -> int:
        """A descriptor for netlink attributes that name a namespace ("" the host's own)."""
        return self.handle(name).fd

    def forget(self, name: str) -> None:
        """Close the handle of a namespace that goes away."""
        if (handle := self._handles.pop(name, None)) is not None:
            handle.close()

    def inside(self, name: str) -> AbstractContextManager[None]:
        """The block runs in this namespace."""
        return netns.inside(self.handle(name).fd)

    def run(self, argv: Sequence[str], *, netns: str = "", stdin: str = "") -> str:
        """Run a tool in a namespace and return its stdout. Raises ToolError."""
        return spawn.run(argv, netns=netns, fd=self.handle(netns).fd, stdin=stdin)

    @property
    def has_ovs(self) -> bool:
        """Is there an ovsdb-server?"""
        return (self.ovs_rundir / "db.sock").exists()

    @property
    def ovsdb(self) -> Ovsdb:
        """The database connection. Raises OvsdbError when nobody answers."""
        if self._ovsdb is None:
            self._ovsdb = Ovsdb(self.ovs_rundir)
        return self._ovsdb

    def ovs_tables(self) -> Tables:
        """What the database holds; connects anew once, since the server may have restarted since the last time."""
        if self._ovsdb is not None:
            try:
                return self._ovsdb.tables()
            except (OvsdbError, OSError):
                self._ovsdb.close()
                self._ovsdb = None
        return self.ovsdb.tables()

    def _same(self, name: str) -> bool:
        fd = self._handles[name].fd
        try:
            return os.fstat(fd).st_ino == (self.netns_dir / name).stat().st_ino
        except OSError:
            return False


__all__ = ["DEFAULT_NETNS_DIR", "DEFAULT_OVS_RUNDIR", "HostConnection", "LinuxError", "NetnsHandle"]
