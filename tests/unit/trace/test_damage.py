"""Whatever is broken, and however badly: a walk ends, in one disposition, with a reason, and renders."""

import json
from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from effort import examples
from floatway.host.records import (
    Address,
    Chain,
    Flow,
    Ipset,
    Link,
    Neighbour,
    OvsBridge,
    OvsFdb,
    OvsPort,
    Record,
    Route,
    Rule,
    Sysctl,
)
from floatway.trace import render
from floatway.trace.question import Question
from floatway.trace.walk import walk
from floatway.trace.world import World
from unit.trace import worlds
from unit.trace.worlds import FLOATING, GATEWAY, HOST, INSTANCE, OUTSIDE

RECORDS: Sequence[Record] = sorted(worlds.state(worlds.reference_world()), key=repr)
BY_KIND = {kind: [r for r in RECORDS if isinstance(r, kind)] for kind in {type(r) for r in RECORDS}}
PORTS = [r.name for r in RECORDS if isinstance(r, OvsPort)]
DEVICES = [r.name for r in RECORDS if isinstance(r, Link)]
MACS = sorted({r.mac for r in RECORDS if isinstance(r, Link) and r.mac})
ADDRESSES = ["172.12.10.4", "172.12.10.1", "192.168.0.1", "192.168.10.106", "169.254.106.115", "10.0.0.1"]
RULES = [rule for r in RECORDS if isinstance(r, Chain) for rule in r.rules]
ODD_ACTIONS = ["IN_PORT", "FLOOD", "resubmit(,0)", "output:99", "group:1", "move:A->B"]
ACTIONS = [r.actions for r in RECORDS if isinstance(r, Flow)] + ODD_ACTIONS
ADDRESSEES = [GATEWAY, FLOATING, *ADDRESSES, "8.8.8.8", "10.10.20.11", "255.255.255.255", "127.0.0.1", "224.0.0.1"]
WORDS = {
    Link: {"up": st.booleans(), "mtu": st.sampled_from([0, 60, 100, 1400, 1500]), "mac": st.sampled_from(MACS),
           "peer": st.sampled_from(DEVICES),
           "master": st.sampled_from(["", "qbr8aa5e3b4-6c", "br-int", "eth4"]),
           "kind": st.sampled_from(["veth", "bridge", "internal", "foreign"])},
    OvsPort: {"tag": st.sampled_from([None, 0, 1, 2, 4095]), "type": st.sampled_from(["", "internal", "patch", "vxlan", "odd"]),
              "bridge": st.sampled_from(["br-int", "br-ex", "br-tun", "gone"])},
    Route: {"via": st.sampled_from(["", *ADDRESSES]), "dev": st.sampled_from(["", *DEVICES]),
            "type": st.sampled_from(["unicast", "local", "unreachable", "blackhole", "throw", "broadcast", "odd"])},
    Rule: {"src": st.sampled_from(["all", "172.12.10.1/24", "192.168.0.1"]), "iif": st.sampled_from(["", *DEVICES]),
           "table": st.sampled_from([16, 254, 255, 9])},
    Neighbour: {"mac": st.sampled_from(["", *MACS]), "state": st.sampled_from(["FAILED", "STALE", "PERMANENT"])},
    Sysctl: {"value": st.sampled_from(["0", "1", "2", "", "odd"])},
    Chain: {"policy": st.sampled_from(["", "DROP", "ACCEPT"]),
            "rules": st.lists(st.sampled_from([*RULES, "-j NOWHERE", "-m u32 --u32 x -j DROP", "--odd"]), max_size=4).map(tuple)},
    Flow: {"actions": st.sampled_from(ACTIONS), "table": st.integers(0, 70), "priority": st.integers(0, 70000)},
    OvsFdb: {"port": st.sampled_from(PORTS), "vlan": st.sampled_from([0, 1, 2])},
    OvsBridge: {"fail_mode": st.sampled_from(["secure", ""])},
    Address: {"cidr": st.sampled_from([f"{address}/24" for address in ADDRESSES])},
    Ipset: {"members": st.just(())},
}  # fmt: skip


@st.composite
def damages(draw: st.DrawFn) -> World:
    world = worlds.reference_world(draw(st.booleans()))
    state = worlds.state(world)
    for _ in range(draw(st.integers(1, 6))):
        record = draw(st.sampled_from(BY_KIND[draw(st.sampled_from(sorted(BY_KIND, key=lambda kind: kind.__name__)))]))
        fields = WORDS.get(type(record))
        state = state.without(record)
        if fields and draw(st.booleans()):
            chosen = draw(st.sampled_from(sorted(fields)))
            state = state.replaced(msgspec.structs.replace(record, **{chosen: draw(fields[chosen])}))
    return worlds.with_host(world, state)


QUESTIONS = st.builds(
    Question,
    source=st.sampled_from([INSTANCE, OUTSIDE, HOST]),
    target=st.sampled_from(ADDRESSEES),
    proto=st.sampled_from(["icmp", "tcp", "udp"]),
    size=st.sampled_from([None, 40, 1450, 1500, 9000]),
    df=st.booleans(),
    ttl=st.sampled_from([1, 2, 64]),
)  # fmt: skip


@examples(300)
@given(damages(), QUESTIONS)
def test_a_walk_always_ends_with_a_reason(world: World, question: Question) -> None:
    said = walk(world, question)
    for trace in (said.forward, said.reply):
        if trace is not None:
            assert trace.reason
            assert trace.hops
            assert len(trace.hops) < 300
    assert render.text(said, colour=True)
    assert json.dumps(render.to_json(said))
