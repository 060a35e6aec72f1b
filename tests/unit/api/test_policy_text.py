"""The language of rules, held to oslo.policy: the same texts parse, to what decides the same."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oslo_policy import _checks
from oslo_policy import policy as oslo

from effort import examples
from floatway.api.policy import Policy, PolicyError
from floatway.api.policy_text import And, Field, Match, Not, Or, Role, Rule, load, parse
from floatway.control.caller import Caller


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", True),
        ("@", True),
        ("!", False),
        ("rule:a", Rule("a")),
        ("role:admin", Role("admin")),
        ("project_id:%(network:project_id)s", Match("project_id", "%(network:project_id)s")),
        ("field:networks:router:external=True", Field("networks", "router:external", "True")),
        ("field:port:device_owner=~^network:", Field("port", "device_owner", "~^network:")),
        ("rule:a or rule:b and not rule:c", Or((Rule("a"), And((Rule("b"), Not(Rule("c"))))))),
        ("(rule:a OR rule:b) And rule:c", And((Or((Rule("a"), Rule("b"))), Rule("c")))),
        ("not not rule:a", Not(Not(Rule("a")))),
        ("((rule:a))", Rule("a")),
        ([["rule:a", "role:b"], ["rule:c"], "rule:d"], Or((And((Rule("a"), Role("b"))), Rule("c"), Rule("d")))),
        ([], True),
        ([[]], False),
    ],
)
def test_trees(text: Any, tree: object) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    "text",
    [
        " ",
        "rule",
        "rule:a rule:b",
        "rule:a or",
        "and rule:a",
        "(rule:a",
        "rule:a)",
        "not",
        "'rule:a'",
        "()",
        "http://example.org/%(name)s",
        "field:networks",
        "field:port:device_owner=~(",
        7,
        [["rule:a", 7]],
    ],
)
def test_what_is_no_check_is_told(text: Any) -> None:
    with pytest.raises(PolicyError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n", "rules are wanted"),
        ("a: [", "not YAML"),
        ("7: rule:a\n", "a rule's name is a string"),
        ("get_port: rule:a and\n", "get_port: not a check: rule:a and"),
    ],
)
def test_a_file_that_is_wrong_is_told(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(PolicyError, match=said):
        load(file)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        load(tmp_path / "policy.yaml")


def test_a_file_may_be_empty_or_json(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_text("")
    assert load(file) == {}
    file.write_text('{"get_port": "rule:admin_only", "x": []}')
    assert load(file) == {"get_port": Rule("admin_only"), "x": True}


NAMES = ["a", "b", "c"]
LEAVES = st.sampled_from(
    [
        "@",
        "!",
        "role:member",
        "role:Reader",
        "role:%(name)s",
        "project_id:%(project_id)s",
        "user_id:%(user_id)s",
        "user_id:u",
        "'x':%(name)s",
        "None:%(name)s",
        "True:%(up)s",
        "is_admin:True",
        "system_scope:all",
        "service_roles:service",
        "project_id:%(project_id)s-%(name)s",
        *[f"rule:{name}" for name in NAMES],
    ]
)
TEXTS = st.recursive(
    LEAVES,
    lambda part: st.one_of(
        st.tuples(st.just("not"), part).map(" ".join),
        st.lists(part, min_size=1, max_size=3).map(lambda parts: f"({' and '.join(parts)})"),
        st.lists(part, min_size=1, max_size=3).map(lambda parts: f"({' or '.join(parts)})"),
        st.tuples(part, st.sampled_from([" and ", " or "]), part).map("".join),
    ),
    max_leaves=8,
)
LEAF_ONLY = LEAVES.filter(lambda text: not text.startswith("rule:"))
TARGETS = st.fixed_dictionaries(
    {},
    optional={
        "project_id": st.sampled_from(["p", "q", "p-x"]),
        "user_id": st.sampled_from(["u", "v"]),
        "name": st.sampled_from(["x", "member", "MEMBER", "None"]),
        "up": st.booleans(),
    },
)
CALLERS = st.builds(
    Caller,
    user_id=st.sampled_from(["u", "v"]),
    project_id=st.sampled_from(["p", "q"]),
    roles=st.frozensets(st.sampled_from(["member", "Reader", "x"])),
    service_roles=st.frozensets(st.sampled_from(["service", "x"])),
    is_admin=st.booleans(),
    system_scope=st.booleans(),
)


class Target(dict[str, Any]):
    def field(self, name: str) -> Any:
        return self.get(name)


def creds(caller: Caller) -> dict[str, Any]:
    """The caller as oslo.context gives it to oslo.policy."""
    return {
        "user_id": caller.user_id,
        "project_id": caller.project_id,
        "roles": list(caller.roles),
        "service_roles": list(caller.service_roles),
        "is_admin": caller.is_admin,
        "system_scope": "all" if caller.system_scope else None,
    }


class Rules:
    """As much of oslo.policy's Enforcer as checks look at."""

    def __init__(self, rules: dict[str, str]) -> None:
        self.rules = oslo.Rules.from_dict(dict(rules))


@examples(300)
@given(TEXTS, st.lists(LEAF_ONLY, min_size=3, max_size=3), CALLERS, TARGETS)
def test_the_same_verdict_as_oslo_policy(text: str, others: list[str], caller: Caller, target: dict[str, Any]) -> None:
    rules = dict(zip(NAMES, others, strict=True)) | {"asked": text}
    enforcer: Any = Rules(rules)
    expected = _checks._check(enforcer.rules["asked"], target, creds(caller), enforcer, "asked")
    policy = Policy(overrides=rules, enforce_scope=False)
    assert policy.check(caller, "asked", Target(target)) is bool(expected)
    verdict = policy.verdict(caller, "asked")
    assert callable(verdict) or verdict is bool(expected)


@examples(300)
@given(st.lists(st.sampled_from(["and", "or", "not", "(", ")", "rule:a", "@", "x:y)"]), max_size=7))
def test_the_same_texts_are_understood(words: list[str]) -> None:
    text = " ".join(words)
    understood = not text or isinstance(oslo.Rules.from_dict({"x": text})["x"], _checks.BaseCheck)
    failed = text and str(oslo.Rules.from_dict({"x": text})["x"]) == "!"
    try:
        parse(text)
    except PolicyError:
        assert failed
    else:
        assert understood
        assert not failed
