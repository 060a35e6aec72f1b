"""Policy, applied to requests: which rules a request falls under, and what a refusal tells.

    POST ports {binding:host_id: …}   create_port, create_port:binding:host_id        no ─▶ 403
    PUT / DELETE                      update_port, … / delete_port                    no ─▶ 403, or 404 if get_port says no too
    GET                               get_port; get_port:<attribute> for each field   no ─▶ 404; hidden

An attribute counts as given when the client named it and, on create, gave it another value than the default.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from floatway.api.attributes import ATTRIBUTES
from floatway.api.attributes.body import Body
from floatway.api.noun import Noun
from floatway.api.policy import Policy, Target
from floatway.control.caller import Caller
from floatway.control.errors import ApiError, forbidden

__all__ = ["Guard", "hidden_not_found"]

_RULE_NOUNS: Final = {"binding": "port_binding", "port_forwarding": "floatingip_port_forwarding"}


def hidden_not_found() -> ApiError:
    """404 for what is there, but not for this caller."""
    return ApiError(404, "HTTPNotFound", "The resource could not be found.")


def disallowed(rule: str) -> ApiError:
    """403."""
    return forbidden("PolicyNotAuthorized", f"{rule} is disallowed by policy")


class Guard:
    """The policy of one server, asked by the dispatch."""

    def __init__(self, policy: Policy) -> None:
        """``policy`` holds the rules."""
        self.policy = policy
        self._attribute_rules: dict[str, tuple[tuple[str, str], ...]] = {}

    def may_create(self, caller: Caller, noun: Noun, body: Body, target: Target) -> None:
        """Raise 403 unless the caller may create this."""
        given = self._given(noun, body.values, body.given, creating=True)
        self._enforce(caller, self._rules(f"create_{_name(noun)}", noun, body.values, given), target)

    def may_update(self, caller: Caller, noun: Noun, body: Body, target: Target) -> None:
        """Raise 403 unless the caller may change this so; 404 when they may not even see it."""
        given = self._given(noun, body.values, body.given, creating=False)
        rules = self._rules(f"update_{_name(noun)}", noun, body.values, given)
        self._enforce(caller, rules, target, or_hidden=f"get_{_name(noun)}")

    def may_delete(self, caller: Caller, noun: Noun, target: Target) -> None:
        """Raise 403 unless the caller may delete this; 404 when they may not even see it."""
        self._enforce(caller, (f"delete_{_name(noun)}",), target, or_hidden=f"get_{_name(noun)}")

    def may_get(self, caller: Caller, noun: Noun, target: Target) -> bool:
        """Whether the caller may see this."""
        return self.policy.check(caller, f"get_{_name(noun)}", target)

    def may(self, caller: Caller, rule: str, target: Target) -> None:
        """Raise 403 unless ``rule`` (an action's) lets the caller."""
        self._enforce(caller, (rule,), target)

    def hidden(self, caller: Caller, noun: Noun, target: Target) -> frozenset[str]:
        """The attributes of this that the caller does not get to see."""
        rules = self._visibility(noun)
        return frozenset(name for name, rule in rules if not self.policy.check(caller, rule, target))

    def _visibility(self, noun: Noun) -> tuple[tuple[str, str], ...]:
        rules = self._attribute_rules.get(noun.collection)
        if rules is None:
            named = ((name, f"get_{_name(noun)}:{name}") for name in ATTRIBUTES[noun.collection])
            rules = self._attribute_rules[noun.collection] = tuple(
                (name, rule) for name, rule in named if self.policy.known(rule)
            )
        return rules

    def _given(self, noun: Noun, values: Mapping[str, Any], given: Iterable[str], *, creating: bool) -> Iterator[str]:
        attributes = ATTRIBUTES[noun.collection]
        for name in given:
            attribute = attributes.get(name)
            if attribute is None or not attribute.policy:
                continue
            if creating and _same(values.get(name), attribute.default):
                continue
            yield name

    def _rules(self, action: str, noun: Noun, values: Mapping[str, Any], given: Iterable[str]) -> Iterator[str]:
        yield action
        for name in given:
            yield f"{action}:{name}"
            value = values.get(name)
            if isinstance(value, dict) and name == "external_gateway_info":
                yield from (f"{action}:{name}:{part}" for part in value)
            elif isinstance(value, list):
                parts = dict.fromkeys(part for item in value if isinstance(item, dict) for part in item)
                yield from (f"{action}:{name}:{part}" for part in parts)

    def _enforce(self, caller: Caller, rules: Iterable[str], target: Target, *, or_hidden: str = "") -> None:
        asked = list(rules)
        refused = self.policy.check_all(caller, asked, target)
        if refused is None:
            return
        if or_hidden and not self.policy.check(caller, or_hidden, target):
            raise hidden_not_found()
        raise disallowed(_told(asked))


def _told(rules: list[str]) -> str:
    """As oslo.policy prints the whole check: ``(rule:create_port and rule:create_port:binding:host_id)``."""
    text = f"rule:{rules[0]}"
    for rule in rules[1:]:
        text = f"({text} and rule:{rule})"
    return text


def _same(value: Any, default: Any) -> bool:
    if isinstance(default, tuple):
        return isinstance(value, list | tuple) and tuple(value) == default
    return type(value) is type(default) and bool(value == default)


def _name(noun: Noun) -> str:
    return _RULE_NOUNS.get(noun.singular, noun.singular)
