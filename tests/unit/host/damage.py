"""What a person, a crash or another program does to a host: each kind of damage to one of our things, with all its consequences."""

from collections.abc import Callable
from random import Random

import msgspec

from floatway.host.fake import run
from floatway.host.fake_base import Tables, unname
from floatway.host.fake_ip import remove_link
from floatway.host.fake_ovs import remove_bridge
from floatway.host.ownership import owned
from floatway.host.records import (
    Address,
    Chain,
    Flow,
    Ipset,
    Link,
    Neighbour,
    Netns,
    OvsBridge,
    OvsPort,
    Record,
    Route,
    Rule,
    Sysctl,
)
from floatway.host.state import HostState
from floatway.host.steps import (
    AddressAdd,
    AddressDelete,
    Ip,
    IpOp,
    LinkSet,
    NetnsDelete,
    OvsTransaction,
    PortDelete,
)

replace = msgspec.structs.replace


def _ip(state: HostState, netns: str, *ops: IpOp) -> HostState:
    return run(state, Ip(netns=netns, ops=ops), strict=False)


def _with(state: HostState, change: Callable[[Tables], None]) -> HostState:
    tables = Tables(state, "damage", strict=False)
    change(tables)
    return tables.state()


def _device(state: HostState, chance: Random, *kinds: str) -> Link | None:
    return _one(state, chance, Link, lambda link: link.kind in kinds)


def _one(state: HostState, chance: Random, kind: type[Record], keep: Callable[..., bool] = lambda _: True):
    found = sorted(owned(state).records(kind, keep), key=lambda record: str(record.key))
    return chance.choice(found) if found else None


def netns_deleted(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, Netns)
    return run(state, NetnsDelete(name=one.name), strict=False) if one else state


def device_deleted(state: HostState, chance: Random) -> HostState:
    one = _device(state, chance, "bridge", "veth")
    return _with(state, lambda tables: remove_link(tables, one)) if one else state


def device_down(state: HostState, chance: Random) -> HostState:
    one = _device(state, chance, "bridge", "veth", "internal")
    return _ip(state, one.netns, LinkSet(link=replace(one, up=False), before=one)) if one else state


def device_down_and_up(state: HostState, chance: Random) -> HostState:
    one = _device(state, chance, "bridge", "veth", "internal")
    if one is None or not one.up:
        return state
    down = replace(one, up=False)
    return _ip(state, one.netns, LinkSet(link=down, before=one), LinkSet(link=one, before=down))


def mac_changed(state: HostState, chance: Random) -> HostState:
    one = _device(state, chance, "bridge", "veth", "internal")
    return _ip(state, one.netns, LinkSet(link=replace(one, mac="02:00:00:00:00:77"), before=one)) if one else state


def mtu_changed(state: HostState, chance: Random) -> HostState:
    one = _device(state, chance, "bridge", "veth", "internal")
    return state.replaced(replace(one, mtu=1300)) if one else state


def alias_removed(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, Link, lambda link: link.netns == "")
    return state.replaced(replace(one, alias="")) if one else state


def released(state: HostState, chance: Random) -> HostState:
    found = sorted((s for s in state.records(Link) if s.master), key=lambda link: link.name)
    return state.replaced(replace(chance.choice(found), master="")) if found else state


def plugged_elsewhere(state: HostState, chance: Random) -> HostState:
    """A veth of the right name, but with another far end."""
    one = _device(state, chance, "veth")
    if one is None:
        return state
    state = _with(state, lambda tables: remove_link(tables, one))
    far = Link(netns="", name="far0", kind="veth", peer_netns=one.netns, peer=one.name)
    return state.replaced(replace(one, peer_netns="", peer="far0", master=""), far)


def tap_gone(state: HostState, chance: Random) -> HostState:
    found = sorted((s for s in state.records(Link) if s.name.startswith("tap")), key=lambda link: link.name)
    return state.without(chance.choice(found)) if found else state


def address_deleted(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, Address)
    return _ip(state, one.netns, AddressDelete(address=one)) if one else state


def address_added(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, Address)
    if one is None:
        return state
    base, _, length = one.cidr.rpartition(".")[0], 0, one.cidr.partition("/")[2]
    cidr = chance.choice(["10.99.0.1/24", f"{base}.77/{length}"])
    stray = AddressAdd(address=Address(netns=one.netns, link=one.link, cidr=cidr))
    if chance.random() < 0.5:
        return _ip(state, one.netns, stray)
    return _ip(state, one.netns, AddressDelete(address=one), stray, AddressAdd(address=one))


def broadcast_changed(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, Address)
    return state.replaced(replace(one, broadcast="10.255.255.255")) if one else state


def route_deleted(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, Route)
    return state.without(one) if one else state


def route_changed(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, Route)
    if one is None:
        return state
    dead = replace(one, type="unreachable", via="", dev="")
    return state.without(one).replaced(dead) if chance.random() < 0.5 else state.replaced(replace(one, via="1.2.3.4"))


def route_added(state: HostState, chance: Random) -> HostState:
    one = _device(state, chance, "internal")
    stray = Route(netns=one.netns, prefix="10.98.0.0/16", dev=one.name) if one and one.netns else None
    return state.replaced(stray) if stray else state


def rule_deleted(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, Rule)
    return state.without(one) if one else state


def rule_added(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, Netns)
    return state.replaced(Rule(netns=one.name, priority=40000, table=16, src="10.97.0.1")) if one else state


def neighbour_damaged(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, Neighbour)
    if one is None:
        return state
    new = chance.choice(
        [None, replace(one, mac="02:00:00:00:00:66"), replace(one, state="STALE"), replace(one, address="10.96.0.9")]
    )
    return state.replaced(new) if new else state.without(one)


def sysctl_changed(state: HostState, chance: Random) -> HostState:
    found = sorted(state.records(Sysctl), key=lambda one: one.key)
    return state.replaced(replace(chance.choice(found), value="7")) if found else state


def chain_changed(state: HostState, chance: Random) -> HostState:
    found = sorted(state.records(Chain, lambda chain: bool(chain.rules)), key=lambda one: one.key)
    ours = [c for c in found if c in set(owned(state).records(Chain)) or (not c.netns and c.name == "FORWARD")]
    if not ours:
        return state
    chain = chance.choice(ours)
    at = chance.randrange(len(chain.rules))
    rules = chance.choice(
        [
            (),
            chain.rules[:at] + chain.rules[at + 1 :],
            (*chain.rules, "-s 10.95.0.1/32 -j ACCEPT"),
            (chain.rules[at], *chain.rules),
        ]
    )
    if not chain.netns and chain.name == "FORWARD":  # not the rule of others
        rules = tuple(r for r in chain.rules if r != chance.choice(chain.rules) or "neutron-" not in r)
    return state.replaced(replace(chain, rules=rules))


def chain_added(state: HostState, chance: Random) -> HostState:
    return state.replaced(Chain(netns="", table="filter", name="neutron-openvswi-odeadbeef-0", rules=("-j RETURN",)))


def policy_changed(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, Chain, lambda chain: chain.netns != "" and chain.policy != "")
    return state.replaced(replace(one, policy="DROP")) if one else state


def set_changed(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, Ipset)
    if one is None:
        return state
    new = [
        replace(one, members=one.members[1:]),
        replace(one, members=tuple(sorted({*one.members, "9.9.9.0/24"}))),
        replace(one, type="hash:ip"),
    ]
    return state.replaced(chance.choice(new))


def set_added(state: HostState, chance: Random) -> HostState:
    return state.replaced(Ipset(netns="", name="NIPv4deadbeef-0000-0000-0000-00", members=("10.1.1.1",)))


def port_deleted(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, OvsPort)
    step = OvsTransaction(ops=(PortDelete(bridge=one.bridge, name=one.name),)) if one else None
    return run(state, step, strict=False) if step else state


def port_changed(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, OvsPort)
    return state.replaced(replace(one, tag=99, external_ids=chance.choice([one.external_ids, ()]))) if one else state


def port_on_another_bridge(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, OvsPort, lambda port: port.bridge == "br-int" and port.type != "patch")
    if one is None or state.get(OvsBridge, "br-tun") is None:
        return state
    return _with(state, lambda tables: (unname(tables, one), tables.put(replace(one, bridge="br-tun"))))


def bridge_deleted(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, OvsBridge)
    return _with(state, lambda tables: remove_bridge(tables, one.name)) if one else state


def bridge_changed(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, OvsBridge)
    if one is None:
        return state
    new = [replace(one, fail_mode="standalone"), replace(one, controller=()), replace(one, external_ids=())]
    return state.replaced(chance.choice([*new, replace(one, datapath_type="dummy")]))


def flows_deleted(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, OvsBridge)
    return state.without(*state.records(Flow, lambda flow: flow.bridge == one.name)) if one else state


def flow_changed(state: HostState, chance: Random) -> HostState:
    one = _one(state, chance, Flow)
    if one is None:
        return state
    new = chance.choice([None, replace(one, actions="drop"), replace(one, priority=77), replace(one, cookie=0x55)])
    return state.replaced(new) if new else state.without(one)


def learned(state: HostState, chance: Random) -> HostState:
    """Not damage, but always there: a flow that another flow made."""
    one = _one(state, chance, OvsPort, lambda port: port.type == "vxlan")
    match = "vlan_tci=0x0001/0x0fff,dl_dst=fa:16:3e:00:00:99"
    flow = Flow(
        bridge="br-tun",
        table=20,
        priority=1,
        match=match,
        actions=f'output:"{one.name if one else "x"}"',
        cookie=0xF10A8,
    )
    return state.replaced(flow) if one else state


def vswitchd_restarted(state: HostState, chance: Random) -> HostState:
    """All flows are gone, and each internal device is a new one in the root namespace."""
    state = state.without(*state.records(Flow, lambda flow: flow.bridge != "br-foreign"))

    def renew(tables: Tables) -> None:
        for port in list(tables.of(OvsPort).values()):
            if port.type == "internal":
                for link in [x for x in tables.of(Link).values() if x.name == port.name]:
                    remove_link(tables, link)
                tables.put(Link(netns="", name=port.name, kind="internal", mac="02:00:00:00:00:bb", up=False))

    return _with(state, renew)


DAMAGES: tuple[Callable[[HostState, Random], HostState], ...] = (
    netns_deleted, device_deleted, device_down, device_down_and_up, mac_changed, mtu_changed, alias_removed, released,
    plugged_elsewhere, tap_gone, address_deleted, address_added, broadcast_changed, route_deleted, route_changed, route_added,
    rule_deleted, rule_added, neighbour_damaged, sysctl_changed, chain_changed, chain_added, policy_changed, set_changed,
    set_added, port_deleted, port_changed, port_on_another_bridge, bridge_deleted, bridge_changed, flows_deleted, flow_changed,
    learned, vswitchd_restarted,
)  # fmt: skip
