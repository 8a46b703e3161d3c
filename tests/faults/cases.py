"""The fault cases, and which tests show them: `python -m tests.faults.cases` prints the table.

A test names its cases by `@pytest.mark.fault(11, 12)`.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

CASES: Mapping[int, str] = {
    1: "a rollout actor is killed in the middle of a generation",
    2: "a rollout actor is killed between finishing and acknowledging",
    3: "the learner is killed between backward and step, between step and checkpoint",
    4: "a process is killed while it writes a checkpoint",
    5: "the driver is killed at random instants and started again",
    6: "ray job stop, SIGTERM",
    7: "the command is started again while the old attempt lives",
    8: "a whole worker node dies",
    9: "a node is added, a node is drained",
    10: "the head restarts",
    11: "a generator actor dies or hangs",
    12: "a reward actor dies with scores in flight",
    13: "the object store is full, a worker runs out of memory",
    14: "the run directory is full, read-only or stale",
    15: "clocks jump or differ",
    16: "a second cluster on the host, a port in use",
    17: "an actor's constructor fails at a restart",
    18: "one rollout takes a hundred times as long",
    19: "a web provider says 429, with and without Retry-After",
    20: "server errors, resets, half-closed sockets, a byte a second",
    21: "status 200 with an error body, HTML, half a JSON, 50 MB",
    22: "a key is revoked, credits are exhausted in mid-run",
    23: "the budget is reached in mid-batch",
    24: "a cache file is corrupt, locked or old",
    25: "a replay misses an entry",
    26: "redirect loops, redirects inside, strange schemes",
    27: "addresses inside in every spelling, DNS rebinding",
    28: "compression bombs, bodies without end",
    29: "image bombs, truncated and disguised pictures",
    30: "a page with instructions to the agent",
    31: "words to the judge in page or prompt",
    32: "search results that hold the evaluation's answers",
    33: "the generator refuses or returns a wrong picture",
    34: "the generator returns another request's picture",
    35: "a hosted model is retired in mid-run",
    36: "the judge answers prose, half a JSON, numbers off the scale",
    37: "the judge's model changes silently",
    38: "the judge times out for one member, for a whole group",
    39: "all rewards are equal in every group",
    40: "the policy writes malformed calls, endless text, ids it never saw",
    41: "resume with a changed configuration",
    42: "corrupt rows, missing pictures, duplicate ids",
    43: "malicious checkpoints and paths",
    44: "secrets must turn up nowhere",
}


class _Marks:
    """Reads the marks of what pytest collects."""

    def __init__(self) -> None:
        self.tests: dict[int, list[str]] = {case: [] for case in CASES}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            for mark in item.iter_markers("fault"):
                name = item.nodeid.partition("[")[0]
                for case in mark.args:
                    if name not in self.tests[case]:
                        self.tests[case].append(name)


def main() -> int:
    """Print every case with its tests; slow ones too."""
    marks = _Marks()
    root = Path(__file__).parents[2]
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard):
        code = pytest.main(
            ["--collect-only", "-q", "-o", "addopts=--import-mode=importlib", str(root / "tests")], [marks]
        )
    if code != pytest.ExitCode.OK:
        sys.stderr.write(heard.getvalue())
        return 1
    for case, title in CASES.items():
        sys.stdout.write(f"{case:>3}  {title}\n")
        for name in marks.tests[case] or ["no test yet"]:
            sys.stdout.write(f"       {name}\n")
    shown = sum(bool(tests) for tests in marks.tests.values())
    sys.stdout.write(f"{shown} of {len(CASES)} cases have tests\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
