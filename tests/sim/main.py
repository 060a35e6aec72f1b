"""``bin/simulate``: thousands of seeded runs of the whole cloud in one process."""

import argparse
import hashlib
import json
import logging
import os
import sys
import time

import structlog

from sim.loop import DeadlockError, run
from sim.world import story

EPILOG = """examples:
  bin/simulate                              1,000 runs from seed 0
  bin/simulate --runs 20000 --seed 5000     overnight
  bin/simulate --seed 4711 --runs 1         one run again
  bin/simulate --hosts 300 --requests 400 --runs 20

ends with 1 if a run did not come to rest as it should"""


def main() -> int:
    """Run, tell, and say how to see a failure again."""
    parser = argparse.ArgumentParser(
        prog="bin/simulate",
        description="The real server and the real agents on hosts, wires and a clock that are not: lost, late, doubled and cut streams, "
        "failing steps, servers and agents that die. At rest every host is what the cloud says.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=1000, help="how many (1000)")
    parser.add_argument("--seed", type=int, default=0, help="the first run's seed (0); a seed replays its run")
    parser.add_argument(
        "--hosts", type=int, help="hosts in each run (drawn: most up to 5, of 20 one up to 40, of 100 one up to 300)"
    )
    parser.add_argument("--requests", type=int, default=60, help="clients' requests in each run (60)")
    parser.add_argument("--json", action="store_true", help="the outcome as JSON")
    asked = parser.parse_args()
    if (
        os.environ.get("PYTHONHASHSEED") != "0"
    ):  # sets of names are walked in the order of their hashes, which a seed is to repeat
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"PYTHONHASHSEED": "0"})
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    begin, failed, commits, waited, virtual, hosts = time.monotonic(), [], 0, 0, 0.0, 0
    digest = hashlib.sha256()
    for number, seed in enumerate(range(asked.seed, asked.seed + asked.runs), 1):
        try:
            world = run(story(seed, hosts=asked.hosts, requests=asked.requests))
            commits += len(world.store.commits)
            waited += world.barriers
            hosts = max(hosts, len(world.machines))
            for change in (change for commit in world.store.commits for change in commit.changes):
                digest.update(b"%s %s " % (change.kind.encode(), change.id.encode()) + (change.body or b""))
            virtual += world.lasted
        except (AssertionError, DeadlockError, ExceptionGroup) as error:
            failed.append({"seed": seed, "why": str(error)[:2000]})
            print(f"seed {seed}: {str(error)[:600]}", file=sys.stderr)
            size = f" --hosts {asked.hosts}" if asked.hosts else ""
            again = f"bin/simulate --seed {seed} --runs 1{size} --requests {asked.requests}"
            print(f"  again: {again}", file=sys.stderr)
        if sys.stderr.isatty():
            print(f"\r{number} of {asked.runs} runs, {len(failed)} failed", end="", file=sys.stderr)
    seconds = time.monotonic() - begin
    if asked.json:
        told = {
            "runs": asked.runs,
            "seed": asked.seed,
            "failed": failed,
            "commits": commits,
            "waited": waited,
            "most_hosts": hosts,
        }
        print(json.dumps(told | {"digest": digest.hexdigest(), "seconds": seconds}))
    else:
        hours = f"{virtual / 3600:.1f} h of the cloud's time in {seconds:.0f} s"
        told = f"{asked.runs} runs, up to {hosts} hosts, {commits} commits, {waited} waits, {hours}"
        print(f"{told}: {f'{len(failed)} failed' if failed else 'all came to rest as they should'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
