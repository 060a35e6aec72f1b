"""A subunit v2 stream on stdin becomes one JSON line for each test that ended. Runs in the suites' environment."""

import json
import sys

import subunit
import testtools


def ended(test: dict) -> None:  # type: ignore[type-arg]
    """Called for each test with all that was said about it."""
    if test["status"] == "exists":
        return
    details = {
        name: content.as_text() for name, content in test["details"].items() if content.content_type.type == "text"
    }
    begin, end = test["timestamps"]
    line = {
        "test": test["id"],
        "status": test["status"],
        "seconds": (end - begin).total_seconds() if begin and end else 0.0,
        "reason": details.get("reason", ""),
        "traceback": "\n".join(text for name, text in sorted(details.items()) if name.startswith("traceback"))
        or ("" if test["status"] in {"success", "skip"} else "\n".join(details.values())[-4000:]),
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    result = testtools.StreamToDict(ended)
    result.startTestRun()
    subunit.ByteStreamToStreamResult(sys.stdin.buffer, non_subunit_name="stdout").run(result)
    result.stopTestRun()
