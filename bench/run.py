"""Run the benchmarks, write bench/results/DATE.json and docs/benchmarks.md (``api``: DATE-api.json and docs/benchmarks-api.md)."""

import datetime
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import agents_page
import agents_suite
import api_suite
import codec_suite
import fanout_suite
import msgspec
import store_suite
import suite
import watch_suite
from measure import Figure, Machine, Report, machine

from floatway.cli.progress import lines

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
ALONE = {
    "compile": suite.bench_compile,
    "lab-up": suite.bench_lab_up,
    "cli": suite.bench_cli,
    "store": store_suite.bench_store,
    "fanout": fanout_suite.bench_fanout,
}
ON_BIG_HOST = {
    "reconcile": suite.bench_reconcile,
    "floating-ip": suite.bench_floating_ip,
    "trace": suite.bench_trace,
    "codecs": codec_suite.bench_codecs,
    "watch": watch_suite.bench_watch,
}


def main() -> None:
    """Measure what the arguments name, or everything."""
    known = [*ALONE, *ON_BIG_HOST, "agents", "api", "api-quick"]
    wanted = sys.argv[1:] or known[:-1]
    if unknown := [name for name in wanted if name not in known]:
        print(f"error: no benchmark {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        sys.exit(2)
    tell = lines()
    figures: list[Figure] = []

    def note(figure: Figure) -> None:
        figures.append(figure)
        counts = "".join(f"; {count} {noun}" for noun, count in figure.counts.items())
        counts += "".join(f"; {name} {ms:.1f} ms" for name, ms in figure.phases_ms.items())
        tell(
            f"{figure.bench}: {figure.what}: {figure.median_ms:.2f} ms (best {figure.best_ms:.2f}, {figure.runs} runs){counts}"
        )

    tell("the machine: what a process costs here")
    here = machine()
    tell(f"{here.cores} cores, {here.cpu}; ip netns exec … true: {here.spawn_ms} ms")
    for name in [name for name in ALONE if name in wanted]:
        for figure in ALONE[name]():
            note(figure)
    if needed := [name for name in ON_BIG_HOST if name in wanted]:
        cloud = suite.big()
        with suite.big_lab(cloud, tell) as raised:
            if "reconcile" not in needed:
                list(suite.bench_reconcile(raised, cloud))
            for name in needed:
                for figure in ON_BIG_HOST[name](raised, cloud):
                    note(figure)
    if "agents" in wanted:
        found = list(noted(agents_suite.bench_agents(tell), note))
        agents_page.record(ROOT, here, found)
        tell("written: docs/benchmarks-agents.md")
    for name in [name for name in ("api", "api-quick") if name in wanted]:
        api_suite.run(here, tell, quick=name != "api")
    report = Report(
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        commit=subprocess.run(
            ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip(),
        machine=here,
        figures=tuple(figures),
    )
    RESULTS.mkdir(exist_ok=True)
    if sys.argv[1:]:
        return  # a part is for whoever asked; the record holds whole runs
    path = RESULTS / f"{report.date}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    PAGE.write_text(page(report))
    tell(f"written: {path.relative_to(ROOT)}, {PAGE.relative_to(ROOT)}")


def noted(figures: Iterable[Figure], note: Callable[[Figure], None]) -> Iterator[Figure]:
    """The figures, each told as it comes."""
    for figure in figures:
        note(figure)
        yield figure


def page(report: Report) -> str:
    """docs/benchmarks.md."""
    rows = "\n".join(row(figure, report.machine) for figure in report.figures)
    m = report.machine
    explained = "\n".join(
        f"- {figure.bench}, {figure.what}: " + ", ".join(f"{name} {ms:.1f} ms" for name, ms in figure.phases_ms.items())
        for figure in report.figures
        if figure.phases_ms
    )
    return f"""<!-- Written by bin/bench. -->

# Benchmarks

Measured {report.date} on {m.cores} cores ({m.cpu}), {m.memory_gib} GiB, Linux {m.kernel}, Python {m.python}, Open vSwitch {m.openvswitch}.
The big host has {suite.PORTS} ports, {suite.ROUTERS} routers and {suite.FLOATING_IPS} floating IPs. Trust ratios: "in processes"
divides by what one `ip netns exec NS true` takes on the same machine ({m.spawn_ms} ms), the price of every change in a program that
starts a tool for it.

| what | median | best | aim | in processes | counts |
|---|---|---|---|---|---|
{rows}

## Where the time goes

{explained}

A floating IP is planned from the agent's last view, without a look at the host. What is left is, half and half, Python's pass over all
of the host's records (union of the fragments, ownership, diff; objects that did not change are known by identity) and the start of one
`iptables-restore` for the router's namespace. That tool waits for a grace period of the kernel (about 10 ms) when it closes its socket,
after the rules are in: the remaining steps do not wait for it, so the first reply may come before "applied". The reply itself is asked
for every {1000 * suite.POLL_SECONDS:g} ms. Looking at a host is bound by reading: the kernel's dumps of {suite.ROUTERS + 1} namespaces,
`iptables-save` where the ruleset's generation moved, and the flows.

`bin/bench` measures again and rewrites this page; the raw figures are in `bench/results/`.
"""


def row(figure: Figure, here: Machine) -> str:
    """One line of the table."""
    counts = ", ".join(f"{count} {noun}" for noun, count in figure.counts.items())
    aim = f"≤ {figure.aim_ms:g} ms" if figure.aim_ms else ""
    return (
        f"| {figure.bench}: {figure.what} | {figure.median_ms:.1f} ms | {figure.best_ms:.1f} ms | {aim} | "
        f"{figure.median_ms / here.spawn_ms:.1f} | {counts} |"
    )


if __name__ == "__main__":
    main()
