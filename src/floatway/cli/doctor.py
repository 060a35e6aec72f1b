"""``floatway doctor``: is this machine fit to be a compute host?"""

from pathlib import Path

import click

from floatway.cli.agent import DEFAULT
from floatway.cli.errors import FAILED, BadInput
from floatway.cli.options import File, json_option, print_json

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(
    "doctor",
    epilog="""\b
Examples:
  sudo floatway doctor
  sudo floatway doctor --config agent.toml --json | jq '.[] | select(.verdict != "ok")'
\b
Exit status: 0 fit (warnings too), 1 something is in the way, 2 bad input.""",
)
@click.option("--config", "file", type=File, metavar="FILE", help=f"The agent's configuration.  [{DEFAULT}]")
@json_option
def doctor(file: Path | None, as_json: bool) -> None:
    """Look at kernel, tools, Open vSwitch, bridges, tunnel, leftovers, key, server and clock; each finding has its remedy.
    Nothing is changed."""
    from floatway.agent.config import AgentConfigError, load
    from floatway.agent.doctor import asked, examine
    from floatway.agent.link import Address, Link, LinkError

    try:
        config = load(file or (DEFAULT if DEFAULT.exists() else None))
        addresses = [Address.of(server) for server in config.servers]
    except (AgentConfigError, LinkError) as error:
        raise BadInput("the agent's configuration is not right", where=str(error)) from error
    try:
        key = Path(config.key_file).read_text().strip()
    except OSError:
        key = ""
    links = [Link(one, config.name, key, fingerprint=config.fingerprint, cacert=config.cacert) for one in addresses]
    questions = [asked(link) for link in links]

    def ask() -> "dict[str, float] | LinkError":
        answers = [question() for question in questions] or [LinkError("no server is named")]
        return next((answer for answer in answers if isinstance(answer, dict)), answers[-1])

    found = []
    for finding in examine(config, ask):
        found.append(finding)
        if not as_json:
            verdict = click.style(f"{finding.verdict:<5}", fg=COLOURS[finding.verdict])
            click.echo(f"{verdict} {finding.what:<14} {finding.said}")
            if finding.remedy:
                click.echo(f"{'':20} {click.style(finding.remedy, bold=True)}")
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(found))
    if any(finding.verdict == "fail" for finding in found):
        raise click.exceptions.Exit(FAILED)
