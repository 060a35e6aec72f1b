"""``floatway plan``, ``apply`` and ``observe``: this machine as a compute host."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from floatway.cli.errors import Complaint
from floatway.cli.options import choose_host, cloud_option, executor_option, host_option, json_option, print_json

if TYPE_CHECKING:
    from floatway.agent.reconcile import Executor, Outcome

CHANGES = 3
"""``plan --detailed-exitcode``: there is something to do. Not Terraform's 2, which here always means bad input."""


@click.command(
    "plan",
    epilog="""\b
Examples:
  floatway plan --cloud cloud.yaml                          as this machine
  floatway plan --cloud cloud.yaml --host cy2-compute02
  floatway plan --cloud cloud.yaml --detailed-exitcode >/dev/null || echo drift""",
)
@cloud_option
@host_option
@json_option
@click.option("--detailed-exitcode", is_flag=True, help=f"End with {CHANGES} when there is something to do.")
def plan(file: Path, host: str, as_json: bool, detailed_exitcode: bool) -> None:
    """Print what would make this machine the host that the cloud wants, as the commands a person would type.

    Nothing is changed. The output is a shell script: headings are comments.
    """
    outcome, name = reconcile_here(file, host, dry_run=True)
    show_plan({name: outcome}, as_json)
    if detailed_exitcode and outcome.plan:
        raise click.exceptions.Exit(CHANGES)


@click.command(
    "apply",
    epilog="""\b
Examples:
  floatway apply --cloud cloud.yaml
  floatway apply --cloud cloud.yaml --host cy2-compute02 --json""",
)
@cloud_option
@host_option
@executor_option
@json_option
def apply(file: Path, host: str, executor: "Executor", as_json: bool) -> None:
    """Make this machine the host that the cloud wants.

    What is not floatway's is not touched. Applying again does nothing; after a failure or a crash, apply again.
    """
    outcome, name = reconcile_here(file, host, dry_run=False, executor=executor)
    show_applied({name: outcome}, as_json)


@click.command(
    "observe",
    epilog="""\b
Examples:
  floatway observe                  how many of what, where
  floatway observe --json > host.json""",
)
@json_option
@click.option("--owned", is_flag=True, help="Only what floatway made.")
def observe(as_json: bool, owned: bool) -> None:
    """Read this machine's links, addresses, routes, rules, tables, sets, bridges and flows, as one value."""
    from floatway.host import ownership
    from floatway.host.state import to_builtins
    from floatway.linux.connection import HostConnection
    from floatway.linux.observe import observe as observe_host

    need_root()
    with HostConnection() as connection:
        state = observe_host(connection, witnesses=not owned)
    if owned:
        state = ownership.owned(state)
    if as_json:
        print_json(to_builtins(state))
        return
    counts: dict[tuple[str, str], int] = {}
    for record in state:
        place = (getattr(record, "netns", ""), type(record).__name__)
        counts[place] = counts.get(place, 0) + 1
    for netns in sorted({place[0] for place in counts}):
        click.echo(netns or "(the host itself)")
        for (where, kind), number in counts.items():
            if where == netns:
                click.echo(f"  {number:6} {kind}")


def reconcile_here(file: Path, host: str, *, dry_run: bool, executor: "Executor" = "netlink") -> tuple["Outcome", str]:
    """Load, choose the host, reconcile this machine (or only say what that would be)."""
    from floatway.agent.reconcile import reconcile
    from floatway.linux.connection import HostConnection
    from floatway.model.load import load_cloud

    cloud = load_cloud(file)
    name = choose_host(cloud, file, host)
    need_root()
    with HostConnection() as connection:
        return reconcile(connection, cloud, name, dry_run=dry_run, executor=executor), name


def need_root() -> None:
    """Namespaces, netlink changes and Open vSwitch's sockets are root's."""
    if os.geteuid() != 0:
        context = click.get_current_context(silent=True)
        raise Complaint("this takes root", mend=f"sudo {context.command_path if context else 'floatway'} …")


def show_plan(outcomes: "Mapping[str, Outcome]", as_json: bool) -> None:
    """Dry runs' outcomes by host."""
    from floatway.cli import show

    if as_json:
        print_json([show.to_json(outcome.plan, host) for host, outcome in outcomes.items()])
        return
    for host, outcome in outcomes.items():
        click.echo(show.text(outcome.plan, host))


def show_applied(outcomes: "Mapping[str, Outcome]", as_json: bool) -> None:
    """What has been done, one line for each host, and the time of each phase."""
    from floatway.cli import show

    if as_json:
        print_json(
            [
                show.to_json(outcome.plan, host) | {"seconds": dict(outcome.seconds)}
                for host, outcome in outcomes.items()
            ]
        )
        return
    for host, outcome in outcomes.items():
        steps = len(outcome.plan.steps)
        done = f"{steps} step{'s' * (steps != 1)} done" if steps else "nothing to do"
        phases = ", ".join(f"{phase} {1000 * value:.0f} ms" for phase, value in dict(outcome.seconds).items())
        click.echo(f"{host}: {done} ({phases})")
        for device in outcome.waiting:
            click.echo(f"  waiting for {device}: it is not there yet; apply again when it is")
