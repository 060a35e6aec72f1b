"""Reconcile with a host that refuses some of it: what is refused is set apart, and all the rest is done.

    plan fails at a step ─▶ once more ─▶ set apart what the step is about, in halves ─▶ the rest is done ─▶ the halves are tried
                                                                                                    │
    a single thing that still fails is a fact: ``Refused``, with the command and the kernel's word ◀┘

A step holds things of many objects (a bundle of flows, a restore of chains), so a failed one says little unless the tool names the
line that it did not like: halving finds the culprit among n things in about log n rounds. Of an instance's port all is set apart
together: half of it could be an open door.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from floatway.agent.body import Body
from floatway.agent.reconcile import Clock, Outcome, ReconcileError, View, look, stuck
from floatway.compile.host import Memo, Origin, origins
from floatway.host.ownership import owned
from floatway.host.partial import Possible, Ref, concerned, possible, ref
from floatway.host.plan import attainable
from floatway.host.plan import plan as make_plan
from floatway.host.records import Chain, Ipset, Record
from floatway.host.state import HostState
from floatway.host.steps import ConntrackDelete, IpsetRestore, OfBundle, Plan, Restore, Step
from floatway.linux.errors import StepFailed
from floatway.model.cloud import Cloud

__all__ = ["Refused", "blocked", "held", "reconcile_apart", "still_refused"]

HALVINGS: Final = 48
"""Rounds after which what fails together is set apart together."""
ROUNDS: Final = 4 * HALVINGS
FRUITLESS: Final = 4
"""Rounds without a failure that do not lead to what is wanted: something changes it back, or shows it differently."""
_COMMAND, _SAID = 200, 250  # characters of a reason

Unit = frozenset[Ref]
"""What is set apart together."""
Origins = Mapping[Ref, Origin]


class Refused(msgspec.Struct, frozen=True):
    """What a host refused: the records of ``unit``, as they were ``wanted`` (None: gone), and why."""

    unit: Unit
    wanted: dict[Ref, Record | None]
    reason: str


def held(refused: Iterable[Refused]) -> set[Ref]:
    """All records that are set apart."""
    return {one for each in refused for one in each.unit}


def still_refused(refused: Iterable[Refused], desired: HostState) -> tuple[Refused, ...]:
    """Those of which the same is wanted as when they were refused; what is wanted otherwise now is worth a try."""
    return tuple(
        each
        for each in refused
        if all(desired.get(kind, *key) == wanted for (kind, key), wanted in each.wanted.items())
    )


def blocked(refused: Sequence[Refused], result: Possible, desired: HostState, where: Origins) -> dict[Origin, str]:
    """The logical objects that are not as wanted, and why: the refused ones and those that cannot be without them."""
    reasons = {one: each.reason for each in refused for one in each.unit}
    found: dict[Origin, str] = {}
    for (kind, key), cause in result.because.items():
        leftover = desired.get(kind, *key) is None
        origin = ("leftover", f"{kind.__name__} {' '.join(map(str, key))}") if leftover else where.get((kind, key))
        if origin is not None:
            found.setdefault(origin, reasons[cause])
    return found


def reconcile_apart(
    body: Body,
    cloud: Cloud,
    host: str,
    memo: Memo,
    before: Sequence[Refused] = (),
    *,
    cut_short: Plan = Plan(),  # noqa: B008 (frozen)
) -> tuple[Outcome, tuple[Refused, ...]]:
    """Bring the host to what the cloud wants, less what it refuses: that is the second value, and ``Outcome.blocked`` says whom it
    concerns. ``before`` was refused the last time: it is tried when all else is done. ``cut_short`` is a plan that has just failed:
    what it has done shows, but not what it has still to forget.
    Raises ReconcileError (it does not converge), ObserveError and OvsdbError (the host does not answer)."""
    return _Apart(body, cloud, host, memo).run(before, cut_short)


class _Apart:
    def __init__(self, body: Body, cloud: Cloud, host: str, memo: Memo) -> None:
        self._body, self._cloud, self._host, self._memo = body, cloud, host, memo
        self._facts: list[Refused] = []
        self._later: list[list[Unit]] = []
        self._trying: list[Unit] = []
        self._owed: dict[Step, None] = {}
        self._failed: set[tuple[type[Step], str]] = set()
        self._steps: list[Step] = []
        self._clock = Clock()
        self._origins: Origins | None = None
        self._by_origin: dict[object, set[Ref]] = {}

    def run(self, before: Sequence[Refused], cut_short: Plan) -> tuple[Outcome, tuple[Refused, ...]]:
        self._later = [[each.unit for each in before]] if before else []
        self._owed = {step: None for step in cut_short.steps if isinstance(step, ConntrackDelete)}
        rounds, fruitless = 0, 0
        while True:
            view = look(self._body, self._cloud, self._host, self._clock, self._memo)
            with self._clock.phase("plan"):
                have = owned(view.observed, view.desired)
                result = possible(have, view.desired, self._set_apart())
                plan = make_plan(view.observed, result.state)
            if not plan and not self._owed:
                if self._later:
                    self._trying = self._later.pop(0)
                    fruitless = 0
                    continue
                return self._outcome(view, result, plan.waiting, rounds), tuple(self._facts)
            if fruitless == FRUITLESS:
                self._give_up(view, plan)
                fruitless = 0
                continue
            if rounds == ROUNDS:
                raise ReconcileError(stuck(self._host, plan))
            rounds += 1
            try:
                with self._clock.phase("execute"):
                    self._body.run(Plan(steps=(*plan.steps, *self._owed)))
            except StepFailed as error:
                self._owe(plan, error)
                self._narrow(view, error, rounds)
            else:
                self._owed.clear()
                fruitless += 1
            self._steps += plan.steps

    def _set_apart(self) -> set[Ref]:
        return held(self._facts).union(*(unit for group in self._later for unit in group))

    def _owe(self, plan: Plan, error: StepFailed) -> None:
        """A plan that is cut short has changed chains already whose connections it would have forgotten next."""
        self._owed |= {step: None for step in plan.steps if isinstance(step, ConntrackDelete)}
        if isinstance(error.step, ConntrackDelete) and self._seen(error.step):
            self._owed.pop(error.step, None)

    def _narrow(self, view: View, error: StepFailed, rounds: int) -> None:
        if not self._seen(error.step):
            # Once may be the kernel still taking something apart; the same again is a fact.
            self._failed.add(_sort(error.step))
            return
        refs = concerned(error.step)
        # what went well without these fails with them: whatever else is in the step, the reason is among them
        units = [unit for unit in self._trying if not unit.isdisjoint(refs)] or self._units(refs, view)
        named = blamed(error)
        units = [unit for unit in units if named in unit] or units
        self._trying = []
        if not units:
            return  # nothing that could be left out: an announcement, which the next plan does not repeat
        if len(units) == 1 or rounds > HALVINGS:
            self._facts += (self._refused(unit, view, _reason(error)) for unit in units)
            return
        shared = [unit for unit in units if self._is_shared(unit, view)]
        rest = [unit for unit in units if unit not in shared]
        middle = len(rest) // 2
        # the chains that all ports share come first: no port is tried without them
        self._later[:0] = [group for group in (shared, rest[:middle], rest[middle:]) if group]

    def _seen(self, step: Step) -> bool:
        return _sort(step) in self._failed

    def _give_up(self, view: View, plan: Plan) -> None:
        """What does not become as wanted, though no step says so."""
        units = self._units([one for step in plan.steps for one in concerned(step)], view)
        text = stuck(self._host, plan)
        if not units:
            raise ReconcileError(text)
        self._facts += (self._refused(unit, view, text.splitlines()[1].strip() + ": is undone again") for unit in units)

    def _refused(self, unit: Unit, view: View, reason: str) -> Refused:
        if self._is_shared(unit, view):
            instances = self._instances(view)
            unit |= {one for one, origin in self._where(view).items() if origin in instances}
        return Refused(unit, {(kind, key): view.desired.get(kind, *key) for kind, key in unit}, reason)

    def _where(self, view: View) -> Origins:
        if self._origins is None:
            self._origins = origins(self._cloud, self._host, view.allocations, self._memo)
            for one, origin in self._origins.items():
                self._by_origin.setdefault(origin, set()).add(one)
        return self._origins

    def _instances(self, view: View) -> set[Origin]:
        """The instances' ports that have chains of their own."""
        return {whose for (kind, _), whose in self._where(view).items() if whose[0] == "port" and kind is Chain}

    def _is_shared(self, unit: Unit, view: View) -> bool:
        """Chains of the host's own that belong to no single port. Without them no port may change."""
        where = self._where(view)
        return all(
            kind is Chain and key[0] == "" and where.get((kind, key), ("host",))[0] == "host" for kind, key in unit
        )

    def _units(self, refs: Iterable[Ref], view: View) -> list[Unit]:
        """What to set apart when a step about these fails: of an instance's port all of it, else the record alone; the chains that
        ports share together."""
        where, instances, apart = self._where(view), self._instances(view), self._set_apart()
        units: dict[object, set[Ref]] = {}
        for one in refs:
            origin = where.get(one)
            if origin in instances:
                units[origin] = self._by_origin[origin]
            elif self._is_shared(frozenset([one]), view):
                units.setdefault("shared", set()).add(one)
            else:
                units.setdefault(one, set()).add(one)
        return [frozenset(unit) for unit in units.values() if not unit <= apart]

    def _outcome(self, view: View, result: Possible, waiting: tuple[str, ...], rounds: int) -> Outcome:
        return Outcome(
            plan=Plan(steps=tuple(self._steps), waiting=waiting),
            observed=attainable(view.observed, result.state),
            desired=view.desired,
            allocations=view.allocations,
            seconds=self._clock.seconds,
            waiting=waiting,
            rounds=rounds,
            blocked=blocked(self._facts, result, view.desired, self._where(view)) if self._facts else {},
        )


_LINE: Final = re.compile(r"(?:\bline:? |^-:|\s-:)(\d+)")


def blamed(error: StepFailed) -> Ref | None:
    """The record that the tool blames, if it names the line of its input that it did not like."""
    found = _LINE.search(error.text)
    number = int(found[1]) if found else 0
    match error.step:
        case Restore(netns=netns, text=text) if number:
            lines = text.splitlines()[:number]
            table = next((line[1:] for line in reversed(lines) if line.startswith("*")), "")
            words = lines[-1].split() if len(lines) == number else []
            return (Chain, (netns, table, words[1])) if words[:1] == ["-A"] else None
        case OfBundle(delete=delete, add=add) if 0 < number <= len(delete) + len(add):
            return ref((*delete, *add)[number - 1])
        case IpsetRestore(netns=netns, text=text) if 0 < number <= len(text.splitlines()):
            return Ipset, (netns, text.splitlines()[number - 1].split()[1])
        case _:
            return None


def _sort(step: Step) -> tuple[type[Step], str]:
    return type(step), getattr(step, "netns", "") or getattr(step, "bridge", "")


def _reason(error: StepFailed) -> str:
    """One line of bounded length: the command's first line, and what was said to it."""
    first, _, rest = error.command.partition("\n")
    more = len(first) > _COMMAND or rest
    return f"{first[:_COMMAND]}{' …' if more else ''}: {' '.join(error.text.split())[-_SAID:]}"
