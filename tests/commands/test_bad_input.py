"""What a user gets wrong: one screen that says what was found, where, and what to write; nothing is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gen_searcher.cli import run

MOST_LINES = 24
"""One screen."""


def complaint(capsys: pytest.CaptureFixture[str], tmp_path: Path, *words: str, run_dir: Path | None = None) -> str:
    """What the program says; it must not have made a run directory."""
    folder = run_dir or tmp_path / "run"
    code = run(["grpo", "experiment=smoke", f"run_dir='{folder}'", *words])
    said = capsys.readouterr().err
    assert code in (2, 3), said
    assert len(said.splitlines()) <= MOST_LINES
    assert "Traceback" not in said
    assert not folder.exists()
    return said


def test_an_unknown_key_is_answered_with_the_nearest_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = complaint(capsys, tmp_path, "grpo.group_sizes=4")
    assert "grpo.group_sizes" in said
    assert "group_size" in said.replace("group_sizes", "")


def test_a_run_directory_without_a_parent_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = complaint(capsys, tmp_path, run_dir=tmp_path / "not" / "there" / "run")
    assert f"its parent {tmp_path}/not/there does not exist" in said


def task(**changes: object) -> str:
    row = {"id": "t1", "prompt": "Draw it.", "meta": {"category": "art", "difficulty": "easy"}, **changes}
    return json.dumps(row) + "\n"


@pytest.mark.fault(42)
def test_a_corrupt_task_file_is_named_with_its_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "gt.png").write_bytes(b"not a picture")
    path = tmp_path / "tasks.jsonl"
    path.write_text(task(gt_image="gt.png") + "{broken\n")
    said = complaint(capsys, tmp_path, f"tasks.train='{path}'")
    assert f"{path}" in said
    assert "line 1" in said or "line 2" in said


@pytest.mark.fault(42)
def test_a_task_without_ground_truth_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(task())
    said = complaint(capsys, tmp_path, f"tasks.train='{path}'")
    assert "gt_image" in said
    assert "line 1" in said


def test_a_generator_that_cannot_be_imported_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = complaint(capsys, tmp_path, "generator._target_=no_such_package.Painter")
    assert "generator._target_" in said
    assert "no_such_package" in said


def test_a_generator_with_another_keyword_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = complaint(capsys, tmp_path, "generator.stepps=4")
    assert "stepps" in said
    assert "steps" in said.replace("stepps", "")


def test_grpo_before_sft_says_what_to_run_first(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["grpo", "experiment=smoke", f"run_dir='{tmp_path / 'run'}'"]) == 2
    assert "run `gen-searcher sft`" in capsys.readouterr().err
