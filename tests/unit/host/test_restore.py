"""Restores: what is emptied and filled, and what is only edited."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from floatway.host.fake_base import Tables
from floatway.host.fake_netfilter import restore
from floatway.host.records import Chain
from floatway.host.restore import chain_restore
from floatway.host.state import HostState

RULES = tuple(f"-s 10.0.0.{number} -j ACCEPT" for number in range(40))
LONG = Chain(netns="", table="filter", name="neutron-openvswi-FORWARD", rules=RULES)


def text(before: Chain | None, after: Chain) -> list[str]:
    """The lines between table and COMMIT."""
    return chain_restore("", {f"filter {after.name}": before}, [after], ()).text.splitlines()[1:-1]


def test_of_a_long_chain_only_the_change_is_written() -> None:
    new = "-s 10.0.1.1 -j DROP"
    after = msgspec.structs.replace(LONG, rules=(*RULES[:7], *RULES[8:20], new, *RULES[20:]))
    assert text(LONG, after) == [
        f"-D {LONG.name} {RULES[7]}",
        f"-I {LONG.name} 20 {new}",
    ]


def test_a_chain_that_only_gets_more_is_never_emptied() -> None:
    """A rule that is taken out lets the next table's commit wait for a grace period."""
    short = msgspec.structs.replace(LONG, rules=RULES[:2])
    after = msgspec.structs.replace(LONG, rules=(RULES[9], RULES[0], RULES[8], *RULES[1:5]))
    name = LONG.name
    inside = [f"-I {name} 1 {RULES[9]}", f"-I {name} 3 {RULES[8]}"]
    assert text(short, after) == [*inside, *(f"-A {name} {rule}" for rule in RULES[2:5])]
    nothing = msgspec.structs.replace(LONG, rules=())
    assert text(nothing, short) == [f"-A {name} {rule}" for rule in RULES[:2]]
    assert text(short, nothing) == [f":{name} - [0:0]"]


def test_what_is_not_known_is_filled_anew() -> None:
    assert text(None, LONG)[0] == f":{LONG.name} - [0:0]"
    assert len(text(None, LONG)) == 41


def test_what_changes_its_order_is_filled_anew() -> None:
    after = msgspec.structs.replace(LONG, rules=(RULES[1], RULES[0], *RULES[2:]))
    assert len(text(LONG, after)) == 41


def test_rules_that_are_there_twice_are_filled_anew() -> None:
    after = msgspec.structs.replace(LONG, rules=(*RULES, RULES[3]))
    assert len(text(LONG, after)) == 42


@given(
    gone=st.sets(st.sampled_from(RULES), max_size=4),
    places=st.lists(st.integers(0, 36), max_size=4),
    more=st.booleans(),
)
def test_whatever_the_change_it_leads_there(gone: set[str], places: list[int], more: bool) -> None:
    rules = [rule for rule in RULES if rule not in gone]
    for number, place in enumerate(places):
        rules.insert(place, f"-s 10.0.2.{number} -j DROP")
    if more:
        rules = [*rules[::-1], rules[0]]
    after = msgspec.structs.replace(LONG, rules=tuple(rules))
    tables = Tables(HostState.of([LONG]), "iptables-restore", strict=True)
    # the fake reads the text and compares what becomes of it with what the step promises
    restore(tables, chain_restore("", {f"filter {LONG.name}": LONG}, [after], ()))
    assert tables.get(Chain, *LONG.key) == after
