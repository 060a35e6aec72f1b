"""The unmodified command ``openstack``, many times in one process: each line on stdin is a JSON list of its arguments, each line on
stdout what became of it. Starting Python and importing the client anew for each command would take a hundred times as long as the
command itself.
"""

import contextlib
import io
import json
import sys

from openstackclient import shell


def run(argv: list[str]) -> dict[str, object]:
    """Status, output and complaints of one command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = shell.main(argv)
        except SystemExit as ended:  # argparse's word on arguments it does not understand
            status = ended.code
    return {"status": status or 0, "out": out.getvalue(), "err": err.getvalue()}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
