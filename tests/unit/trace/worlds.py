"""Worlds to walk through: the reference's, made from what compile wants and what the kernel adds to it.

test eth0 ── tap8aa5e3b4-6c  cy2-compute02  eth4 ── eth1 outside 192.168.0.1
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import msgspec

import floatway.lab
from floatway.compile.allocations import allocate
from floatway.compile.host import compile_host
from floatway.host.records import (
    Address,
    BridgeFdb,
    Link,
    Neighbour,
    Netns,
    OfPort,
    OvsFdb,
    OvsPort,
    Record,
    Route,
    Rule,
    Sysctl,
)
from floatway.host.state import HostState
from floatway.model.cloud import Cloud
from floatway.model.load import load_cloud
from floatway.net.address import interface
from floatway.trace.world import Endpoint, Machine, Wire, World

HOST, INSTANCE, OUTSIDE = "cy2-compute02", "test", "outside"
FIXED, FLOATING, GATEWAY = "172.12.10.4", "192.168.10.106", "192.168.0.1"
QROUTER = "qrouter-d3218b9c-73bb-4788-87e4-5828625fe586"
FIP = "fip-eddc07d8-7544-4f3a-b9f4-27f005fb114f"
TAP, QBR, QVB, QVO = (f"{prefix}8aa5e3b4-6c" for prefix in ("tap", "qbr", "qvb", "qvo"))
QR, FG, RFP, FPR = "qr-56718ce4-c6", "fg-38f32d91-3d", "rfp-d3218b9c-7", "fpr-d3218b9c-7"
VM_MAC, QR_MAC, FG_MAC, GATEWAY_MAC = "fa:16:3e:ae:b3:e7", "fa:16:3e:78:d6:60", "fa:16:3e:30:c9:5b", "90:9f:33:65:47:02"
REFERENCE = Path(str(floatway.lab.__path__[0])) / "clouds" / "reference.yaml"


@cache
def reference_cloud() -> Cloud:
    return load_cloud(REFERENCE)


def kernel_made(state: HostState) -> HostState:
    """What the kernel adds on its own: default rules, connected and local routes."""
    made: list[Record] = []
    for netns in ("", *(space.name for space in state.records(Netns))):
        made += [Rule(netns=netns, priority=p, table=t) for p, t in ((0, 255), (32766, 254), (32767, 253))]
    for address in state.records(Address):
        own, net = address.cidr.partition("/")[0], interface(address.cidr).network
        made.append(
            Route(
                netns=address.netns,
                prefix=own,
                table=255,
                type="local",
                dev=address.link,
                src=own,
                scope="host",
                proto="kernel",
            )
        )
        if net.prefixlen < 32:
            made.append(
                Route(netns=address.netns, prefix=str(net), dev=address.link, src=own, scope="link", proto="kernel")
            )
    return state.replaced(*made)


def machine(name: str, role: str, records: Iterable[Record], identity: str = "") -> Machine:
    return Machine(name=name, role=role, state=kernel_made(HostState.of(records)), id=identity)


def instance(name: str, mac: str, cidr: str, gateway: str, identity: str = "", mtu: int = 1450) -> Machine:
    return machine(
        name,
        "instance",
        [
            Link(netns="", name="lo", kind="loopback", mtu=65536),
            Link(netns="", name="eth0", kind="foreign", mac=mac, mtu=mtu),
            Address(netns="", link="eth0", cidr=cidr, broadcast=str(interface(cidr).network.broadcast_address)),
            Route(netns="", prefix="default", via=gateway, dev="eth0"),
        ],
        identity,
    )


def outside(mac: str, cidr: str, device: str = "eth1") -> Machine:
    return machine(
        OUTSIDE,
        "outside",
        [
            Link(netns="", name="lo", kind="loopback", mtu=65536),
            Link(netns="", name=device, kind="foreign", mac=mac, mtu=1500),
            Address(netns="", link=device, cidr=cidr),
        ],
    )


def plugged(desired: HostState, ports: dict[str, tuple[str, str]]) -> HostState:
    """The host as the kernel shows it once the taps and the NIC are there. ``ports``: tap -> (bridge, its MAC)."""
    taps = [
        Link(netns="", name=tap, kind="foreign", mac=mac, mtu=1450, master=bridge)
        for tap, (bridge, mac) in ports.items()
    ]
    nics = [
        msgspec.structs.replace(link, mac="02:00:00:00:00:04", mtu=1500)
        for link in desired.records(Link)
        if link.kind == "foreign" and not link.master
    ]
    return kernel_made(desired.replaced(*taps, *nics))


OFPORTS = {"int-br-ex": 1, "patch-tun": 2, QR: 4, FG: 6, QVO: 8}


def learned() -> list[Record]:
    """What has been learned once packets went both ways; the numbers are the reference's."""
    return [
        *(OfPort(bridge="br-int", name=name, ofport=number) for name, number in OFPORTS.items()),
        OvsFdb(bridge="br-int", vlan=1, mac=QR_MAC, port=QR),
        OvsFdb(bridge="br-int", vlan=1, mac=VM_MAC, port=QVO),
        OvsFdb(bridge="br-int", vlan=2, mac=GATEWAY_MAC, port="int-br-ex", age=2),
        OvsFdb(bridge="br-int", vlan=2, mac=FG_MAC, port=FG),
        OvsFdb(bridge="br-ex", vlan=0, mac=GATEWAY_MAC, port="eth4"),
        OvsFdb(bridge="br-ex", vlan=0, mac=FG_MAC, port="phy-br-ex"),
        BridgeFdb(netns="", bridge=QBR, mac=VM_MAC, port=TAP),
        BridgeFdb(netns="", bridge=QBR, mac=QR_MAC, port=QVB),
        Neighbour(netns=FIP, link=FG, address=GATEWAY, mac=GATEWAY_MAC, state="REACHABLE"),
    ]


def wires() -> tuple[Wire, ...]:
    return (
        Wire("port 8aa5e3b4-6c", (Endpoint(INSTANCE, "eth0"), Endpoint(HOST, TAP))),
        Wire("external", (Endpoint(HOST, "eth4"), Endpoint(OUTSIDE, "eth1"))),
    )


@cache
def reference_host(witnesses: bool = True) -> HostState:
    cloud = reference_cloud()
    allocations = allocate(cloud, HOST)
    state = plugged(compile_host(cloud, HOST, allocations), {TAP: (QBR, "fe:16:3e:ae:b3:e7")})
    state = state.replaced(
        Address(netns="", link="br-ex", cidr="10.10.20.22/24"), Link(netns="", name="br-ex", kind="internal")
    )
    return state.replaced(*learned()) if witnesses else state


@cache
def reference_world(witnesses: bool = True) -> World:
    """The reference's cloud, running. Without witnesses nothing has been learned yet: every MAC is asked for and flooded."""
    guest = instance(INSTANCE, VM_MAC, "172.12.10.4/24", "172.12.10.1", "aac0a6c0-4235-4543-b80d-bf7dcd349f77")
    beyond = outside(GATEWAY_MAC, "192.168.0.1/16")
    if witnesses:
        guest = replaced_in(
            guest, Neighbour(netns="", link="eth0", address="172.12.10.1", mac=QR_MAC, state="REACHABLE")
        )
        beyond = replaced_in(
            beyond,
            Neighbour(netns="", link="eth1", address=FLOATING, mac=FG_MAC, state="REACHABLE"),
            Neighbour(netns="", link="eth1", address="192.168.10.103", mac=FG_MAC, state="STALE"),
        )
    machines = {one.name: one for one in (guest, Machine(HOST, "compute", reference_host(witnesses)), beyond)}
    return World(machines=machines, wires=wires())


def replaced_in(one: Machine, *records: Record) -> Machine:
    return msgspec.structs.replace(one, state=one.state.replaced(*records))


def with_host(world: World, state: HostState, host: str = HOST) -> World:
    one = msgspec.structs.replace(world.machines[host], state=state)
    return World(machines={**world.machines, host: one}, wires=world.wires)


def less(world: World, *records: Record, host: str = HOST) -> World:
    """The world without these records of a host."""
    return with_host(world, world.machines[host].state.without(*records), host)


def put(world: World, *records: Record, host: str = HOST) -> World:
    """The world with these records of a host put in."""
    return with_host(world, world.machines[host].state.replaced(*records), host)


def state(world: World, host: str = HOST) -> HostState:
    return world.machines[host].state


__all__ = ["OvsPort", "Sysctl"]
