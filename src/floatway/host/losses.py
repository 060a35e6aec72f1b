"""What goes down with something else: the kernel and Open vSwitch delete more than they are asked to.

    device deleted          addresses, neighbours, routes, settings, the veth peer; a bridge releases its ports
    last address deleted    the device's routes and neighbours
    address deleted         perhaps others of its subnet (secondaries); routes that prefer it as source
    MAC set                 the device's neighbours, permanent ones too
    port deleted            its internal device; flows that name it name a number then
    datapath changed        all of a bridge

A plan that deletes must put back what it still wants of these.
"""

import re
from collections.abc import Iterable

import msgspec

from floatway.host.flow_ports import flows_naming
from floatway.host.records import Address, Flow, Link, Neighbour, OvsBridge, OvsPort, Record, Route, Sysctl
from floatway.host.state import HostState, apart, differing
from floatway.net.address import interface

_SETTING = re.compile(r"net\.ipv[46]\.(?:conf|neigh)\.(.+)\.[a-z0-9_]+")
GENERIC = frozenset({"all", "default"})

Place = tuple[str, str]
"""(namespace, device)."""


def setting_device(name: str) -> str:
    """The device that a setting belongs to, or "" for one of the whole namespace."""
    match = _SETTING.fullmatch(name)
    return match[1] if match and match[1] not in GENERIC else ""


class Losses(msgspec.Struct, frozen=True):
    """``records`` will be gone (or are no use) and must be put back where wanted; ``perhaps`` may be gone, and putting them
    back does no harm; ``flushed`` are the devices on which that is so; ``released`` devices lose their bridge; ``remade`` are
    devices to delete first, ``replugged`` ports, ``rebuilt`` bridges."""

    records: tuple[Record, ...] = ()
    perhaps: tuple[Record, ...] = ()
    flushed: frozenset[Place] = frozenset()
    released: tuple[Link, ...] = ()
    remade: tuple[Link, ...] = ()
    replugged: tuple[OvsPort, ...] = ()
    rebuilt: tuple[OvsBridge, ...] = ()


def foresee(observed: HostState, have: HostState, want: HostState) -> Losses:
    """The losses on the way from ``have`` to ``want``; ``observed`` also shows internal devices that are not in their place."""
    if _devices_stay(observed, have, want):
        perhaps, flushed = _behind_addresses(have, want, {})
        return Losses(perhaps=perhaps, flushed=flushed)
    remade, lost = _lost_links(have, want)
    rebuilt = tuple(b for b in have.table(OvsBridge).values() if _is_rebuilt(b, want))
    rebuilt_names = {bridge.name for bridge in rebuilt}
    replugged = tuple(_replugged(observed, have, want, lost, rebuilt_names))
    ports = {port.name for port in have.table(OvsPort).values() if port.bridge in rebuilt_names}
    ports |= {port.name for port in replugged}
    for link in _concerned(have, want, ports):
        if link.kind == "internal" and (link.name in ports or have.get(OvsPort, link.name) is None):
            lost[link.netns, link.name] = link
    released = tuple(
        link
        for link in (have.table(Link).values() if lost else ())
        if link.master and (link.netns, link.master) in lost and (link.netns, link.name) not in lost
    )
    records: list[Record] = [*lost.values(), *rebuilt, *_on_links(have, lost)]
    records += (port for port in have.table(OvsPort).values() if port.name in ports)
    if ports or rebuilt:
        flows = have.table(Flow).values()
        records += (f for f in flows if f.bridge in rebuilt_names)
        records += flows_naming((f for f in flows if f.bridge not in rebuilt_names), ports)
    records += _behind_changed_macs(have, want, lost)
    perhaps, flushed = _behind_addresses(have, want, lost)
    return Losses(tuple(records), perhaps, flushed, released, remade, replugged, rebuilt)


def _devices_stay(observed: HostState, have: HostState, want: HostState) -> bool:
    """Are devices, ports and bridges the very same, and known to be there?"""
    same = all(have.table(kind) is want.table(kind) for kind in (Link, OvsPort, OvsBridge))
    return same and observed.table(Link) is want.table(Link)


def _concerned(have: HostState, want: HostState, ports: set[str]) -> list[Link]:
    """The devices whose ports may be going: where it is known what differs, all others are as they shall be, and so are theirs."""
    refs = apart(have, want)
    if refs is None or ports:
        return list(have.table(Link).values())
    names = {key[-1] for kind, key in refs if kind in (Link, OvsPort)}
    return [link for link in have.table(Link).values() if link.name in names] if names else []


def _is_rebuilt(bridge: OvsBridge, want: HostState) -> bool:
    asked = want.get(OvsBridge, bridge.name)
    return asked is not None and asked.datapath_type != bridge.datapath_type


def _lost_links(have: HostState, want: HostState) -> tuple[tuple[Link, ...], dict[Place, Link]]:
    """Devices to make anew, and all that are gone by then."""
    lost: dict[Place, Link] = {}
    remade: list[Link] = []
    for link in differing(Link, have, want):
        asked = want.get(Link, link.netns, link.name)
        if asked is None:
            if link.kind != "foreign":
                _lose(link, have, lost)
        elif asked.kind != "foreign" and (
            link.kind != asked.kind or (link.peer_netns, link.peer) != (asked.peer_netns, asked.peer)
        ):
            remade.append(link)
            _lose(link, have, lost)
    return tuple(remade), lost


def _lose(link: Link, have: HostState, lost: dict[Place, Link]) -> None:
    lost[link.netns, link.name] = link
    peer = have.get(Link, link.peer_netns, link.peer) if link.peer else None
    if peer is not None and peer.kind == "veth":
        lost[peer.netns, peer.name] = peer


def _replugged(
    observed: HostState, have: HostState, want: HostState, lost: dict[Place, Link], rebuilt: set[str]
) -> Iterable[OvsPort]:
    refs = apart(observed, want)
    names = None if refs is None else {key[-1] for kind, key in refs if kind in (Link, OvsPort)}
    if names is not None and not names:
        return
    places = {link.name: link for link in want.table(Link).values() if link.kind == "internal"}
    for port in have.table(OvsPort).values():
        if names is not None and port.name not in names:
            continue
        asked = want.get(OvsPort, port.name)
        if asked is None or port.bridge in rebuilt:
            continue
        if (port.bridge, port.type) != (asked.bridge, asked.type):
            yield port
        elif port.type == "internal":
            place = places.get(port.name)
            if place and not observed.get(Link, place.netns, place.name) and not observed.get(Link, "", place.name):
                yield port
        elif port.type == "":
            # a device made anew is another one to Open vSwitch: it would go on with the old one's number, or none
            device = want.get(Link, "", port.name)
            gone = ("", port.name) in lost or observed.get(Link, "", port.name) is None
            if gone and device is not None and device.kind != "foreign":
                yield port


def _on_links(have: HostState, lost: dict[Place, Link]) -> Iterable[Record]:
    if not lost:
        return
    yield from (a for a in have.table(Address).values() if (a.netns, a.link) in lost)
    yield from (n for n in have.table(Neighbour).values() if (n.netns, n.link) in lost)
    yield from (r for r in have.table(Route).values() if (r.netns, r.dev) in lost)
    yield from (s for s in have.table(Sysctl).values() if (s.netns, setting_device(s.name)) in lost)


def _behind_changed_macs(have: HostState, want: HostState, lost: dict[Place, Link]) -> Iterable[Record]:
    changed = set()
    for link in differing(Link, have, want):
        asked = want.get(Link, link.netns, link.name)
        if asked is not None and asked is not link and asked.mac not in ("", link.mac):
            changed.add((link.netns, link.name))
    if changed:
        yield from (
            n for n in have.table(Neighbour).values() if (n.netns, n.link) in changed and (n.netns, n.link) not in lost
        )


def _behind_addresses(
    have: HostState, want: HostState, lost: dict[Place, Link]
) -> tuple[tuple[Record, ...], frozenset[Place]]:
    """What may go with the addresses that are deleted (a changed one is deleted and added)."""
    going: dict[Place, list[Address]] = {}
    if have.table(Address) is want.table(Address):
        return (), frozenset()
    for address in differing(Address, have, want):
        if want.table(Address).get(address.key) != address and (address.netns, address.link) not in lost:
            going.setdefault((address.netns, address.link), []).append(address)
    if not going:
        return (), frozenset()
    perhaps: list[Record] = []
    flushed: set[Place] = set()
    for place, addresses in going.items():
        subnets = {interface(address.cidr).network for address in addresses}
        stay = [a for a in have.table(Address).values() if (a.netns, a.link) == place and a not in addresses]
        doubtful = [address for address in stay if interface(address.cidr).network in subnets]
        perhaps += doubtful
        if len(doubtful) == len(stay):
            flushed.add(place)
        sources = {(place[0], address.cidr.partition("/")[0]) for address in (*addresses, *doubtful)}
        perhaps += (r for r in have.table(Route).values() if (r.netns, r.src) in sources)
    perhaps += (r for r in have.table(Route).values() if (r.netns, r.dev) in flushed)
    perhaps += (n for n in have.table(Neighbour).values() if (n.netns, n.link) in flushed)
    # what is not wanted is no loss: it is deleted first
    return tuple(one for one in dict.fromkeys(perhaps) if want.get(type(one), *one.key) is not None), frozenset(flushed)
