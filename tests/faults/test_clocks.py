"""Case 15: clocks that jump, clocks that differ. What is decided by time is decided by a clock that never goes back."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from gen_searcher.tools.http import told_wait_s
from tests.faults.under_clock import STEPS
from tests.train.toy_run import toy_run

pytestmark = pytest.mark.fault(15)

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "gen_searcher"

FOR_PEOPLE = {
    "cassette/store.py": 2,  # when an answer was written; the name of a damaged index that is set aside
    "commands/doctor.py": 1,  # which hosted models end soon: a matter of days
    "ledger/book.py": 4,  # when a member ended, a step was booked, something happened
    "ledger/lease.py": 1,  # since when a holder holds
    "metrics/trackers/mlflow_runs.py": 1,  # MLflow wants to know
    "metrics/traces/attempts.py": 2,  # when an attempt and its tries began, for whoever looks at the trace
    "tools/http.py": 1,  # `Retry-After` as a date, from a server that does not say what time it has
    "train/outage.py": 1,  # since when the world is down
}
"""Where the clock of the day is read, and how often: for records that people read, never for a decision."""
WALL = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today")}
WALL |= {("date", "today"), ("time", "localtime"), ("time", "gmtime"), ("time", "ctime"), ("time", "strftime")}


def looks(path: Path) -> int:
    """How often a file reads the clock of the day."""
    text = path.read_text(encoding="utf-8")
    if not any(f"{module}.{name}" in text for module, name in WALL) and "from time import" not in text:
        return 0
    tree = ast.parse(text)
    return sum(
        isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and (node.value.id, node.attr) in WALL
        for node in ast.walk(tree)
    ) + sum(
        isinstance(node, ast.ImportFrom) and node.module == "time" and any(name.name == "time" for name in node.names)
        for node in ast.walk(tree)
    )


def test_the_clock_of_the_day_is_read_for_people_only() -> None:
    found = {path.relative_to(PACKAGE).as_posix(): looks(path) for path in PACKAGE.rglob("*.py")}
    assert {name: count for name, count in found.items() if count} == FOR_PEOPLE


@pytest.fixture
def jumping(tmp_path: Path) -> list[str]:
    """The words before a command for which the clock of the day jumps by two hours at every look."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: the clock cannot be replaced")
    library = tmp_path / "clock.so"
    source = Path(__file__).with_name("jumping_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return ["env", f"LD_PRELOAD={library}"]


def test_a_run_a_lease_and_a_provider_do_not_notice_a_clock_that_jumps(tmp_path: Path, jumping: list[str]) -> None:
    done = subprocess.run(
        [*jumping, sys.executable, "-m", "tests.faults.under_clock", str(tmp_path)],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["jump_s"] == 7200, "the clock did jump"
    toy_run(tmp_path / "plain", steps=STEPS)
    assert found["weights"] == (tmp_path / "plain" / "weights.json").read_text()
    assert (found["second_is_refused"], found["token"]) == (True, 3)
    for name, least_s in {
        "hung_is_followed_s": 0.4,
        "nine_s": 8 / 20,  # at 20 a second, one at once
        "hang_s": 0.2,
        "quiet_s": 0.3,
        "open_s": 0.2,
    }.items():
        assert least_s - 0.02 <= found[name] < 60.0, f"{name}: {found[name]}"


@pytest.mark.parametrize("skew_s", [-3600, 0, 3600])
def test_a_moment_to_ask_again_is_counted_from_the_servers_own_clock(skew_s: int) -> None:
    server = datetime.now(UTC) + timedelta(seconds=skew_s)
    headers = {
        "Date": format_datetime(server, usegmt=True),
        "Retry-After": format_datetime(server + timedelta(seconds=90), usegmt=True),
    }
    assert told_wait_s(headers) == 90.0


@pytest.mark.parametrize(
    ("told", "wait_s"),
    [
        ("8", 8.0),
        ("0", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("9" * 400, None),
        ("\u0663", None),
        ("1e9", None),
        ("Fri, 99 Foo 99999 99:99:99 GMT", None),
        ("Fri, 20 Nov 2026 18:00:00", None),
    ],
)
def test_a_wait_that_makes_no_sense_is_none(told: str, wait_s: float | None) -> None:
    assert told_wait_s({"Retry-After": told}) == wait_s
