"""iptables-save(8), ``iptables -S`` and one rule's text, both ways.

    *filter / :CHAIN POLICY [packets:bytes] / -A CHAIN matches -j TARGET options / COMMIT

A rule's canonical text is what iptables-save 1.8.9 (nf_tables) prints after ``-A CHAIN``.
"""

import re
import shlex
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from floatway.host.records import Chain, Opaque, Record
from floatway.host.state import HostState

TABLES = ("raw", "mangle", "filter", "nat")
BUILTIN_ORDER = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")


class Match(msgspec.Struct, frozen=True):
    """One condition. Basic ones have module ""; ``value`` holds all its words, "" when it has none; module "?" was not understood."""

    module: str
    name: str
    value: str = ""
    negated: bool = False


class IptablesRule(msgspec.Struct, frozen=True):
    """A rule taken apart. ``target`` "" falls through; ``options`` are the target's, without dashes."""

    matches: tuple[Match, ...] = ()
    target: str = ""
    options: tuple[tuple[str, str], ...] = ()
    goto: bool = False


_BASIC = {
    "-s": "source", "--source": "source", "-d": "destination", "--destination": "destination", "-i": "in-interface",
    "--in-interface": "in-interface", "-o": "out-interface", "--out-interface": "out-interface", "-p": "protocol",
    "--protocol": "protocol", "-f": "fragment", "--fragment": "fragment",
}  # fmt: skip
_SHORT = {
    "source": "-s",
    "destination": "-d",
    "in-interface": "-i",
    "out-interface": "-o",
    "protocol": "-p",
    "fragment": "-f",
}
_FLAGS = frozenset({"physdev-is-bridged", "physdev-is-in", "physdev-is-out", "random", "random-fully", "persistent", "notrack",
                    "return-nomatch", "restore-mark", "save-mark", "fragment", "syn", "clear-df"})  # fmt: skip
_WORDS = {"match-set": 2, "tcp-flags": 2}


@lru_cache(maxsize=65536)
def parse_rule(text: str) -> IptablesRule:
    """A rule's text taken apart. Never fails: what it does not know becomes a Match of module "?"."""
    try:
        words = text.split() if '"' not in text and "'" not in text else shlex.split(text)
    except ValueError:
        return IptablesRule(matches=(Match("?", "", text),))
    matches: list[Match] = []
    options: list[tuple[str, str]] = []
    target, goto, module, negated, at = "", False, "", False, 0

    def take(name: str) -> str:
        nonlocal at
        count = 0 if name in _FLAGS else _WORDS.get(name, 1)
        value = " ".join(words[at : at + count])
        at += count
        return value

    while at < len(words):
        word = words[at]
        at += 1
        if word == "!":
            negated = True
            continue
        if word in ("-j", "-g", "--jump", "--goto"):
            target, goto = take("target"), word in ("-g", "--goto")
        elif word in ("-m", "--match"):
            module = take("module")
        elif word in _BASIC and not target:
            matches.append(Match("", _BASIC[word], take(_BASIC[word]), negated))
        elif word.startswith("--") and target:
            options.append((word[2:], take(word[2:])))
        elif word.startswith("--") and module:
            matches.append(Match(module, word[2:], take(word[2:]), negated))
        else:
            matches.append(Match("?", "", word, negated))
        negated = False
    return IptablesRule(tuple(matches), target, tuple(options), goto)


def render_rule(rule: IptablesRule) -> str:
    """The canonical text of a rule that :func:`parse_rule` took apart."""
    words: list[str] = []
    module = ""
    for match in rule.matches:
        if match.module == "?":
            words.append(match.value)
            continue
        if match.module and (match.module != module or match.name in ("comment",)):
            words.append(f"-m {match.module}")
        module = match.module
        name = f"--{match.name}" if match.module else _SHORT[match.name]
        value = f' "{match.value}"' if match.name == "comment" else f" {match.value}" if match.value else ""
        words.append(f"{'! ' if match.negated else ''}{name}{value}")
    if rule.target:
        words.append(f"{'-g' if rule.goto else '-j'} {rule.target}")
    words += [f"--{name} {value}" if value else f"--{name}" for name, value in rule.options]
    return " ".join(words)


_COUNTERS = re.compile(r"^\[\d+:\d+\] ")
_MAC = re.compile(r"(?<=--mac-source )[0-9A-Fa-f:]{17}")


def _canonical(rule: str) -> str:
    """A MAC in lower case, as nf_tables' iptables prints it (the legacy one prints upper case)."""
    return _MAC.sub(lambda match: match[0].lower(), rule) if "--mac-source" in rule else rule


def parse_save(text: str, netns: str) -> list[Chain]:
    """The chains of an ``iptables-save``, with or without counters; unknown lines are left out (see :func:`unknown_lines`)."""
    chains: list[Chain] = []
    table = ""
    policies: dict[str, str] = {}
    rules: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("-A ") or line.startswith("["):
            body = _COUNTERS.sub("", line, count=1) if line[0] == "[" else line
            if not body.startswith("-A "):
                continue
            name, _, rule = body[3:].partition(" ")
            rules.setdefault(name, []).append(_canonical(rule))
        elif line.startswith(":"):
            words = line[1:].split()
            if len(words) >= 2:
                policies[words[0]] = "" if words[1] == "-" else words[1]
        elif line.startswith("*"):
            table, policies, rules = line[1:].strip(), {}, {}
        elif line.startswith("COMMIT"):
            for name in dict.fromkeys([*policies, *rules]):
                chains.append(
                    Chain(
                        netns=netns,
                        table=table,
                        name=name,
                        policy=policies.get(name, ""),
                        rules=tuple(rules.get(name, ())),
                    )
                )
    return chains


def unknown_lines(text: str, source: str) -> list[Record]:
    """The lines of an iptables-save or ``-S`` that are none of its forms."""
    known = re.compile(r"\s*($|#|\*\w|:\S+ \S+|(\[\d+:\d+\] )?-A \S|COMMIT|-P \S+ \S+$|-N \S+$)")
    return [Opaque(source=source, line=line) for line in text.splitlines() if not known.match(line)]


def parse_S(text: str, netns: str, table: str) -> list[Chain]:  # noqa: N802 (the option's own letter)
    """The chains of ``iptables -S [-t table]``."""
    policies: dict[str, str] = {}
    rules: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.split(" ", 2)
        if words[0] == "-P" and len(words) == 3:
            policies[words[1]] = words[2].split()[0]
        elif words[0] == "-N" and len(words) >= 2:
            policies.setdefault(words[1], "")
        elif words[0] == "-A" and len(words) == 3:
            rules.setdefault(words[1], []).append(_canonical(words[2]))
    return [
        Chain(netns=netns, table=table, name=name, policy=policies.get(name, ""), rules=tuple(rules.get(name, ())))
        for name in dict.fromkeys([*policies, *rules])
    ]


def _ordered(chains: Iterable[Chain]) -> list[Chain]:
    """Built-in chains in hook order, then the others by name: the tool's own order."""

    def rank(chain: Chain) -> tuple[int, str]:
        return (
            (BUILTIN_ORDER.index(chain.name), "") if chain.name in BUILTIN_ORDER else (len(BUILTIN_ORDER), chain.name)
        )

    return sorted(chains, key=rank)


def line(chain: Chain, rule: str) -> str:
    """The rule as ``iptables -S`` prints it."""
    return f"-A {chain.name} {rule}"


def render_save(chains: Iterable[Chain]) -> str:
    """``iptables-save`` of these chains, which are of one namespace."""
    lines: list[str] = []
    by_table: dict[str, list[Chain]] = {}
    for chain in chains:
        by_table.setdefault(chain.table, []).append(chain)
    for table, content in by_table.items():
        ordered = _ordered(content)
        lines.append(f"*{table}")
        lines += [f":{chain.name} {chain.policy or '-'} [0:0]" for chain in ordered]
        lines += [line(chain, rule) for chain in ordered for rule in chain.rules]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n" if lines else ""


def render_S(state: HostState, netns: str, table: str) -> str:  # noqa: N802
    """``iptables -S -t table`` in the namespace."""
    chains = _ordered(state.records(Chain, lambda chain: chain.netns == netns and chain.table == table))
    lines = [f"-P {chain.name} {chain.policy}" for chain in chains if chain.policy]
    lines += [f"-N {chain.name}" for chain in chains if not chain.policy]
    lines += [line(chain, rule) for chain in chains for rule in chain.rules]
    return "\n".join(lines) + "\n" if lines else ""
