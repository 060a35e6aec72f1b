"""iptables-save and iptables-restore inside a namespace, and how to know without them that nothing has changed.

With the nf_tables variant the kernel numbers every committed ruleset change of a namespace (NFT_MSG_GETGEN): one netlink
question of microseconds instead of a process of milliseconds. The legacy variant has no such number: it is saved each time.
"""

import struct
from concurrent.futures import Future, wait
from functools import cache

from floatway.host.records import Record
from floatway.linux import spawn
from floatway.linux.connection import HostConnection, NetnsHandle
from floatway.linux.errors import NetlinkError
from floatway.linux.netlink import attributes
from floatway.linux.spawn import Later
from floatway.text.iptables import parse_save, unknown_lines

_NFT_MSG_GETGEN = (10 << 8) | 16
_NFTA_GEN_ID = 1
_UNTOUCHED = 1  # what a new namespace starts with: no ruleset was ever committed in it
_NFGENMSG = bytes(4)  # family unspecified, version 0, resource 0


@cache
def nf_tables() -> bool:
    """Is the installed iptables the nf_tables variant (``iptables --version`` names it)?"""
    return "nf_tables" in spawn.run(["iptables", "--version"])


def generation(handle: NetnsHandle) -> int | None:
    """The number of the namespace's current nf_tables ruleset; None where that says nothing about iptables."""
    if not nf_tables():
        return None
    try:
        _, body = handle.netfilter.ask(_NFT_MSG_GETGEN, _NFGENMSG)
    except NetlinkError:
        return None
    raw = attributes(body, 4).get(_NFTA_GEN_ID)
    return struct.unpack(">I", raw)[0] if raw else None


def chains(conn: HostConnection, names: list[str]) -> Later[Record]:
    """The chains of these namespaces, saved anew only where the generation moved."""
    found: list[Record] = []
    # The generation is asked before the save: a change in between makes the next look save again, it never misses one.
    stale: list[tuple[NetnsHandle, int | None, Future[str]]] = []
    for name in names:
        handle = conn.handle(name)
        number = generation(handle)
        if number is not None and handle.chains is not None and handle.chains[0] == number:
            found += handle.chains[1]
        elif number == _UNTOUCHED:
            handle.chains = (number, [])
        else:
            stale.append((handle, number, spawn.start(["iptables-save"], netns=name, fd=handle.fd)))

    def finish() -> list[Record]:
        for handle, number, save in stale:
            text = save.result()
            command = f"ip netns exec {handle.name} iptables-save" if handle.name else "iptables-save"
            parsed = [*parse_save(text, handle.name), *unknown_lines(text, command)]
            handle.chains = None if number is None else (number, parsed)
            found.extend(parsed)
        return found

    return finish


_RESTORE = ("iptables-restore", "--noflush", "-w")
_POLL = 0.0003  # seconds


class Restoring:
    """An iptables-restore that has begun. The kernel has its rules 10 ms before the tool ends: that waits for a grace period to close
    its socket. Each COMMIT moves the namespace's generation by one, whoever made it."""

    def __init__(self, conn: HostConnection, netns: str, text: str) -> None:
        """Begin it."""
        self._handle = conn.handle(netns)
        self._before = generation(self._handle)
        self._commits = text.splitlines().count("COMMIT")
        self._going = spawn.start(_RESTORE, netns=netns, fd=self._handle.fd, stdin=text)

    def wait_rules(self) -> None:
        """Until the kernel has the rules, if nobody else writes rules there; or until the tool has ended."""
        while self._before is not None:
            done, _ = wait([self._going], timeout=_POLL)
            moved = self._moved()
            if done or moved is None or moved >= self._commits:
                return
        wait([self._going])

    def end(self) -> bool:
        """Wait for the tool. Did nobody else write rules there meanwhile? Raises ToolError."""
        self._going.result()
        return self._before is None or self._moved() == self._commits

    def _moved(self) -> int | None:
        now = generation(self._handle)
        return None if now is None or self._before is None else (now - self._before) % 2**32
