"""Whatever is asked about ports in whatever order: no address twice in a subnet, no MAC twice in a network, and more of the kind."""

from hypothesis import given
from hypothesis import strategies as st

from effort import examples
from floatway.control.entities import Port
from port_operations import Request, broken, cloud, requests, tried


@examples(60)
@given(st.lists(requests(), min_size=10, max_size=30))
def test_no_sequence_of_requests_breaks_what_must_hold(asked: list[Request]) -> None:
    draft = cloud()
    for request in asked:
        draft = tried(draft, request)
        assert broken(draft.model) == []


@examples(60)
@given(st.lists(requests(), max_size=12))
def test_a_refused_request_changes_nothing_and_an_accepted_one_moves_revisions_on(asked: list[Request]) -> None:
    draft = cloud()
    for request in asked:
        before = draft.model
        draft = tried(draft, request)
        if draft.model is before:
            continue
        for _, id_, entity in draft.changes():
            old = before.get(Port, id_)
            if isinstance(entity, Port) and old is not None:
                assert entity.revision_number == old.revision_number + 1
                assert entity != old
