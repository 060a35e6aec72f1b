"""All that a packet can meet: machines with their states, and the wires between them.

World
  hosts: compute host, instance, outside host …  (each one HostState)
  wires: an instance's eth0 -- the tap on its host;  eth4 -- switch -- the gateway's NIC
"""

import msgspec

from floatway.host.state import HostState


class Endpoint(msgspec.Struct, frozen=True):
    """One device on one machine: where a cable is plugged in."""

    host: str
    device: str
    netns: str = ""


class Wire(msgspec.Struct, frozen=True):
    """One Ethernet segment: a frame sent by any endpoint reaches all others. Two endpoints are a cable, more a switch."""

    name: str
    endpoints: tuple[Endpoint, ...]


class Machine(msgspec.Struct, frozen=True):
    """One machine: a compute host, an instance (``role`` "instance", with its id), or something outside."""

    name: str
    role: str
    state: HostState
    id: str = ""


class World(msgspec.Struct, frozen=True):
    """The machines by name and the wires between them."""

    machines: dict[str, Machine]
    wires: tuple[Wire, ...]
