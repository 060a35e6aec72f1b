"""Whatever is asked about networks, subnets, pools and scopes in whatever order: no wire and no address is given twice."""

from hypothesis import given
from hypothesis import strategies as st

from control_cloud import a_draft, network_of, subnet_of
from effort import examples
from floatway.control import ipam
from floatway.control import prefixes as p
from floatway.control.entities import AllocationPool, FixedIp, Port, Standard
from l2_operations import Request, broken, cloud, requests, tried


@examples(30)
@given(st.lists(requests(), min_size=10, max_size=30))
def test_no_sequence_of_requests_breaks_what_must_hold(asked: list[Request]) -> None:
    draft = cloud()
    assert broken(draft.model) == []
    for request in asked:
        draft = tried(draft, request)
        assert broken(draft.model) == []


@examples(30)
@given(st.lists(requests(), max_size=15))
def test_what_changed_moves_its_revision_on_once(asked: list[Request]) -> None:
    draft = cloud()
    for request in asked:
        before = draft.model
        draft = tried(draft, request)
        for kind, id_, entity in draft.changes() if draft.model is not before else ():
            old = before.tables[kind].get(id_)
            if isinstance(entity, Standard) and isinstance(old, Standard):
                assert entity.revision_number == old.revision_number + 1


@examples(100)
@given(
    st.integers(0, 40), st.integers(0, 20), st.integers(0, 30), st.lists(st.integers(0, 63)), st.booleans()
)  # fmt: skip
def test_an_address_is_found_while_there_is_one(
    start: int, length: int, gap: int, taken: list[int], lowest: bool
) -> None:
    draft = a_draft()
    network = network_of(draft)
    spans = [(start, start + length), (start + length + 1 + gap, min(start + length + 1 + gap + length, 255))]
    pools = tuple(AllocationPool(f"10.0.0.{a}", f"10.0.0.{b}") for a, b in spans)
    subnet = subnet_of(draft, network, "10.0.0.0/24", allocation_pools=pools)
    free = {n for a, b in spans for n in range(a, b + 1)} - set(taken)
    for n in set(taken):
        ip = FixedIp(subnet.id, f"10.0.0.{n}")
        draft.put(Port(id=draft.new_id(), network_id=network.id, mac_address=str(n), fixed_ips=(ip,)))
    while free:
        found = ipam.free_address(draft, subnet, lowest=lowest)
        assert found is not None
        n = p.number(found) & 255
        assert n == min(free) if lowest else n in free
        draft.put(
            Port(id=draft.new_id(), network_id=network.id, mac_address=found, fixed_ips=(FixedIp(subnet.id, found),))
        )
        free.remove(n)
    assert ipam.free_address(draft, subnet, lowest=lowest) is None
