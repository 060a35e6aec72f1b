"""Kernel settings through /proc/sys, which shows the network namespace of the reading thread.

One setting does not read back as it was written: ``proxy_delay`` is given in hundredths of a second, kept in ticks and rounded
down on the way out (with 250 ticks a second, 1 reads 0). Netlink shows the same in milliseconds, which invert exactly.

Names are dotted, with ``/`` where a component holds a dot (``net.ipv4.conf.eth0/100.proxy_arp``), as sysctl(8) does.
"""

import os
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from floatway.host.records import Sysctl
from floatway.linux import rtread
from floatway.linux.connection import HostConnection

_ROOT = "/proc/sys/"
_PROXY_DELAY = re.compile(r"net\.ipv4\.neigh\.([^.]+)\.proxy_delay")


@lru_cache(maxsize=65536)
def path(name: str) -> str:
    """The file behind a dotted name."""
    return _ROOT + "/".join(part.replace("/", ".") for part in name.split("."))


def read(conn: HostConnection, wanted: Iterable[tuple[str, str]]) -> list[Sysctl]:
    """The settings among ``wanted`` (namespace, name) that exist; those of absent namespaces and devices do not."""
    present = {"", *conn.namespaces()}
    found: list[Sysctl] = []
    for netns, group in groupby(sorted(set(wanted)), key=lambda pair: pair[0]):
        if netns not in present:
            continue
        delays: dict[str, int] | None = None
        with conn.inside(netns):
            for _, name in group:
                value = _read(path(name))
                if value is None:
                    continue
                if delay := _PROXY_DELAY.fullmatch(name):
                    delays = _delays(conn, netns) if delays is None else delays
                    value = str(-(-delays[delay[1]] // 10)) if delay[1] in delays else value
                found.append(Sysctl(netns=netns, name=name, value=value))
    return found


def _delays(conn: HostConnection, netns: str) -> dict[str, int]:
    sock = conn.handle(netns).route
    return rtread.proxy_delays(sock, {row.index: row.name for row in rtread.links(sock)})


def write(conn: HostConnection, netns: str, name: str, value: str) -> None:
    """``sysctl -w NAME=VALUE`` in a namespace. Raises OSError."""
    with conn.inside(netns):
        Path(path(name)).write_text(value)


def _read(file: str) -> str | None:
    # Bare system calls: a host has hundreds of these, and a file object costs more than the kernel does.
    try:
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return " ".join(os.read(fd, 4096).decode().split())
    except OSError:
        return None
    finally:
        os.close(fd)
