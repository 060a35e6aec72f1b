"""An instance of the lab in flesh: a machine of namespaces, a veth pair for each port, and what it says while it starts.

test  eth0 ==== tap8aa5e3b4-6c  cy2-compute02           both ends' names are as Nova and libvirt make them
"""

import contextlib
import os
import platform
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec

from floatway.compile import names
from floatway.lab import enter, fabric, machines, node
from floatway.lab.errors import LabError
from floatway.lab.node import Node

__all__ = ["Plug", "announce", "boot", "kill", "planned", "plug", "start_script", "tap", "unplug"]


class Plug(msgspec.Struct, frozen=True):
    """What an interface is to be: its device inside, its port, MAC and MTU (bytes), and its addresses and routes as lines for ip(8)."""

    device: str
    port: str
    mac: str
    mtu: int
    lines: tuple[str, ...] = ()


def planned(device: str, port: dict[str, Any], mtu: int, subnets: dict[str, dict[str, Any]], *, default: bool) -> Plug:
    """From the API's port and its subnets by id. ``default``: the interface that the way out leads through."""
    lines: list[str] = []
    for fixed in port["fixed_ips"]:
        subnet = subnets[fixed["subnet_id"]]
        if subnet["ip_version"] != 4:
            continue  # instances of the lab have no IPv6
        lines.append(f"address add {fixed['ip_address']}/{subnet['cidr'].partition('/')[2]} broadcast + dev {device}")
        lines += [
            f"route replace {one['destination']} via {one['nexthop']} dev {device}" for one in subnet["host_routes"]
        ]
        if default and subnet["gateway_ip"]:
            lines.append(f"route replace default via {subnet['gateway_ip']} dev {device}")
            default = False
    return Plug(device, port["id"], port["mac_address"], mtu, tuple(lines))


def tap(port_id: str) -> str:
    """The host's end of an interface."""
    return names.device("tap", port_id)


def boot(lab: str, name: str, identity: str) -> Node:
    """A machine without interfaces, called ``name``. Raises LabError."""
    machine = node.create(lab, _init(identity), "instance", identity)
    enter.call(machine, machines.no_ipv6)
    enter.call(machine, socket.sethostname, name)
    return msgspec.structs.replace(machine, name=name)


def kill(lab: str, identity: str) -> None:
    """End an instance's machine, and all that runs in it; also one that was just made when its maker was killed."""
    mark = node.mark(lab, _init(identity)).encode()
    for pid in node.inits(lab):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0] == mark:
                node.kill(pid)


def _init(identity: str) -> str:
    """An instance's machine is found by its id; names come twice, and change."""
    return f"instance-{identity}"


def plug(machine: Node, compute: Node, wanted: Plug) -> None:
    """Give a machine an interface, with its addresses and routes as DHCP would give them. Raises LabError."""
    unplug(compute, wanted.port)  # of a machine that died while its host's end lived on
    peer = f"peer name {wanted.device} address {wanted.mac} mtu {wanted.mtu} netns {machine.pid}"
    pair = f"link add {tap(wanted.port)} address fe{wanted.mac[2:]} mtu {wanted.mtu} type veth {peer}"
    fabric.ip(compute, [pair])
    fabric.finish_checksums(machine, wanted.device)
    fabric.ip(machine, [f"link set {wanted.device} up", *wanted.lines])


def unplug(compute: Node, port_id: str) -> None:
    """Take an interface out of whatever machine has it. Fine when there is none. Raises LabError."""
    if not compute.alive:
        return
    words = ["ip", "link", "delete", tap(port_id)]
    done = enter.run_beside(compute, words, capture_output=True, text=True)
    # a machine that ends takes its interfaces along, at any moment
    if done.returncode and tap(port_id) in fabric.links(compute):
        raise LabError(f"in {compute.name}: {' '.join(words)}: {done.stderr.strip()}")


def announce(machine: Node, console: Path, title: str) -> None:
    """Write what a starting machine has to say to the end of its console."""
    said = str(enter.call(machine, _introduction, title))
    with console.open("a") as out:
        out.write(said)


def _introduction(title: str) -> str:
    """In the machine: what it is, its addresses and routes."""
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    parts = [f"[{began}] {title}: namespaces of Linux {platform.release()}\n"]
    for words in (("ip", "-br", "address"), ("ip", "route")):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        parts.append(f"# {' '.join(words)}\n{done.stdout}{done.stderr}")
    return "".join([*parts, f"{os.uname().nodename} login: \n"])


def start_script(machine: Node, console: Path, script: bytes) -> None:
    """Run a user's script inside, apart from this process; what it prints goes to the console."""
    with console.open("ab") as out:
        enter.call(machine, _spawn, script, out.fileno())


def _spawn(script: bytes, out: int) -> None:
    path = Path("/run/user-data")
    path.write_bytes(script)
    path.chmod(0o700)
    subprocess.Popen([str(path)], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/")
