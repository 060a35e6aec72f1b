"""Tags: words on anything, few enough and short enough."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_cloud import a_draft, later, network_of, refused
from floatway.control.decide import tags
from floatway.control.entities import Network


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "Invalid tags body"),
        (["a"], "Invalid tags body"),
        (None, "Invalid tags body"),
        ({"tags": "a"}, "'a' is not a list"),
        ({"tags": None}, "'None' is not a list"),
        ({"tags": ["a", "b", "a"]}, "Duplicate items in the list: 'a'"),
        ({"tags": [1]}, "'1' is not a valid string"),
        ({"tags": ["x" * 256]}, "exceeds maximum length of 255"),
    ],
)
def test_what_is_no_list_of_tags(body: Any, words: str) -> None:
    refused(lambda: tags.wanted(body), 400, "InvalidInput", words)


def test_a_thing_has_fifty_tags_at_most() -> None:
    draft = a_draft()
    network = network_of(draft)
    full = tags.replace(draft, network, [str(number) for number in range(50)])
    assert tags.add(draft, full, ["7"]) == full
    for change in (tags.add, tags.replace):
        refused(
            lambda change=change: change(draft, full, [*full.tags, "one more"]),
            400,
            "BadRequest",
            "Bad networks request: The number of tags exceed the per-resource limit of 50.",
        )
    assert tags.clear(draft, full).tags == ()


def test_a_tag_that_is_not_there_cannot_go() -> None:
    draft = a_draft()
    network = tags.replace(draft, network_of(draft), ["a"])
    refused(lambda: tags.remove(draft, network, "b"), 404, "TagNotFound", "Tag b could not be found.")
    assert tags.remove(draft, network, "a").tags == ()


WORDS = st.sampled_from("abcdefg")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sets(WORDS)),
        st.tuples(st.just("replace"), st.sets(WORDS)),
        st.tuples(st.just("remove"), WORDS.map(lambda word: {word})),
        st.tuples(st.just("clear"), st.just(set())),
    )
)


@given(STEPS)
def test_tags_are_a_set_and_their_changes_move_the_revision(steps: list[tuple[str, set[str]]]) -> None:
    draft = a_draft()
    network_id = network_of(draft).id
    expected: set[str] = set()
    for name, words in steps:
        draft = later(draft)
        before = draft.need(Network, network_id)
        if name == "remove" and not words <= expected:
            continue
        if name == "add":
            tags.add(draft, before, sorted(words))
            wanted = expected | words
        elif name == "replace":
            tags.replace(draft, before, sorted(words))
            wanted = words
        elif name == "remove":
            tags.remove(draft, before, *words)
            wanted = expected - words
        else:
            tags.clear(draft, before)
            wanted = set()
        after = draft.need(Network, network_id)
        assert sorted(after.tags) == sorted(wanted)
        if after.tags == before.tags:
            assert after is before
        else:
            assert after.revision_number == before.revision_number + 1
        expected = wanted
