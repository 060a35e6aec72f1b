"""Whether a caller may: the rules in force, made ready for each kind of caller.

    get_port                 rule:admin_only or (role:reader and rule:network_owner) or (role:reader and project_id:%(project_id)s)
    for an admin             True
    for a reader of P        project_id is P, or else network:project_id is P
    for somebody without     False

What depends on the caller alone is worked out once; what is left asks the target, cheapest fields first, and only as far
as needed. A list of 20,000 ports costs a dictionary look-up and a comparison or two for each. Policy files are oslo.policy's
(https://docs.openstack.org/oslo.policy/latest/); checks of kind ``project_id`` and ``field`` are Neutron's own.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from floatway.api.policy_defaults import DEFAULTS, UNSCOPED
from floatway.api.policy_text import And, Field, Match, Node, Not, Or, PolicyError, Role, Rule, load, parse
from floatway.control.caller import Caller

__all__ = ["Policy", "PolicyError", "Target", "Verdict"]

_CACHE_LIMIT: Final = 500
_TEMPLATE: Final = re.compile(r"%\(([^)]*)\)s")
_ACTIONS: Final = ("create_", "get_", "update_", "delete_", "add_", "remove_")
_YES: Final = frozenset({"true", "1", "yes", "on", "t", "y"})


class Target(Protocol):
    """What a rule may ask of the object: its fields by API name, and ``network:project_id`` and the like."""

    def field(self, name: str) -> Any:
        """The value, None when there is none."""


class _Test(msgspec.Struct, frozen=True):
    """What is left of a rule: ``run`` asks the target's fields; ``far`` when another object has to be looked up for it."""

    run: Callable[[Callable[[str], Any]], bool]
    far: bool = False


_Left = bool | _Test
Verdict = bool | Callable[[Callable[[str], Any]], bool]
"""What a rule comes to for a caller: the same whatever the target, or a question to the target's fields."""
_Table = dict[str, Verdict]


class Policy:
    """The rules in force. Built-in defaults, then each file over what came before."""

    def __init__(
        self, files: Sequence[Path] = (), *, overrides: Mapping[str, str] | None = None, enforce_scope: bool = True
    ) -> None:
        """``overrides`` come last (tests). ``enforce_scope``: tokens without a project may nothing.

        Raises:
            PolicyError: a file cannot be read or understood, or a rule names one that does not exist.
        """
        self._rules: dict[str, Node] = {name: parse(check) for name, check in DEFAULTS.items()}
        for file in files:
            self._rules |= load(file)
        self._rules |= {name: parse(check) for name, check in (overrides or {}).items()}
        self._enforce_scope = enforce_scope
        self._kinds = tuple(sorted(self._checked()))
        self._tables: dict[tuple[object, ...], _Table] = {}
        self._last: tuple[Caller, _Table] | None = None

    def known(self, rule: str) -> bool:
        """Whether there is such a rule (what has none of its own is under ``default``)."""
        return rule in self._rules

    def is_admin(self, caller: Caller) -> bool:
        """What ``context_is_admin`` says of a caller; nobody is for whom the rules are not meant."""
        return self.in_scope(caller) and self._specialised("context_is_admin", caller) is True

    def in_scope(self, caller: Caller) -> bool:
        """Whether rules are meant for a token of this scope: Neutron's are all for projects'."""
        return not self._enforce_scope or not (caller.system_scope or caller.domain_id)

    def check(self, caller: Caller, rule: str, target: Target) -> bool:
        """The verdict of ``rule`` (or of ``default`` when there is none of that name)."""
        verdict = self.verdict(caller, rule)
        return verdict if isinstance(verdict, bool) else verdict(target.field)

    def verdict(self, caller: Caller, rule: str) -> Verdict:
        """What ``rule`` comes to for the caller; worked out once for all callers of whom rules see the same."""
        last = self._last
        table = last[1] if last is not None and last[0] is caller else self._table(caller)
        verdict = table.get(rule)
        if verdict is None:
            left = self._specialised(rule, caller)
            verdict = table[rule] = left if isinstance(left, bool) else left.run
        return verdict

    @property
    def idle(self) -> tuple[str, ...]:
        """Rules that nothing asks for: no default has the name, it is no action's, and no other rule is made of it."""
        used = {node.name for rule in self._rules.values() for node in _nodes(rule) if isinstance(node, Rule)}
        return tuple(
            name for name in self._rules if name not in DEFAULTS and name not in used and not name.startswith(_ACTIONS)
        )

    def _table(self, caller: Caller) -> _Table:
        """What is worked out already for callers of whom rules see the same."""
        values = _values(caller)
        key = (
            caller.roles,
            caller.service_roles,
            self.in_scope(caller),
            *[values[kind] for kind in self._kinds if kind not in _ROLES],
        )
        table = self._tables.get(key)
        if table is None:
            if len(self._tables) >= _CACHE_LIMIT:
                self._tables.clear()
            table = self._tables[key] = {}
        self._last = (caller, table)
        return table

    def _specialised(self, name: str, caller: Caller) -> _Left:
        if name not in UNSCOPED and name in DEFAULTS and not self.in_scope(caller):
            return False
        node = self._rules.get(name)
        return self._left(self._rules["default"] if node is None else node, _values(caller))

    def _left(self, node: Node, values: Mapping[str, Any]) -> _Left:
        """What is left of ``node`` for this caller."""
        if isinstance(node, bool):
            return node
        if isinstance(node, Rule):
            return self._left(self._rules[node.name], values)
        if isinstance(node, Role):
            return _role(node.name, values["roles"])
        if isinstance(node, Field):
            return _field(node)
        if isinstance(node, Match):
            return _match(node, values)
        if isinstance(node, Not):
            return _not(self._left(node.part, values))
        return _joined([self._left(part, values) for part in node.parts], any_of=isinstance(node, Or))

    def _checked(self) -> set[str]:
        """What of the caller the rules compare; complains of what they cannot."""
        kinds: set[str] = set()
        for name, node in self._rules.items():
            self._walk(node, (name,), kinds)
        return kinds

    def _walk(self, node: Node, within: tuple[str, ...], kinds: set[str]) -> None:
        for leaf in _nodes(node):
            if isinstance(leaf, Match) and _literal(leaf.kind) is None:
                if leaf.kind not in _KINDS:
                    known = ", ".join(_KINDS)
                    raise PolicyError(f"policy rule {within[0]}: of a caller, {leaf.kind} is not known: {known}")
                kinds.add(leaf.kind)
            elif isinstance(leaf, Rule):
                if leaf.name in within:
                    circle = " -> ".join((*within, leaf.name))
                    raise PolicyError(f"policy rule {within[0]}: rules refer to each other in a circle: {circle}")
                if leaf.name not in self._rules:
                    raise PolicyError(f"policy rule {within[0]}: there is no rule {leaf.name}")
                self._walk(self._rules[leaf.name], (*within, leaf.name), kinds)


def _nodes(node: Node) -> Iterator[Node]:
    """The parts that have no parts."""
    if isinstance(node, Not):
        yield from _nodes(node.part)
    elif isinstance(node, And | Or):
        for part in node.parts:
            yield from _nodes(part)
    else:
        yield node


_ROLES: Final = frozenset({"roles", "service_roles"})


def _values(caller: Caller) -> dict[str, Any]:
    """The caller, as checks name it."""
    return {
        "user_id": caller.user_id,
        "user": caller.user_id,
        "user_name": caller.user_name,
        "project_id": caller.project_id,
        "tenant_id": caller.project_id,
        "project_name": caller.project_name,
        "domain_id": caller.domain_id,
        "domain": caller.domain_id,
        "system_scope": "all" if caller.system_scope else "",
        "system": "all" if caller.system_scope else "",
        "is_admin": caller.is_admin,
        "roles": {role.lower() for role in caller.roles},
        "service_roles": {role.lower() for role in caller.service_roles},
    }


_KINDS: Final = tuple(_values(Caller()))


def _role(name: str, roles: set[str]) -> _Left:
    if not _TEMPLATE.search(name):
        return name.lower() in roles
    filled = _filled(name)
    return _Test(lambda field: (wanted := filled(field)) is not None and wanted.lower() in roles)


def _literal(kind: str) -> str | None:
    """The value of a literal (``'Member'``, ``True``), None for the name of something of the caller."""
    try:
        return str(ast.literal_eval(kind))
    except (ValueError, SyntaxError):
        return None


def _match(node: Match, values: Mapping[str, Any]) -> _Left:
    literal = _literal(node.kind)
    mine = values[node.kind] if literal is None else literal
    held = mine if isinstance(mine, set) else {str(mine)} - {""}
    names = _TEMPLATE.findall(node.match)
    if not names:
        return node.match in held
    if not held:
        return False
    far = any(":" in name for name in names)
    if node.match == f"%({names[0]})s" and len(held) == 1:
        name, (only,) = names[0], held
        return _Test(lambda field: _text(field(name)) == only, far)
    filled = _filled(node.match)
    return _Test(lambda field: filled(field) in held, far)


def _filled(template: str) -> Callable[[Callable[[str], Any]], str | None]:
    """The template with the target's values; None when one of them is missing."""
    names = _TEMPLATE.findall(template)

    def fill(field: Callable[[str], Any]) -> str | None:
        values = {name: _text(field(name)) for name in names}
        if None in values.values():
            return None
        return _TEMPLATE.sub(lambda found: str(values[found[1]]), template)

    return fill


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


def _field(node: Field) -> _Test:
    """``networks:shared`` is also asked of what is on a network: then of that network."""
    source = "network:shared" if (node.resource, node.name) == ("networks", "shared") else node.name
    far = ":" in source or source == "shared"
    wanted = node.wanted
    if wanted.startswith("~"):
        pattern = re.compile(wanted[1:])
        return _Test(lambda field: (value := field(source)) is not None and bool(pattern.match(str(value))), far)
    as_bool = wanted.lower() in _YES

    def test(field: Callable[[str], Any]) -> bool:
        value = field(source)
        if isinstance(value, bool):
            return value is as_bool
        return _text(value) == wanted

    return _Test(test, far)


def _not(left: _Left) -> _Left:
    if isinstance(left, bool):
        return not left
    run = left.run
    return _Test(lambda field: not run(field), left.far)


def _joined(parts: list[_Left], *, any_of: bool) -> _Left:
    """``or`` (``any_of``) or ``and`` of what is left; near tests first."""
    if any_of in parts:
        return any_of
    tests = sorted((part for part in parts if not isinstance(part, bool)), key=lambda test: test.far)
    if not tests:
        return not any_of
    if len(tests) == 1:
        return tests[0]
    far = tests[-1].far
    runs = [test.run for test in tests]
    if len(runs) == 2:
        first, second = runs
        if any_of:
            return _Test(lambda field: first(field) or second(field), far)
        return _Test(lambda field: first(field) and second(field), far)
    if any_of:
        return _Test(lambda field: any(run(field) for run in runs), far)
    return _Test(lambda field: all(run(field) for run in runs), far)
