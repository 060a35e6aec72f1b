"""The input of ``iptables-restore --noflush`` and ``ipset restore`` for a change of chains or sets.

One restore per namespace; in it each table changes at once or not at all. A user chain that is new, or changes much, is declared,
which empties it, and filled: that is right whatever was in it. Of a chain that changes little only those rules are taken out, by
their text, and put in, at their place; a chain that is not as thought refuses that. (One port among 200: 12 ms instead of 120; a
rule that 200 ports lose: 30 ms instead of 230.) A chain to which rules are only added is never emptied: once a rule is taken out, the
kernel lets the commit of the next table wait for a grace period (10 to 20 ms).
A built-in chain of a namespace of ours is flushed explicitly (``--noflush`` would not). In the root
namespace's built-in chains only our jumps are taken out, one by one, and put back at the head.
"""

from collections.abc import Iterable

from floatway.host.ownership import BUILTIN_CHAINS, is_our_netns
from floatway.host.records import Chain, Ipset
from floatway.host.steps import IpsetRestore, Restore

_LONG, _FEW = 4, 4
"""A chain of so many rules that loses some is edited, if no more than a fourth of them change."""
TABLES = ("raw", "mangle", "filter", "nat", "security")


def chain_restore(
    netns: str, before: dict[str, Chain | None], after: Iterable[Chain], gone: Iterable[Chain]
) -> Restore:
    """One transaction that makes ``after`` be and ``gone`` not be. ``before``: table + space + name -> what is there of ours now."""
    lines: list[str] = []
    outcome: list[tuple[str, str, str, tuple[str, ...] | None]] = []
    changed, removed = list(after), list(gone)
    for table in TABLES:
        here = [chain for chain in changed if chain.table == table]
        away = [chain for chain in removed if chain.table == table]
        if not here and not away:
            continue
        lines.append(f"*{table}")
        edits = {chain.name: _edit(chain, before.get(f"{table} {chain.name}")) for chain in here}
        lines += [
            f":{chain.name} - [0:0]"
            for chain in (*here, *away)
            if chain.name not in BUILTIN_CHAINS and not edits.get(chain.name)
        ]
        for chain in here:
            lines += edits[chain.name] or _fill(netns, chain, before.get(f"{table} {chain.name}"))
            outcome.append((table, chain.name, chain.policy, chain.rules))
        for chain in away:
            if chain.name in BUILTIN_CHAINS:
                lines += _empty(netns, chain)
                outcome.append((table, chain.name, "ACCEPT", ()))
            else:
                outcome.append((table, chain.name, "", None))
        lines += [f"-X {chain.name}" for chain in away if chain.name not in BUILTIN_CHAINS]
        lines.append("COMMIT")
    return Restore(netns=netns, text="\n".join(lines) + "\n", chains=tuple(outcome))


def _edit(chain: Chain, before: Chain | None) -> list[str]:
    """The few lines that lead from ``before`` to the chain; none where filling it anew is as good, or the order changes too."""
    if before is None or chain.name in BUILTIN_CHAINS:
        return []
    there, wanted = set(before.rules), set(chain.rules)
    out = [rule for rule in before.rules if rule not in wanted]
    into = [(number, rule) for number, rule in enumerate(chain.rules, 1) if rule not in there]
    kept = [number for number, rule in enumerate(chain.rules, 1) if rule in there]
    few = len(chain.rules) >= _LONG and len(out) + len(into) <= len(chain.rules) // _FEW
    unique = len(there) == len(before.rules) and len(wanted) == len(chain.rules)
    if not unique or (out and not few):
        return []
    if [rule for rule in before.rules if rule in wanted] != [chain.rules[number - 1] for number in kept]:
        return []
    last = kept[-1] if kept else 0
    taken = [f"-D {chain.name} {rule}" for rule in out]
    put = [f"-I {chain.name} {number} {rule}" if number < last else f"-A {chain.name} {rule}" for number, rule in into]
    return [*taken, *put]


def _fill(netns: str, chain: Chain, before: Chain | None) -> list[str]:
    if chain.name not in BUILTIN_CHAINS:
        return [f"-A {chain.name} {rule}" for rule in chain.rules]
    if is_our_netns(netns):
        policy = [f"-P {chain.name} {chain.policy}"] if before is not None and before.policy != chain.policy else []
        return [*policy, f"-F {chain.name}", *(f"-A {chain.name} {rule}" for rule in chain.rules)]
    taken = [f"-D {chain.name} {rule}" for rule in (before.rules if before else ())]
    return [*taken, *(f"-I {chain.name} {number} {rule}" for number, rule in enumerate(chain.rules, 1))]


def _empty(netns: str, chain: Chain) -> list[str]:
    if is_our_netns(netns):
        return [f"-P {chain.name} ACCEPT", f"-F {chain.name}"]
    return [f"-D {chain.name} {rule}" for rule in chain.rules]


def set_restore(netns: str, pairs: Iterable[tuple[Ipset | None, Ipset]]) -> IpsetRestore:
    """Create sets, or change their members."""
    lines: list[str] = []
    outcome: list[tuple[str, str, str, tuple[str, ...] | None]] = []
    for before, after in pairs:
        if before is None:
            lines.append(f"create {after.name} {after.type} family {after.family}")
        there = before.members if before else ()
        lines += [f"del {after.name} {member}" for member in there if member not in after.members]
        lines += [f"add {after.name} {member}" for member in after.members if member not in there]
        outcome.append((after.name, after.type, after.family, after.members))
    return IpsetRestore(netns=netns, text="\n".join(lines) + "\n", sets=tuple(outcome))


def set_destroy(netns: str, sets: Iterable[Ipset]) -> IpsetRestore:
    """Destroy sets that no rule names any more."""
    gone = list(sets)
    text = "".join(f"destroy {one.name}\n" for one in gone)
    return IpsetRestore(netns=netns, text=text, sets=tuple((one.name, one.type, one.family, None) for one in gone))
