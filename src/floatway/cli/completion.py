"""``floatway completion``: the script that a shell sources for tab completion."""

import click
from click.shell_completion import CompletionItem, get_completion_class


@click.command(
    "completion",
    epilog="""\b
Examples:
  eval "$(floatway completion bash)"                          in ~/.bashrc
  eval "$(floatway completion zsh)"                           in ~/.zshrc
  floatway completion fish > ~/.config/fish/completions/floatway.fish""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL."""
    from floatway.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "floatway", "_FLOATWAY_COMPLETE").source())


def lab_nodes(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The machines of the lab that the command line names so far."""
    from floatway.lab import lab

    try:
        nodes = lab.load(ctx.params.get("lab_name") or "default").nodes
    except Exception:
        return []  # completion never complains
    return [CompletionItem(name, help=node.role) for name, node in nodes.items() if name.startswith(incomplete)]
