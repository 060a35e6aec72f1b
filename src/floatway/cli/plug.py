"""``floatway plug`` and ``unplug``: ports for namespaces and containers, on a host without Nova."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import click

from floatway.cli.asking import asking
from floatway.cli.errors import BadInput, Complaint
from floatway.cli.host import need_root
from floatway.cli.options import json_option, print_json

AGENT = Path("/etc/floatway/agent.toml")


@click.command(
    "plug",
    epilog="""\b
Examples:
  ip netns add web && floatway plug web-port --netns web
  floatway plug web-port --netns /proc/4711/ns/net          a container's, by a process in it
  floatway plug second-port --netns web --name eth1 --no-route
  OS_CLOUD=floatway floatway plug 8aa5e3b4-6c0b-4d77-8c45-146cacf576ec --netns web --json""",
)
@click.argument("port")
@click.option(
    "--netns", "place", required=True, metavar="NS", help="A name of `ip netns`, or a path: /proc/PID/ns/net."
)
@click.option("--name", "device", default="eth0", show_default=True, metavar="DEV", help="What it is called in there.")
@click.option("--host", default="", metavar="NAME", help="This host; what its agent says it is, if left out.")
@click.option("--device-id", default="", metavar="TEXT", help="The port's device_id; netns-NS if left out.")
@click.option("--no-route", is_flag=True, help="No default route through it.")
@click.option("--timeout", default=30.0, show_default=True, type=click.FloatRange(0, 3600), metavar="SECONDS",
              help="How long it may take to become ACTIVE; 0: do not wait.")  # fmt: skip
@json_option
def plug(
    port: str, place: str, device: str, host: str, device_id: str, no_route: bool, timeout: float, as_json: bool
) -> None:
    """Give the namespace NS of this host the port PORT (id or name): a device with its MAC, MTU, addresses and routes.

    Ends when the port is ACTIVE. What fails takes back what it did; plugging again does nothing. Where the API answers and who
    asks is said as for the openstack command (OS_CLOUD, OS_…).
    """
    from floatway.agent import plug as plugs

    need_root()
    with asking() as api, _told():
        done = plugs.plug(api, port, place=place, host=host or _this_host(), device=device, owner_id=device_id,
                          default_route=not no_route, seconds=timeout)  # fmt: skip
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(done))
        return
    how = "plugged" if done.changed else "was plugged already"
    way = f", out by {done.gateway}" if done.gateway else ""
    click.echo(
        f"{how}: {done.device} in {done.netns} is {', '.join(done.addresses) or 'without an address'}{way}; {done.status}"
    )


@click.command("unplug", epilog="\b\nExample:\n  floatway unplug web-port")
@click.argument("port")
@click.option("--host", default="", metavar="NAME", help="This host; what its agent says it is, if left out.")
@json_option
def unplug(port: str, host: str, as_json: bool) -> None:
    """Take out what plug put in, and give the port PORT back; the port stays. A port that was deleted is named by its id."""
    from floatway.agent import plug as plugs

    need_root()
    with asking() as api, _told():
        changed = plugs.unplug(api, port, host=host or _this_host())
    if as_json:
        print_json({"port": port, "changed": changed})
    else:
        click.echo(f"{port} is unplugged" if changed else f"{port} was not plugged")


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What plugging found wrong, in the user's words."""
    from floatway.agent.plug import PlugError, Unknown

    try:
        yield
    except PlugError as error:
        kind = BadInput if isinstance(error, Unknown) else Complaint
        raise kind(str(error), mend=error.mend) from error


def _this_host() -> str:
    """As its agent is configured."""
    from floatway.agent.config import AgentConfigError, load

    if not AGENT.exists():
        return socket.gethostname()
    try:
        return load(AGENT).name
    except AgentConfigError as error:
        raise BadInput("who this host is cannot be told", where=str(error), mend="say it: --host NAME") from error
