"""What can be wanted of a host that refuses something: no reference leads nowhere, what is refused is left alone, the rest is done."""

from hypothesis import given
from hypothesis import strategies as st

from effort import examples
from floatway.host.ownership import BUILTIN_CHAINS, owned
from floatway.host.partial import Ref, concerned, possible, ref
from floatway.host.plan import plan
from floatway.host.records import Chain, Flow, Ipset, Link, Netns, OvsPort
from floatway.host.references import dangling
from floatway.host.rules import jump_target
from floatway.host.state import HostState
from floatway.model.cloud import Cloud
from strategies import clouds
from unit.host.test_plan_laws import references
from unit.host.worlds import bare, compiled, difference, done, small_cloud, walked


@given(clouds(), clouds(), st.data())
@examples(60)
def test_the_rest_is_reached_without_a_hole_and_the_refused_is_left_alone(
    before: Cloud, after: Cloud, data: st.DataObject
) -> None:
    first = compiled(before)
    have = done(bare(first, compiled(after)), first)
    want = compiled(after, have)
    todo = plan(have, want)
    refs: list[Ref] = list(dict.fromkeys(one for step in todo.steps for one in concerned(step)))
    if not refs:
        return
    refused = data.draw(st.sets(st.sampled_from(refs), min_size=1, max_size=4))
    result = possible(owned(have, want), want, refused)
    steps = plan(have, result.state)
    state = have
    for state in walked(have, steps):
        assert references(state, result.state) == []
    assert difference(state, result.state) == ""
    assert not plan(state, result.state)
    ours_before, ours_after = owned(have, want), owned(state, want)
    for kind, key in refused:
        if kind is Chain and key[2] in BUILTIN_CHAINS:
            continue  # comes with its namespace
        if ours_before.get(kind, *key) != want.get(kind, *key):
            assert ours_after.get(kind, *key) == ours_before.get(kind, *key)
    # and once nothing is refused any more, all of it is reached
    assert difference(done(state, want), want) == ""


def everything_but(refused: set[Ref]) -> tuple[HostState, HostState, dict[Ref, Ref]]:
    want = compiled(small_cloud())
    have = bare(want)
    result = possible(owned(have, want), want, refused)
    return done(have, result.state), want, result.because


def test_without_a_namespace_all_of_it_is_left_out_and_nothing_else() -> None:
    want = compiled(small_cloud())
    (first, other) = sorted(name for (name,) in want.table(Netns) if str(name).startswith("qrouter-"))
    state, _, because = everything_but({(Netns, (first,))})
    assert not [record for record in state if getattr(record, "netns", "") == first]
    assert {r for r in state if getattr(r, "netns", "") == other} >= {
        r for r in want if getattr(r, "netns", "") == other
    }
    assert set(because.values()) == {(Netns, (first,))}


def test_without_a_chain_the_packets_it_would_have_judged_are_dropped() -> None:
    want = compiled(small_cloud())
    chain = next(c for c in want.records(Chain) if c.name.startswith("neutron-openvswi-i") and c.netns == "" and c.rules
                 and any(jump_target(rule) == c.name for d in want.records(Chain) for rule in d.rules))  # fmt: skip
    state, _, because = everything_but({ref(chain)})
    assert set(because) == {ref(chain)}
    led = [(c, n) for c in want.records(Chain) for n, rule in enumerate(c.rules) if jump_target(rule) == chain.name]
    for one, number in led:
        now = state.get(Chain, *one.key)
        assert now is not None
        assert now.rules[number].endswith("-j DROP")
        assert [r for n, r in enumerate(now.rules) if n != number] == [
            r for n, r in enumerate(one.rules) if n != number
        ]


def test_without_a_set_the_rules_that_ask_it_open_nothing() -> None:
    want = compiled(small_cloud())
    (group,) = want.records(Ipset, lambda one: one.netns == "")
    state, _, _ = everything_but({ref(group)})
    assert not [rule for chain in state.records(Chain) for rule in chain.rules if group.name in rule]


def test_without_a_tunnel_the_others_are_still_flooded_to() -> None:
    want = compiled(small_cloud())
    tunnel = want.records(OvsPort, lambda port: port.type == "vxlan")[0]
    flooding = f'pop_vlan,output:"{tunnel.name}",output:"x"'
    flood = Flow(bridge="br-tun", table=22, priority=1, match="dl_vlan=9", actions=flooding)
    both = HostState.of([*want, OvsPort(bridge="br-tun", name="x", type="vxlan"), flood])
    result = possible(HostState({}), both, {ref(tunnel)})
    now = result.state.get(Flow, *flood.key)
    assert now is not None
    assert now.actions == 'pop_vlan,output:"x"'
    assert dangling(result.state) == dangling(both)


def test_a_device_that_cannot_be_removed_keeps_what_it_hangs_on() -> None:
    full = compiled(small_cloud())
    have = done(bare(full), full)
    link = full.records(Link, lambda one: one.master != "" and one.kind == "veth")[0]
    nothing = HostState({})
    result = possible(owned(have, nothing), nothing, {ref(link)})
    state = done(have, result.state)
    assert state.get(Link, *link.key) is not None
    assert state.get(Link, link.netns, link.master) is not None
    assert difference(done(state, nothing), nothing) == ""


def test_nothing_refused_is_all_of_it() -> None:
    want = compiled(small_cloud())
    assert possible(HostState({}), want, ()).state is want
