"""Cores that roles take, from samples of what their processes computed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gen_searcher.plan.timeline import Span
from tests.bench.core_use import OTHERS, CoreUse, cores_busy, cores_used


def test_cores_are_cpu_seconds_over_busy_seconds_within_the_samples(tmp_path: Path) -> None:
    path = tmp_path / "run.cores"
    seen = [
        (0.0, {"engine": 5.0}),
        (10.0, {"engine": 20.0, OTHERS: 1.0}),
        (20.0, {"engine": 26.0, "learner": 8.0, OTHERS: 3.0}),
        (30.0, {"engine": 99.0}),
    ]
    path.write_text("".join(json.dumps({"at_s": at_s, "cpu_s": cpu_s}) + "\n" for at_s, cpu_s in seen))
    busy = {
        "engine": [Span(start_s=5.0, end_s=12.0), Span(start_s=18.0, end_s=25.0)],
        "learner": [Span(start_s=12.0, end_s=16.0)],
        "reward": [Span(start_s=50.0, end_s=60.0)],
    }
    found = cores_used(path, busy, start_s=8.0, end_s=22.0)
    assert found == {
        "engine": pytest.approx(6.0 / 4.0),
        "learner": pytest.approx(8.0 / 4.0),
        OTHERS: pytest.approx(2.0 / 10.0),
    }, "nothing is known of a role that was never busy"
    assert cores_busy(path, start_s=8.0, end_s=22.0) == pytest.approx(16.0 / 10.0)


def test_a_running_process_is_sampled_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "run.cores"
    work = "import sys, time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        with CoreUse(process.pid, path):
            process.stdout.readline()
            while not path.exists() or '"others"' not in path.read_text():
                assert process.poll() is None
        assert process.stdin is not None
        process.stdin.close()
    (last,) = path.read_text().splitlines()[-1:]
    assert json.loads(last)["cpu_s"][OTHERS] > 0.0
