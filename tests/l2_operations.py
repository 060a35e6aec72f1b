"""Requests about networks, subnets, pools and scopes, drawn: from the sensible to the absurd, in an address space so small that they meet.

A request is a body as a client sends it, so that it passes the API's checks of form before the rules; ids in it are places in the
order of creation. The cloud keeps one router interface and ports of two projects, so that in-use checks have something to find.
"""

from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any, Final

import msgspec
from hypothesis import strategies as st

from control_cloud import ADMIN, MEMBER, OTHER, PROJECT, a_draft, later
from floatway.api.attributes import ATTRIBUTES
from floatway.api.attributes.body import prepare_create, prepare_update
from floatway.control import prefixes as p
from floatway.control.caller import Caller
from floatway.control.decide import address_scopes, networks, ports, subnetpools, subnets
from floatway.control.draft import Draft
from floatway.control.entities import AddressScope, Entity, Network, Port, RbacPolicy, Subnet, SubnetPool
from floatway.control.errors import ApiError
from floatway.control.snapshot import Model, built

__all__ = ["Request", "broken", "cloud", "requests", "tried"]

NOUNS: Final[dict[str, tuple[type[Entity], str, Any]]] = {
    "network": (Network, "networks", networks),
    "subnet": (Subnet, "subnets", subnets),
    "subnetpool": (SubnetPool, "subnetpools", subnetpools),
    "address_scope": (AddressScope, "address_scopes", address_scopes),
    "port": (Port, "ports", ports),
}
KINDS_OF_ID: Final = {
    "network_id": Network,
    "subnetpool_id": SubnetPool,
    "address_scope_id": AddressScope,
    "subnet_id": Subnet,
}
PREFIXES: Final = (
    "10.0.0.0/29",
    "10.0.0.8/29",
    "10.0.0.0/28",
    "10.0.0.0/30",
    "10.0.0.4/31",
    "10.0.0.9/32",
    "::/0",
    "x",
)
WIDE: Final = ("2001:db8::/64", "2001:db8::/63", "2001:db8:0:1::/64", "2001:db8::/126")
ADDRESSES: Final = ("10.0.0.0", "10.0.0.1", "10.0.0.3", "10.0.0.6", "10.0.0.9", "192.0.2.1", "2001:db8::1", None)
MODES: Final = (None, "slaac", "dhcpv6-stateless", "dhcpv6-stateful")


class Request(msgspec.Struct, frozen=True):
    """``at`` picks the object it is about among those there are."""

    noun: str
    kind: str
    at: int
    caller: Caller
    body: dict[str, Any]


def cloud() -> Draft:
    """Where the requests play."""
    draft = a_draft(vni_ranges=((1, 5),), vlan_ranges={"physnet1": ((1, 2),)}, default_quotas={"subnet": 7})
    for noun, caller, body in (
        ("network", MEMBER, {"name": "n"}),
        ("network", ADMIN, {"name": "x", "project_id": PROJECT, "shared": True, "router:external": True}),
        ("address_scope", MEMBER, {"ip_version": 4, "name": "a"}),
        ("subnetpool", MEMBER, {"name": "p", "prefixes": ["10.0.0.0/28"], "default_prefixlen": 29}),
        ("subnet", MEMBER, {"network_id": "0", "ip_version": 4, "cidr": "10.0.0.0/29"}),
        ("port", MEMBER, {"network_id": "0"}),
        ("port", OTHER, {"network_id": "1"}),
    ):
        _ask(draft, Request(noun, "create", 0, caller, body))
    interface = {
        "device_owner": "network:router_interface",
        "device_id": "r",
        "fixed_ips": [{"ip_address": "10.0.0.1"}],
    }
    _ask(draft, Request("port", "create", 0, ADMIN, {"network_id": "0", "project_id": PROJECT, **interface}))
    return later(draft)


def requests() -> st.SearchStrategy[Request]:
    """Any request."""
    bodies = {
        "network": _network,
        "subnet": _subnet,
        "subnetpool": _pool,
        "address_scope": _scope,
        "port": _port,
    }
    kinds = ("create", "create", "update", "update", "delete")
    more = {"subnetpool": ("add_prefixes", "remove_prefixes", "onboard_network_subnets")}
    nouns = ("network", "network", "subnet", "subnet", "subnet", "subnetpool", "subnetpool", "address_scope", "port")
    return st.sampled_from(nouns).flatmap(
        lambda noun: st.builds(
            Request,
            noun=st.just(noun),
            kind=st.sampled_from((*kinds, *more.get(noun, ()))),
            at=st.integers(0, 7),
            caller=st.sampled_from((MEMBER, MEMBER, ADMIN, OTHER)),
            body=bodies[noun](),
        )
    )


def tried(draft: Draft, request: Request) -> Draft:
    """The cloud after the request; when it is refused, as before it."""
    after = later(draft)
    try:
        _ask(after, request)
    except ApiError as error:
        assert 400 <= error.status < 500 or error.type == "NoNetworkAvailable"
        assert error.type
        return draft
    return after


def broken(model: Model) -> list[str]:
    """What does not hold, in words; nothing is the answer to hope for."""
    every = list(model.all(Subnet))
    pools = list(model.all(SubnetPool))
    wires = [n for n in model.all(Network) if n.provider_network_type != "local"]
    return [
        *_shared("a wire", wires, lambda a, b: _wire(a) == _wire(b)),
        *_shared("addresses", every, lambda a, b: a.network_id == b.network_id and p.overlap(a.cidr, b.cidr)),
        *_shared(
            "addresses of a pool",
            every,
            lambda a, b: a.subnetpool_id == b.subnetpool_id is not None and p.overlap(a.cidr, b.cidr),
        ),
        *_shared(
            "addresses of a scope",
            pools,
            lambda a, b: a.address_scope_id == b.address_scope_id is not None and _meet(a.prefixes, b.prefixes),
        ),
        *(f"{one.id}: {wrong}" for one in every for wrong in _wrong_subnet(model, one)),
        *(f"{one.id}: {wrong}" for one in pools for wrong in _wrong_pool(model, one)),
        *(f"{n.id}: MTU {n.mtu}" for n in model.all(Network) if _too_small(model, n)),
        *(f"{port.id}: {ip}" for port in model.all(Port) for ip in port.fixed_ips if not _on(model, port, ip)),
        *(f"{one.id}: nothing shared" for one in model.all(RbacPolicy) if not model.tables[one.object_type].get(one.object_id)),
        *([] if _reindexed(model) == model.indexes else ["indexes differ from those of the same entities put at once"]),
    ]  # fmt: skip


def _network() -> st.SearchStrategy[dict[str, Any]]:
    simple = _body({}, {"name": st.just("n"), "mtu": st.sampled_from((0, 67, 1279)), "shared": st.booleans()})
    wire = _body(
        {"provider:network_type": st.just("vlan")},
        {
            "provider:physical_network": st.just("physnet1"),
            "provider:segmentation_id": st.sampled_from((1, 2, 3)),
            "router:external": st.booleans(),
        },
    )
    wild = _body(
        {},
        {
            "name": st.sampled_from(("", "n")),
            "mtu": st.sampled_from((0, 67, 68, 1280, 1450, 1500, 9000, -1, "x")),
            "shared": st.booleans(),
            "router:external": st.booleans(),
            "is_default": st.booleans(),
            "provider:network_type": st.sampled_from(("vlan", "vxlan", "flat", "local", "gre", None)),
            "provider:physical_network": st.sampled_from(("physnet1", "nowhere", None)),
            "provider:segmentation_id": st.sampled_from((1, 2, 3, 4096, None)),
        },
    )
    return st.one_of(simple, wire, wild)


def _subnet() -> st.SearchStrategy[dict[str, Any]]:
    pool = st.fixed_dictionaries({"start": st.sampled_from(ADDRESSES[:-1]), "end": st.sampled_from(ADDRESSES[:-1])})
    simple = _body(
        {"network_id": _place(), "ip_version": st.just(4), "cidr": st.sampled_from(PREFIXES[:3])},
        {"subnetpool_id": st.just("0")},
    )
    cut = _body(
        {"network_id": _place(), "ip_version": st.just(4), "subnetpool_id": _place()},
        {"prefixlen": st.sampled_from((29, 30, 32, 64)), "gateway_ip": st.sampled_from(ADDRESSES)},
    )
    derived = _body(
        {"network_id": _place(), "ip_version": st.just(6), "cidr": st.sampled_from(WIDE)},
        {"ipv6_ra_mode": st.sampled_from(MODES), "ipv6_address_mode": st.sampled_from(MODES)},
    )
    changed = _body(
        {},
        {
            "name": st.just("s"),
            "gateway_ip": st.sampled_from(ADDRESSES),
            "allocation_pools": st.lists(pool, max_size=1),
            "enable_dhcp": st.booleans(),
        },
    )
    wild = _body(
        {},
        {
            "network_id": _place(),
            "ip_version": st.sampled_from((4, 6)),
            "cidr": st.sampled_from((*PREFIXES, *WIDE)),
            "gateway_ip": st.sampled_from(ADDRESSES),
            "enable_dhcp": st.booleans(),
            "allocation_pools": st.lists(pool, max_size=2),
            "dns_nameservers": st.lists(st.sampled_from(ADDRESSES[:-1]), max_size=2, unique=True),
            "host_routes": st.lists(
                st.fixed_dictionaries({"destination": st.just("10.9.0.0/16"), "nexthop": st.sampled_from(ADDRESSES[1:3])}),
                max_size=1,
            ),
            "service_types": st.sampled_from(([], ["compute:a"], ["x"], "compute:a")),
            "subnetpool_id": _place(),
            "prefixlen": st.sampled_from((29, 30, 64)),
            "use_default_subnetpool": st.booleans(),
            "ipv6_ra_mode": st.sampled_from(MODES),
        },
    )  # fmt: skip
    return st.one_of(simple, cut, derived, changed, wild)


def _pool() -> st.SearchStrategy[dict[str, Any]]:
    narrow = st.lists(st.sampled_from(PREFIXES[:6]), min_size=1, max_size=2)
    simple = _body(
        {"name": st.just("p"), "prefixes": narrow, "min_prefixlen": st.just(28), "default_prefixlen": st.just(30)},
        {
            "address_scope_id": st.one_of(st.just("0"), st.none()),
            "default_quota": st.sampled_from((8, 16)),
            "shared": st.booleans(),
            "network_id": _place(),
        },
    )
    wild = _body(
        {},
        {
            "name": st.just("p"),
            "prefixes": st.lists(st.sampled_from((*PREFIXES, *WIDE)), max_size=2),
            "default_prefixlen": st.sampled_from((29, 30)),
            "min_prefixlen": st.sampled_from((28, 30, "x")),
            "max_prefixlen": st.sampled_from((30, 32, 200)),
            "default_quota": st.sampled_from((8, 16, None)),
            "address_scope_id": st.one_of(_place(), st.none()),
            "is_default": st.booleans(),
            "shared": st.booleans(),
            "network_id": _place(),
        },
    )
    return st.one_of(simple, simple, wild)


def _scope() -> st.SearchStrategy[dict[str, Any]]:
    return _body(
        {},
        {"name": st.just("a"), "ip_version": st.sampled_from((4, 6, 5)), "shared": st.booleans()},
    )


def _port() -> st.SearchStrategy[dict[str, Any]]:
    wish = st.fixed_dictionaries({}, optional={"ip_address": st.sampled_from(ADDRESSES[:-1]), "subnet_id": _place()})
    return _body({"network_id": _place()}, {"fixed_ips": st.lists(wish, max_size=2)})


def _body(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


def _place() -> st.SearchStrategy[str]:
    return st.sampled_from((0, 0, 0, 1, 1, 2, 3, 4)).map(str)


def _ask(draft: Draft, request: Request) -> None:
    kind, collection, rules = NOUNS[request.noun]
    body, caller = _named(draft, request.body), request.caller
    table = ATTRIBUTES[collection]
    if request.kind == "create":
        known = {name: value for name, value in body.items() if name in table and table[name].post}
        (prepared,), _ = prepare_create(collection, request.noun, {request.noun: known}, caller)
        rules.create(draft, caller, dict(prepared.values))
        return
    every = sorted(draft.all(kind), key=lambda entity: entity.sequence)
    if not every:
        return
    entity: Any = every[request.at % len(every)]
    if request.kind == "update":
        known = {name: value for name, value in body.items() if name in table and table[name].put}
        prepared = prepare_update(collection, request.noun, {request.noun: known}, caller)
        rules.update(draft, caller, entity, dict(prepared.values))
    elif request.kind == "delete":
        rules.delete(draft, caller, entity)
    else:
        rules.ACTIONS[request.kind](draft, caller, entity, body)


def _named(draft: Draft, values: Any) -> Any:
    """With ids for places in the order of creation; a place too far is an id that nobody has."""
    if isinstance(values, list):
        return [_named(draft, value) for value in values]
    if not isinstance(values, dict):
        return values
    named = {name: _named(draft, value) for name, value in values.items()}
    for name in named.keys() & KINDS_OF_ID.keys():
        kind = KINDS_OF_ID[name]
        every: list[Entity] = sorted(draft.all(kind), key=lambda entity: entity.sequence)
        if (at := named[name]) is not None:
            named[name] = every[int(at)].id if int(at) < len(every) else f"{int(at):08}-0000-4000-8000-000000000000"
    return named


def _wire(network: Network) -> tuple[object, ...]:
    return network.provider_network_type, network.provider_physical_network, network.provider_segmentation_id


def _shared(what: str, every: Iterable[Any], meet: Callable[[Any, Any], bool]) -> list[str]:
    return [f"{a.id} and {b.id} have {what} in common" for a, b in combinations(every, 2) if meet(a, b)]


def _meet(some: Iterable[str], others: tuple[str, ...]) -> bool:
    return any(p.overlap(a, b) for a in some for b in others)


def _wrong_subnet(model: Model, subnet: Subnet) -> list[str]:
    net = p.network(subnet.cidr)
    wrong = [] if net.version == subnet.ip_version and str(net) == subnet.cidr else [f"cidr {subnet.cidr}"]
    first, last = int(net.network_address), int(net.broadcast_address)
    spans = sorted((p.number(pool.start), p.number(pool.end)) for pool in subnet.allocation_pools)
    wrong += [f"pool {span}" for span in spans if not first <= span[0] <= span[1] <= last]
    wrong += [f"pools {a} and {b}" for a, b in combinations(spans, 2) if b[0] <= a[1]]
    if subnet.gateway_ip and net.num_addresses > 1 and p.address(subnet.gateway_ip).version == net.version:
        gateway = p.number(subnet.gateway_ip)
        wrong += [f"gateway {subnet.gateway_ip} in a pool" for start, end in spans if start <= gateway <= end]
    if {subnet.ipv6_ra_mode, subnet.ipv6_address_mode} & {"slaac", "dhcpv6-stateless"} and net.prefixlen != 64:
        wrong.append("derived addresses in other than half the bits")
    if model.get(Network, subnet.network_id) is None:
        wrong.append("no network")
    pool = model.get(SubnetPool, subnet.subnetpool_id) if subnet.subnetpool_id else None
    if subnet.subnetpool_id and (pool is None or not p.contains(pool.prefixes, subnet.cidr)):
        wrong.append("not of its pool")
    return wrong


def _wrong_pool(model: Model, pool: SubnetPool) -> list[str]:
    wrong = [f"{prefix} of another family" for prefix in pool.prefixes if p.network(prefix).version != pool.ip_version]
    if not pool.min_prefixlen <= pool.default_prefixlen <= pool.max_prefixlen:
        wrong.append("bounds")
    scope = model.get(AddressScope, pool.address_scope_id) if pool.address_scope_id else None
    if pool.address_scope_id and (scope is None or scope.ip_version != pool.ip_version):
        wrong.append("scope")
    if pool.is_default and len(model.find(SubnetPool, "default", pool.ip_version)) > 1:
        wrong.append("one default of several")
    return wrong


def _too_small(model: Model, network: Network) -> bool:
    versions = {subnet.ip_version for subnet in model.find(Subnet, "network", network.id)}
    return (4 in versions and network.mtu < 68) or (6 in versions and network.mtu < 1280)


def _on(model: Model, port: Port, ip: Any) -> bool:
    subnet = model.get(Subnet, ip.subnet_id)
    return (
        subnet is not None
        and subnet.network_id == port.network_id
        and p.address(ip.ip_address) in p.network(subnet.cidr)
    )


def _reindexed(model: Model) -> object:
    return built((entity for table in model.tables.values() for entity in table.values()), model.revision).indexes
