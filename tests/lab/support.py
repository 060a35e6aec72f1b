"""Commands in a lab's machines, and words with its server, for the lab tests."""

import os
from pathlib import Path
from typing import Any

from floatway.lab import enter, lab
from floatway.lab.api import ask, wait_applied


def lab_name(what: str) -> str:
    """A name of its own for each run of the tests: two at a time do not meet."""
    return f"{what}-{os.getpid()}"


CLOUDS = Path(lab.__file__).parent / "clouds"
REFERENCE, TWO_HOSTS = CLOUDS / "reference.yaml", CLOUDS / "two-hosts.yaml"


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


class Told:
    """A lab that is changed through its server, as any client would, and asked with real packets."""

    def __init__(self, raised: lab.Lab) -> None:
        assert raised.server is not None
        self.lab, self.url, self.sh = raised, raised.server.url, Sh(raised)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        return ask(self.url, method, f"/v2.0/{path}", body)

    def change(self, method: str, path: str, body: object = None) -> Any:
        """Ask, and wait until every host has applied it."""
        answer = self.ask(method, path, body)
        wait_applied(self.url)
        return answer

    def put(self, noun: str, id_: str, **values: Any) -> Any:
        return self.change("PUT", f"{noun}s/{id_}", {noun: values})[noun]

    def status(self, noun: str, id_: str) -> str:
        return str(self.ask("GET", f"{noun}s/{id_}")[noun]["status"])

    def flows(self, source: str, target: str, *options: str) -> bool:
        """Does a packet come back? A busy machine may take longer for the first than a second."""
        return any(self.sh.ping(source, target, *options) for _ in range(4))

    def dead(self, source: str, target: str) -> bool:
        return not self.sh.ping(source, target)
