"""``floatway agent``: one process a host that makes it be what the server says; and how a host is let in."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import click

from floatway.cli.asking import asking
from floatway.cli.errors import BadInput, Complaint
from floatway.cli.lazy import Lazy, LazyGroup
from floatway.cli.options import File, json_option, print_json

COMMANDS = {
    "token": Lazy("agent:token", "Let a host join: a token for it, good once, for an hour."),
    "join": Lazy("agent:join", "On the host: get its key, and a configuration to begin with."),
    "status": Lazy("agent:status", "Which hosts follow, where each stands, what failed there."),
    "revoke": Lazy("agent:revoke", "Let nobody speak for a host any more."),
}

DEFAULT = Path("/etc/floatway/agent.toml")
KEY = Path("/etc/floatway/agent.key")
_SHOWN = 12
"""Events of a host that are shown, at most."""

EPILOG = """\b
Examples:
  floatway agent token cy2-compute02             where the API answers (OS_CLOUD and OS_… say where and who)
  floatway agent join eyJob3N0Ijoi…              on that host
  floatway agent                                 as /etc/floatway/agent.toml says
  FLOATWAY_AGENT_SERVERS=https://controller:9697 floatway agent --config agent.toml"""


@click.group("agent", cls=LazyGroup, lazy=COMMANDS, invoke_without_command=True, epilog=EPILOG)
@click.option("--config", "file", type=File, metavar="FILE", help=f"TOML.  [{DEFAULT}]")
@click.pass_context
def agent(ctx: click.Context, file: Path | None) -> None:
    """Make this host be what the server says, until SIGTERM or SIGINT. Whatever it made stays when it ends."""
    if ctx.invoked_subcommand is not None:
        return
    from floatway.agent.config import AgentConfigError, load
    from floatway.agent.link import LinkError
    from floatway.agent.main import AgentError, run
    from floatway.api import logs
    from floatway.api.config import LogConfig
    from floatway.cli.host import need_root

    try:
        config = load(file or (DEFAULT if DEFAULT.exists() else None))
    except AgentConfigError as error:
        raise BadInput("the configuration is not right", where=str(error)) from error
    need_root()
    logs.configure(LogConfig(format=config.log_format, level=config.log_level))
    try:
        run(config)
    except (AgentError, LinkError) as error:
        raise Complaint(str(error)) from error


@click.command("token", epilog="\b\nExample:\n  OS_CLOUD=floatway floatway agent token cy2-compute02")
@click.argument("host")
@json_option
def token(host: str, as_json: bool) -> None:
    """Let HOST join. The token is good once, for an hour; it holds a secret: give it to nobody else."""
    told = _ask("POST", f"/floatway/v1/hosts/{_quoted(host)}/tokens")["token"]
    if as_json:
        print_json(told)
        return
    click.echo(told["token"])
    click.echo(f"on {host}: sudo floatway agent join TOKEN", err=True)


@click.command(
    "join",
    epilog="""\b
Examples:
  sudo floatway agent join eyJob3N0Ijoi… && sudo systemctl enable --now floatway-agent
  floatway agent token cy2-compute02 | ssh cy2-compute02 sudo floatway agent join -""",
)
@click.argument("word", metavar="TOKEN")
@click.option(
    "--config", "config", type=click.Path(path_type=Path), default=DEFAULT, show_default=True, help="Written."
)
@click.option(
    "--key", "key", type=click.Path(path_type=Path), default=KEY, show_default=True, help="Written, for root alone."
)
def join(word: str, config: Path, key: Path) -> None:
    """Get this host its key. Joining again gives it a new one; the old one is void. Lines of the configuration that the token has no
    word for stay. A TOKEN of - is read from standard input, where no other user of this host can see it."""
    from floatway.agent.join import JoinError
    from floatway.agent.join import join as joined
    from floatway.agent.link import LinkError
    from floatway.model.invitation import Invitation, InvitationError

    try:
        invitation = Invitation.of(sys.stdin.read() if word == "-" else word)
    except InvitationError as error:
        raise BadInput(str(error), mend="floatway agent token HOST    makes one") from error
    try:
        server = asyncio.run(joined(invitation, config, key))
    except JoinError as error:
        raise BadInput("this host cannot join; the token is still good", where=str(error)) from error
    except LinkError as error:
        raise Complaint("no server lets this host in", where=str(error)) from error
    click.echo(f"{invitation.host} is let in by {server}: {key}, {config}")
    click.echo("next: say in that file which bridges and tunnel address the host has, then: floatway agent", err=True)


@click.command("status", epilog="\b\nExamples:\n  floatway agent status\n  floatway agent status cy2-compute02 --json")
@click.argument("host", required=False)
@json_option
def status(host: str | None, as_json: bool) -> None:
    """Which hosts follow the server that answers, the revision that each stands at, and what failed there; of one HOST also what it
    told of lately, as what it repaired. Ends with 1 if anything fails, or a host is away."""
    import msgspec

    from floatway.model.stream import Event, failing

    path = f"/floatway/v1/hosts/{_quoted(host)}" if host else "/floatway/v1/hosts"
    document = _ask("GET", path)
    hosts = [document["host"]] if host else document["hosts"]
    if as_json:
        print_json(hosts)
    else:
        for one in hosts:
            here = click.style("follows", fg="green") if one["connected"] else click.style("away", fg="red")
            behind = f", {one['concerned']} wanted" if one["applied"] < one["concerned"] else ""
            click.echo(f"{one['host']:<24} {here}  at revision {one['applied']}{behind}")
            for what, why in sorted(one["failures"].items()):
                click.echo(f"    {click.style(why['state'], fg='red')} {what}  {why.get('reason', '')}")
            for what, reason in failing(msgspec.convert(one["events"], list[Event])).items() if behind else ():
                click.echo(f"    {click.style('FAILS', fg='red')} {what}  {reason}")
            for event in one["events"][-_SHOWN:] if host else ():
                click.echo(f"    {event['kind']} {ago(time.time() - event['seconds'])}: {event['what']}")
        if not hosts:
            click.echo("no host has ever followed; let one in: floatway agent token HOST", err=True)
    if any(not one["connected"] or one["failures"] for one in hosts):
        raise click.exceptions.Exit(1)


@click.command("revoke", epilog="\b\nExample:\n  floatway agent revoke cy2-compute02")
@click.argument("host")
def revoke(host: str) -> None:
    """Let nobody speak for HOST any more, and end its stream. What is on the host stays; a new token lets it in again."""
    _ask("DELETE", f"/floatway/v1/hosts/{_quoted(host)}/key")
    click.echo(f"the key of {host} is void")


def ago(seconds: float) -> str:
    """``12 s ago``, ``3 min ago``, ``5 h ago``, ``2 d ago``."""
    for name, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name} ago"
    return f"{max(0.0, seconds):.0f} s ago"


def _quoted(host: str) -> str:
    from urllib.parse import quote

    return quote(host, safe="")


def _ask(method: str, path: str) -> Any:
    with asking() as api:
        return api.call(method, path)
