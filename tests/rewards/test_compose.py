"""The blend of the two judgements."""

from __future__ import annotations

import pytest

from gen_searcher.errors import JudgeError
from gen_searcher.rewards.compose import compose
from gen_searcher.types import Judgement, Outcome


def judgement(judge: str, score: float) -> Judgement:
    return Judgement(
        judge=judge, score=score, parts={}, rationale="", model="table", prompt_sha256="0" * 64, latency_s=0.0
    )


BOTH = [judgement("image", 0.8), judgement("text", 0.25)]


@pytest.mark.parametrize(("alpha", "total"), [(0.0, 0.8), (0.5, 0.525), (0.3, 0.635), (1.0, 0.25)])
def test_alpha_moves_the_reward_from_the_picture_to_the_grounding(alpha: float, total: float) -> None:
    reward = compose(Outcome.GROUNDED, BOTH, alpha=alpha)
    assert reward.total == pytest.approx(total)
    assert reward.parts == {"image": 0.8, "text": 0.25}


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.GROUNDED])
def test_without_a_grounding_the_reward_is_zero_and_has_no_parts(outcome: Outcome) -> None:
    reward = compose(outcome, [], alpha=0.5)
    assert reward.total == 0.0
    assert reward.parts == {}


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_judgement_raises_and_never_becomes_a_score(missing: int) -> None:
    with pytest.raises(ValueError, match="missing"):
        compose(Outcome.GROUNDED, BOTH[:missing] + BOTH[missing + 1 :], alpha=0.5)


def test_a_judge_without_a_share_need_not_speak() -> None:
    assert compose(Outcome.GROUNDED, BOTH[:1], alpha=0.0).total == 0.8
    assert compose(Outcome.GROUNDED, BOTH[1:], alpha=1.0).total == 0.25


def test_two_judgements_of_one_name_and_unknown_names_raise() -> None:
    for wrong in ([*BOTH, BOTH[0]], [*BOTH, judgement("style", 1.0)]):
        with pytest.raises(ValueError, match="blends one judgement"):
            compose(Outcome.GROUNDED, wrong, alpha=0.5)


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_a_score_that_is_none_is_the_judges_fault(score: float) -> None:
    with pytest.raises(JudgeError, match="judge gave"):
        compose(Outcome.GROUNDED, [judgement("image", score), BOTH[1]], alpha=0.5)
