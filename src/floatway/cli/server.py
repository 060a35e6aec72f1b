"""``floatway server``: the Networking API."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from floatway.cli.errors import BadInput
from floatway.cli.options import File

if TYPE_CHECKING:
    from floatway.api.config import Config

EPILOG = """\b
Examples:
  floatway server --default-config > server.toml     every key, with its meaning and default
  floatway server --config server.toml --check       is it right?
  floatway server --config server.toml
  FLOATWAY_STORE_URL=sqlite:////tmp/try.db floatway server
\b
Without keys and users it serves 127.0.0.1 only, with everybody as administrator:
  openstack --os-auth-type none --os-endpoint http://127.0.0.1:9696 network list"""


@click.command("server", epilog=EPILOG)
@click.option("--config", "file", type=File, metavar="FILE", help="TOML; the defaults if left out.")
@click.option("--check", is_flag=True, help="Say whether the configuration is right, serve nothing.")
@click.option("--print-config", is_flag=True, help="Print the configuration as understood, secrets hidden.")
@click.option("--default-config", is_flag=True, help="Print a file with every key's default and meaning.")
def server(file: Path | None, check: bool, print_config: bool, default_config: bool) -> None:
    """Serve the OpenStack Networking API v2.0 until SIGTERM or SIGINT.

    An environment variable FLOATWAY_TABLE_KEY overrides a key of the file.
    """
    if default_config:
        from floatway.api.config_text import default_text

        click.echo(default_text(), nl=False)
        return
    config = read(file)
    if print_config:
        from floatway.api.config_text import printable

        click.echo(printable(config), nl=False)
    if check:
        click.echo(f"{file or 'the defaults'}: valid", err=print_config)
    if not (check or print_config):
        from floatway.api.main import run

        sys.exit(run(config))


def read(file: Path | None) -> "Config":
    """The configuration; every problem of it at once."""
    from floatway.api.config import ConfigError, load, unreadable

    try:
        config = load(file, os.environ)
    except ConfigError as error:
        raise BadInput("the configuration is not right", where=str(error)) from error
    if problems := [f"{file or 'environment'}: {problem}" for problem in unreadable(config)]:
        raise BadInput("the configuration names files that cannot be read", where="\n".join(problems))
    return config
