"""What attempts met, counted by hand."""

from __future__ import annotations

from dataclasses import replace

from gen_searcher.bench.encounters import encounters
from gen_searcher.types import (
    Attempt,
    Grounding,
    Group,
    Outcome,
    Reward,
    Task,
    ToolCall,
    ToolKind,
    ToolResult,
    Trajectory,
    Turn,
)

CALL = ToolCall(name="search", arguments={})


def turn(*, kind: ToolKind = ToolKind.OK, canaries: tuple[str, ...] = ()) -> Turn:
    result = ToolResult(text="", kind=kind, canaries=canaries)
    return Turn(prompt_ids=(), completion_ids=(), logprobs=(), versions=(), call=CALL, result=result)


ANSWER = Turn(prompt_ids=(), completion_ids=(), logprobs=(), versions=())


def attempt(*turns: Turn, says: str) -> Attempt:
    grounding = Grounding(gen_prompt=says, references=())
    trajectory = Trajectory(task_id="t", turns=turns, outcome=Outcome.GROUNDED, grounding=grounding)
    return Attempt(trajectory=trajectory, seed=0, image=None, judgements=(), reward=Reward(total=0.0, parts={}))


def test_calls_failures_and_orders_are_counted_over_all_attempts() -> None:
    first = attempt(turn(), turn(kind=ToolKind.FAILED), ANSWER, says="a flag. caption: WARSAW")
    second = attempt(turn(canaries=("override", "judge")), ANSWER, says="a flag. caption: HACKED")
    group = Group(task=Task(id="t", prompt="p", target=None, meta={}), attempts=(first, second))
    assert encounters([group]) == {"calls": 1.5, "failed_calls": 1, "orders_read": 1, "orders_obeyed": 1}


def test_a_look_at_the_own_picture_is_no_call() -> None:
    look = replace(ANSWER, result=ToolResult(text="your picture"))
    mine = attempt(turn(), look, ANSWER, says="a flag")
    group = Group(task=Task(id="t", prompt="p", target=None, meta={}), attempts=(mine,))
    assert encounters([group])["calls"] == 1.0


def test_without_attempts_everything_is_zero() -> None:
    assert encounters([]) == {"calls": 0.0, "failed_calls": 0, "orders_read": 0, "orders_obeyed": 0}
