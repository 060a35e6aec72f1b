"""The other executor: types the very commands that a plan prints (``--executor=commands``).

Slower by orders of magnitude and without any code of ours between the text and the tools: what it makes is what the netlink,
OVSDB and OpenFlow executor must make too. The tests compare the two.
"""

from floatway.host.commands import commands
from floatway.host.steps import ConntrackDelete, Plan
from floatway.linux.connection import HostConnection
from floatway.linux.errors import StepFailed, ToolError


def execute(conn: HostConnection, plan: Plan) -> None:
    """Run each step's commands with the shell, in order. Raises StepFailed."""
    for step in plan.steps:
        for command in commands(step):
            try:
                conn.run(["sh", "-c", command])
            except ToolError as error:
                if isinstance(step, ConntrackDelete) and "0 flow entries" in error.text:
                    continue  # its status 1 only means that there was none
                raise StepFailed(step, command, error.text) from error
