"""The cables of a lab: one switch per physical network, one for the tunnels, in a node of its own.

    compute eth4 ── p0 ┐
    outside eth1 ── p1 ┴ sw-physnet1 (Linux bridge)          compute eth1 ── p2 ── sw-tunnel

The veth pairs are made inside the fabric's network namespace, so nothing ever stands in the machine's own.
"""

import json
from collections.abc import Iterable

from floatway.lab import enter
from floatway.lab.errors import LabError
from floatway.lab.node import Node

TUNNEL = "tunnel"
NAME_LENGTH = 15


def switch(network: str) -> str:
    """The switch of a physical network (or of the tunnels)."""
    return f"sw-{network}"[:NAME_LENGTH]


def ip(node: Node, lines: Iterable[str]) -> None:
    """One ``ip -batch`` in the node's network, with the machine's own process numbers. Raises LabError with the failed line."""
    batch = list(lines)
    done = enter.run_beside(node, ["ip", "-batch", "-"], input="\n".join(batch) + "\n", capture_output=True, text=True)
    if done.returncode:
        raise LabError(
            f"in {node.name}: {done.stderr.strip()}\nwhile doing:\n" + "\n".join(f"  ip {line}" for line in batch)
        )


def links(node: Node) -> set[str]:
    """The names of the devices in the node's root namespace."""
    done = enter.run_beside(node, ["ip", "-j", "link"], capture_output=True, text=True)
    done.check_returncode()
    return {str(row["ifname"]) for row in json.loads(done.stdout)}


def plug(fabric: Node, network: str, node: Node, device: str, *, mac: str = "", mtu: int = 1500) -> None:
    """Plug the node's new device into the network's switch, which is made if there is none."""
    present = links(fabric)
    bridge = switch(network)
    number = next(n for n in range(len(present) + 1) if f"p{n}" not in present)
    lines = [] if bridge in present else [
        f"link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        f"link set {bridge} up",
    ]  # fmt: skip
    address = f" address {mac}" if mac else ""
    lines += [
        f"link add p{number} mtu {mtu} type veth peer name {device}{address} mtu {mtu} netns {node.pid}",
        f"link set p{number} master {bridge} up",
    ]
    ip(fabric, lines)


def finish_checksums(node: Node, device: str) -> None:
    """Compute checksums before sending: the userspace datapath passes frames on without the kernel's note that one is missing."""
    done = enter.run_beside(node, ["ethtool", "-K", device, "tx", "off"], capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"in {node.name}: ethtool -K {device} tx off: {done.stderr.strip()}")
