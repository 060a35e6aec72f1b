"""A repair as it would be typed: the words in capitals become the names and addresses of this world.

ip netns exec QROUTER ip rule add from 172.12.10.4 lookup 16 …  ──▶  ip netns exec qrouter-d3218b9c-… ip rule …
"""

import re
from collections.abc import Iterator

from floatway.host.records import Address, Link, Netns
from floatway.trace import faults
from floatway.trace.course import Context
from floatway.trace.result import Hop

WORD = re.compile(r"\b(QROUTER|FIP|RFP-ADDRESS|FPR-ADDRESS|RFP|FPR|QR|FIXED|FLOATING)\b")
PREFIXES = {"QROUTER": "qrouter-", "FIP": "fip-", "RFP": "rfp-", "FPR": "fpr-", "QR": "qr-"}


def filled(text: str, ctx: Context, hops: tuple[Hop, ...]) -> str:
    """The repair with the names of the places that the packet came by, or else the only such there is; a word stays where
    there is a choice."""
    return WORD.sub(lambda match: _word(match[0], ctx, hops), text)


def _word(word: str, ctx: Context, hops: tuple[Hop, ...]) -> str:
    match word:
        case "RFP-ADDRESS" | "FPR-ADDRESS":
            device = _name(PREFIXES[word[:3]], ctx, hops)
            found = {
                a.cidr.partition("/")[0]
                for name in ctx.world.machines
                for a in _addresses(ctx, name)
                if a.link == device
            }
            return _only(found) or word
        case "FIXED" | "FLOATING":
            floating = {one for name in ctx.world.machines for one in faults.floating_ips(ctx.index(name))}
            one = _only(floating)
            if word == "FLOATING":
                return one or word
            return _only({fixed for _, _, fixed in faults.routers(ctx, one)}) or word if one else word
        case _:
            return _name(PREFIXES[word], ctx, hops) or word


def _addresses(ctx: Context, host: str) -> Iterator[Address]:
    for records in ctx.index(host).addresses.values():
        yield from records


def _name(prefix: str, ctx: Context, hops: tuple[Hop, ...]) -> str:
    passed = {name for hop in hops for name in (hop.netns, hop.ingress, hop.egress) if name.startswith(prefix)}
    if (one := _only(passed)) != "":
        return one
    machines = [machine.state for machine in ctx.world.machines.values()]
    spaces = {
        space.name for state in machines for space in state.table(Netns).values() if space.name.startswith(prefix)
    }
    devices = {link.name for state in machines for link in state.table(Link).values() if link.name.startswith(prefix)}
    return _only(spaces) or _only(devices)


def _only(names: set[str]) -> str:
    return next(iter(names)) if len(names) == 1 else ""
