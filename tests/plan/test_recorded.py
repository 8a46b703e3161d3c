"""What a run directory says about latencies."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gen_searcher.drawing import Drawing, DrawnHow
from gen_searcher.errors import ConfigError
from gen_searcher.metrics.report.lines import ATTEMPT_LINE, AttemptLine
from gen_searcher.plan.latency import Fixed, Recorded
from gen_searcher.plan.recorded import read_measured
from gen_searcher.plan.shape import PoolShape, Shape, Workload
from gen_searcher.plan.station import StationKind
from gen_searcher.types import (
    Attempt,
    Grounding,
    ImageRef,
    Judgement,
    Outcome,
    Reward,
    Task,
    ToolResult,
    Trajectory,
    Turn,
)

STATED = Workload(
    turns=(9,),
    turn_s=Fixed(seconds=7.0),
    tool_s=Fixed(seconds=7.0),
    draw_s=Fixed(seconds=7.0),
    judges_s=(Fixed(seconds=7.0),),
    learn_s=7.0,
    publish_s=0.25,
)
SHAPE = Shape(
    engines=PoolShape(workers=1, kind=StationKind(batch=8, slowdown=1.0)),
    generators=PoolShape(workers=1, kind=StationKind(batch=1)),
    judges=PoolShape(workers=1, kind=StationKind(batch=1)),
    learner_ranks=2,
    groups_per_step=1,
    group_size=2,
    max_staleness=0,
)
TASK = Task(id="t", prompt="draw", target=None, meta={})


def turn(latency_s: float, tool_s: float | None) -> Turn:
    result = None if tool_s is None else ToolResult(text="", latency_s=tool_s)
    return Turn(
        prompt_ids=(1,), completion_ids=(2,), logprobs=(0.0,), versions=(0,), result=result, latency_s=latency_s
    )


def grounded(*turns: Turn, draw_s: float, judge_s: float) -> Attempt:
    return Attempt(
        trajectory=Trajectory(
            task_id="t",
            turns=turns,
            outcome=Outcome.GROUNDED,
            grounding=Grounding(gen_prompt="a flag", references=()),
        ),
        seed=0,
        image=ImageRef(sha256="0" * 64, width_px=1, height_px=1),
        judgements=(
            Judgement(judge="image", score=1.0, parts={}, rationale="", model="", prompt_sha256="", latency_s=judge_s),
        ),
        reward=Reward(total=1.0, parts={}),
        drawing=Drawing(how=DrawnHow.DRAWN, latency_s=draw_s),
    )


def ungrounded(*turns: Turn) -> Attempt:
    trajectory = Trajectory(task_id="t", turns=turns, outcome=Outcome.MALFORMED, grounding=None)
    return Attempt(trajectory=trajectory, seed=1, image=None, judgements=(), reward=Reward(total=0.0, parts={}))


def write_run(folder: Path, attempts: list[Attempt], times_s: list[float]) -> None:
    (folder / "grpo").mkdir()
    lines = [
        AttemptLine(step=1, group="g", kind="attempt", task=TASK, advantage=0.0, attempt=attempt, lost=None)
        for attempt in attempts
    ]
    (folder / "grpo" / "attempts.jsonl").write_bytes(b"\n".join(ATTEMPT_LINE.dump_json(line) for line in lines) + b"\n")
    rows = [
        {
            "step": step,
            "time_s": time_s,
            "learner/step_s": 3.0,
            "train/groups_count": 1.0,
            "train/dropped_count": 1.0,
        }
        for step, time_s in enumerate(times_s, start=1)
    ]
    (folder / "grpo" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_latencies_of_a_run_are_drawn_again(tmp_path: Path) -> None:
    attempts = [
        grounded(turn(6.0, 0.5), turn(3.0, None), draw_s=20.0, judge_s=2.0),
        ungrounded(turn(9.0, None)),
        grounded(turn(6.0, 1.5), turn(6.0, None), draw_s=40.0, judge_s=4.0),
        ungrounded(turn(6.0, None)),
    ]
    write_run(tmp_path, attempts, times_s=[10.0, 31.0])
    measured = read_measured(tmp_path, STATED, SHAPE)
    assert (measured.attempts, measured.step_s) == (4, 21.0)
    work = measured.workload
    assert work.turns == (2, 1, 2, 1)
    assert work.tool_s == Recorded(seconds=(0.5, 1.5))
    assert work.draw_s == Recorded(seconds=(20.0, 40.0))
    assert work.judges_s == (Recorded(seconds=(2.0, 4.0)),)
    assert work.grounded_frac == 0.5
    assert work.learn_s == pytest.approx(3.0 * 2 / 2), "two ranks took 3 s for two attempts a step"
    assert work.flat_frac == 0.5
    assert work.publish_s == 0.25, "what was not measured is as stated"
    # 36 s of turns, half of them within the 18 s of a step that the learner leaves: one at a time, so none was slowed.
    assert work.turn_s == Recorded(seconds=(6.0, 3.0, 9.0, 6.0, 6.0, 6.0))


def test_turns_that_went_among_others_would_have_been_faster_alone(tmp_path: Path) -> None:
    attempts = [ungrounded(turn(8.0, None)) for _ in range(4)]
    write_run(tmp_path, attempts, times_s=[10.0, 17.0])
    work = read_measured(tmp_path, STATED, SHAPE).workload
    assert work.turn_s == Recorded(seconds=(2.0,) * 4), "16 s of turns within 4 s: four at once, four times slower"
    assert work.tool_s == work.draw_s == Fixed(seconds=7.0)


def test_a_run_without_the_latency_of_turns_leaves_the_stated_one(tmp_path: Path) -> None:
    write_run(tmp_path, [ungrounded(replace(turn(0.0, None)))], times_s=[1.0])
    measured = read_measured(tmp_path, STATED, SHAPE)
    assert measured.workload.turn_s == Fixed(seconds=7.0)
    assert measured.step_s is None


def test_a_folder_without_attempts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no attempt"):
        read_measured(tmp_path, STATED, SHAPE)
