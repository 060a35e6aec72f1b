"""Commands in a lab's machines, for the lab tests."""

import os
from pathlib import Path

from floatway.lab import enter, lab


def lab_name(what: str) -> str:
    """A name of its own for each run of the tests: two at a time do not meet."""
    return f"{what}-{os.getpid()}"


REFERENCE = Path(lab.__file__).parent / "clouds" / "reference.yaml"


class Sh:
    """Runs shell commands in the machines of a raised lab."""

    def __init__(self, raised: lab.Lab) -> None:
        self.lab = raised

    def run(self, node: str, command: str, netns: str = "") -> tuple[int, str]:
        """(exit status, what it printed)."""
        argv = ["sh", "-c", command]
        done = enter.run(self.lab.nodes[node], argv, netns=netns, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def text(self, node: str, command: str, netns: str = "") -> str:
        """What it printed; the command must succeed."""
        status, said = self.run(node, command, netns)
        assert status == 0, f"{node}: {command}: exit status {status}\n{said}"
        return said

    def ping(self, node: str, target: str, *options: str) -> bool:
        """Is one echo request answered within a second?"""
        return self.run(node, f"ping -n -c 1 -W 1 {' '.join(options)} {target}")[0] == 0
