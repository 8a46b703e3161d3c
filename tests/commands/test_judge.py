"""`judge calibrate` and `judge check`, from the command line to the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gen_searcher.cli import run

pytestmark = pytest.mark.timeout(600)
TEXT_ONLY = ["reward.alpha=1.0", "judges={text: {_target_: gen_searcher.rewards.offline.text_judge.OfflineTextJudge}}"]


def test_calibrate_prints_a_table_and_writes_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run(["judge", "calibrate", "experiment=smoke", f"run_dir='{tmp_path}/run'", "reward.calibration.cases=24"]) == 0
    )
    said = capsys.readouterr().out
    assert "image judge, offline-image-1, golden set golden-1" in said
    assert "  bad_layout" in said
    found = json.loads((tmp_path / "run" / "judge" / "calibration.json").read_text())
    assert [each["judge"] for each in found] == ["image", "text"]
    assert found[1]["overall"]["kappa"] > 0.95
    assert found[0]["retest"] == 1.0


@pytest.mark.slow
def test_a_judge_below_the_bound_is_exit_code_3(tmp_path: Path) -> None:
    bound = "reward.calibration.min_kappa=0.9999"
    assert run(["judge", "calibrate", "experiment=smoke", f"run_dir='{tmp_path}/run'", bound, *TEXT_ONLY]) == 3


def test_check_runs_the_kit_on_a_class_and_on_a_judge_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["judge", "check", "gen_searcher.rewards.offline.text_judge:OfflineTextJudge"]) == 0
    assert "24 of 24 cases passed" in capsys.readouterr().out
    assert run(["judge", "check", "text"]) == 0


def test_check_says_which_judges_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["judge", "check", "nobody"]) == 2
    assert "there is no judge 'nobody'; write one of image, text" in capsys.readouterr().err
    assert run(["judge", "check", "gen_searcher.rewards:Nobody"]) == 2
