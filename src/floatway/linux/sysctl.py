"""Kernel settings through /proc/sys, which shows the network namespace of the reading thread.

Names are dotted, with ``/`` where a component holds a dot (``net.ipv4.conf.eth0/100.proxy_arp``), as sysctl(8) does.
"""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from floatway.host.records import Sysctl
from floatway.linux.connection import HostConnection

_ROOT = "/proc/sys/"


def path(name: str) -> Path:
    """The file behind a dotted name."""
    return Path(_ROOT + "/".join(part.replace("/", ".") for part in name.split(".")))


def read(conn: HostConnection, wanted: Iterable[tuple[str, str]]) -> list[Sysctl]:
    """The settings among ``wanted`` (namespace, name) that exist; those of absent namespaces and devices do not."""
    present = {"", *conn.namespaces()}
    found: list[Sysctl] = []
    for netns, group in groupby(sorted(set(wanted)), key=lambda pair: pair[0]):
        if netns not in present:
            continue
        with conn.inside(netns):
            for _, name in group:
                value = _read(path(name))
                if value is not None:
                    found.append(Sysctl(netns=netns, name=name, value=value))
    return found


def write(conn: HostConnection, netns: str, name: str, value: str) -> None:
    """``sysctl -w NAME=VALUE`` in a namespace. Raises OSError."""
    with conn.inside(netns):
        path(name).write_text(value)


def _read(file: Path) -> str | None:
    try:
        return " ".join(file.read_text().split())
    except OSError:
        return None
