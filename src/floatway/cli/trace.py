"""``floatway trace``: how a packet goes through the lab, and why, out of what the hosts hold right now."""

import os
import sys
from typing import TYPE_CHECKING

import click
import msgspec

from floatway.cli.completion import lab_nodes
from floatway.cli.errors import FAILED, BadInput
from floatway.cli.host import need_root
from floatway.cli.options import colour_option, json_option, lab_option, print_json

if TYPE_CHECKING:
    from floatway.lab.intent import Difference
    from floatway.trace.question import Question
    from floatway.trace.result import Trace, Walk
    from floatway.trace.world import World

HEADERS = {"icmp": 20 + 8, "udp": 20 + 8, "tcp": 20 + 20}
"""Bytes that IP and the protocol put before a payload."""
EPHEMERAL = range(40000, 60000)

EPILOG = """\b
Examples:
  floatway trace test --to 192.168.0.1                          an instance's ping to the gateway outside
  floatway trace --from 192.168.0.1 --to 192.168.10.106         from outside to a floating IP
  floatway trace --from 192.168.0.1 --to 192.168.10.106 --tcp --dport 22
  floatway trace test --to 192.168.0.1 --size 1423              does it fit?
  floatway trace test --to 192.168.0.1 --probe                  and does a real packet go that way?
  floatway trace test --to 192.168.0.1 --json | jq .forward.disposition

\b
Exit status: 0 delivered and answered (and a probe agrees), 1 not, 2 no such machine or address."""


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
@click.option("--df/--no-df", default=True, show_default=True, help="Don't fragment, as Linux sends by default.")
@click.option("--no-reply", is_flag=True, help="Only the way there.")
@click.option("--brief", is_flag=True, help="Only the stations, without what happens there and the evidence.")
@click.option("--probe", "probing", is_flag=True, help="Send the real packet too, and say where it was seen.")
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
    brief: bool,
    probing: bool,
    lab_name: str,
    as_json: bool,
    colour: str,
) -> None:
    """Follow a packet hop by hop: where it is, what happens to it, and the line that decides.

    WHO is an instance or machine by name, an address or a floating IP; with the lab's server also an instance, port or floating IP
    by id, a port by name. The states of all hosts are read once; the walk itself touches nothing and sends nothing, unless --probe
    asks for it. Below it: where the hosts on the way are not as the cloud wants them.
    """
    question = ask(start, source, target, proto or "icmp", dport, sport, size, df)
    from floatway.cli.notes import notes, verdict
    from floatway.lab import intent, lab
    from floatway.lab.probe import probe
    from floatway.lab.world import observe_world
    from floatway.trace import render
    from floatway.trace.walk import walk

    need_root()
    running = lab.load(lab_name)
    known = intent.meant(running, (question.source, question.target))
    question = msgspec.structs.replace(
        question,
        source=known.get(question.source, question.source),
        target=known.get(question.target, question.target),
    )
    world = observe_world(running)
    walked = walk(world, fresh(question, world))
    differs = None
    if running.server is None or running.server.alive:
        cloud = lab.cloud_of(lab_name)
        differs = intent.of_walk(cloud, world, walked)
        walked = intent.with_names(cloud, walked, differs)
    probed = probe(running, world, walked) if probing else None
    good = (walked.forward.ok if no_reply else walked.ok) and (probed is None or probed.agrees)
    if no_reply:
        walked = msgspec.structs.replace(walked, reply=None)
    if as_json:
        more = {"intent": msgspec.to_builtins(differs)} | ({"probe": msgspec.to_builtins(probed)} if probed else {})
        print_json(render.to_json(walked) | more)
    else:
        paint = wants_colour(colour)
        shown = stations(walked) if brief else walked
        click.echo(render.text(shown, paint, notes(walked, probed) if probed else ((), ())), color=True)
        if probed:
            word = verdict(probed)
            click.echo(click.style(word, fg="green" if probed.agrees else "red") if paint else word, color=True)
        click.echo(intent_text(differs, paint), color=True)
    if not good:
        raise click.exceptions.Exit(FAILED)


SHOWN = 8
"""Differences between what is wanted and what is there that are shown, at most."""


def intent_text(differs: "tuple[Difference, ...] | None", paint: bool) -> str:
    """What the cloud wants beside what is there, in a line; where they differ, what would mend it. None: nobody knows."""
    if differs is None:
        line = "Intent: not known, since the lab's server is dead; start it again: floatway lab up"
        return click.style(line, fg="yellow") if paint else line
    if not differs:
        return "Intent: every host on the way is as the cloud wants it."
    lines = []
    for host in dict.fromkeys(one.host for one in differs):
        mine = [one for one in differs if one.host == host]
        count = f"{len(mine)} difference{'s' if len(mine) > 1 else ''}"
        line = f"Intent: {host} is not as the cloud wants it, {count}. What would mend it, and whose it is:"
        lines.append(click.style(line, fg="yellow") if paint else line)
        for one in mine[:SHOWN]:
            lines.append(f"  {one.of or 'what nothing in the cloud wants any more'}")
            lines += ["    $ " + command.replace("\n", "\n      ") for command in one.commands[:SHOWN]]
        if len(mine) > SHOWN:
            lines.append(f"  … and {len(mine) - SHOWN} more: floatway lab plan")
    return "\n".join(lines)


def stations(walk: "Walk") -> "Walk":
    """The walk without its steps; a failure's reason and evidence stay, at the end."""

    def bare(trace: "Trace") -> "Trace":
        return msgspec.structs.replace(trace, hops=tuple(msgspec.structs.replace(hop, steps=()) for hop in trace.hops))

    reply = bare(walk.reply) if walk.reply else None
    return msgspec.structs.replace(walk, forward=bare(walk.forward), reply=reply)


def ask(
    start: str | None,
    source: str | None,
    target: str | None,
    proto: str,
    dport: int | None,
    sport: int | None,
    size: int | None,
    df: bool,
) -> "Question":
    """The question that the options put; refuses what has no meaning."""
    if start and source and start != source:
        raise BadInput(f"two senders: {start} and --from {source}", mend="name one")
    sender = start or source
    if not sender or not target:
        raise BadInput(
            "a trace needs a sender and a receiver",
            mend=f"floatway trace {sender or 'test'} --to {target or '192.168.0.1'}",
        )
    if proto == "icmp" and (dport or sport):
        raise BadInput("a ping has no ports", mend="add --tcp or --udp")
    from floatway.trace.question import Question

    length = None if size is None else size + HEADERS[proto]
    return Question(source=sender, target=target, proto=proto, sport=sport, dport=dport, size=length, df=df)


def fresh(question: "Question", world: "World") -> "Question":
    """The question with a source port (a ping's identifier) that no connection has yet, as a new sender's would be."""
    if question.sport is not None:
        return question
    from floatway.host.records import Connection

    used = {
        port
        for machine in world.machines.values()
        for record in machine.state.table(Connection).values()
        for way in (record.original, record.reply)
        for port in (way.sport, way.dport)
    }
    free = next((port for port in EPHEMERAL if port not in used), EPHEMERAL.start)
    return msgspec.structs.replace(question, sport=free)


def wants_colour(choice: str) -> bool:
    """``auto`` is a terminal without NO_COLOR (no-color.org)."""
    return choice == "always" or (choice == "auto" and sys.stdout.isatty() and "NO_COLOR" not in os.environ)
