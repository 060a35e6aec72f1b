"""Which addresses a subnet has to give.

    pools of a subnet ──▶ free_address: the lowest, or a random one from a window that grows with use, so that an
    address is not handed on the moment it is given back

Nothing is counted or kept: an address is taken when a port of the model has it. Which of them a port gets is decided in
``decide.ports_addresses``.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from floatway.control import entities as e
from floatway.control import prefixes as p
from floatway.control.draft import Draft
from floatway.control.errors import ApiError, bad_request, conflict

__all__ = ["automatic", "check_pools", "default_pools", "free_address", "gateway_outside_pools"]

_AUTOMATIC: Final = frozenset({"slaac", "dhcpv6-stateless"})
_WINDOW: Final = 1000
_TRIES: Final = 4096  # finds one free address in a thousand; a walk over a pool as large costs ten times as much


def automatic(subnet: e.Subnet) -> bool:
    """Whether hosts make their own addresses there (SLAAC, with or without stateless DHCPv6)."""
    return subnet.ipv6_address_mode in _AUTOMATIC or subnet.ipv6_ra_mode in _AUTOMATIC


def free_address(draft: Draft, subnet: e.Subnet, *, lowest: bool = False, besides: Iterable[str] = ()) -> str | None:
    """A free address of the subnet's pools, None when there is none. ``besides`` are taken too."""
    version = subnet.ip_version
    index = draft.model.indexes[e.Port.KIND, "address"]
    not_these = set(besides)
    if not lowest:
        found = _random_address(draft, subnet, not_these)
        if found is not None:
            return found
    for pool in subnet.allocation_pools:
        for value in range(p.number(pool.start), p.number(pool.end) + 1):
            candidate = p.text(value, version)
            if (subnet.id, candidate) not in index and candidate not in not_these:
                return candidate
    return None


def _random_address(draft: Draft, subnet: e.Subnet, besides: set[str]) -> str | None:
    """Tries in a window at least four times as large as what is used: most hit at once. None: next to nothing is free."""
    used = len(draft.bucket(e.Port, "subnet", subnet.id))
    window = max(_WINDOW, 4 * used)
    pools = [(p.number(pool.start), p.number(pool.end) + 1) for pool in subnet.allocation_pools]
    size = min(window, sum(end - start for start, end in pools))
    index = draft.model.indexes[e.Port.KIND, "address"]
    for _ in range(min(_TRIES, 4 * size)):
        at = draft.random.randrange(size)
        for start, end in pools:
            if at < end - start:
                candidate = p.text(start + at, subnet.ip_version)
                if (subnet.id, candidate) not in index and candidate not in besides:
                    return candidate
                break
            at -= end - start
    return None


def default_pools(cidr: str, gateway_ip: str | None) -> tuple[e.AllocationPool, ...]:
    """All that hosts may have but the gateway's address; the one address of a /32 or /128 anyhow."""
    version = p.network(cidr).version
    first, last = p.usable(cidr)
    spans = [(first, last)]
    alone = p.network(cidr).num_addresses == 1
    if gateway_ip is not None and first <= (gateway := p.number(gateway_ip)) <= last and not alone:
        spans = [span for span in ((first, gateway - 1), (gateway + 1, last)) if span[0] <= span[1]]
    return tuple(e.AllocationPool(p.text(start, version), p.text(end, version)) for start, end in spans)


def check_pools(pools: Sequence[e.AllocationPool], cidr: str) -> None:
    """Whether pools are ranges inside the prefix that do not overlap.

    Raises:
        ApiError: 400 InvalidAllocationPool, OutOfBoundsAllocationPool; 409 OverlappingAllocationPools.
    """
    version = p.network(cidr).version
    first, last = p.usable(cidr)
    spans = []
    for pool in pools:
        lowest, highest = p.address(pool.start), p.address(pool.end)
        if lowest.version != highest.version or int(lowest) > int(highest):
            raise _invalid(f"{{'start': '{pool.start}', 'end': '{pool.end}'}}")
        if lowest.version != version:
            raise _invalid(f"{pool.start}-{pool.end}")
        if int(lowest) < first or int(highest) > last:
            raise bad_request(
                "OutOfBoundsAllocationPool",
                f"The allocation pool {pool.start}-{pool.end} spans beyond the subnet cidr {cidr}.",
            )
        spans.append((int(lowest), int(highest), f"{pool.start}-{pool.end}"))
    for at, (start, end, name) in enumerate(spans):
        for other_start, other_end, other in spans[at + 1 :]:
            if start <= other_end and other_start <= end:
                raise conflict(
                    "OverlappingAllocationPools",
                    f"Found overlapping allocation pools: {name} {other} for subnet {cidr}.",
                )


def _invalid(pool: str) -> ApiError:
    return bad_request("InvalidAllocationPool", f"The allocation pool {pool} is not valid.")


def gateway_outside_pools(gateway_ip: str, pools: Iterable[e.AllocationPool]) -> None:
    """Whether no port can be given the gateway's address.

    Raises:
        ApiError: 409 GatewayConflictWithAllocationPools.
    """
    gateway = p.number(gateway_ip)
    for pool in pools:
        if (":" in pool.start) == (":" in gateway_ip) and p.number(pool.start) <= gateway <= p.number(pool.end):
            raise conflict(
                "GatewayConflictWithAllocationPools",
                f"Gateway ip {gateway_ip} conflicts with allocation pool {pool.start}-{pool.end}.",
            )
