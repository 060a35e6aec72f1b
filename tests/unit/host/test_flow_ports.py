"""A flow's ports by name, and by number."""

import pytest

from floatway.host.flow_ports import flow_ports, flows_naming, numbered
from floatway.host.records import Flow

LEARN = "learn(table=20,priority=1,NXM_OF_VLAN_TCI[0..11],output:OXM_OF_IN_PORT[])"
NUMBERS = {"qvo8aa5e3b4-6c": 7, "tap1": 8, "int-br-ex": 1}


def flow(match: str, actions: str) -> Flow:
    return Flow(bridge="br-int", table=0, priority=1, match=match, actions=actions, cookie=1)


@pytest.mark.parametrize(
    ("match", "actions", "names", "by_number"),
    [
        ("", "NORMAL", set(), ("", "NORMAL")),
        ("in_port=LOCAL", "output:LOCAL,IN_PORT", set(), ("in_port=LOCAL", "output:LOCAL,IN_PORT")),
        ('arp,in_port="qvo8aa5e3b4-6c"', "drop", {"qvo8aa5e3b4-6c"}, ("arp,in_port=7", "drop")),
        ("in_port=tap1", f'{LEARN},output:"int-br-ex"', {"tap1", "int-br-ex"}, ("in_port=8", f"{LEARN},output:1")),
        ("", 'pop_vlan,output:tap1,output:"int-br-ex"', {"tap1", "int-br-ex"}, ("", "pop_vlan,output:8,output:1")),
        ("in_port=3", "output:4", set(), ("in_port=3", "output:4")),
    ],
)
def test_names_and_numbers(match: str, actions: str, names: set[str], by_number: tuple[str, str]) -> None:
    one = flow(match, actions)
    assert flow_ports(one) == names
    other = numbered(one, NUMBERS)
    assert (other.match, other.actions) == by_number
    assert (other.table, other.priority, other.cookie) == (one.table, one.priority, one.cookie)
    assert flow_ports(other) == set()


def test_a_name_without_a_number_is_no_number() -> None:
    with pytest.raises(KeyError, match="tap9"):
        numbered(flow("", "output:tap9"), NUMBERS)


def test_flows_that_speak_of_a_port_and_not_of_a_longer_name() -> None:
    flows = [flow("in_port=tap1", "drop"), flow("in_port=tap12", "drop"), flow("", 'output:"tap1"')]
    assert flows_naming(flows, {"tap1"}) == [flows[0], flows[2]]
