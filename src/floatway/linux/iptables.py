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


def restore(conn: HostConnection, netns: str, text: str) -> None:
    """One iptables-restore without flushing: all of a table in ``text`` at once or none. Raises ToolError."""
    conn.run(_RESTORE, netns=netns, stdin=text)


def start_restore(conn: HostConnection, netns: str, text: str) -> "Future[str]":
    """:func:`restore`, back as soon as the kernel has the rules: the tool then still waits 10 ms, a grace period, to close its socket.

    Each COMMIT moves the namespace's generation by one, so this is for namespaces in which nobody else writes rules.
    The result must be asked for: it raises ToolError.
    """
    handle = conn.handle(netns)
    before = generation(handle)
    commits = text.splitlines().count("COMMIT")
    going = spawn.start(_RESTORE, netns=netns, fd=handle.fd, stdin=text)
    while before is not None:
        done, _ = wait([going], timeout=_POLL)
        now = generation(handle)
        if done or now is None or (now - before) % 2**32 >= commits:
            return going
    wait([going])
    return going
