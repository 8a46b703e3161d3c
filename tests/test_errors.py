"""What a command ends with when an error leaves it that it did not expect."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from gen_searcher.cli import run
from gen_searcher.errors import (
    ActorGone,
    ConfigError,
    DiskTrouble,
    GeneratorInvalid,
    JudgeUnavailable,
    StopRun,
    UserError,
    WorldError,
    ending_of,
)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (
            ActorGone("reward actor 1 is gone"),
            75,
            "actor: reward actor 1 is gone. What was saved is whole; run the same",
        ),
        (JudgeUnavailable("no answer"), 75, "judge: no answer. What"),
        (GeneratorInvalid("too long"), 3, "generate: too long. No other try of the same command mends that"),
    ],
)
def test_what_the_world_did_outside_an_attempt_is_no_crash(error: WorldError, code: int, says: str) -> None:
    said = ending_of(error)
    assert isinstance(said, StopRun)
    assert said.exit_code == code
    assert said.message.startswith(says)


def test_a_users_mistake_stays_what_it_is_and_a_full_disk_is_named() -> None:
    mistake: UserError = ConfigError("seed: wrong")
    assert ending_of(mistake) is mistake
    assert isinstance(ending_of(OSError(errno.ENOSPC, "full")), DiskTrouble)
    assert ending_of(OSError(errno.ECONNRESET, "reset")) is None, "a bug of ours: nobody should have let it through"


@pytest.mark.fault(38)
def test_a_judge_without_one_verdict_ends_its_calibration_with_75_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = "judges.image={_target_: tests.e2e.broken_judge.BrokenJudge}"
    assert run(["judge", "calibrate", judge, f"run_dir={tmp_path}/run"]) == 75
    assert "the image judge lost all" in capsys.readouterr().err
