"""``floatway wait``: the barrier between what the API was told and what packets obey."""

from urllib.parse import urlencode

import click

from floatway.cli.asking import asking
from floatway.cli.errors import FAILED, Complaint
from floatway.cli.options import json_option, print_json

NOT_APPLIED = "NotApplied"
"""The API's word for: not in time."""


@click.command(
    "wait",
    epilog="""\b
Examples:
  openstack floating ip set --port web 192.168.10.106 && floatway wait
  floatway wait --revision 4711 --timeout 5     of an answer's X-Floatway-Revision
  floatway wait --host cy2-compute02
\b
Exit status: 0 applied, 1 not in time (says who is behind and why), 2 bad input.""",
)
@click.option(
    "--revision", type=click.IntRange(min=0), metavar="N", help="Wait for this revision; the newest if left out."
)
@click.option("--host", "hosts", multiple=True, metavar="HOST", help="For these hosts alone, which must be connected.")
@click.option("--timeout", type=click.FloatRange(0, 600), default=30.0, show_default=True, metavar="SECONDS")
@click.option(
    "--url",
    default="",
    metavar="URL",
    help="The server, without authentication; else OS_CLOUD and OS_… say where and who.",
)
@json_option
def wait(revision: int | None, hosts: tuple[str, ...], timeout: float, url: str, as_json: bool) -> None:
    """Wait until every host that is concerned has applied what the API was told: packets obey when this ends."""
    asked: list[tuple[str, str]] = [("timeout", f"{timeout:g}"), *(("host", host) for host in hosts)]
    if revision is not None:
        asked.append(("revision", str(revision)))
    from floatway.agent.networking import NetworkingError

    with asking(url, seconds=timeout + 10) as api:
        try:
            document = api.call("GET", f"/floatway/v1/wait?{urlencode(asked)}")
        except NetworkingError as error:
            if error.kind != NOT_APPLIED:
                raise
            if as_json:
                print_json({key: value for key, value in error.document.items() if key != "NeutronError"})
                raise click.exceptions.Exit(FAILED) from error
            raise Complaint(str(error), mend="floatway agent status HOST    says what happens there") from error
    if as_json:
        print_json(document)
    else:
        count = len(document.get("hosts", ()))
        click.echo(
            f"revision {document['revision']} is applied" + (f" on {count} host{'s' * (count != 1)}" if count else "")
        )
