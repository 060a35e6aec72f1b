"""Names: who is meant, and what is said of a name that means nothing."""

import pytest

from floatway.trace.course import Context
from floatway.trace.question import Question, TraceError, packet_of
from unit.trace import worlds
from unit.trace.worlds import FIXED, FLOATING, GATEWAY, INSTANCE, OUTSIDE


@pytest.mark.parametrize(
    "name",
    [
        INSTANCE, "aac0a6c0-4235-4543-b80d-bf7dcd349f77", "8aa5e3b4-6c0b-4d77-8c45-146cacf576ec", FIXED, FLOATING,
    ],
)  # fmt: skip
def test_all_names_of_the_instance_as_sender(name: str) -> None:
    party, packet = packet_of(Context(worlds.reference_world()), Question(source=name, target=GATEWAY))
    assert party.host == INSTANCE
    assert packet.dst == GATEWAY


@pytest.mark.parametrize(
    ("source", "target", "address"),
    [
        (OUTSIDE, INSTANCE, FLOATING),
        (INSTANCE, OUTSIDE, GATEWAY),
        (INSTANCE, "8.8.8.8", "8.8.8.8"),
        (OUTSIDE, FLOATING, FLOATING),
    ],
)
def test_the_address_that_a_target_stands_for(source: str, target: str, address: str) -> None:
    _, packet = packet_of(Context(worlds.reference_world()), Question(source=source, target=target))
    assert packet.dst == address


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (Question(source="tset", target=GATEWAY), "did you mean test"),
        (Question(source="nobody", target=GATEWAY), FLOATING),
        (Question(source=INSTANCE, target="999.1.1.1"), "known are"),
        (Question(source="10.9.9.9", target=GATEWAY), "10.9.9.9"),
        (Question(source=INSTANCE, target=GATEWAY, proto="sctp"), "icmp, tcp and udp"),
        (Question(source=INSTANCE, target=GATEWAY, size=3), "size 3"),
        (Question(source=INSTANCE, target=GATEWAY, proto="tcp", dport=70000), "dport"),
        (Question(source=INSTANCE, target=GATEWAY, ttl=0), "ttl"),
    ],
)
def test_refused_with_a_hint(question: Question, says: str) -> None:
    with pytest.raises(TraceError, match=says.replace(".", r"\.")):
        packet_of(Context(worlds.reference_world()), question)
