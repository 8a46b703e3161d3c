"""Fine-tuning is killed in the middle; the same command goes on and ends with the same weights."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = str(Path(sys.executable).parent / "gen-searcher")
SETTINGS = ("experiment=smoke", "sft.demonstration_count=48", "sft.batch_samples=2", "sft.checkpoint_every_steps=4")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def words(run_dir: Path) -> list[str]:
    return [PROGRAM, "sft", *SETTINGS, f"run_dir={run_dir}"]


def steps(run_dir: Path) -> list[int]:
    path = run_dir / "sft" / "metrics.jsonl"
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [json.loads(line)["step"] for line in whole.splitlines()]


def begin_and_end(run_dir: Path, how: signal.Signals) -> int:
    """Start it and send the signal when a checkpoint is followed by another step; returns the exit code."""
    process = subprocess.Popen(words(run_dir), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    latest = run_dir / "sft" / "checkpoints" / "latest"
    while process.poll() is None and not (latest.exists() and len(steps(run_dir)) > 4):
        time.sleep(0.02)
    process.send_signal(how)
    return process.wait(timeout=600)


def test_a_killed_and_a_terminated_fine_tuning_go_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, killed, ended = tmp_path / "whole", tmp_path / "killed", tmp_path / "ended"
    subprocess.run(words(whole), check=True, capture_output=True, timeout=600)
    assert begin_and_end(killed, signal.SIGKILL) == -signal.SIGKILL
    assert begin_and_end(ended, signal.SIGTERM) == 75
    saved = (ended / "sft" / "checkpoints" / "latest").read_text().strip()
    assert saved == f"step-{steps(ended)[-1]}"
    for run_dir in (killed, ended):
        again = subprocess.run(words(run_dir), check=True, capture_output=True, text=True, timeout=600)
        assert "sft continues at step" in again.stderr
        assert steps(run_dir) == steps(whole)
        assert not (run_dir / "sft" / "checkpoints").exists()
        weights = [path / "sft" / "policy" / "model.safetensors" for path in (whole, run_dir)]
        assert weights[0].read_bytes() == weights[1].read_bytes()
