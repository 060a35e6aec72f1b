"""Whatever is asked about routers and floating IPs in whatever order: every address has one holder, every association a way."""

from hypothesis import given
from hypothesis import strategies as st

from effort import examples
from floatway.control.entities import Standard
from l3_operations import Request, broken, cloud, requests, tried


@examples(80)
@given(st.lists(requests(), min_size=10, max_size=40))
def test_no_sequence_of_requests_breaks_what_must_hold(asked: list[Request]) -> None:
    draft = cloud()
    for request in asked:
        draft = tried(draft, request)
        assert broken(draft.model) == []


@examples(40)
@given(st.lists(requests(), max_size=25))
def test_what_changes_has_its_next_revision(asked: list[Request]) -> None:
    draft = cloud()
    for request in asked:
        before = draft.model
        draft = tried(draft, request)
        if draft.model is before:
            continue
        for kind, id_, entity in draft.changes():
            old = before.tables[kind].get(id_)
            if isinstance(entity, Standard) and isinstance(old, Standard):
                assert entity.revision_number == old.revision_number + 1
