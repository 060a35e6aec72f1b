"""Progress of long work: one line per stage with the time since the start, on stderr.

      0.0 s  compute host cy2-compute02: namespaces
      0.4 s  compute host cy2-compute02: Open vSwitch

Plain lines, on a terminal and in a pipe alike, so that a log of the work reads as the work did.
"""

import time
from collections.abc import Callable

import click

Progress = Callable[[str], None]


def lines(quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> Progress:
    """A function that prints each text it is given with the seconds since now."""
    started = clock()

    def tell(text: str) -> None:
        if not quiet:
            click.echo(click.style(f"{clock() - started:7.1f} s  ", dim=True) + text, err=True)

    return tell
