"""The command line: ``floatway``.

floatway cloud check cloud.yaml      is the description right?
floatway lab up                      raise it, here, of namespaces
floatway trace test --to 192.168.0.1 how does a packet go, and why?
floatway server                      the OpenStack Networking API
floatway plan | apply                make this machine the compute host that the cloud wants
"""

import click

from floatway import __version__
from floatway.cli.lazy import Lazy, LazyGroup

COMMANDS = {
    "lab": Lazy("lab:lab", "A cloud on this machine: hosts of namespaces, real packets."),
    "trace": Lazy("trace:trace", "A packet's way, hop by hop, with the line that decides each."),
    "cloud": Lazy("cloud:cloud", "Check a cloud.yaml, print its schema or an example."),
    "plan": Lazy("host:plan", "What would make this machine the host that the cloud wants."),
    "apply": Lazy("host:apply", "Make it so."),
    "observe": Lazy("host:observe", "This machine's network state, as one value."),
    "wait": Lazy("wait:wait", "Wait until packets obey what the API was told."),
    "server": Lazy("server:server", "The OpenStack Networking API."),
    "agent": Lazy("agent:agent", "Make this host be what the server says."),
    "doctor": Lazy("doctor:doctor", "Is this machine fit to be a compute host? Findings with remedies."),
    "plug": Lazy("plug:plug", "Give a namespace or container of this host a port."),
    "unplug": Lazy("plug:unplug", "Take it out again."),
    "db": Lazy("db:db", "Check, dump, restore or upgrade the server's store."),
    "completion": Lazy("completion:completion", "Tab completion for bash, zsh or fish."),
}

EPILOG = """\b
Examples:
  floatway lab up                                  raise the reference cloud
  floatway trace test --to 192.168.0.1             from the instance to the gateway outside
  floatway trace --from 192.168.0.1 --to 192.168.10.106
  floatway lab exec cy2-compute02 -- ovs-vsctl show
  floatway lab down                                leave nothing behind

Exit status: 0 done, 1 it did not work (for trace: not delivered), 2 bad input and nothing changed."""


@click.command(
    "floatway",
    cls=LazyGroup,
    lazy=COMMANDS,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, "-V", "--version", message="floatway %(version)s")
def cli() -> None:
    """Distributed virtual routing with floating IPs for Linux hosts, and the explanation of every packet's path."""


def main() -> None:
    """The entry point of ``floatway`` and ``python -m floatway``."""
    cli(prog_name="floatway")
