"""``floatway trace``: how a packet goes through the lab, and why, out of what the hosts hold right now."""

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from floatway.cli.completion import lab_nodes
from floatway.cli.errors import FAILED, BadInput
from floatway.cli.options import colour_option, json_option, lab_option, print_json

if TYPE_CHECKING:
    from floatway.trace.question import Question

EPILOG = """\b
Examples:
  floatway trace test --to 192.168.0.1                          an instance's ping to the gateway outside
  floatway trace --from 192.168.0.1 --to 192.168.10.106         from outside to a floating IP
  floatway trace --from 192.168.0.1 --to 192.168.10.106 --tcp --dport 22
  floatway trace test --to 192.168.0.1 --size 1423 --df         does it fit?
  floatway trace test --to 192.168.0.1 --json | jq .forward.disposition

\b
Exit status: 0 delivered (and answered), 1 not, 2 no such machine or address."""


@click.command("trace", epilog=EPILOG)
@click.argument("start", required=False, metavar="[TARGET]", shell_complete=lab_nodes)
@click.option("--from", "source", metavar="WHO", shell_complete=lab_nodes, help="Sender: the same as TARGET.")
@click.option("--to", "target", metavar="WHO", shell_complete=lab_nodes, help="Receiver.")
@click.option("--icmp", "proto", flag_value="icmp", help="A ping (the default).")
@click.option("--tcp", "proto", flag_value="tcp", help="A TCP connection's first segment.")
@click.option("--udp", "proto", flag_value="udp", help="A UDP datagram.")
@click.option("--dport", type=click.IntRange(1, 65535), metavar="PORT", help="Destination port.  [tcp: 22, udp: 53]")
@click.option("--sport", type=click.IntRange(1, 65535), metavar="PORT", help="Source port.")
@click.option("--size", type=click.IntRange(0, 65507), metavar="BYTES", help="Payload, as ping -s counts it.")
@click.option("--df", is_flag=True, help="Don't fragment.")
@click.option("--no-reply", is_flag=True, help="Only the way there.")
@lab_option
@json_option
@colour_option
def trace(  # one parameter per option
    start: str | None,
    source: str | None,
    target: str | None,
    proto: str | None,
    dport: int | None,
    sport: int | None,
    size: int | None,
    df: bool,
    no_reply: bool,
    lab_name: str,
    as_json: bool,
    colour: str,
) -> None:
    """Follow a packet hop by hop: where it is, what happens to it, and the line that decides.

    WHO is an instance or machine by name, a port id, an address or a floating IP. The states of all hosts are read
    once; the walk itself touches nothing and sends nothing.
    """
    question = ask(start or source, target, proto or "icmp", dport, sport, size, df)
    if start and source and start != source:
        raise BadInput(f"two senders: {start} and --from {source}", mend="name one")
    from floatway.lab import lab
    from floatway.lab.world import observe_world
    from floatway.trace import render
    from floatway.trace.walk import walk

    walked = walk(observe_world(lab.load(lab_name)), question)
    if no_reply:
        walked = type(walked)(source=walked.source, target=walked.target, forward=walked.forward)
    if as_json:
        print_json(render.to_json(walked))
    else:
        click.echo(render.text(walked, colour=wants_colour(colour)), color=True)
    if not (walked.forward.ok if no_reply else walked.ok):
        raise click.exceptions.Exit(FAILED)


def ask(
    source: str | None,
    target: str | None,
    proto: str,
    dport: int | None,
    sport: int | None,
    size: int | None,
    df: bool,
) -> "Question":
    """The question that the options put; refuses what has no meaning."""
    from floatway.trace.question import Question

    if not source or not target:
        said = source or "test"
        raise BadInput(
            "a trace needs a sender and a receiver",
            mend=f"floatway trace {said} --to {target or '192.168.0.1'}",
        )
    if proto == "icmp" and (dport or sport):
        raise BadInput("a ping has no ports", mend="add --tcp or --udp")
    given: dict[str, Any] = {"sport": sport, "dport": dport, "size": size}
    return Question(
        source=source, target=target, proto=proto, df=df, **{k: v for k, v in given.items() if v is not None}
    )


def wants_colour(choice: str) -> bool:
    """``auto`` is a terminal without NO_COLOR (no-color.org)."""
    return choice == "always" or (choice == "auto" and sys.stdout.isatty() and "NO_COLOR" not in os.environ)
