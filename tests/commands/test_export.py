"""`gen-searcher export` finds the checkpoint, or says what there is instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from gen_searcher.cli import run


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(["export", "experiment=smoke", *words]) == 2
    return capsys.readouterr().err


def test_a_missing_run_and_a_run_without_checkpoints_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "there is no run directory" in refused(capsys, f"run_dir='{tmp_path}/run'")
    said = refused(capsys, f"run_dir='{tmp_path}'")
    assert "no checkpoint to export; there is none yet. `gen-searcher grpo` writes them" in said


def test_a_step_that_was_not_kept_is_answered_with_those_that_were(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("step-10", "step-20", "step-30.partial"):
        (tmp_path / "grpo" / "checkpoints" / name).mkdir(parents=True)
    said = refused(capsys, f"run_dir='{tmp_path}'", "export.step=15")
    assert "no checkpoint of step 15; there are those of steps 10, 20." in said


def test_a_pointer_to_a_deleted_checkpoint_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "grpo" / "checkpoints" / "step-10").mkdir(parents=True)
    (tmp_path / "grpo" / "checkpoints" / "latest").write_text("step-20\n")
    assert "names step-20, which is not there" in refused(capsys, f"run_dir='{tmp_path}'")
