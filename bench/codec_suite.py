"""What our own codecs save against the tools they stand in for, on the big host: the reason for having them (DESIGN, decision 9)."""

import json
import subprocess
import time
from collections.abc import Iterator

from measure import Figure, figure

from floatway.host.records import OvsPort
from floatway.host.steps import PortSet
from floatway.lab import enter, lab
from floatway.linux import ovsdb_ops, rtread
from floatway.linux.connection import HostConnection
from floatway.linux.observe import observe
from floatway.model.cloud import Cloud

TAGGED = 20
"""Ports whose tag is written again."""
READ = ("address", "route show table all", "rule", "neighbour")


def bench_codecs(raised: lab.Lab, cloud: Cloud) -> Iterator[Figure]:
    """Netlink against ``ip -json``, one OVSDB transaction against an ``ovs-vsctl`` for each port."""
    node = raised.nodes[next(iter(cloud.hosts))]
    ours, theirs, spaces = enter.call(node, read_kernel, 5)
    yield figure("codecs", "netlink: devices, addresses, routes, rules, neighbours", ours, namespaces=spaces)
    yield figure("codecs", "the same with ip -json", theirs)
    ours, theirs = enter.call(node, write_ovs, 3)
    yield figure("codecs", f"OVSDB: {TAGGED} ports in one transaction", ours)
    yield figure("codecs", "the same with an ovs-vsctl each", theirs)


def read_kernel(runs: int) -> tuple[list[float], list[float], int]:
    """(milliseconds by netlink, by the tool, number of namespaces)."""
    ours: list[float] = []
    theirs: list[float] = []
    with HostConnection() as conn:
        spaces = ["", *conn.namespaces()]
        for _ in range(runs):
            begin = time.perf_counter()
            for space in spaces:
                sock = conn.handle(space).route
                names = {row.index: row.name for row in rtread.links(sock)}
                rtread.addresses(sock, space, names)
                rtread.routes(sock, space, names)
                rtread.rules(sock, space)
                rtread.neighbours(sock, space, names)
            ours.append(1000 * (time.perf_counter() - begin))
            begin = time.perf_counter()
            for space in spaces:
                for what in READ:
                    inside = ["-n", space] if space else []
                    told = subprocess.run(
                        ["ip", *inside, "-json", *what.split()], capture_output=True, check=True
                    ).stdout
                    json.loads(told or b"[]")
            theirs.append(1000 * (time.perf_counter() - begin))
    return ours, theirs, len(spaces)


def write_ovs(runs: int) -> tuple[list[float], list[float]]:
    """(milliseconds in one transaction, with a process each). What is written is what is there already."""
    ours: list[float] = []
    theirs: list[float] = []
    with HostConnection() as conn:
        ports = observe(conn).records(OvsPort, lambda port: port.name.startswith("qvo"))[:TAGGED]
        for _ in range(runs):
            conn.ovs_tables()
            begin = time.perf_counter()
            ovsdb_ops.apply(conn.ovsdb, [PortSet(port=port) for port in ports])
            ours.append(1000 * (time.perf_counter() - begin))
            begin = time.perf_counter()
            for port in ports:
                subprocess.run(["ovs-vsctl", "set", "port", port.name, f"tag={port.tag}"], check=True)
            theirs.append(1000 * (time.perf_counter() - begin))
    return ours, theirs
