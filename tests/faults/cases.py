"""The fault cases, and which tests show them: `python -m tests.faults.cases` lists them, `--run [CASE ...]` runs them.

A test names its cases by `@pytest.mark.fault(11, 12)`. Runs that a test holds to the invariants (`tests.faults.invariants`)
count as instances: how many the run began, and how many of them were lost.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from tests.faults.counting import CASES as MARKED
from tests.faults.counting import INSTANCES, LOST, cases_of
from tests.faults.invariants import TRIES

TESTS = Path(__file__).parents[1]

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


ALL = "--import-mode=importlib"
"""Pytest's options in place of the project's, which leave out slow tests."""


class _Marks:
    """Reads the marks of what pytest collects."""

    def __init__(self) -> None:
        self.tests: dict[int, list[str]] = {case: [] for case in CASES}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            name = item.nodeid.partition("[")[0]
            for case in cases_of(item):
                if name not in self.tests[case]:
                    self.tests[case].append(name)


@dataclass(slots=True, kw_only=True)
class _Row:
    """What came of a case's tests."""

    tests: int = 0
    passed: int = 0
    skipped: int = 0
    tries: int = 0
    instances: int = 0
    lost: int = 0


class _Results:
    """Adds up what the reports of tests say, wherever they ran."""

    def __init__(self) -> None:
        self.rows: dict[int, _Row] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        said = dict(report.user_properties)
        rows = [self.rows.setdefault(int(str(case)), _Row()) for case in cast("list[object]", said.get(MARKED, []))]
        for row in rows:
            if report.when == "call" or not report.passed:
                row.tests += 1
                row.passed += report.passed
                row.skipped += report.skipped
                row.tries += int(str(said.get(TRIES, int(not report.skipped))))
            if report.when == "teardown":
                row.instances += int(str(said.get(INSTANCES, 0)))
                row.lost += int(str(said.get(LOST, 0)))


def main() -> int:
    """Print every case with its tests, or run them and print what came of it; slow ones too."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.cases", description=__doc__)
    parser.add_argument("cases", nargs="*", type=int, metavar="CASE", help="all by default")
    parser.add_argument("--run", action="store_true", help="run the tests and print cases, tries and what was lost")
    parser.add_argument("--fast", action="store_true", help="with --run: leave out what is marked slow")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="with --run: so many files at a time")
    options = parser.parse_args()
    wanted = options.cases or list(CASES)
    unknown = [case for case in wanted if case not in CASES]
    if unknown:
        parser.error(f"there is no case {unknown[0]}; they are 1 to {len(CASES)}")
    return _run(wanted, fast=options.fast, jobs=options.jobs) if options.run else _list(wanted)


def _list(wanted: Sequence[int]) -> int:
    marks = _Marks()
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard):
        code = pytest.main(["--collect-only", "-q", "-o", f"addopts={ALL}", str(TESTS)], [marks])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        sys.stderr.write(heard.getvalue())
        return 1
    for case in wanted:
        sys.stdout.write(f"{case:>3}  {CASES[case]}\n")
        for name in marks.tests[case] or ["no test yet"]:
            sys.stdout.write(f"       {name}\n")
    shown = sum(bool(marks.tests[case]) for case in wanted)
    sys.stdout.write(f"{shown} of {len(wanted)} cases have tests\n")
    return 0


def _run(wanted: Sequence[int], *, fast: bool, jobs: int) -> int:
    """0 when every case has passed tests and none that failed, and nothing was lost."""
    results = _Results()
    which = "not slow and not gpu" if fast else "not gpu"
    # its module is known here already, and has no assertions to rewrite
    plugin = ["-W", "ignore::pytest.PytestAssertRewriteWarning", "-p", "tests.faults.counting"]
    chosen = [*plugin, "--fault-cases", ",".join(map(str, wanted)), "-m", which]
    at_once = ["-n", str(jobs), "--dist", "loadfile"] if jobs > 1 else []
    try:
        pytest.main(["-q", "-o", f"addopts={ALL}", *chosen, *at_once, str(TESTS)], [results])
    finally:  # what pytest raises when it has ended is about what tests have left open
        good = _table(wanted, results)
    return int(good < len(wanted))


def _table(wanted: Sequence[int], results: _Results) -> int:
    """Print what came of the cases; returns how many are shown."""
    sys.stdout.write(f"{'case':>4} {'tests':>5} {'tries':>5} {'passed':>6} {'instances':>9} {'lost':>4}\n")
    good = 0
    for case in wanted:
        row = results.rows.get(case, _Row())
        good += row.tests > 0 and row.passed + row.skipped == row.tests and row.passed > 0 and row.lost == 0
        sys.stdout.write(
            f"{case:>4} {row.tests:>5} {row.tries:>5} {row.passed:>6} {row.instances:>9} {row.lost:>4}  {CASES[case]}\n"
        )
    rows = results.rows.values()
    sys.stdout.write(
        f"{good} of {len(wanted)} cases shown, {sum(row.tries for row in rows)} tries, "
        f"lost = {sum(row.lost for row in rows)}\n"
    )
    return good


if __name__ == "__main__":
    sys.exit(main())
