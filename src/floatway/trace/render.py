"""A walk as text, for a terminal or a pipe, and as JSON.

● 3  br-int on cy2-compute02      qvo8aa5e3b4-6c ──▶ qr-56718ce4-c6
     fa:16:3e:78:d6:60 in VLAN 1 is behind qr-56718ce4-c6
       $ ovs-appctl fdb/show br-int
           4     1  fa:16:3e:78:d6:60    0
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from floatway.net.packet import Packet
from floatway.trace.result import SUCCESS, Change, Disposition, Evidence, Hop, Step, StepKind, Trace, Walk

RESET, BOLD, DIM, RED, GREEN, YELLOW, CYAN = (f"\x1b[{code}m" for code in ("0", "1", "2", "31", "32", "33", "36"))
HIDDEN = frozenset({"length", "ttl", "df", "tun_id"})


class _Pen:
    """Writes with colours or without."""

    def __init__(self, colour: bool) -> None:
        self.colour = colour

    def __call__(self, text: str, *styles: str) -> str:
        return f"{''.join(styles)}{text}{RESET}" if self.colour and text else text


class Note(msgspec.Struct, frozen=True):
    """A word beside a hop (what a real packet did there); ``good`` None is neither good nor bad."""

    text: str
    good: bool | None = None


def text(walk: Walk, colour: bool = False, notes: tuple[Sequence[Note], Sequence[Note]] = ((), ())) -> str:
    """Both directions, hop by hop, then the verdict. ``notes`` go beside the hops, there and back."""
    pen = _Pen(colour)
    blocks = [_direction(pen, f"{walk.source} to {walk.target}", walk.forward, notes[0])]
    if walk.reply is not None:
        blocks.append(_direction(pen, f"The answer, {walk.target} to {walk.source}", walk.reply, notes[1]))
    return "\n\n".join([*blocks, _verdict(pen, walk)])


def _direction(pen: _Pen, title: str, trace: Trace, notes: Sequence[Note]) -> str:
    lines = [pen(title, BOLD), f"  {_packet(trace.packet)}"]
    for number, hop in enumerate(trace.hops, 1):
        first, *rest = _hop(pen, number, hop, hop is trace.hops[-1], trace)
        lines += [
            *([""] if hop.steps or number == 1 else []),
            first + (_note(pen, notes[number - 1]) if number <= len(notes) else ""),
            *rest,
        ]
    return "\n".join([*lines, "", *_end(pen, trace)])


def _note(pen: _Pen, note: Note) -> str:
    return "   " + pen(note.text, {True: GREEN, False: RED, None: DIM}[note.good])


def _packet(packet: Packet) -> str:
    if packet.proto == "icmp":
        return f"icmp {packet.src} → {packet.dst}, {packet.length} bytes"
    return f"{packet.proto} {packet.src}:{packet.sport} → {packet.dst}:{packet.dport}, {packet.length} bytes"


def _hop(pen: _Pen, number: int, hop: Hop, last: bool, trace: Trace) -> list[str]:
    mark = pen("✗", RED, BOLD) if last and not trace.ok else pen("●", GREEN if last else CYAN)
    where = hop.node if hop.node == hop.host else f"{pen(hop.node, BOLD)} on {hop.host}"
    if hop.node == hop.host:
        where = pen(hop.node, BOLD)
    way = " ──▶ ".join(device for device in (hop.ingress, hop.egress) if device)
    if way and not hop.ingress:
        way = f"──▶ {way}"
    elif way and not hop.egress:
        way = f"{way} ──▶ {'✗' if last and not trace.ok else '●'}"
    lines = [f"{mark} {number:<2} {where}   {pen(way, DIM)}".rstrip()]
    for step in hop.steps:
        lines += _step(pen, step)
    return lines


def _step(pen: _Pen, step: Step) -> list[str]:
    style = {
        StepKind.DROP: (RED,),
        StepKind.DELIVER: (GREEN,),
        StepKind.NAT: (YELLOW,),
        StepKind.PROXY_ARP: (YELLOW,),
    }.get(step.kind, ())
    label = f"{step.kind.value:<10}"
    code = pen(f"  [{step.code}]", RED) if step.code else ""
    lines = [f"     {pen(label, DIM)} {pen(step.text, *style)}{code}"]
    lines += [f"     {'':<10} {_change(pen, change)}" for change in step.changes if change.field not in HIDDEN]
    previous = ""
    for proof in step.evidence:
        lines += _evidence(pen, proof, repeated=proof.command == previous)
        previous = proof.command
    return lines


def _change(pen: _Pen, change: Change) -> str:
    return f"{change.field}: {change.before or 'none'} → {pen(change.after or 'none', YELLOW)}"


def _evidence(pen: _Pen, proof: Evidence, *, repeated: bool) -> list[str]:
    lines = [] if repeated else [f"                {pen('$ ' + proof.command, CYAN)}"]
    return [*lines, *(f"                  {row.rstrip()}" for row in proof.line.expandtabs(8).splitlines())]


def _end(pen: _Pen, trace: Trace) -> list[str]:
    style = GREEN if trace.disposition in SUCCESS else RED
    code = f" ({trace.code})" if trace.code else ""
    lines = [f"{pen(trace.disposition.value, style, BOLD)}{code}  {trace.reason}"]
    if not trace.ok:
        for proof in trace.evidence:
            lines += _evidence(pen, proof, repeated=False)
    if trace.repair:
        lines.append(f"  {pen('repair:', BOLD)} {trace.repair}")
    return lines


def _verdict(pen: _Pen, walk: Walk) -> str:
    if walk.ok:
        return pen("The packet arrives, and so does the answer.", GREEN)
    if walk.forward.disposition is Disposition.DELIVERED and walk.reply is None:
        return pen("The packet arrives.", GREEN)
    if walk.forward.ok and walk.reply is None:
        return pen("The packet leaves what is known; whether an answer comes cannot be said.", YELLOW)
    if walk.forward.ok:
        return pen("The packet arrives, but its answer is lost.", RED)
    return pen("The packet does not arrive.", RED)


def to_json(walk: Walk) -> dict[str, Any]:
    """The walk as plain values, with the verdict of each direction and of both."""
    said: dict[str, Any] = msgspec.to_builtins(walk)
    said["ok"] = walk.ok
    for name, trace in (("forward", walk.forward), ("reply", walk.reply)):
        if trace is not None:
            said[name]["ok"] = trace.ok
    return said
