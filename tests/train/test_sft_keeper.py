"""Fine-tuning is stopped or killed at any step, goes on from its last checkpoint, and ends with the same weights."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from gen_searcher.testing.toy_training import NoRival, ToyLearner
from gen_searcher.train.run import RunFolder
from gen_searcher.train.sft import SftRules, train_sft
from gen_searcher.train.sft_keeper import SftKeeper, resume_sft, samples_digest
from gen_searcher.types import Sample, StepReport

RULES = SftRules(epochs=2, batch_samples=3, row_tokens=16, seed=5)
STEPS = 14
"""Of 20 samples in threes, twice."""


class Killed(BaseException):
    """What a kill looks like from inside."""


def samples() -> list[Sample]:
    return [
        Sample(
            token_ids=(1, 2 + number, 3),
            loss_mask=(False, True, True),
            logprobs=(0.0, 0.0, 0.0),
            images=(),
            advantage=1.0,
        )
        for number in range(20)
    ]


def fine_tune(root: Path, *, every_steps: int = 4, killed_after: int | None = None) -> list[float]:
    """Start it or go on; the weights at the end."""
    folder = RunFolder(root=root)
    from_step = resume_sft(folder)
    learner = ToyLearner()
    if from_step:
        learner.load(folder.sft_checkpoints.folder(from_step))
    keeper = SftKeeper(folder, learner, fence=NoRival(), every_steps=every_steps, saved=from_step)

    async def after_step(step: int, report: StepReport) -> None:
        await keeper.book(step, {"sft/loss": report.loss})
        if step == killed_after:
            raise Killed

    with closing(keeper):
        asyncio.run(train_sft(RULES, samples(), learner=learner, after_step=after_step, from_step=from_step))  # pyright: ignore[reportArgumentType]
    return learner.weights


def lines(root: Path) -> list[dict[str, float]]:
    found = [json.loads(line) for line in RunFolder(root=root).sft_metrics.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "time_s"} for line in found]


@pytest.mark.parametrize("killed_after", [1, 3, 4, 5, 8, 13])
def test_a_kill_after_any_step_changes_neither_the_weights_nor_a_number(tmp_path: Path, killed_after: int) -> None:
    whole = fine_tune(tmp_path / "whole")
    with pytest.raises(Killed):
        fine_tune(tmp_path / "killed", killed_after=killed_after)
    assert RunFolder(root=tmp_path / "killed").sft_checkpoints.latest() == killed_after // 4 * 4
    assert fine_tune(tmp_path / "killed") == whole
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    assert [line["step"] for line in lines(tmp_path / "whole")] == list(range(1, STEPS + 1))


def test_one_checkpoint_is_kept_and_what_a_kill_left_half_written_is_swept(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        fine_tune(tmp_path, every_steps=2, killed_after=9)
    checkpoints = RunFolder(root=tmp_path).sft_checkpoints
    assert checkpoints.steps() == [8]
    (checkpoints.path / "step-10.partial").mkdir()
    (checkpoints.path / "step-6.old").mkdir()
    assert resume_sft(RunFolder(root=tmp_path)) == 8
    assert sorted(path.name for path in checkpoints.path.iterdir()) == ["latest", "step-8"]
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 9))


def test_a_checkpoint_is_not_written_twice_for_one_step(tmp_path: Path) -> None:
    learner = ToyLearner()
    keeper = SftKeeper(RunFolder(root=tmp_path), learner, fence=NoRival(), every_steps=2, saved=0)
    with closing(keeper):
        asyncio.run(keeper.book(2, {"sft/loss": 1.0}))
        learner.weights[0] = 9.0
        asyncio.run(keeper.save(2))
    state = json.loads((RunFolder(root=tmp_path).sft_checkpoints.folder(2) / "state.json").read_text())
    assert state["weights"][0] == 0.5


def test_all_checkpoints_go_when_the_policy_is_there(tmp_path: Path) -> None:
    fine_tune(tmp_path)
    checkpoints = RunFolder(root=tmp_path).sft_checkpoints
    assert checkpoints.steps() == [12]
    checkpoints.remove()
    checkpoints.remove()
    assert not checkpoints.path.exists()
    assert checkpoints.latest() == 0


def test_samples_in_another_order_or_with_another_token_have_another_digest() -> None:
    made = samples()
    before = samples_digest(made)
    assert before == samples_digest(samples())
    assert before != samples_digest([made[1], made[0], *made[2:]])
    assert before != samples_digest([replace(made[0], token_ids=(1, 2, 4)), *made[1:]])
    assert before != samples_digest([replace(made[0], loss_mask=(False, False, True)), *made[1:]])
