"""What the real packet says beside each hop of the simulated one.

● 4  qrouter-… on cy2-compute02   qr-56718ce4-c6 ──▶ rfp-d3218b9c-7   ✓ seen at 0.42 ms, +0.29
"""

from floatway.lab.probe import Mark, Probe
from floatway.trace.render import Note
from floatway.trace.result import Hop, Trace, Walk


def notes(walk: Walk, probe: Probe) -> tuple[tuple[Note, ...], tuple[Note, ...]]:
    """One note for each hop, there and back."""
    there, latest = _direction(walk.forward, probe.forward, 0.0)
    back = _direction(walk.reply, probe.reply, latest)[0] if walk.reply else ()
    return there, back


def _direction(trace: Trace, marks: tuple[Mark, ...], latest: float) -> tuple[tuple[Note, ...], float]:
    found = []
    for hop, mark in zip(trace.hops, marks, strict=True):
        note, latest = _note(hop, mark, latest)
        found.append(note)
    return tuple(found), latest


def _note(hop: Hop, mark: Mark, latest: float) -> tuple[Note, float]:
    """The hop's note, and when the packet was last seen."""
    seen = [at for at in (mark.ingress, mark.egress) if at is not None]
    if not (mark.ingress_watched or mark.egress_watched):
        return Note("· patch ports only, nothing to watch" if hop.egress else "", None), latest
    if not seen:
        return Note("✗ not seen", False), latest
    begin, end = min(seen), max(seen)
    text = f"seen at {1000 * begin:.2f} ms, +{1000 * max(0.0, end - latest):.2f}"
    for device, watched, at in (
        (hop.ingress, mark.ingress_watched, mark.ingress),
        (hop.egress, mark.egress_watched, mark.egress),
    ):
        if watched and at is None:
            return Note(f"{text}; not seen at {device}", None), end
    return Note(f"✓ {text}", True), end


def verdict(probe: Probe) -> str:
    """Reality's word, and whether it is the simulation's."""
    if probe.refused:
        said = f'the sender\'s own kernel refused the packet: "{probe.refused}"'
    elif probe.answered:
        back = [sighting.at for sighting in probe.sightings if sighting.answer]
        said = f"the real packet was answered in {1000 * max(back):.2f} ms"
    else:
        said = "the real packet got no answer"
    if probe.agrees:
        return f"Probe: {said}, as the walk says."
    return f"Probe: {said}. SIMULATION AND REALITY DISAGREE: {probe.disagreement}. That is a bug in the simulation."
