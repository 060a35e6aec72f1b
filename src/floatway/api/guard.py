"""Policy, applied to requests: which rules a request falls under, and what a refusal tells.

    POST ports {binding:host_id: …}   create_port, create_port:binding:host_id        no ─▶ 403
    PUT / DELETE                      update_port, … / delete_port                    no ─▶ 403, or 404 if get_port says no too
    GET                               get_port; get_port:<attribute> for each field   no ─▶ 404; hidden

An attribute counts as given when the client named it and, on create, gave it another value than the default.
"""

import functools
from typing import Any, Final, TypeVar

from floatway.api.attributes import ATTRIBUTES
from floatway.api.attributes.body import Body
from floatway.api.noun import Noun
from floatway.api.policy import Policy, Target
from floatway.api.targets import EntityTarget
from floatway.control.caller import Caller
from floatway.control.entities import Entity
from floatway.control.errors import ApiError, forbidden, not_found

__all__ = ["Guard", "hidden_not_found"]

E = TypeVar("E", bound=Entity)
_GATEWAY: Final = ("network_id", "external_fixed_ips", "enable_snat")
_RULE_NOUNS: Final = {"binding": "port_binding", "port_forwarding": "floatingip_port_forwarding"}


def hidden_not_found(noun: Noun | None = None, target: Target | None = None) -> ApiError:
    """404 for what is there, but not for this caller: in the very words for what is not there at all."""
    if noun is None or target is None:
        return ApiError(404, "HTTPNotFound", "The resource could not be found.")
    return not_found(noun.singular, str(target.field("id")))


def disallowed(rule: str) -> ApiError:
    """403."""
    return forbidden("PolicyNotAuthorized", f"{rule} is disallowed by policy")


class Guard:
    """The policy of one server, asked by the dispatch."""

    def __init__(self, policy: Policy) -> None:
        """``policy`` holds the rules."""
        self.policy = policy
        self._attribute_rules: dict[str, tuple[frozenset[str], tuple[tuple[str, str], ...]]] = {}

    def may_create(self, caller: Caller, noun: Noun, body: Body, target: Target) -> None:
        """Raise 403 unless the caller may create this."""
        self._enforce(caller, _asked("create", noun, body, creating=True), target)

    def may_update(self, caller: Caller, noun: Noun, body: Body, target: Target) -> None:
        """Raise 403 unless the caller may change this so; 404 when they may not even see it."""
        self._enforce(caller, _asked("update", noun, body, creating=False), target, seen_by=noun)

    def may_delete(self, caller: Caller, noun: Noun, target: Target) -> None:
        """Raise 403 unless the caller may delete this; 404 when they may not even see it."""
        self._enforce(caller, _rule("delete", noun), target, seen_by=noun)

    def may_get(self, caller: Caller, noun: Noun, target: Target) -> bool:
        """Whether the caller may see this."""
        return self.policy.check(caller, _rule("get", noun), target)

    def readable(self, caller: Caller, noun: Noun, rows: list[E], target: EntityTarget) -> list[E]:
        """Those of ``rows`` that the caller may see. ``target`` is pointed at one after the other."""
        verdict = self.policy.verdict(caller, _rule("get", noun))
        if isinstance(verdict, bool):
            return rows if verdict else []
        return [row for row in rows if verdict(target.at(row).field)]

    def may(self, caller: Caller, rule: str, target: Target, noun: Noun | None = None) -> None:
        """Raise 403 unless ``rule`` (an action's) lets the caller; 404 when they may not even see the ``noun`` it acts on."""
        self._enforce(caller, rule, target, seen_by=noun)

    def hidden(self, caller: Caller, noun: Noun, target: Target) -> frozenset[str]:
        """The attributes of this that the caller does not get to see."""
        never, rules = self._visibility(noun)
        if not rules:
            return never
        return never.union(name for name, rule in rules if not self.policy.check(caller, rule, target))

    def _visibility(self, noun: Noun) -> tuple[frozenset[str], tuple[tuple[str, str], ...]]:
        """The attributes that nobody sees, and the rules of those that some do."""
        found = self._attribute_rules.get(noun.collection)
        if found is None:
            attributes = ATTRIBUTES[noun.collection]
            named = ((name, f"{_rule('get', noun)}:{name}") for name in attributes)
            found = self._attribute_rules[noun.collection] = (
                frozenset(name for name, attribute in attributes.items() if not attribute.visible),
                tuple((name, rule) for name, rule in named if self.policy.known(rule)),
            )
        return found

    def _enforce(self, caller: Caller, asked: "_Asked", target: Target, *, seen_by: Noun | None = None) -> None:
        if self._all(caller, asked, target):
            return
        if seen_by is not None and not self.may_get(caller, seen_by, target):
            raise hidden_not_found(seen_by, target)
        raise disallowed(_told(asked))

    def _all(self, caller: Caller, asked: "_Asked", target: Target) -> bool:
        if isinstance(asked, str):
            return self.policy.check(caller, asked, target)
        return all(self._all(caller, part, target) for part in asked)


_Asked = str | list["_Asked"]
"""Rules that must all say yes, nested as Neutron nests them: the refusal prints them so."""


def _asked(action: str, noun: Noun, body: Body, *, creating: bool) -> _Asked:
    """The rules of a request: the action's, those of attributes that were given, those of parts of attributes.

    On create an attribute counts as given when its value is not the default.
    """
    rule = _rule(action, noun)
    asked: _Asked = rule
    for name, attribute in ATTRIBUTES[noun.collection].items():
        if not attribute.policy or name not in body.given:
            continue
        value = body.values.get(name)
        if creating and _same(value, attribute.default):
            continue
        named = f"{rule}:{name}"
        parts = _parts(name, value)
        asked = [asked, [named, [f"{named}:{part}" for part in parts]] if parts else named]
    return asked


def _parts(name: str, value: Any) -> list[str]:
    """The parts of an attribute that have rules of their own: those of a gateway, those of each dictionary in a list."""
    if isinstance(value, dict):
        return [part for part in _GATEWAY if part in value] if name == "external_gateway_info" else []
    if isinstance(value, list):
        return [part for item in value if isinstance(item, dict) for part in item]
    return []


def _told(asked: _Asked) -> str:
    """As oslo.policy prints it: ``(rule:create_port and rule:create_port:binding:host_id)``."""
    if isinstance(asked, str):
        return f"rule:{asked}"
    return f"({' and '.join(map(_told, asked))})"


def _same(value: Any, default: Any) -> bool:
    if isinstance(default, tuple):
        return isinstance(value, list | tuple) and tuple(value) == default
    return type(value) is type(default) and bool(value == default)


def _rule(action: str, noun: Noun) -> str:
    return _named(action, noun.singular)


@functools.cache
def _named(action: str, singular: str) -> str:
    return f"{action}_{_RULE_NOUNS.get(singular, singular)}"
