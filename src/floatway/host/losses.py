"""What goes down with something else: the kernel deletes more than it is asked to.

A deleted device takes its addresses, neighbours, routes and settings along, and its veth peer; a bridge releases its ports;
a port removed from Open vSwitch takes its internal device and the flows that name it. A plan that deletes must put back
what it still wants of these.
"""

import re

import msgspec

from floatway.host.records import Address, Flow, Link, Neighbour, OvsPort, Record, Route, Sysctl
from floatway.host.state import HostState

_SETTING = re.compile(r"net\.ipv[46]\.(?:conf|neigh)\.(.+)\.[a-z0-9_]+")
GENERIC = frozenset({"all", "default"})


def setting_device(name: str) -> str:
    """The device that a setting belongs to, or "" for one of the whole namespace."""
    match = _SETTING.fullmatch(name)
    return match[1] if match and match[1] not in GENERIC else ""


class Losses(msgspec.Struct, frozen=True):
    """``records`` will be gone (or are no use) and must be put back where wanted; ``released`` are devices that lose their
    bridge; ``remade`` devices to delete first; ``replugged`` ports to delete first, with the ``flows`` that name them."""

    records: tuple[Record, ...] = ()
    released: tuple[Link, ...] = ()
    remade: tuple[Link, ...] = ()
    replugged: tuple[OvsPort, ...] = ()
    flows: tuple[Flow, ...] = ()


def foresee(observed: HostState, have: HostState, want: HostState) -> Losses:
    """The losses on the way from ``have`` to ``want``; ``observed`` also shows internal devices that are not in their place."""
    places = {link.name: link for link in want.table(Link).values() if link.kind == "internal"}
    replugged = tuple(p for p in have.table(OvsPort).values() if _must_replug(p, places.get(p.name), observed, want))
    names = {port.name for port in replugged}
    links = have.table(Link)
    lost: dict[tuple[str, str], Link] = {}
    remade: list[Link] = []
    for link in links.values():
        asked = want.get(Link, *link.key)
        if link.kind == "foreign":
            continue
        if asked is None:
            _lose(link, have, lost)
        elif link.kind == "internal":
            port = have.get(OvsPort, link.name)
            if port is None or link.name in names:
                lost[link.netns, link.name] = link
        elif link.kind != asked.kind or (link.peer_netns, link.peer) != (asked.peer_netns, asked.peer):
            remade.append(link)
            _lose(link, have, lost)
    released = tuple(
        link
        for link in links.values()
        if link.master and (link.netns, link.master) in lost and (link.netns, link.name) not in lost
    )
    records: list[Record] = list(lost.values())
    if lost:
        records += (a for a in have.table(Address).values() if (a.netns, a.link) in lost)
        records += (n for n in have.table(Neighbour).values() if (n.netns, n.link) in lost)
        records += (r for r in have.table(Route).values() if (r.netns, r.dev) in lost)
        records += (s for s in have.table(Sysctl).values() if (s.netns, setting_device(s.name)) in lost)
    flows = tuple(flow for flow in have.table(Flow).values() if names and _mentions(flow, names)) if names else ()
    return Losses((*records, *replugged, *flows), released, tuple(remade), replugged, flows)


def _lose(link: Link, have: HostState, lost: dict[tuple[str, str], Link]) -> None:
    lost[link.netns, link.name] = link
    peer = have.get(Link, link.peer_netns, link.peer) if link.peer else None
    if peer is not None and peer.kind == "veth":
        lost[peer.netns, peer.name] = peer


def _must_replug(port: OvsPort, place: Link | None, observed: HostState, want: HostState) -> bool:
    asked = want.get(OvsPort, port.name)
    if asked is None:
        return False
    if (port.bridge, port.type) != (asked.bridge, asked.type):
        return True
    if port.type != "internal":
        return False
    return (
        place is not None
        and observed.get(Link, place.netns, place.name) is None
        and observed.get(Link, "", place.name) is None
    )


_WORD = re.compile(r'"([^"]+)"|(?:in_port=|output:)([A-Za-z][A-Za-z0-9]*)(?=[,\s]|$)')


def _mentions(flow: Flow, names: set[str]) -> bool:
    return not names.isdisjoint(flow_ports(flow))


def flow_ports(flow: Flow) -> set[str]:
    """The port names a flow's match and actions speak of."""
    return {quoted or bare for quoted, bare in _WORD.findall(f"{flow.match} {flow.actions}")}
