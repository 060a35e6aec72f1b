"""What clients ask for in a simulated cloud: rules on drafts, drawn one at a time.

request(chance, hosts) ─▶ a floating IP moves, a rule goes, a port comes to host 17, is renamed, … ─▶ Engine.write
"""

import random
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

import l3_operations
from floatway.control import entities as e
from floatway.control.decide import networks, ports, routers, security_group_rules, security_groups
from floatway.control.draft import Draft

__all__ = ["Rule", "first_cloud", "fleet", "request"]

E = TypeVar("E", bound=e.Entity)
Rule = Callable[[Draft], object]
ADMIN, PROJECT = l3_operations.ADMIN, l3_operations.PROJECT
OFTEN: Final = ("attach", "floating", "associate", "associate", "port", "port", "port change", "routes", "gateway")
PREFIXES: Final = ("198.18.0.0/16", "198.18.7.0/24", "192.0.2.9/32")


def request(chance: random.Random, hosts: int) -> Rule:
    """Any of all these."""
    return chance.choices((_l3(chance), _spread(chance, hosts), _secured(chance), _renamed(chance)), (55, 20, 20, 5))[0]


def fleet(hosts: int) -> Rule:
    """An instance's port on each host, of a few networks: what happens to one of those concerns many."""

    def rule(draft: Draft) -> None:
        for number in range(hosts):
            _port(draft, f"h{number + 1}", number)

    return rule


def first_cloud(draft: Draft) -> None:
    """What ``l3_operations`` plays on, with a segment for each network; in the order in which it was made, which requests go by."""
    given = l3_operations.cloud().model
    for number, known in enumerate(
        sorted((one for kind in e.KINDS.values() for one in given.all(kind)), key=_sequence)
    ):
        entity = known
        if isinstance(entity, e.Network):
            physical = {"provider_network_type": "vlan", "provider_physical_network": "physnet1"}
            segment = physical if entity.router_external else {"provider_network_type": "vxlan"}
            entity = msgspec.structs.replace(entity, provider_segmentation_id=100 + number, **segment)
        if not isinstance(entity, e.Agent):
            draft.put(entity)


def _l3(chance: random.Random) -> Rule:
    """About routers, floating IPs and ports, as ``l3_operations.requests`` draws them."""
    kinds = (*(OFTEN * 3), *(kind for kind in l3_operations.ACTS if kind not in {"agent", "kind"}))
    # the third next hop may be the host's own address outside, which a kernel refuses for good and reason (tests of what is blocked)
    asked = l3_operations.Request(
        kind=chance.choice(kinds),
        a=chance.randrange(6),
        b=chance.choice([b for b in range(8) if b % len(l3_operations.NEXTHOPS) != 2]),
        caller=ADMIN if chance.random() < 0.5 else l3_operations.MEMBER,
        flag=chance.random() < 0.5,
        number=chance.randrange(1, 5),
    )
    return lambda draft: l3_operations.ACTS[asked.kind](draft, asked)


def _spread(chance: random.Random, hosts: int) -> Rule:
    """An instance's port on any of the hosts, or one that is there moves to it."""
    host, at, moves = f"h{chance.randrange(hosts) + 1}", chance.randrange(300), chance.random() < 0.4

    def rule(draft: Draft) -> object:
        port = _instance(draft, at) if moves else None
        return ports.update(draft, ADMIN, port, {"binding:host_id": host}) if port else _port(draft, host, at)

    return rule


def _port(draft: Draft, host: str, at: int) -> object:
    inside = sorted((one for one in draft.all(e.Network) if not one.router_external), key=_sequence)
    if not inside:
        return None
    values = {"network_id": inside[at % len(inside)].id, "project_id": PROJECT, "device_owner": "compute:a"}
    return ports.create(draft, ADMIN, values | {"binding:host_id": host})


def _secured(chance: random.Random) -> Rule:
    """Groups, their rules, and what ports have of it."""
    kind, at, other = chance.choice(tuple(SECURED)), chance.randrange(300), chance.randrange(300)
    return lambda draft: SECURED[kind](draft, at, other)


def _group(draft: Draft, at: int, _: int) -> None:
    security_groups.create(draft, ADMIN, {"name": f"g{at}", "project_id": PROJECT})


def _group_gone(draft: Draft, at: int, _: int) -> None:
    if group := _one(draft, e.SecurityGroup, at):
        security_groups.delete(draft, ADMIN, group)


def _rule(draft: Draft, at: int, other: int) -> None:
    group = _one(draft, e.SecurityGroup, at)
    if group is None:
        return
    remote = _one(draft, e.SecurityGroup, other)
    values: dict[str, Any] = dict.fromkeys(
        ("remote_group_id", "remote_address_group_id", "remote_ip_prefix", "port_range_min", "port_range_max")
    )
    values |= {"security_group_id": group.id, "project_id": PROJECT, "ethertype": "IPv4"}
    values |= {"direction": ("ingress", "egress")[at % 2], "protocol": ("tcp", "icmp", None)[other % 3]}
    if other % 3 == 0:
        values |= {"port_range_min": 20 + other, "port_range_max": 20 + other + at}
    if at % 3 == 0:
        values["remote_ip_prefix"] = PREFIXES[other % len(PREFIXES)]
    elif remote is not None:
        values["remote_group_id"] = remote.id
    security_group_rules.create(draft, ADMIN, values)


def _rule_gone(draft: Draft, at: int, _: int) -> None:
    if rule := _one(draft, e.SecurityGroupRule, at):
        security_group_rules.delete(draft, ADMIN, rule)


def _groups_of(draft: Draft, at: int, other: int) -> None:
    port, group = _instance(draft, at), _one(draft, e.SecurityGroup, other)
    if port is not None and group is not None:
        ports.update(draft, ADMIN, port, {"security_groups": [group.id], "port_security_enabled": True})


def _off(draft: Draft, at: int, _: int) -> None:
    if port := _instance(draft, at):
        off = {"security_groups": [], "allowed_address_pairs": [], "port_security_enabled": False}
        ports.update(draft, ADMIN, port, off)


def _pairs(draft: Draft, at: int, other: int) -> None:
    if port := _instance(draft, at):
        pairs = [{"ip_address": PREFIXES[other % len(PREFIXES)]}] if other % 4 else []
        ports.update(draft, ADMIN, port, {"allowed_address_pairs": pairs})


def _admin_state(draft: Draft, at: int, other: int) -> None:
    if port := _instance(draft, at):
        ports.update(draft, ADMIN, port, {"admin_state_up": bool(other % 2)})


SECURED: Final[dict[str, Callable[[Draft, int, int], None]]] = {
    "group": _group,
    "group deleted": _group_gone,
    "rule": _rule,
    "rule too": _rule,
    "rule deleted": _rule_gone,
    "groups of a port": _groups_of,
    "port security off": _off,
    "allowed pairs": _pairs,
    "admin state": _admin_state,
}


def _renamed(chance: random.Random) -> Rule:
    """A name changes: no host shall care."""
    at, name = chance.randrange(300), f"n{chance.randrange(1000)}"
    kind = chance.choice((e.Port, e.Router, e.Network))

    def rule(draft: Draft) -> None:
        known = _one(draft, kind, at)
        match known:
            case e.Port():
                ports.update(draft, ADMIN, known, {"name": name})
            case e.Router():
                routers.update(draft, ADMIN, known, {"name": name})
            case e.Network():
                networks.update(draft, ADMIN, known, {"name": name})

    return rule


def _instance(draft: Draft, at: int) -> e.Port | None:
    every = sorted((one for one in draft.all(e.Port) if one.device_owner.startswith("compute:")), key=_sequence)
    return every[at % len(every)] if every else None


def _one(draft: Draft, kind: type[E], at: int) -> E | None:
    every = sorted(draft.all(kind), key=_sequence)
    return every[at % len(every)] if every else None


def _sequence(entity: e.Entity) -> int:
    return entity.sequence
