"""Whether a caller may: the rules of oslo.policy, compiled, with verdicts remembered.

    "create_port"  ─▶ rule:admin_only or (role:member and rule:network_owner) …  ─▶ reads: network:project_id
                                                                                        │
    verdict(caller, rule, target) = cache[caller, rule, the values of just what the rule can read]

oslo.policy parses rules and policy files (https://docs.openstack.org/oslo.policy/latest/); what is asked a thousand times
for one list is answered from a dictionary. A target is asked for a field only when the rule reads it, so that what has to
be looked up elsewhere (the network's owner) is looked up only then.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import yaml
from oslo_policy import policy as oslo

from floatway.api.policy_defaults import DEFAULTS
from floatway.control.caller import Caller

__all__ = ["Policy", "PolicyError", "Target"]

_CACHE_LIMIT: Final = 100_000
_TEMPLATE: Final = re.compile(r"%\(([^)]*)\)s")


class Target(Protocol):
    """What a rule may ask of the object: its fields by API name, and ``network:project_id`` and the like."""

    def field(self, name: str) -> Any:
        """The value, None when there is none."""


class PolicyError(ValueError):
    """A policy file is not what it should be. The message says where."""


class _Facts(msgspec.Struct, frozen=True):
    """The caller, as rules name it."""

    roles: frozenset[str]
    values: dict[str, Any]


Check = Callable[[_Facts, Callable[[str], Any]], bool]


class _Compiled(msgspec.Struct, frozen=True):
    check: Check
    reads: tuple[str, ...]


class Policy:
    """The rules in force. Built-in defaults, then each file over what came before."""

    def __init__(self, files: Sequence[Path] = (), *, overrides: dict[str, str] | None = None) -> None:
        """``overrides`` come last (tests).

        Raises:
            PolicyError: a file cannot be read or parsed, or a rule names one that does not exist.
        """
        texts = dict(DEFAULTS)
        for file in files:
            texts |= _load(file)
        texts |= overrides or {}
        self._rules = oslo.Rules.from_dict(texts)
        self._compiled: dict[str, _Compiled] = {}
        self._verdicts: dict[tuple[object, ...], bool] = {}
        self._facts: dict[tuple[object, ...], _Facts] = {}
        for name in texts:
            self._compile(name)

    def known(self, rule: str) -> bool:
        """Whether there is such a rule (what has none of its own is under ``default``)."""
        return rule in self._rules

    def is_admin(self, roles: frozenset[str]) -> bool:
        """What ``context_is_admin`` says of these roles."""
        compiled = self._compile("context_is_admin")
        return compiled.check(_Facts(roles, {}), lambda _name: None)

    def check(self, caller: Caller, rule: str, target: Target) -> bool:
        """The verdict of ``rule`` (or of ``default`` when there is none of that name)."""
        compiled = self._compiled.get(rule) or self._compile(rule)
        identity = (caller.user_id, caller.project_id, caller.domain_id, caller.roles)
        key: tuple[object, ...] = (identity, rule, *[_hashable(target.field(name)) for name in compiled.reads])
        verdict = self._verdicts.get(key)
        if verdict is None:
            if len(self._verdicts) > _CACHE_LIMIT:
                self._verdicts.clear()
                self._facts.clear()
            verdict = self._verdicts[key] = compiled.check(self._facts_of(identity, caller), target.field)
        return verdict

    def check_all(self, caller: Caller, rules: Iterable[str], target: Target) -> str | None:
        """The first of ``rules`` that says no, or None."""
        return next((rule for rule in rules if not self.check(caller, rule, target)), None)

    def _facts_of(self, identity: tuple[object, ...], caller: Caller) -> _Facts:
        facts = self._facts.get(identity)
        if facts is None:
            values = {
                "user_id": caller.user_id,
                "project_id": caller.project_id,
                "tenant_id": caller.project_id,
                "domain_id": caller.domain_id,
            }
            facts = self._facts[identity] = _Facts(frozenset(role.lower() for role in caller.roles), values)
        return facts

    def _compile(self, name: str) -> _Compiled:
        compiled = self._compiled.get(name)
        if compiled is None:
            reads: dict[str, None] = {}
            check = self._one(self._rules[name if name in self._rules else "default"], reads, (name,))
            compiled = self._compiled[name] = _Compiled(check, tuple(reads))
        return compiled

    def _one(self, check: Any, reads: dict[str, None], within: tuple[str, ...]) -> Check:
        """``check`` of oslo.policy as a function; the fields it reads are added to ``reads``."""
        if isinstance(check, oslo.AndCheck):
            return _all_of([self._one(part, reads, within) for part in check.rules])
        if isinstance(check, oslo.OrCheck):
            return _any_of([self._one(part, reads, within) for part in check.rules])
        if isinstance(check, oslo.NotCheck):
            return _not(self._one(check.rule, reads, within))
        if isinstance(check, oslo.RuleCheck):
            return self._other(check.match, reads, within)
        return _leaf(check, reads)

    def _other(self, name: str, reads: dict[str, None], within: tuple[str, ...]) -> Check:
        if name in within:
            raise PolicyError(
                f"policy rule {within[0]}: rules refer to each other in a circle: {' -> '.join((*within, name))}"
            )
        if name not in self._rules:
            raise PolicyError(f"policy rule {within[0]}: there is no rule {name}")
        return self._one(self._rules[name], reads, (*within, name))


def _load(file: Path) -> dict[str, str]:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        rules = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise PolicyError(f"{file}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(rules, dict):
        raise PolicyError(f"{file}: rules are wanted, as «name: check»")
    for name, check in rules.items():
        if not isinstance(name, str) or not isinstance(check, str | list):
            raise PolicyError(f"{file}: {name}: a check is a string")
        if check and not isinstance(check, list) and oslo_refuses(check):
            raise PolicyError(f"{file}: {name}: not a check: {check}")
    return rules


def oslo_refuses(check: str) -> bool:
    """What oslo.policy cannot parse it turns into «never»; only ``!`` may mean that."""
    parsed = oslo.Rules.from_dict({"rule": check})["rule"]
    return str(parsed) == "!" and check.strip() != "!"


def _all_of(checks: list[Check]) -> Check:
    return lambda facts, field: all(check(facts, field) for check in checks)


def _any_of(checks: list[Check]) -> Check:
    return lambda facts, field: any(check(facts, field) for check in checks)


def _not(check: Check) -> Check:
    return lambda facts, field: not check(facts, field)


def _leaf(check: Any, reads: dict[str, None]) -> Check:
    text = str(check)
    if text == "@":
        return lambda _facts, _field: True
    if text == "!":
        return lambda _facts, _field: False
    kind, match = str(check.kind), str(check.match)
    if kind in {"role", "service_roles"}:
        return _role(match.lower()) if kind == "role" else _never
    if kind == "field":
        return _field_is(match, reads)
    if kind in {"http", "https", "remote"}:
        raise PolicyError(f"policy check {text}: checks that ask a server are not supported")
    return _generic(kind, match, reads)


def _never(_facts: _Facts, _field: Callable[[str], Any]) -> bool:
    return False


def _role(name: str) -> Check:
    if "%(" in name:
        raise PolicyError(f"policy check role:{name}: a role cannot be taken from the target")
    return lambda facts, _field: name in facts.roles


def _generic(kind: str, match: str, reads: dict[str, None]) -> Check:
    """``project_id:%(network:project_id)s``: something of the caller equals something of the target or a literal."""
    names = _TEMPLATE.findall(match)
    for name in names:
        reads[name] = None

    def check(facts: _Facts, field: Callable[[str], Any]) -> bool:
        values = {name: field(name) for name in names}
        if any(value is None for value in values.values()):
            return False
        wanted = match % {name: str(value) for name, value in values.items()}
        mine = facts.values[kind] if kind in facts.values else kind.strip("'\"")
        return mine != "" and str(mine) == wanted

    return check


def _field_is(match: str, reads: dict[str, None]) -> Check:
    """``networks:router:external=True``, ``port:device_owner=~^network:``; ``networks:…`` also of another noun's network."""
    resource, _, rest = match.partition(":")
    name, _, wanted = rest.partition("=")
    source = "network:shared" if resource == "networks" and name == "shared" else name
    reads[source] = None
    if wanted.startswith("~"):
        pattern = re.compile(wanted[1:])
        return lambda _facts, field: pattern.match(str(field(source) or "")) is not None
    return lambda _facts, field: str(field(source)) == wanted


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | bool | int | None) else str(value)
