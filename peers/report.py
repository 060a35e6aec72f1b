"""What a run of the suites came to: the table, the JSON, and the failures with their tracebacks.

suite     passed  failed  skipped      time
tempest      229       0       33     412 s
                           12  security-groups-remote-address-group extension not enabled
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from suites import Result

PASSED = frozenset({"success", "xfail"})


class Summary(msgspec.Struct, frozen=True):
    """One suite's counts; ``skipped_by`` counts the reasons."""

    suite: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    skipped_by: dict[str, int]
    failures: tuple[str, ...]


def summary(suite: str, results: Sequence[Result], seconds: float) -> Summary:
    """Count. A class that could not be set up counts once, under its own name."""
    failed = [result for result in results if failed_(result)]
    reasons = Counter(generic(result.reason) for result in results if result.status == "skip")
    return Summary(
        suite=suite,
        passed=sum(result.status in PASSED for result in results),
        failed=len(failed),
        skipped=sum(reasons.values()),
        seconds=round(seconds, 1),
        skipped_by=dict(reasons.most_common()),
        failures=tuple(result.test for result in failed),
    )


def failed_(result: Result) -> bool:
    """Neither passed nor skipped. What a suite printed beside its stream is no test."""
    return result.status not in PASSED | {"skip"} and result.test != "stdout"


def generic(reason: str) -> str:
    """A reason without what differs from test to test."""
    return re.sub(
        r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", reason.strip().splitlines()[0] if reason.strip() else "no reason given"
    )[:120]


def table(summaries: Sequence[Summary]) -> str:
    """For a person."""
    lines = [f"{'suite':<10}{'passed':>8}{'failed':>8}{'skipped':>9}{'time':>10}"]
    for one in summaries:
        lines.append(f"{one.suite:<10}{one.passed:>8}{one.failed:>8}{one.skipped:>9}{one.seconds:>8.0f} s")
        lines += [f"{'':<26}{count:>9}  {reason}" for reason, count in one.skipped_by.items()]
    return "\n".join(lines)


def write(directory: Path, summaries: Sequence[Summary], results: Mapping[str, Sequence[Result]]) -> None:
    """results.json with everything, failures.txt with the tracebacks."""
    directory.mkdir(parents=True, exist_ok=True)
    everything = {"summaries": summaries, "results": results}
    (directory / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(everything), indent=1))
    lines = []
    for suite, ended in results.items():
        for result in ended:
            if failed_(result):
                lines.append(f"{'=' * 100}\n{suite}: {result.test}\n{'-' * 100}\n{result.traceback.strip()}\n")
    (directory / "failures.txt").write_text("\n".join(lines))
