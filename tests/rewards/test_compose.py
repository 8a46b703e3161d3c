"""The blend of the two judgements, what finding them cost, and what is no number."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from gen_searcher.config.rewards import DimensionWeights, RewardConfig
from gen_searcher.errors import JudgeError
from gen_searcher.rewards.compose import compose
from gen_searcher.types import Grounding, Judgement, Outcome, ToolCall, ToolResult, Trajectory, Turn

DIMENSIONS: dict[str, float | None] = {
    "faithfulness": 1.0,
    "visual_correctness": 0.5,
    "text_accuracy": 0.0,
    "aesthetics": 1.0,
}


def judgement(judge: str, score: float, parts: dict[str, float | None] | None = None) -> Judgement:
    return Judgement(
        judge=judge,
        score=score,
        parts={} if parts is None else parts,
        rationale="",
        model="table",
        prompt_sha256="0" * 64,
        latency_s=0.0,
    )


def trajectory(outcome: Outcome = Outcome.GROUNDED, *, calls: int = 0, tokens_per_turn: int = 50) -> Trajectory:
    """`calls` turns with a tool and a last one without."""
    turns = tuple(
        Turn(
            prompt_ids=(1,),
            completion_ids=(2,) * tokens_per_turn,
            logprobs=(0.0,) * tokens_per_turn,
            versions=(0,) * tokens_per_turn,
            call=ToolCall(name="search", arguments={}) if number < calls else None,
            result=ToolResult(text="x") if number < calls else None,
        )
        for number in range(calls + 1)
    )
    grounding = Grounding(gen_prompt="p", references=()) if outcome is Outcome.GROUNDED else None
    return Trajectory(task_id="t", turns=turns, outcome=outcome, grounding=grounding)


GROUNDED = trajectory()
BOTH = [judgement("image", 0.8), judgement("text", 0.25)]


@pytest.mark.parametrize(("alpha", "total"), [(0.0, 0.8), (0.5, 0.525), (0.3, 0.635), (1.0, 0.25)])
def test_alpha_moves_the_reward_from_the_picture_to_the_grounding(alpha: float, total: float) -> None:
    reward = compose(GROUNDED, BOTH, rules=RewardConfig(alpha=alpha))
    assert reward.total == pytest.approx(total)
    assert reward.parts == {"image": 0.8, "text": 0.25}


def test_the_defaults_are_the_plain_blend_to_the_last_bit() -> None:
    for image, text in ((0.1, 0.75), (1 / 3, 0.25), (0.7000000001, 1.0)):
        reward = compose(
            trajectory(calls=4), [judgement("image", image), judgement("text", text)], rules=RewardConfig()
        )
        assert reward.total == 0.5 * image + 0.5 * text


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.GROUNDED])
def test_without_a_grounding_the_reward_is_zero_and_has_no_parts(outcome: Outcome) -> None:
    reward = compose(trajectory(outcome), [], rules=RewardConfig())
    assert reward.total == 0.0
    assert reward.parts == {}


def test_without_a_grounding_nothing_is_earned_whatever_the_settings_and_the_cost_is_told() -> None:
    rules = RewardConfig(format_share=0.2, tool_call_cost=0.01)
    reward = compose(trajectory(Outcome.MALFORMED, calls=3), [], rules=rules)
    assert reward.total == 0.0
    assert reward.parts == {"cost": pytest.approx(0.03)}


def test_each_tool_call_and_each_thousand_tokens_have_their_price() -> None:
    rules = RewardConfig(tool_call_cost=0.02, token_cost_per_1k=0.1)
    reward = compose(trajectory(calls=3), BOTH, rules=rules)
    assert reward.parts == {"image": 0.8, "text": 0.25, "cost": pytest.approx(3 * 0.02 + 4 * 50 / 1000 * 0.1)}
    assert reward.total == pytest.approx(0.525 - 0.06 - 0.02)


def test_a_look_at_ones_own_picture_is_no_tool_call() -> None:
    searched = trajectory(calls=1)
    looked = replace(searched, turns=(searched.turns[0], replace(searched.turns[1], result=ToolResult(text="x"))))
    rules = RewardConfig(tool_call_cost=0.05)
    assert compose(looked, BOTH, rules=rules) == compose(searched, BOTH, rules=rules)


def test_with_a_price_the_same_answer_is_worth_more_without_a_search() -> None:
    rules = RewardConfig(tool_call_cost=0.05)
    without, with_two = (compose(trajectory(calls=calls), BOTH, rules=rules).total for calls in (0, 2))
    assert without == pytest.approx(0.525)
    assert with_two == pytest.approx(0.425)
    better = [judgement("image", 1.0), judgement("text", 1.0)]
    assert compose(trajectory(calls=2), better, rules=rules).total == pytest.approx(0.9), "a search that helps pays"


def test_no_price_makes_giving_up_pay() -> None:
    poor = [judgement("image", 0.02), judgement("text", 0.0)]
    assert compose(trajectory(calls=8), poor, rules=RewardConfig(tool_call_cost=0.1)).total == 0.0


def test_a_share_for_the_form_lifts_every_grounding_and_keeps_the_scale() -> None:
    rules = RewardConfig(format_share=0.1)
    assert compose(GROUNDED, BOTH, rules=rules).total == pytest.approx(0.9 * 0.525 + 0.1)
    full = [judgement("image", 1.0), judgement("text", 1.0)]
    assert compose(GROUNDED, full, rules=rules).total == pytest.approx(1.0)


def test_other_weights_score_the_picture_by_its_dimensions() -> None:
    weights = DimensionWeights(faithfulness=0.0, visual_correctness=0.8, text_accuracy=0.0, aesthetics=0.2)
    rules = RewardConfig(alpha=0.0, weights=weights)
    reward = compose(GROUNDED, [judgement("image", 0.4, DIMENSIONS)], rules=rules)
    assert reward.total == pytest.approx(0.8 * 0.5 + 0.2)
    with pytest.raises(JudgeError, match="four dimensions"):
        compose(GROUNDED, [judgement("image", 0.4)], rules=rules)


def test_weights_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(ValidationError, match="sum to 1"):
        DimensionWeights(faithfulness=0.5)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_judgement_raises_and_never_becomes_a_score(missing: int) -> None:
    with pytest.raises(ValueError, match="missing"):
        compose(GROUNDED, BOTH[:missing] + BOTH[missing + 1 :], rules=RewardConfig())


def test_a_judge_without_a_share_need_not_speak() -> None:
    assert compose(GROUNDED, BOTH[:1], rules=RewardConfig(alpha=0.0)).total == 0.8
    assert compose(GROUNDED, BOTH[1:], rules=RewardConfig(alpha=1.0)).total == 0.25


def test_two_judgements_of_one_name_and_unknown_names_raise() -> None:
    for wrong in ([*BOTH, BOTH[0]], [*BOTH, judgement("style", 1.0)]):
        with pytest.raises(ValueError, match="blends one judgement"):
            compose(GROUNDED, wrong, rules=RewardConfig())


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_score_that_is_none_is_the_judges_fault(score: float) -> None:
    with pytest.raises(JudgeError, match="judge gave"):
        compose(GROUNDED, [judgement("image", score), BOTH[1]], rules=RewardConfig())
    with pytest.raises(JudgeError, match="for aesthetics"):
        compose(GROUNDED, [judgement("image", 0.5, {"aesthetics": score}), BOTH[1]], rules=RewardConfig())
