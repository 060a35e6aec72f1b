"""``floatway cloud``: look at a description without touching anything."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from floatway.cli.lazy import Lazy, LazyGroup
from floatway.cli.options import Example, cloud_file, example_text

if TYPE_CHECKING:
    from floatway.model.cloud import Cloud

COMMANDS = {
    "check": Lazy("cloud:check", "Is this cloud.yaml right? Every problem, with its place and rule."),
    "schema": Lazy("cloud:schema", "The JSON Schema of cloud.yaml."),
    "example": Lazy("cloud:example", "A whole cloud.yaml to start from."),
}

EPILOG = """\b
Examples:
  floatway cloud example > cloud.yaml
  floatway cloud check cloud.yaml
  floatway cloud schema > cloud.schema.json        for your editor"""


@click.command("cloud", cls=LazyGroup, lazy=COMMANDS, epilog=EPILOG)
def cloud() -> None:
    """Check a cloud.yaml, print its schema or an example. Nothing is changed by any of these."""


@click.command("check", epilog="\b\nExample:\n  floatway cloud check cloud.yaml")
@cloud_file
@click.option("--json", "as_json", is_flag=True, help="The counts as JSON.")
def check(file: Path, as_json: bool) -> None:
    """Is the cloud in FILE right? Prints every problem as FILE:LINE: PATH: message (rule), and ends with 2 when there is one."""
    from floatway.model.load import load_cloud

    counts = count(load_cloud(file))
    if as_json:
        click.echo(json.dumps({"file": str(file), "valid": True, "counts": counts}, indent=2))
    else:
        click.echo(f"{file}: valid: " + ", ".join(f"{n} {kind}" for kind, n in counts.items() if n))


@click.command("schema", epilog="\b\nExample:\n  floatway cloud schema > cloud.schema.json")
def schema() -> None:
    """Print the JSON Schema of cloud.yaml."""
    from floatway.model.schema import cloud_schema

    click.echo(json.dumps(cloud_schema(), indent=2))


@click.command(
    "example",
    epilog="\b\nExamples:\n  floatway cloud example > cloud.yaml\n  floatway cloud example two-hosts > cloud.yaml",
)
@click.argument("name", type=Example, default="reference")
def example(name: str) -> None:
    """Print a whole cloud to start from. reference: an instance with a floating IP on one DVR host, as in the reference walk.
    two-hosts: three instances on two hosts, two networks under one router."""
    click.echo(example_text(name), nl=False)


def count(of: "Cloud") -> dict[str, int]:
    """How many of each resource, singular or plural as a person would say it."""
    sizes = {
        "network": len(of.networks),
        "subnet": len(of.subnets),
        "port": len(of.ports),
        "router": len(of.routers),
        "floating IP": len(of.floating_ips),
        "security group": len(of.security_groups),
        "server": len(of.servers),
        "host": len(of.hosts),
    }
    return {kind if size == 1 else f"{kind}s": size for kind, size in sizes.items()}
