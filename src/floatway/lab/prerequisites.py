"""What a lab needs of the machine, each with what to do when it is missing."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from floatway.lab import node
from floatway.lab.errors import LabError

_TOOLS = {
    "ip": "iproute2",
    "iptables-restore": "iptables",
    "iptables-save": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "ovsdb-server": "openvswitch-switch",
    "ovsdb-tool": "openvswitch-common",
    "ovs-vswitchd": "openvswitch-switch",
    "ovs-vsctl": "openvswitch-switch",
    "ovs-ofctl": "openvswitch-common",
    "ping": "iputils-ping",
    "sysctl": "procps",
}


def require() -> None:
    """Raise LabError that names all that is missing and how to get it."""
    missing = list(_missing())
    if missing:
        raise LabError("this machine cannot carry a lab:\n" + "\n".join(f"  {line}" for line in missing))


def _missing() -> Iterator[str]:
    if os.geteuid() != 0:
        yield "root is needed for namespaces and devices; run it with: sudo"
        return
    packages = sorted({package for tool, package in _TOOLS.items() if shutil.which(tool) is None})
    if packages:
        yield f"tools are missing; get them with: apt-get install --no-install-recommends {' '.join(packages)}"
    if not Path("/dev/net/tun").exists():
        yield "/dev/net/tun is missing (for Open vSwitch); get it with: modprobe tun, in a container: --device /dev/net/tun"
    trouble = _in_child(lambda: node.unshare(node.ALL))
    if trouble:
        yield f"namespaces cannot be made ({trouble}); in a container grant it: --privileged, or --cap-add SYS_ADMIN,NET_ADMIN"
    elif not _has_bridge_filter():
        yield "br_netfilter is missing: security groups could not filter; get it with: modprobe br_netfilter"


def _has_bridge_filter() -> bool:
    setting = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not setting.exists() and shutil.which("modprobe"):
        subprocess.run(["modprobe", "-q", "br_netfilter"], check=False, capture_output=True)
    return setting.exists()


def _in_child(do: Callable[[], None]) -> str:
    """What goes wrong when a child does it, "" for nothing."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        try:
            do()
        except BaseException as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said
