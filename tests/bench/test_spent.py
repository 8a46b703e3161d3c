"""Seconds and USD per attempt, by hand; what nobody recorded stays unknown."""

from __future__ import annotations

import pytest

from gen_searcher.bench.spent import per_attempt, spent
from gen_searcher.bench.table import make_table, render
from gen_searcher.drawing import Drawing, DrawnHow
from gen_searcher.types import (
    Attempt,
    Grounding,
    Group,
    ImageRef,
    Judgement,
    Outcome,
    Reward,
    Task,
    ToolCall,
    ToolResult,
    Trajectory,
    Turn,
)

PARTS: dict[str, float | None] = {
    "faithfulness": 1.0,
    "visual_correctness": 1.0,
    "text_accuracy": None,
    "aesthetics": 1.0,
}
NOTHING = Reward(total=0.0, parts={})


def turn(seconds: float, *, tool_s: float | None = None, usd: float = 0.0) -> Turn:
    result = None if tool_s is None else ToolResult(text="", latency_s=tool_s, cost_usd=usd)
    call = None if tool_s is None else ToolCall(name="search", arguments={})
    return Turn(prompt_ids=(), completion_ids=(), logprobs=(), versions=(), call=call, result=result, latency_s=seconds)


def verdict(judge: str, seconds: float, usd: float = 0.0) -> Judgement:
    return Judgement(
        judge=judge, score=1.0, parts=PARTS, rationale="", model="m", prompt_sha256="", latency_s=seconds, cost_usd=usd
    )


def attempt(*turns: Turn, drawing: Drawing | None = None, judgements: tuple[Judgement, ...] = ()) -> Attempt:
    grounded = drawing is not None
    return Attempt(
        trajectory=Trajectory(
            task_id="t",
            turns=turns,
            outcome=Outcome.GROUNDED if grounded else Outcome.OUT_OF_TURNS,
            grounding=Grounding(gen_prompt="p", references=()) if grounded else None,
        ),
        seed=0,
        image=ImageRef(sha256="a", width_px=1, height_px=1) if grounded else None,
        judgements=judgements,
        reward=NOTHING,
        drawing=drawing,
    )


def drawn(seconds: float, usd: float = 0.0, how: DrawnHow = DrawnHow.DRAWN) -> Drawing:
    return Drawing(how=how, seed=1, latency_s=seconds, cost_usd=usd)


WHOLE = attempt(
    turn(1.0, tool_s=0.5, usd=0.001),
    turn(2.0),
    drawing=drawn(4.0, usd=0.03),
    judgements=(verdict("image", 3.0, usd=0.01), verdict("text", 1.0, usd=0.002)),
)


def test_completions_and_tools_add_up_and_judges_work_beside_each_other() -> None:
    one = spent(WHOLE)
    assert (one.agent.seconds, one.drawing.seconds, one.judging.seconds, one.seconds) == (3.5, 4.0, 3.0, 10.5)
    assert one.usd == pytest.approx(0.043)


def test_seconds_are_medians_and_usd_are_means_over_all_attempts() -> None:
    short = attempt(turn(1.0, tool_s=1.0, usd=0.003))
    found = per_attempt([spent(one) for one in (WHOLE, short, short)])
    assert (found.seconds, found.seconds_of["agent"]) == (2.0, 2.0)
    assert found.usd == pytest.approx((0.043 + 0.003 + 0.003) / 3)
    assert found.usd_of["agent"] == pytest.approx(0.007 / 3)
    assert found.total_usd == pytest.approx(0.049)


@pytest.mark.parametrize(
    "untimed",
    [
        attempt(turn(0.0)),
        attempt(turn(1.0), drawing=drawn(0.0), judgements=(verdict("image", 1.0),)),
        attempt(turn(1.0), drawing=drawn(0.0, how=DrawnHow.REFUSED)),
        attempt(turn(1.0), drawing=drawn(1.0), judgements=(verdict("image", 0.0),)),
    ],
)
def test_a_time_that_was_not_recorded_is_not_nought(untimed: Attempt) -> None:
    assert per_attempt([spent(untimed)]).seconds is None
    assert per_attempt([spent(untimed), spent(WHOLE)]).seconds == 10.5


def test_a_picture_that_was_not_asked_for_takes_no_time() -> None:
    assert spent(attempt(turn(1.0), drawing=drawn(0.0, how=DrawnHow.UNWANTED))).seconds == 1.0


def test_what_has_no_price_on_record_is_unknown_unless_nobody_outside_was_asked() -> None:
    unpriced = spent(attempt(turn(1.0, tool_s=1.0, usd=0.5), drawing=drawn(1.0), judgements=(verdict("image", 1.0),)))
    found = per_attempt([unpriced], free={"judging"})
    assert found.usd_of == {"agent": 0.5, "drawing": None, "judging": 0.0}
    assert found.usd is None
    assert per_attempt([unpriced], free={"judging", "drawing"}).usd == 0.5


def test_who_asked_no_tool_paid_no_tool() -> None:
    assert per_attempt([spent(attempt(turn(1.0)))]).usd == 0.0


def test_the_table_shows_both_and_a_dash_for_what_is_unknown() -> None:
    task = Task(id="t", prompt="p", target=None, meta={})
    known = Group(task=task, attempts=(WHOLE,))
    unknown = Group(task=task, attempts=(attempt(turn(0.0), drawing=drawn(1.0), judgements=(verdict("image", 1.0),)),))
    table = make_table(
        {"paid": [known], "free": [unknown], "unknown": [unknown]},
        seed=0,
        free={"free": {"drawing", "judging"}, "paid": set(), "unknown": set()},
    )
    lines = {line.split()[0]: line.split()[-2:] for line in render(table).splitlines()[2:5]}
    assert lines == {"paid": ["10.50", "0.0430"], "free": ["-", "0.0000"], "unknown": ["-", "-"]}
    assert table["arms"][0]["usd_of"] == {
        "tools": pytest.approx(0.001),
        "pictures": pytest.approx(0.03),
        "judges": pytest.approx(0.012),
    }
