"""Groups to numbers, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gen_searcher.metrics.groups import staleness, step_metrics
from gen_searcher.types import (
    Attempt,
    FoundImage,
    Grounding,
    Group,
    ImageRef,
    Judgement,
    Lost,
    Outcome,
    Reward,
    StepReport,
    Task,
    ToolCall,
    ToolKind,
    ToolResult,
    Trajectory,
    Turn,
)

TASK = Task(id="t", prompt="p", target=None, meta={})
REPORT = StepReport(loss=0.25, grad_norm=2.0, metrics={"learner/step_s": 3.0})


def turn(tool: str = "", kind: ToolKind = ToolKind.OK, cache: str = "miss") -> Turn:
    return Turn(
        prompt_ids=(1,) * 10,
        completion_ids=(2,) * 5,
        logprobs=(-0.1,) * 5,
        versions=(0,) * 5,
        call=ToolCall(name=tool, arguments={}) if tool else None,
        result=ToolResult(text="x", kind=kind, cache=cache, latency_s=0.5, cost_usd=0.01) if tool else None,
    )


def attempt(
    total: float, *turns: Turn, text_accuracy: float | None = None, outcome: Outcome = Outcome.GROUNDED
) -> Attempt:
    grounded = outcome is Outcome.GROUNDED
    judgement = Judgement(
        judge="image",
        score=total,
        parts={"faithfulness": total, "text_accuracy": text_accuracy},
        rationale="",
        model="m",
        prompt_sha256="",
        latency_s=0.1,
        cost_usd=0.02,
    )
    return Attempt(
        trajectory=Trajectory(
            task_id="t",
            turns=turns,
            outcome=outcome,
            grounding=Grounding(gen_prompt="p", references=()) if grounded else None,
        ),
        seed=0,
        image=None,
        judgements=(judgement,) if grounded else (),
        reward=Reward(total=total, parts={"image": total} if grounded else {}),
    )


@pytest.fixture
def values() -> dict[str, float]:
    trained = Group(
        task=TASK,
        attempts=(
            attempt(1.0, turn("search", cache="hit"), turn("search", ToolKind.FAILED), turn(), text_accuracy=0.5),
            attempt(0.0, turn("browse", ToolKind.EMPTY), outcome=Outcome.MALFORMED),
        ),
        lost=(Lost(task_id="t", seed=1, stage="judge", error="x"), Lost(task_id="t", seed=1, stage="judge", error="x")),
    )
    without_signal = Group(
        task=TASK,
        attempts=(attempt(0.6, turn()), attempt(0.6, turn())),
        lost=(Lost(task_id="t", seed=2, stage="search", error="x"),),
    )
    return step_metrics([trained], [without_signal], REPORT)


def test_rewards_are_over_all_finished_attempts_and_no_grounding_counts_as_zero(values: dict[str, float]) -> None:
    assert values["reward/mean"] == pytest.approx(0.55)
    assert values["reward/image"] == pytest.approx(0.55)
    assert values["reward/max"] == 1.0
    assert values["reward/std"] == pytest.approx((((0.45**2) + (0.55**2) + 2 * 0.05**2) / 4) ** 0.5)
    assert values["train/reward"] == 0.5
    assert values["train/group_reward_std"] == 0.5


def test_what_does_not_apply_is_not_averaged(values: dict[str, float]) -> None:
    assert values["image/text_accuracy"] == 0.5
    assert values["image/faithfulness"] == pytest.approx(2.2 / 3)
    assert values["judge/cost_usd"] == pytest.approx(0.06)


def test_outcomes_are_shares_of_all_attempts(values: dict[str, float]) -> None:
    assert values["outcome/grounded_frac"] == 0.75
    assert values["outcome/malformed_frac"] == 0.25
    assert values["outcome/repeated_frac"] == 0.0


def test_lost_tries_are_counted_by_stage(values: dict[str, float]) -> None:
    assert values["rollout/lost_count"] == 3
    assert values["lost/judge_count"] == 2
    assert values["lost/search_count"] == 1


def test_a_picture_counts_in_the_context_as_in_the_budgets() -> None:
    view = ImageRef(sha256="v", width_px=384, height_px=288)
    looked = attempt(1.0, turn("image_search"), replace(turn(), images=(view, view)))
    plain = attempt(1.0, turn())
    group = Group(task=TASK, attempts=(looked, plain))
    found = step_metrics([group], [], REPORT)
    assert found["rollout/context_tokens_max"] == 2 * 15 + 2 * (12 * 9 - 1)
    assert found["rollout/context_tokens"] == (2 * 15 + 2 * (12 * 9 - 1) + 15) / 2


def test_turns_tokens_and_tools_are_counted(values: dict[str, float]) -> None:
    assert values["rollout/attempts_count"] == 4
    assert values["rollout/turns"] == 1.5
    assert values["rollout/completion_tokens"] == 7.5
    assert values["rollout/context_tokens_max"] == 45
    assert values["tool/search_calls"] == 0.5
    assert values["tool/search_failed_frac"] == 0.5
    assert values["tool/search_cache_hit_frac"] == 0.5
    assert values["tool/browse_empty_frac"] == 1.0
    assert values["tool/cost_usd"] == pytest.approx(0.03)


def test_the_learner_speaks_for_itself(values: dict[str, float]) -> None:
    assert (values["learner/loss"], values["learner/grad_norm"], values["learner/step_s"]) == (0.25, 2.0, 3.0)
    assert (values["train/groups_count"], values["train/dropped_count"]) == (1, 1)


def test_a_step_without_a_single_attempt_has_no_reward_and_does_not_crash() -> None:
    values = step_metrics([], [], REPORT)
    assert "reward/mean" not in values
    assert values["rollout/attempts_count"] == 0


def test_observations_with_signs_of_an_injection_are_counted_once_each() -> None:
    marked = turn("browse")
    assert marked.result is not None
    marked = replace(marked, result=replace(marked.result, canaries=("override", "tool")))
    group = Group(task=TASK, attempts=(attempt(1.0, marked, turn("search"), marked), attempt(0.0, turn())))
    assert step_metrics([group], [], REPORT)["tool/injection_canary_count"] == 2.0
    clean = Group(task=TASK, attempts=(attempt(1.0, turn("search")),))
    assert step_metrics([clean], [], REPORT)["tool/injection_canary_count"] == 0.0


def test_staleness_counts_publishes_between_a_groups_start_and_its_step() -> None:
    groups = [Group(task=TASK, attempts=(), version=version) for version in (7, 8, 9)]
    assert staleness(groups, version=9) == {"train/staleness_mean": 1.0, "train/staleness_max": 2.0}


def test_looks_are_counted_by_what_came_of_them_and_are_no_tool_calls() -> None:
    first, second = (ImageRef(sha256=name * 64, width_px=8, height_px=8) for name in "ab")
    found = FoundImage(img_id="", title="your picture", url="", page_url="", image=first, view=first)
    looked = replace(turn(), result=ToolResult(text="x", images=(found,), cost_usd=0.04))
    kept = replace(attempt(0.5, looked, turn()), image=first)
    revised = replace(attempt(1.0, looked, turn()), image=second)
    nonsense = attempt(0.0, looked, turn(), outcome=Outcome.MALFORMED)
    unseen = replace(attempt(0.5, turn()), image=first)
    values = step_metrics([Group(task=TASK, attempts=(kept, kept, revised, nonsense, unseen))], [], REPORT)
    assert (values["look/count"], values["look/kept_frac"], values["look/unanswered_frac"]) == (4, 0.5, 0.25)
    assert values["look/cost_usd"] == pytest.approx(0.16)
    assert values["tool/cost_usd"] == 0.0
    without = step_metrics([Group(task=TASK, attempts=(unseen,))], [], REPORT)
    assert [name for name in without if name.startswith("look/")] == []
