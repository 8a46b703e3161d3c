"""The newcomer's first command, with the smallest settings."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_one_command_goes_from_a_clone_to_the_table_and_names_the_report(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    done = subprocess.run(
        ["bash", "launch/demo.sh", str(run_dir), "experiment=smoke"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1700,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = [line for line in done.stderr.splitlines() if line.startswith("demo: ")]
    assert [line.split()[2] for line in said if line.startswith("demo: gen-searcher")] == [
        *("sft", "grpo", "bench", "generate", "report")
    ]
    assert said[-1] == f"demo: the report is {run_dir}/report.html"
    assert "<html" in (run_dir / "report.html").read_text()[:500]
    arms = [line.split()[0] for line in done.stdout.splitlines() if line.startswith(("no-search", "untrained", "sft"))]
    assert arms[:4] == ["no-search", "untrained", "sft", "sft+grpo"]
    ends = [json.loads(line) for line in done.stderr.splitlines() if line.startswith('{"event": "ended"')]
    assert [(end["command"], end["exit_code"]) for end in ends[:3]] == [("sft", 0), ("grpo", 0), ("bench", 0)]
