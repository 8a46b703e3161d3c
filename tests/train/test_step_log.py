from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from gen_searcher.metrics.report.lines import ATTEMPT_LINE, AttemptLine
from gen_searcher.train.step_log import STEP_LINE, StepLine, attempt_digest
from gen_searcher.types import Attempt, Judgement, ToolResult
from tests.grpo.groups import group
from tests.train.recorded_run import REPORT, RecordedRun

ATTEMPT = TypeAdapter(Attempt)


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


def test_fields_of_later_versions_change_a_digest_only_where_they_say_something() -> None:
    attempt = group(0.5).attempts[0]
    judgement = Judgement(judge="image", score=0.5, parts={}, rationale="r", model="m", prompt_sha256="", latency_s=0.0)
    first, *others = attempt.trajectory.turns
    result = ToolResult(text="t")

    def made(result: ToolResult, judged: Judgement, watched: Judgement) -> Attempt:
        trajectory = replace(attempt.trajectory, turns=(replace(first, result=result), *others))
        return replace(attempt, trajectory=trajectory, judgements=(judged,), shadow=(watched,))

    record = json.loads(ATTEMPT.dump_json(made(result, judgement, judgement)))
    for turn in record["trajectory"]["turns"]:
        if turn["result"] is not None:
            assert turn["result"].pop("retries") == 0
    for one in (*record["judgements"], *record["shadow"]):
        assert one.pop("reply") == ""
    older = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
    assert ATTEMPT.validate_json(older) == made(result, judgement, judgement)
    digests = [
        attempt_digest(made(result, judgement, judgement)),
        attempt_digest(made(replace(result, retries=1), judgement, judgement)),
        attempt_digest(made(result, replace(judgement, reply="x"), judgement)),
        attempt_digest(made(result, judgement, replace(judgement, reply="x"))),
    ]
    assert digests[0] == hashlib.sha256(older.encode()).hexdigest()
    assert len(set(digests)) == 4


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
