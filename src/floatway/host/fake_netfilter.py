"""The in-memory kernel's iptables and IP sets: reads what ``iptables-restore --noflush`` and ``ipset restore`` would read."""

import shlex
from collections.abc import Iterable

import msgspec

from floatway.host.fake_base import Tables
from floatway.host.fake_ip import need_netns
from floatway.host.records import Chain, Ipset
from floatway.host.rules import jump_target, set_names
from floatway.host.steps import IpsetRestore, Restore

BUILTIN = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}

# --- iptables -------------------------------------------------------------------------------------


def restore(tables: Tables, step: Restore) -> None:
    """All of the text, or a refusal; then it must have become what the step says."""
    need_netns(tables, step.netns)
    table = ""
    for line in step.text.splitlines():
        if line.startswith("*"):
            tables.need(not table, f"no COMMIT before {line}")
            table = line[1:]
            tables.need(table in BUILTIN, f"there is no table {table}")
            for name in BUILTIN[table]:
                key = (step.netns, table, name)
                tables.of(Chain).setdefault(key, Chain(netns=step.netns, table=table, name=name, policy="ACCEPT"))
        elif line == "COMMIT":
            table = ""
        else:
            tables.need(table, f"{line!r} outside of a table")
            _line(tables, step.netns, table, line)
    tables.need(not table, "no COMMIT at the end")
    _check_outcome(tables, step)


def _line(tables: Tables, netns: str, table: str, line: str) -> None:
    if line.startswith(":"):
        name, policy, _ = line[1:].split(" ")
        if name in BUILTIN[table]:
            _put(tables, _need_chain(tables, netns, table, name), policy=policy)
        else:
            tables.put(Chain(netns=netns, table=table, name=name))
        return
    command, name, rest = (*line.split(" ", 2), "")[:3]
    chain = _need_chain(tables, netns, table, name)
    match command:
        case "-A":
            _need_rule(tables, chain, rest)
            _put(tables, chain, rules=(*chain.rules, rest))
        case "-I":
            number, _, rule = rest.partition(" ")
            _need_rule(tables, chain, rule)
            at = int(number) - 1
            tables.need(0 <= at <= len(chain.rules), f"{line}: index too big")
            _put(tables, chain, rules=(*chain.rules[:at], rule, *chain.rules[at:]))
        case "-D":
            tables.need(rest in chain.rules, f"{line}: no such rule")
            at = chain.rules.index(rest)
            _put(tables, chain, rules=(*chain.rules[:at], *chain.rules[at + 1 :]))
        case "-F":
            _put(tables, chain, rules=())
        case "-P":
            tables.need(chain.policy, f"{line}: only a built-in chain has a policy")
            _put(tables, chain, policy=rest)
        case "-X":
            tables.need(not chain.policy, f"{line}: a built-in chain stays")
            tables.need(not chain.rules, f"{line}: the chain is not empty")
            for other in tables.of(Chain).values():
                leads = (other.netns, other.table) == (netns, table) and name in map(jump_target, other.rules)
                tables.need(not leads, f"{line}: chain {other.name} leads to it")
            tables.drop(chain)
        case _:
            tables.need(False, f"{line}: not understood")


def _need_chain(tables: Tables, netns: str, table: str, name: str) -> Chain:
    chain = tables.get(Chain, netns, table, name)
    tables.need(chain, f"there is no chain {name} in table {table}")
    assert chain is not None
    return chain


def _need_rule(tables: Tables, chain: Chain, rule: str) -> None:
    shlex.split(rule)  # an unclosed quote is a refusal too
    target = jump_target(rule)
    tables.need(
        not target or tables.get(Chain, chain.netns, chain.table, target), f"{rule}: there is no chain {target}"
    )
    for name in set_names(rule):
        tables.need(tables.get(Ipset, chain.netns, name), f"{rule}: there is no set {name}")


def _put(tables: Tables, chain: Chain, **changes: object) -> None:
    tables.put(msgspec.structs.replace(chain, **changes))


def _check_outcome(tables: Tables, step: Restore) -> None:
    for table, name, policy, rules in step.chains:
        chain = tables.get(Chain, step.netns, table, name)
        if rules is None:
            tables.need(chain is None, f"chain {name} is still there")
        elif not step.netns and name in BUILTIN[table]:
            there = chain.rules if chain else ()
            tables.need(there[: len(rules)] == rules, f"chain {name} does not begin with our rules")
        else:
            tables.need(chain and (chain.policy, chain.rules) == (policy, rules), f"chain {name} is not as announced")


# --- ipset ----------------------------------------------------------------------------------------


def ipset_outcome(tables: Tables, step: IpsetRestore) -> None:
    """Refuse unless it has become what the step says."""
    for name, kind, family, members in step.sets:
        one = tables.get(Ipset, step.netns, name)
        if members is None:
            tables.need(one is None, f"set {name} is still there")
        else:
            found = one and (one.type, one.family, set(one.members))
            tables.need(found == (kind, family, set(members)), f"set {name} is not as announced")


def ipset(tables: Tables, netns: str, line: str) -> None:
    """One line of ``ipset -exist restore``."""
    need_netns(tables, netns)
    words = line.split()
    one = tables.get(Ipset, netns, words[1])
    if words[0] == "create":
        kind, family = words[2], words[4]
        tables.need(one is None or (one.type, one.family) == (kind, family), f"{line}: a set of this name exists")
        tables.need(len(words[1]) <= 31, f"{line}: name too long")
        if one is None:
            tables.put(Ipset(netns=netns, name=words[1], type=kind, family=family))
        return
    tables.need(one, f"{line}: there is no such set")
    assert one is not None
    match words[0]:
        case "add":
            tables.put(msgspec.structs.replace(one, members=tuple(sorted({*one.members, words[2]}))))
        case "del":
            tables.need(words[2] in one.members, f"{line}: no such member")
            tables.put(msgspec.structs.replace(one, members=tuple(m for m in one.members if m != words[2])))
        case "flush":
            tables.put(msgspec.structs.replace(one, members=()))
        case "destroy":
            used = words[1] in _sets_used(chain for chain in tables.of(Chain).values() if chain.netns == netns)
            tables.need(not used, f"{line}: a rule asks it")
            tables.drop(one)
        case _:
            tables.need(False, f"{line}: not understood")


def _sets_used(chains: Iterable[Chain]) -> set[str]:
    return {name for chain in chains for rule in chain.rules for name in set_names(rule)}
