from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_searcher.metrics.report.lines import ATTEMPT_LINE, AttemptLine
from gen_searcher.train.step_log import STEP_LINE, StepLine, attempt_digest
from tests.grpo.groups import group
from tests.train.recorded_run import REPORT, RecordedRun


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_of_a_step_read_back_as_the_same_bits(loss: float, grad_norm: float) -> None:
    line = StepLine(step=1, groups=(), loss=loss, grad_norm=grad_norm, arithmetic="", config="")
    again = STEP_LINE.validate_json(STEP_LINE.dump_json(line))
    assert (again.loss.hex(), again.grad_norm.hex()) == (loss.hex(), grad_norm.hex())


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_an_attempt_that_was_written_and_read_has_the_same_digest(number: float) -> None:
    whole = group(number, 0.0)
    attempt = whole.attempts[0]
    turn = replace(attempt.trajectory.turns[0], logprobs=(number, -number))
    attempt = replace(attempt, trajectory=replace(attempt.trajectory, turns=(turn,)))
    line = AttemptLine(step=1, group="g", kind="attempt", task=whole.task, advantage=0.5, attempt=attempt, lost=None)
    again = ATTEMPT_LINE.validate_json(ATTEMPT_LINE.dump_json(line)).attempt
    assert again is not None
    assert attempt_digest(again) == attempt_digest(attempt)


def test_any_change_of_an_attempt_changes_its_digest() -> None:
    attempt = group(0.5).attempts[0]
    turn = replace(attempt.trajectory.turns[0], logprobs=(-0.5000000000000001, -0.25))
    moved = replace(attempt, trajectory=replace(attempt.trajectory, turns=(turn, *attempt.trajectory.turns[1:])))
    assert attempt_digest(moved) != attempt_digest(attempt)
    assert attempt_digest(replace(attempt, seed=1)) != attempt_digest(attempt)


async def test_a_step_keeps_its_groups_in_order_and_its_settings_beside_it(tmp_path: Path) -> None:
    run = RecordedRun.at(tmp_path)
    groups = [await run.group("b", first_seed=5), await run.group("a")]
    run.train(3, groups, config="seed: 7\n")
    (line,) = [STEP_LINE.validate_json(text) for text in run.folder.steps.read_text().splitlines()]
    assert [taken.task_id for taken in line.groups] == ["b", "a"]
    assert [[member.seed for member in taken.members] for taken in line.groups] == [[5, 6, 7], [1, 2, 3]]
    assert line.groups[0].members[0].sha256 == attempt_digest(groups[0].attempts[0])
    assert (line.loss, line.grad_norm, line.arithmetic) == (REPORT.loss, REPORT.grad_norm, "a laptop")
    assert line.config == hashlib.sha256(b"seed: 7\n").hexdigest()[:16]
    assert run.folder.step_config(line.config).read_text() == "seed: 7\n"


async def test_settings_that_change_between_steps_are_both_kept(tmp_path: Path) -> None:
    run = RecordedRun.at(tmp_path)
    groups = [await run.group("a")]
    run.train(1, groups, config="seed: 7\n")
    run.train(2, groups, config="seed: 8\n")
    lines = [STEP_LINE.validate_json(text) for text in run.folder.steps.read_text().splitlines()]
    assert [run.folder.step_config(line.config).read_text() for line in lines] == ["seed: 7\n", "seed: 8\n"]


def test_a_number_that_is_none_is_never_written_as_a_step(tmp_path: Path) -> None:
    line = StepLine(step=1, groups=(), loss=float("nan"), grad_norm=0.0, arithmetic="", config="")
    with pytest.raises(ValueError, match="loss"):
        STEP_LINE.validate_json(STEP_LINE.dump_json(line))
