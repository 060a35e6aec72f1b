"""``floatway lab``: a whole cloud on this machine, of namespaces, with real packets."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from floatway.cli.completion import lab_nodes
from floatway.cli.errors import BadInput, Complaint
from floatway.cli.host import CHANGES, need_root, show_applied, show_plan
from floatway.cli.lazy import Lazy, LazyGroup
from floatway.cli.options import Example, File, example_text, executor_option, json_option, lab_option, print_json
from floatway.cli.progress import lines

if TYPE_CHECKING:
    from floatway.agent.reconcile import Executor, Outcome
    from floatway.lab.lab import Lab, NodeStatus
    from floatway.lab.node import Node
    from floatway.model.cloud import Cloud

COMMANDS = {
    "up": Lazy("lab:up", "Raise a cloud: server, hosts with agents, instances, the network outside."),
    "load": Lazy("lab:load_", "Make the lab be another cloud, told through the API."),
    "status": Lazy("lab:status", "What runs."),
    "exec": Lazy("lab:exec_", "Run a command on a host, in an instance, or outside."),
    "shell": Lazy("lab:shell", "A shell there."),
    "plan": Lazy("lab:plan", "What would make the lab's hosts as the cloud wants them."),
    "apply": Lazy("lab:apply", "Make them so."),
    "pause": Lazy("lab:pause", "Stop the agents: nothing repairs what you break."),
    "resume": Lazy("lab:resume", "Let them go on."),
    "down": Lazy("lab:down", "Leave nothing behind."),
}

COMMAND_NOT_FOUND = 127  # as a shell says it

EPILOG = """\b
Examples:
  floatway lab up                                   the reference cloud
  floatway lab exec test -- ping -c 3 192.168.0.1
  floatway lab exec cy2-compute02 --netns qrouter-d3218b9c-73bb-4788-87e4-5828625fe586 -- ip rule
  floatway lab shell outside
  floatway lab down"""

EXEC_EPILOG = """\b
Examples:
  floatway lab exec test -- ping -c 3 192.168.0.1
  floatway lab exec cy2-compute02 -- ovs-vsctl show
  floatway lab exec cy2-compute02 --netns qrouter-d3218b9c-73bb-4788-87e4-5828625fe586 -- ip rule
  floatway lab exec cy2-compute02 -- floatway plug web-port --netns web

Exit status: the command's; 127 no such command, 128 and the signal's number if one ended it, 2 no such machine."""


@click.group("lab", cls=LazyGroup, lazy=COMMANDS, epilog=EPILOG)
def lab() -> None:
    """A cloud on this machine. Each host has namespaces and an Open vSwitch of its own; the machine's network is not touched."""


@click.command(
    "up",
    epilog="""\b
Examples:
  floatway lab up                          the reference cloud, or again what there was
  floatway lab up --example two-hosts
  floatway lab up cloud.yaml --lab mine
  floatway lab up --plain                  to break things by hand""",
)
@click.argument("file", required=False, type=File)
@click.option("--example", type=Example, help="A cloud that the package brings along, instead of FILE.")
@lab_option
@click.option("--plain", is_flag=True, help="No server and no agents: nothing repairs what you break.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def up(file: Path | None, example: str | None, lab_name: str, plain: bool, quiet: bool) -> None:
    """Raise the cloud in FILE or an example. Without either: what has died of a lab that was up comes up again, with all that its
    API was told, and else the reference cloud. Ends when every host is as the cloud wants it.

    A server speaks the Networking API, and each host has its agent: what an OpenStack client changes, packets obey. With --plain
    the hosts are made once, and what is broken by hand stays broken until "floatway lab apply".
    """
    from floatway.lab import lab as labs

    if file and example:
        raise click.UsageError("FILE and --example: one cloud at a time")
    cloud = read(file, example or "reference") if file or example or not labs.there(lab_name) else None
    need_root()
    tell = lines(quiet)
    raised = labs.up(cloud, name=lab_name, progress=tell, with_server=not plain)
    tell(f"lab {lab_name} is up: {', '.join(raised.nodes)}")


@click.command("down", epilog="\b\nExample:\n  floatway lab down")
@lab_option
@click.option("--quiet", "-q", is_flag=True, help="No word when done.")
def down(lab_name: str, quiet: bool) -> None:
    """End every process of the lab and remove all of it. Works also when parts have died, and when there is none."""
    from floatway.lab import lab as labs

    need_root()
    tell = lines(quiet)
    was = labs.down(lab_name)
    tell(f"lab {lab_name} is down" if was else f"there is no lab {lab_name}: nothing to do")


@click.command("exec", epilog=EXEC_EPILOG, context_settings={"ignore_unknown_options": True})
@click.argument("node", metavar="HOST", shell_complete=lab_nodes)
@click.option("--netns", default="", metavar="NS", help="In this namespace of the host.")
@lab_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
def exec_(node: str, netns: str, lab_name: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in the lab's machine HOST: a compute host, an instance or "outside". Ends with its exit status. On a compute host
    floatway and openstack reach the lab's servers, and OS_… say so."""
    if node.startswith("-"):
        raise click.NoSuchOption(node)
    raise click.exceptions.Exit(run(lab_name, node, netns, command))


@click.command("shell", epilog="\b\nExample:\n  floatway lab shell test")
@click.argument("node", metavar="HOST", shell_complete=lab_nodes)
@click.option("--netns", default="", metavar="NS", help="In this namespace of the host.")
@lab_option
def shell(node: str, netns: str, lab_name: str) -> None:
    """A shell in the lab's machine HOST."""
    prompt = f"{node}{':' + netns[:16] if netns else ''}"
    raise click.exceptions.Exit(run(lab_name, node, netns, ("env", f"PS1=[{prompt}] \\w # ", "bash", "--norc")))


@click.command("plan", epilog="\b\nExamples:\n  floatway lab plan\n  floatway lab plan cloud.yaml --json")
@click.argument("file", required=False, type=File)
@lab_option
@json_option
@click.option("--detailed-exitcode", is_flag=True, help=f"End with {CHANGES} when there is something to do.")
def plan(file: Path | None, lab_name: str, as_json: bool, detailed_exitcode: bool) -> None:
    """Print what would make the lab's hosts as FILE wants them, or else as the lab was last told. Nothing is changed."""
    from floatway.lab import enter, ovs
    from floatway.lab import lab as labs

    cloud = read(file) if file else None
    raised = load(lab_name)
    cloud = labs.with_datapath(cloud or labs.cloud_of(lab_name), ovs.datapath())
    hosts = [node for node in raised.nodes.values() if node.role == "compute" and node.name in cloud.hosts]
    outcomes = {node.name: enter.call(node, dry_run, cloud, node.name) for node in hosts}
    show_plan(outcomes, as_json)
    if detailed_exitcode and any(outcome.plan for outcome in outcomes.values()):
        raise click.exceptions.Exit(CHANGES)


@click.command(
    "load",
    epilog="""\b
Examples:
  floatway cloud example > cloud.yaml           change it, and
  floatway lab load cloud.yaml
  floatway lab load --example reference         as it was""",
)
@click.argument("file", required=False, type=File)
@click.option("--example", type=Example, help="A cloud that the package brings along, instead of FILE.")
@lab_option
@json_option
def load_(file: Path | None, example: str | None, lab_name: str, as_json: bool) -> None:
    """Make the running lab be the cloud in FILE or an example, told through the API if it has a server: machines come and go, hosts
    follow. What FILE does not name, and was not loaded before, stays."""
    if (file is None) == (example is None):
        raise BadInput("which cloud? FILE or --example, one of the two", mend="floatway lab load cloud.yaml")
    cloud = read(file, example or "")
    _become(load(lab_name), cloud, "netlink", as_json)


@click.command(
    "apply", epilog="\b\nExamples:\n  floatway lab apply cloud.yaml\n  floatway lab apply        mend what was broken"
)
@click.argument("file", required=False, type=File)
@lab_option
@executor_option
@json_option
def apply(file: Path | None, lab_name: str, executor: "Executor", as_json: bool) -> None:
    """Make the running lab be as FILE wants it, told through the API if it has a server: machines come and go, hosts follow.
    Without FILE: mend, from here and at once, whatever on the hosts is not as the lab was told."""
    from floatway.lab import lab as labs

    cloud = read(file) if file else None
    raised = load(lab_name)
    if cloud is None:
        show_applied(labs.mend(raised, executor=executor), as_json)
        return
    _become(raised, cloud, executor, as_json)


def _become(raised: "Lab", cloud: "Cloud", executor: "Executor", as_json: bool) -> None:
    from floatway.lab import lab as labs

    outcomes = labs.apply(raised, cloud, progress=lines(as_json), executor=executor)
    if raised.server is None:
        show_applied(outcomes, as_json)
    elif as_json:
        print_json({"url": raised.server.url, "applied": True})
    else:
        click.echo(f"told to {raised.server.url}; every host has applied it")


@click.command("pause", epilog="\b\nExample:\n  floatway lab pause")
@lab_option
def pause(lab_name: str) -> None:
    """Stop the agents where they are: what you break stays broken, until "floatway lab resume" or "floatway lab apply"."""
    _agents(lab_name, stop=True)


@click.command("resume", epilog="\b\nExample:\n  floatway lab resume")
@lab_option
def resume(lab_name: str) -> None:
    """Let the agents go on: they hear what was done meanwhile, and mend it."""
    _agents(lab_name, stop=False)


def _agents(lab_name: str, *, stop: bool) -> None:
    from floatway.lab import served

    raised = load(lab_name)
    hosts = [node for node in raised.nodes.values() if node.role == "compute"]
    found = [node.name for node in hosts if served.pause(node, stop=stop)]
    if not found:
        raise Complaint("this lab has no agents", where="it was raised with --plain" if raised.server is None else "")
    click.echo(f"{'paused' if stop else 'going on'}: the agent of {', '.join(found)}")


@click.command("status", epilog="\b\nExample:\n  floatway lab status --json")
@lab_option
@json_option
def status(lab_name: str, as_json: bool) -> None:
    """What of the lab runs: machines, and what each is."""
    from floatway.lab import lab as labs

    need_root()
    found = labs.status(lab_name)
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(found))
    else:
        for node in found.nodes:
            click.echo(f"{node.name:<24} {node.role:<9} {said_of(node)}")
        if found.serving is not None:
            health = click.style("up", fg="green") if found.serving else click.style("dead", fg="red")
            click.echo(f"{'server':<24} {'API':<9} {health}  {found.url}")
    if not found.healthy:
        raise Complaint("not all of the lab lives", mend="floatway lab up    starts what is dead")


def said_of(node: "NodeStatus") -> str:
    """A machine's health and addresses."""
    health = click.style("up", fg="green") if node.alive else click.style("dead", fg="red")
    if node.open_vswitch is not None:
        health += ", Open vSwitch runs" if node.open_vswitch else click.style(", Open vSwitch is dead", fg="red")
    if node.paused:
        health += click.style(", agent paused", fg="yellow")
    elif node.agent is not None:
        health += ", agent follows" if node.agent else click.style(", its agent is away", fg="red")
    addresses = "".join(f"  {address}" for address in node.fixed_ips)
    addresses += "".join(f"  floating {address}" for address in node.floating_ips)
    return f"{health}{f'  on {node.host}' if node.host else ''}{addresses}"


def read(file: Path | None, example: str = "reference") -> "Cloud":
    """The cloud in FILE, or else one of the package's own."""
    from floatway.model.load import cloud_from_text, load_cloud

    return load_cloud(file) if file is not None else cloud_from_text(example_text(example), f"{example}.yaml")


def load(lab_name: str) -> "Lab":
    """The running lab of that name."""
    from floatway.lab import lab as labs

    need_root()
    return labs.load(lab_name)


def find(raised: "Lab", name: str) -> "Node":
    """The lab's machine of that name."""
    if (node := raised.nodes.get(name)) is None:
        raise BadInput(f'the lab has no machine "{name}"', where=f"it has: {', '.join(raised.nodes)}")
    return node


def run(lab_name: str, name: str, netns: str, argv: tuple[str, ...]) -> int:
    """Run argv there with this process's own stdin, stdout and stderr; its exit status as a shell gives it."""
    from floatway.lab import enter

    raised = load(lab_name)
    node = find(raised, name)
    if argv[0] == "floatway":  # this one, in the path or not
        argv = (sys.executable, "-m", *argv)
    sys.stdout.flush()
    try:
        ended: subprocess.CompletedProcess[bytes] = enter.run(node, argv, netns=netns, env=_environment(raised, node))
    except FileNotFoundError:
        click.echo(f"{argv[0]}: command not found", err=True)
        return COMMAND_NOT_FOUND
    return ended.returncode if ended.returncode >= 0 else 128 - ended.returncode


def _environment(raised: "Lab", node: "Node") -> dict[str, str]:
    """This process's own; on a host of a served lab OS_… name that lab, whose servers alone are to be reached from there."""
    from floatway.lab import clouds_yaml

    if raised.server is None or node.role != "compute":
        return dict(os.environ)
    others = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    return others | clouds_yaml.environment(raised.name)


def dry_run(cloud: "Cloud", host: str) -> "Outcome":
    """What reconciling the host that this process stands in would do."""
    from floatway.agent.reconcile import reconcile
    from floatway.linux.connection import HostConnection

    with HostConnection() as connection:
        return reconcile(connection, cloud, host, dry_run=True)
