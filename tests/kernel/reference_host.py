"""The reference's compute host for a test: its NIC and its instances' taps, whose far ends are out of sight, and Open vSwitch."""

import subprocess
from importlib import resources
from pathlib import Path

import msgspec

from floatway.host.ownership import owned
from floatway.host.state import HostState, diff
from floatway.model.cloud import Cloud
from floatway.model.load import cloud_from_text
from floatway.model.resources import OWNER_COMPUTE
from kernel.support import sh, start_ovs, until

HOST = "cy2-compute02"


def reference() -> Cloud:
    """The reference's cloud, with its host on the userspace datapath."""
    path = resources.files("floatway.lab") / "clouds" / "reference.yaml"
    cloud = cloud_from_text(path.read_text(), str(path))
    host = msgspec.structs.replace(cloud.hosts[HOST], datapath_type="netdev")
    return msgspec.structs.replace(cloud, hosts={**cloud.hosts, HOST: host})


def far_end() -> int:
    """The pid of a process in a namespace that has no name."""
    child = subprocess.Popen(["unshare", "-n", "sleep", "infinity"])
    own = Path("/proc/self/ns/net").readlink()
    until(lambda: Path(f"/proc/{child.pid}/ns/net").readlink() != own, "the far end's namespace")
    return child.pid


def plug(device: str, pid: int, number: int) -> None:
    """A device here whose other end is in that process's namespace."""
    sh(f"ip link add {device} type veth peer name far{number} netns {pid} && ip link set {device} up")


def taps(cloud: Cloud) -> list[str]:
    """The taps of the instances on the host."""
    return sorted(
        f"tap{p.id[:11]}" for p in cloud.ports.values() if p.binding_host_id == HOST and p.device_owner == OWNER_COMPUTE
    )


def start(cloud: Cloud) -> None:
    """Open vSwitch, the host's NICs and all taps."""
    start_ovs()
    pid = far_end()
    devices = [*cloud.hosts[HOST].bridge_nics.values(), *taps(cloud)]
    for number, device in enumerate(devices):
        plug(device, pid, number)


def differences(before: HostState, after: HostState) -> str:
    """What differs in what is ours, for reading."""
    lines = []
    for delta in diff(owned(before), owned(after)):
        lines += [f"- {record}" for record in delta.removed]
        lines += [f"+ {record}" for record in delta.added]
        lines += [f"~ {old}\n  {new}" for old, new in delta.changed]
    return "\n".join(lines)
