"""A plan as text that a person reads and a shell would run.

# 3 of 14  addresses and routes in qrouter-d3218b9c-…: 6 operations
ip -n qrouter-d3218b9c-… address add 172.12.10.1/24 brd 172.12.10.255 dev qr-56718ce4-c6
…
"""

from collections.abc import Iterable
from typing import Any

import click
import msgspec

from floatway.host.commands import commands
from floatway.host.steps import (
    Announce,
    ConntrackDelete,
    Ip,
    IpsetRestore,
    NetnsAdd,
    NetnsDelete,
    OfBundle,
    OvsTransaction,
    Plan,
    Restore,
    Step,
    SysctlWrite,
)


def heading(step: Step) -> str:
    """What the step is, in a few words."""
    match step:
        case NetnsAdd(name=name):
            return f"new namespace {name}"
        case NetnsDelete(name=name):
            return f"namespace {name} is no longer wanted"
        case Ip(netns=netns, ops=ops):
            return f"links, addresses, routes, rules, neighbours{_within(netns)}: {_many(len(ops), 'operation')}"
        case SysctlWrite(netns=netns, settings=settings):
            return f"kernel settings{_within(netns)}: {len(settings)}"
        case Restore(netns=netns, chains=chains):
            return f"iptables{_within(netns)}: {_many(len(chains), 'chain')} in one transaction"
        case IpsetRestore(netns=netns, sets=sets):
            return f"IP sets{_within(netns)}: {len(sets)}"
        case OvsTransaction(ops=ops):
            return f"Open vSwitch: {_many(len(ops), 'change')} in one transaction"
        case OfBundle(bridge=bridge, delete=delete, add=add):
            return f"flows of {bridge}: {len(delete)} out, {len(add)} in, one bundle"
        case ConntrackDelete(netns=netns, address=address):
            return f"forget connections of {address}{_within(netns)}"
        case Announce(netns=netns, dev=dev, address=address):
            return f"announce {address} on {dev}{_within(netns)} (gratuitous ARP)"


def text(plan: Plan, host: str) -> str:
    """The whole plan, each step a comment and its commands."""
    blocks = [
        "\n".join(
            (
                click.style(f"# {number} of {len(plan.steps)}  {heading(step)}", fg="cyan"),
                *commands(step),
            )
        )
        for number, step in enumerate(plan.steps, 1)
    ]
    return "\n\n".join((*blocks, click.style(f"# {summary(plan, host)}", bold=True)))


def summary(plan: Plan, host: str) -> str:
    """One line: how much there is to do, and what is waited for."""
    todo = f"{host}: {_many(len(plan.steps), 'step')} to do" if plan else f"{host}: nothing to do"
    if plan.waiting:
        todo += f"; waits for {_listing(plan.waiting)} (made by somebody else: an instance's tap, a NIC)"
    return todo


def to_json(plan: Plan, host: str) -> dict[str, Any]:
    """The plan with each step's commands."""
    return {
        "host": host,
        "steps": [
            {"heading": heading(step), "commands": list(commands(step)), "step": msgspec.to_builtins(step)}
            for step in plan.steps
        ],
        "waiting": list(plan.waiting),
    }


def _within(netns: str) -> str:
    return f" in {netns}" if netns else ""


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _listing(names: Iterable[str]) -> str:
    return ", ".join(names)
