"""The language of policy rules, as oslo.policy has it: from text to a tree.

    «rule:admin_only or (role:member and project_id:%(project_id)s)»
        Or(Rule("admin_only"), And(Role("member"), Match("project_id", "%(project_id)s")))

https://docs.openstack.org/oslo.policy/latest/reference/api/oslo_policy.policy.html. The library itself would take 20 MiB and
0.2 s of every server's start for these hundred lines; a test holds this parser to it. Where the library logs a rule that it
does not understand and lets it mean «never», a ``PolicyError`` says so before the server starts.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

__all__ = ["And", "Field", "Match", "Node", "Not", "Or", "PolicyError", "Role", "Rule", "load", "parse"]


class PolicyError(ValueError):
    """A policy file is not what it should be. The message says where."""


class Rule(msgspec.Struct, frozen=True):
    """``rule:admin_only``: what another rule says."""

    name: str


class Role(msgspec.Struct, frozen=True):
    """``role:member``: the caller has the role."""

    name: str


class Match(msgspec.Struct, frozen=True):
    """``project_id:%(network:project_id)s``: something of the caller (or a literal) is something of the target (or a literal)."""

    kind: str
    match: str


class Field(msgspec.Struct, frozen=True):
    """``field:networks:shared=True``, ``field:port:device_owner=~^network:``: something of the target is a literal."""

    resource: str
    name: str
    wanted: str


class Not(msgspec.Struct, frozen=True):
    """``not``."""

    part: "Node"


class And(msgspec.Struct, frozen=True):
    """``and``."""

    parts: tuple["Node", ...]


class Or(msgspec.Struct, frozen=True):
    """``or``."""

    parts: tuple["Node", ...]


Node = bool | Rule | Role | Match | Field | Not | And | Or
"""``@`` and an empty rule are True, ``!`` is False."""

_WORDS: Final = re.compile(r"\s+")
_ASKS_A_SERVER: Final = frozenset({"http", "https", "remote"})


def load(file: Path) -> dict[str, Node]:
    """The rules of a policy file: YAML (or JSON, which is YAML), ``name: check``.

    Raises:
        PolicyError: it cannot be read or understood.
    """
    try:
        rules = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise PolicyError(f"{file}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PolicyError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(rules, dict):
        raise PolicyError(f"{file}: rules are wanted, as «name: check»")
    found = {}
    for name, check in rules.items():
        if not isinstance(name, str):
            raise PolicyError(f"{file}: {name}: a rule's name is a string")
        try:
            found[name] = parse(check)
        except PolicyError as error:
            raise PolicyError(f"{file}: {name}: {error}") from error
    return found


def parse(check: str | Sequence[Any]) -> Node:
    """The tree of a check; also of the lists that oslo.policy had before it had a language.

    Raises:
        PolicyError: it is not in the language.
    """
    if isinstance(check, str):
        return _Parser(check).whole() if check else True
    if not isinstance(check, Sequence):
        raise PolicyError("a check is a string")
    return _of_lists(check)


class _Parser:
    """Recursive descent: ``or`` binds least, then ``and``, then ``not``."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [token for word in _WORDS.split(text) for token in _split(word)]
        self._at = 0

    def whole(self) -> Node:
        """The tree of all of the text."""
        tree = self._any()
        if self._at < len(self._tokens):
            raise self._error()
        return tree

    def _any(self) -> Node:
        parts = [self._all()]
        while self._word() == "or":
            self._at += 1
            parts.append(self._all())
        return Or(tuple(parts)) if len(parts) > 1 else parts[0]

    def _all(self) -> Node:
        parts = [self._one()]
        while self._word() == "and":
            self._at += 1
            parts.append(self._one())
        return And(tuple(parts)) if len(parts) > 1 else parts[0]

    def _one(self) -> Node:
        word = self._word()
        if word == "not":
            self._at += 1
            return Not(self._one())
        if word == "(":
            self._at += 1
            tree = self._any()
            if self._word() != ")":
                raise self._error()
            self._at += 1
            return tree
        if word in {"", ")", "and", "or"}:
            raise self._error()
        self._at += 1
        return _leaf(self._tokens[self._at - 1])

    def _word(self) -> str:
        return self._tokens[self._at].lower() if self._at < len(self._tokens) else ""

    def _error(self) -> PolicyError:
        return PolicyError(f"not a check: {self._text}")


def _split(word: str) -> list[str]:
    """A word with the parentheses around it; those within (``%(name)s``) are its own."""
    inner = word.lstrip("(")
    opened = len(word) - len(inner)
    bare = inner.rstrip(")")
    return ["("] * opened + ([bare] if bare else []) + [")"] * (len(inner) - len(bare))


def _leaf(text: str) -> Node:
    if text in {"@", "!"}:
        return text == "@"
    kind, colon, match = text.partition(":")
    if not colon or (len(text) > 1 and text[0] == text[-1] and text[0] in "'\""):
        raise PolicyError(f"not a check: {text}")
    if kind == "rule":
        return Rule(match)
    if kind == "role":
        return Role(match)
    if kind == "field":
        return _field(text, match)
    if kind in _ASKS_A_SERVER:
        raise PolicyError(f"{text}: checks that ask a server are not supported")
    return Match(kind, match)


def _field(text: str, match: str) -> Field:
    resource, colon, rest = match.partition(":")
    name, equals, wanted = rest.partition("=")
    if not (resource and colon and name and equals):
        raise PolicyError(f"{text}: not field:RESOURCE:NAME=VALUE")
    if wanted.startswith("~"):
        try:
            re.compile(wanted[1:])
        except re.error as error:
            raise PolicyError(f"{text}: not a regular expression: {error}") from error
    return Field(resource, name, wanted)


def _of_lists(check: Sequence[Any]) -> Node:
    """``[["rule:a", "rule:b"], ["rule:c"]]``: the inner lists' checks all, any of the lists."""
    if not check:
        return True
    parts: list[Node] = []
    for item in check:
        checks = [item] if isinstance(item, str) else item
        if not isinstance(checks, list) or not all(isinstance(one, str) for one in checks):
            raise PolicyError("a check is a string, or a list of lists of strings")
        leaves = tuple(_leaf(one) for one in checks)
        if leaves:
            parts.append(And(leaves) if len(leaves) > 1 else leaves[0])
    if not parts:
        return False
    return Or(tuple(parts)) if len(parts) > 1 else parts[0]
