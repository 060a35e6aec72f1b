"""The whole lab as the tracer sees it: every machine observed from inside, at about the same moment, and the wires."""

from floatway.host.records import Link
from floatway.host.state import HostState, decode, encode
from floatway.lab import enter
from floatway.lab.lab import Lab
from floatway.linux import sysctl
from floatway.linux.connection import HostConnection
from floatway.linux.observe import observe
from floatway.trace.world import Machine, World

NAMESPACE_SETTINGS = ("net.ipv4.ip_forward",)
DEVICE_SETTINGS = ("rp_filter", "proxy_arp", "arp_ignore", "forwarding")
BRIDGE_SETTINGS = ("net.bridge.bridge-nf-call-iptables",)


def observe_world(lab: Lab) -> World:
    """Observe all machines. Raises LabError for a dead one."""
    calls = {name: enter.begin(node, observe_here) for name, node in lab.nodes.items()}
    states = {name: decode(data) for name, call in calls.items() if isinstance(data := call.result(), bytes)}
    machines = {
        name: Machine(name=name, role=node.role, state=states[name], id=node.id) for name, node in lab.nodes.items()
    }
    return World(machines=machines, wires=lab.wires)


def observe_here() -> bytes:
    """Everything a trace may need of the machine that this process stands in, encoded."""
    with HostConnection() as connection:
        state = observe(connection, witnesses=True)
        return encode(state.replaced(*sysctl.read(connection, settings(state))))


def settings(state: HostState) -> list[tuple[str, str]]:
    """The settings that forwarding, ARP and bridge filtering decide by: (namespace, name)."""
    wanted: list[tuple[str, str]] = [("", name) for name in BRIDGE_SETTINGS]
    devices: dict[str, list[str]] = {}
    for link in state.table(Link).values():
        devices.setdefault(link.netns, []).append(link.name)
    for netns, found in devices.items():
        wanted += [(netns, name) for name in NAMESPACE_SETTINGS]
        wanted += [
            (netns, f"net.ipv4.conf.{device.replace('.', '/')}.{name}")
            for device in ("all", *found)
            for name in DEVICE_SETTINGS
        ]
    return wanted
