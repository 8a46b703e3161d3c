"""What a run directory says about latencies."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from gen_searcher.drawing import Drawing, DrawnHow
from gen_searcher.errors import ConfigError
from gen_searcher.ledger.schema import connect
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


def write_run(folder: Path, ended: list[tuple[Attempt, float]], booked_s: list[float]) -> None:
    """Attempts of the first step, with when they ended, and when each step was booked."""
    (folder / "grpo").mkdir()
    lines = [
        AttemptLine(step=1, group="g", kind="attempt", task=TASK, advantage=0.0, attempt=attempt, lost=None)
        for attempt, _ in ended
    ]
    (folder / "grpo" / "attempts.jsonl").write_bytes(b"\n".join(ATTEMPT_LINE.dump_json(line) for line in lines) + b"\n")
    rows = [
        {"step": step, "learner/step_s": 3.0, "train/groups_count": 1.0, "train/dropped_count": 1.0}
        for step in range(1, len(booked_s) + 1)
    ]
    (folder / "grpo" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with contextlib.closing(connect(folder / "grpo" / "ledger.sqlite")) as db:
        db.execute("INSERT INTO instances (visit, task_id, state) VALUES (0, 't', 'queued')")
        db.executemany(
            "INSERT INTO members (visit, kind, seed, cost_usd, ended_s) VALUES (0, 'attempt', ?, 0.0, ?)",
            [(attempt.seed, ended_s) for attempt, ended_s in ended],
        )
        db.executemany(
            "INSERT INTO steps (step, booked_s, attempts_bytes, metrics_bytes) VALUES (?, ?, 0, 0)",
            enumerate(booked_s, start=1),
        )


def test_whole_attempts_of_a_run_are_drawn_again(tmp_path: Path) -> None:
    attempts = [
        grounded(turn(6.0, 0.5), turn(3.0, None), draw_s=20.0, judge_s=2.0),
        replace(ungrounded(turn(9.0, None)), seed=1),
        replace(grounded(turn(6.0, 1.5), turn(6.0, None), draw_s=40.0, judge_s=4.0), seed=2),
        replace(ungrounded(turn(6.0, None)), seed=3),
    ]
    ended_s = [100.0, 200.0, 300.0, 400.0]
    write_run(tmp_path, list(zip(attempts, ended_s, strict=True)), booked_s=[403.5, 424.5])
    measured = read_measured(tmp_path, STATED, SHAPE)
    assert (measured.attempts, measured.step_s) == (4, 21.0)
    work = measured.workload
    assert work.turns == (2, 1, 2, 1)
    assert work.tool_s == Recorded(seconds=(0.5, 1.5))
    assert work.grounded_frac == 0.5
    assert work.learn_s == pytest.approx(3.0 * 2 / 2), "two ranks took 3 s for two attempts a step"
    assert work.flat_frac == 0.5
    assert work.publish_s == pytest.approx(0.5), "400 s: the last attempt; 403 s: learned; 403.5 s: booked"
    first, second, third, _ = work.groups[0].attempts
    assert first.search.turns_s == pytest.approx((6.0, 3.0)), "they never went among others"
    assert (first.search.tools_s, first.search.is_grounded) == ((0.5,), True)
    assert (first.draw_s, first.judges_s) == (pytest.approx(20.0), pytest.approx((2.0,)))
    assert (second.search.is_grounded, second.draw_s) == (False, 0.0)
    assert (third.draw_s, third.judges_s) == (pytest.approx(40.0), pytest.approx((4.0,)))
    assert work.attempt(99, visit=7, member=4) is first, "one group of four, over and over"


def test_turns_that_went_among_others_would_have_been_faster_alone(tmp_path: Path) -> None:
    attempts = [replace(ungrounded(turn(8.0, None)), seed=seed) for seed in range(4)]
    write_run(tmp_path, [(attempt, 50.0) for attempt in attempts], booked_s=[53.0, 60.0])
    work = read_measured(tmp_path, STATED, SHAPE).workload
    assert isinstance(work.turn_s, Recorded)
    assert work.turn_s.seconds == pytest.approx((2.0,) * 4), "four at once, four times slower"
    assert work.tool_s == work.draw_s == Fixed(seconds=7.0), "what was not measured is as stated"


def test_a_drawing_that_waited_for_another_took_less_than_it_seems(tmp_path: Path) -> None:
    attempts = [
        grounded(turn(1.0, None), draw_s=5.0, judge_s=0.0),
        replace(grounded(turn(1.0, None), draw_s=12.0, judge_s=0.0), seed=1),
    ]
    write_run(tmp_path, [(attempts[0], 25.0), (attempts[1], 32.0)], booked_s=[40.0])
    work = read_measured(tmp_path, STATED, SHAPE).workload
    assert [one.draw_s for group in work.groups for one in group.attempts] == pytest.approx([5.0, 7.0])


def test_a_run_without_the_latency_of_turns_leaves_the_stated_one(tmp_path: Path) -> None:
    write_run(tmp_path, [(ungrounded(replace(turn(0.0, None))), 1.0)], booked_s=[1.0])
    measured = read_measured(tmp_path, STATED, SHAPE)
    assert measured.workload.turn_s == Fixed(seconds=7.0)
    assert measured.step_s is None


def test_a_folder_without_attempts_or_their_times_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no attempt"):
        read_measured(tmp_path, STATED, SHAPE)
    write_run(tmp_path, [(ungrounded(turn(1.0, None)), 1.0)], booked_s=[1.0])
    (tmp_path / "grpo" / "ledger.sqlite").unlink()
    with pytest.raises(ConfigError, match="is missing, which says when the attempts ended"):
        read_measured(tmp_path, STATED, SHAPE)


def test_pictures_that_were_drawn_at_once_took_their_share_of_the_time_each(tmp_path: Path) -> None:
    one = grounded(turn(6.0, None), draw_s=20.0, judge_s=2.0)
    assert one.image is not None
    four = replace(one, more_images=(one.image,) * 3)
    write_run(tmp_path, [(four, 100.0), (replace(four, seed=1), 200.0)], booked_s=[203.5, 224.5])
    work = read_measured(tmp_path, STATED, SHAPE).workload
    assert work.draw_s.mean_s == pytest.approx(5.0), "by one generator"
    assert work.judges_s[0].mean_s == pytest.approx(0.5), "one judge looked at four pictures, one after the other"
    assert work.image_judge == 0
