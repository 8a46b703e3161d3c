"""The paper's comparisons by their one command, on the smallest of experiments."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "launch" / "paper_mini.sh"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    settings = {"EXPERIMENT": "smoke", "SEEDS": "0"}
    environment = {**os.environ, **settings}  # noqa: TID251 - a script's settings
    return subprocess.run(
        ["bash", str(SCRIPT), str(folder)], env=environment, capture_output=True, text=True, timeout=2900, check=False
    )


def test_one_command_trains_every_variant_and_again_does_nothing_twice(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    written = json.loads((tmp_path / "ladder.json").read_text())
    assert [len(written[part]["rungs"]) for part in ("ladder", "alpha", "transfer")] == [6, 5, 6]
    attempts = {path: path.stat().st_mtime_ns for path in tmp_path.glob("seed*/*/bench/**/attempts-*.jsonl")}
    again = run(tmp_path)
    assert again.returncode == 0, again.stderr[-3000:]
    assert {path: path.stat().st_mtime_ns for path in attempts} == attempts
    assert again.stdout.split("K-Score by kind")[1] == done.stdout.split("K-Score by kind")[1]
