"""``bin/peer-tests``: the suites that others wrote, run against this checkout's server and a real Keystone."""

import os
import sys
import time
from functools import partial
from pathlib import Path

import click
import cloud
import msgspec
import report
import suites
from environments import environment

NAMES = [suite.name for suite in suites.SUITES]
ALL = [*NAMES, suites.ANSIBLE]

EPILOG = """\b
Examples:
  bin/peer-tests                                        everything; the first run installs the suites (2 minutes)
  bin/peer-tests --suite tempest
  bin/peer-tests --suite neutron --regex 'test_ports\\.' --keep
  bin/peer-tests --suite client --regex test_router --json
  bin/peer-tests --suite ansible                        only when asked for: Ansible takes 600 MB
  bin/peer-tests --down                                 end what --keep left running
\b
State: environments, databases, logs, report/failures.txt and report/results.json are kept in --state. FLOATWAY_PEERS_SUITES and
FLOATWAY_PEERS_KEYSTONE name virtual environments that are there already.
Exit status: 0 when nothing failed, 1 when a test failed, 2 when there was no test."""


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--suite", "names", multiple=True, type=click.Choice(ALL), help="Only this one; may be repeated.")
@click.option("--regex", default="", help="Only tests whose name it finds something in.")
@click.option("--workers", default=2, show_default=True, help="How many tests at once.")
@click.option("--keep", is_flag=True, help="Leave Keystone and the server running.")
@click.option("--down", is_flag=True, help="End them, run nothing.")
@click.option("--only-up", is_flag=True, help="Start both, say where they are, run nothing. Implies --keep.")
@click.option("--json", "as_json", is_flag=True, help="The table as JSON.")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where everything is kept.  [default: floatway-peers in $TMPDIR or /var/tmp]",
)
def main(
    names: tuple[str, ...],
    regex: str,
    workers: int,
    keep: bool,
    down: bool,
    only_up: bool,
    as_json: bool,
    state: Path | None,
) -> None:
    """Run the peers' own test suites against this checkout's server, with a real Keystone, on loopback."""
    state = (state or Path(os.environ.get("TMPDIR", "/var/tmp")) / "floatway-peers").absolute()
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    if down:
        cloud.down(state)
        return
    try:
        there = raise_cloud(state)
        if only_up:
            keep = True
            click.echo(f"keystone {there.keystone}\nnetwork  {there.network}")
            click.echo(f"clouds   OS_CLIENT_CONFIG_FILE={state}/etc/clouds.yaml OS_CLOUD=devstack-admin")
            return
        summaries = run(names or tuple(NAMES), state, regex, workers)
    finally:
        if not keep:
            cloud.down(state)
    click.echo(msgspec.json.format(msgspec.json.encode(summaries)).decode() if as_json else report.table(summaries))
    click.echo(f"failures with tracebacks: {state}/report/failures.txt", err=True)
    if not any(one.passed + one.failed + one.skipped for one in summaries):
        sys.exit(2)
    sys.exit(any(one.failed for one in summaries))


def raise_cloud(state: Path) -> cloud.Cloud:
    """Keystone, our server, and what the suites read about them."""
    there = cloud.up(state, environment("keystone", state))
    suites.prepare(state, there)
    return there


def run(names: tuple[str, ...], state: Path, regex: str, workers: int) -> list[report.Summary]:
    """The suites one after another, telling of each failure as it happens."""
    venv = environment("suites", state) if set(names) & set(NAMES) else state
    summaries, everything = [], {}
    runs = {suite.name: partial(suites.run, suite, venv, state, regex, workers) for suite in suites.SUITES}
    if suites.ANSIBLE in names:
        runs[suites.ANSIBLE] = partial(suites.run_ansible, environment("ansible", state), state)
    for name, go in runs.items():
        if name not in names:
            continue
        click.echo(f"==> {name}", err=True)
        began, results = time.monotonic(), []
        for result in go():
            results.append(result)
            if report.failed_(result):
                click.echo(f"  failed  {result.test}", err=True)
                report.write(state / "report", summaries, {**everything, name: results})
        everything[name] = results
        summaries.append(report.summary(name, results, time.monotonic() - began))
        report.write(state / "report", summaries, everything)
    return summaries


if __name__ == "__main__":
    main(prog_name="bin/peer-tests")
