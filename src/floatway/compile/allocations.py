"""The numbers a host gives out: local VLAN tags, floating-IP rule priorities, link-local pairs.

The kernel and Open vSwitch are their only memory. ``recover`` reads them back from what is there, ``allocate`` keeps
what was found, then honours pins, then takes the lowest free: nothing is renumbered by a restart and no file can drift.
"""

from collections.abc import Hashable, Iterable, Iterator
from typing import TypeVar

import msgspec

from floatway.compile import names
from floatway.compile.view import HostView, view_of
from floatway.host.records import Address, OvsPort, Rule
from floatway.host.state import HostState
from floatway.model.cloud import Cloud
from floatway.net.address import ip_int

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)

FIP_PRIORITIES = range(32768, 72768)
LOCAL_VLANS = range(1, 4095)
LINK_LOCAL = "169.254.64.0/18"
_LINK_LOCAL_BASE = ip_int("169.254.64.0")
LINK_LOCAL_PAIRS = range(_LINK_LOCAL_BASE, _LINK_LOCAL_BASE + 2**14, 2)
FIP_TABLE = 16


class AllocationError(ValueError):
    """A host has run out of some number."""


class Allocations(msgspec.Struct, frozen=True):
    """``local_vlans``: network id -> tag; ``floating_ip_priorities``: (router id, fixed IP) -> ip rule priority;
    ``link_local``: router id -> the rfp address (the fpr address is the next one)."""

    local_vlans: dict[str, int] = {}
    floating_ip_priorities: dict[tuple[str, str], int] = {}
    link_local: dict[str, str] = {}


def recover(observed: HostState, cloud: Cloud, host: str) -> Allocations:
    """What the host has given out already, for things that the cloud still has there."""
    wanted = _Wanted(view_of(cloud, cloud.hosts[host]))
    networks, routers, pairs = set(wanted.networks), set(wanted.routers), set(wanted.pairs)
    tags: set[int] = set()
    taken: set[int] = set()
    addresses: set[str] = set()
    vlans: dict[str, int] = {}
    for port in observed.table(OvsPort).values():
        written = dict(port.port_other_config)
        network = written.get("net_uuid", "")
        # the memory is what we wrote beside the tag: a tag that somebody changed is mended, not followed
        tag = int(written["tag"]) if written.get("tag", "").isdigit() else port.tag
        if tag is not None and tag in LOCAL_VLANS and network in networks:
            _keep(vlans, network, tag, tags)
    priorities: dict[tuple[str, str], int] = {}
    for rule in observed.table(Rule).values():
        if rule.table == FIP_TABLE and rule.netns.startswith("qrouter-") and rule.priority in FIP_PRIORITIES:
            pair = (rule.netns.removeprefix("qrouter-"), rule.src)
            if pair in pairs:
                _keep(priorities, pair, rule.priority, taken)
    links: dict[str, str] = {}
    for address in observed.table(Address).values():
        router = address.netns.removeprefix("qrouter-")
        if router in routers and address.link == names.device("rfp-", router):
            given = address.cidr.partition("/")[0]
            if ip_int(given) in LINK_LOCAL_PAIRS:
                _keep(links, router, given, addresses)
    return Allocations(vlans, priorities, links)


def _keep(kept: dict[K, V], key: K, number: V, seen: set[V]) -> None:
    """The first that is found with a number has it; what is found twice belongs to one."""
    if key not in kept and number not in seen:
        kept[key] = number
        seen.add(number)


def allocate(cloud: Cloud, host: str, recovered: Allocations = Allocations()) -> Allocations:  # noqa: B008 (frozen)
    """Numbers for all that needs one. Raises AllocationError when a range is used up."""
    record = cloud.hosts[host]
    wanted = _Wanted(view_of(cloud, record))
    pins = record.pins
    by_pair = {
        pair: pins.floating_ip_priorities[pair[1]] for pair in wanted.pairs if pair[1] in pins.floating_ip_priorities
    }
    links = {router: ip_int(address) for router, address in recovered.link_local.items()}
    pinned_links = {router: ip_int(address) for router, address in pins.link_local.items()}
    taken = _give(wanted.routers, links, pinned_links, LINK_LOCAL_PAIRS, "link-local pair")
    return Allocations(
        _give(wanted.networks, recovered.local_vlans, pins.local_vlans, LOCAL_VLANS, "local VLAN"),
        _give(wanted.pairs, recovered.floating_ip_priorities, by_pair, FIP_PRIORITIES, "floating-IP rule priority"),
        {router: _dotted(value) for router, value in taken.items()},
    )


class _Wanted:
    """The things that need a number, each kind in a stable order."""

    def __init__(self, view: HostView) -> None:
        self.networks: list[str] = sorted(network.id for network in view.networks)
        self.routers: list[str] = sorted(r.id for r in view.routers if view.gateway_network(r) is not None)
        self.pairs: list[tuple[str, str]] = sorted(
            {(router, fip.fixed_ip_address or "") for router, fips in view.floating_ips.items() for fip in fips}
        )


def _give(wanted: Iterable[K], kept: dict[K, int], pinned: dict[K, int], numbers: range, what: str) -> dict[K, int]:
    wanted = list(wanted)
    given = {key: kept[key] for key in wanted if key in kept}
    used = set(given.values())
    for key in wanted:
        if key not in given and key in pinned and pinned[key] not in used:
            given[key] = pinned[key]
            used.add(pinned[key])
    reserved = used | set(pinned.values())
    free: Iterator[int] = (number for number in numbers if number not in reserved)
    for key in wanted:
        if key not in given:
            number = next(free, None)
            if number is None:
                raise AllocationError(
                    f"no {what} is left on this host ({len(numbers)} in all); spread the load over more hosts"
                )
            given[key] = number
    given = {key: given[key] for key in wanted}
    return kept if kept == given else given  # who compares finds the same object


def _dotted(value: int) -> str:
    return ".".join(str(byte) for byte in value.to_bytes(4, "big"))
