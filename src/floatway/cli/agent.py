"""``floatway agent``: one process a host that makes it be what the server says."""

from pathlib import Path

import click

from floatway.cli.errors import BadInput
from floatway.cli.lazy import Lazy, LazyGroup
from floatway.cli.options import File

COMMANDS = {
    "join": Lazy("agent:join", "Get this host its key, and a configuration to begin with."),
}

DEFAULT = Path("/etc/floatway/agent.toml")

EPILOG = """\b
Examples:
  floatway agent join TOKEN                      once; TOKEN is from: floatway agent token (on a server)
  floatway agent                                 as /etc/floatway/agent.toml says
  floatway agent --config agent.toml
  FLOATWAY_AGENT_SERVERS=https://controller:9697 floatway agent"""


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
    from floatway.cli.errors import Complaint
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
