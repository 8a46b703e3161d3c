from __future__ import annotations

import dataclasses

import pytest

from gen_searcher.config.objective import DEFAULT_OBJECTIVE, MasksConfig, ObjectiveConfig
from gen_searcher.grpo.advantage import attempt_advantages
from gen_searcher.grpo.samples import group_samples
from gen_searcher.grpo.select import carries_gradient, has_attempts, has_signal
from gen_searcher.types import Grounding, Group, Outcome
from tests.grpo.groups import group


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [((), False), ((1.0,), False), ((0.5, 0.5), False), ((0.0, 0.0, 0.25), True), ((0.3, 0.1 + 0.2), False)],
)
def test_only_different_rewards_teach(rewards: tuple[float, ...], expected: bool):
    assert has_signal(group(*rewards)) is expected


def test_a_lost_attempt_is_not_a_different_reward():
    assert not has_signal(group(1.0, 1.0, lost=3))


PAPER = ObjectiveConfig(masks=MasksConfig(preset="paper"))


def with_outcomes(*attempts: tuple[Outcome, float]) -> Group:
    plain = group(*(reward for _, reward in attempts))
    grounding = Grounding(gen_prompt="p", references=())
    return dataclasses.replace(
        plain,
        attempts=tuple(
            dataclasses.replace(
                attempt,
                trajectory=dataclasses.replace(
                    attempt.trajectory,
                    outcome=outcome,
                    grounding=grounding if outcome is Outcome.GROUNDED else None,
                ),
            )
            for attempt, (outcome, _) in zip(plain.attempts, attempts, strict=True)
        ),
    )


def test_by_default_every_outcome_carries_a_gradient():
    for outcome in Outcome:
        attempt = with_outcomes((outcome, 0.0)).attempts[0]
        assert carries_gradient(attempt, DEFAULT_OBJECTIVE.masks)


def test_the_masks_of_the_paper_leave_groundings_that_earned_something():
    teaching = with_outcomes((Outcome.GROUNDED, 0.4)).attempts[0]
    assert carries_gradient(teaching, PAPER.masks)
    assert not carries_gradient(with_outcomes((Outcome.GROUNDED, 0.0)).attempts[0], PAPER.masks)
    for outcome in (Outcome.MALFORMED, Outcome.REPEATED, Outcome.OUT_OF_TURNS, Outcome.OUT_OF_TOKENS):
        assert not carries_gradient(with_outcomes((outcome, 0.4)).attempts[0], PAPER.masks)


def test_a_group_in_which_nobody_may_learn_teaches_nothing():
    fallen = with_outcomes((Outcome.MALFORMED, 0.5), (Outcome.GROUNDED, 0.0))
    assert has_signal(fallen)
    assert not has_signal(fallen, PAPER)
    assert not has_attempts(fallen, PAPER)


def test_a_masked_attempt_is_still_compared_with():
    mixed = with_outcomes((Outcome.GROUNDED, 1.0), (Outcome.MALFORMED, 0.0), (Outcome.GROUNDED, 0.5))
    advantages = attempt_advantages(mixed, PAPER)
    assert advantages == pytest.approx((1.0, -1.0, 0.0), abs=3e-6)
    samples = group_samples(mixed, advantages, masks=PAPER.masks)
    assert [sample.advantage for sample in samples] == [advantages[0], advantages[2]]
    assert [sample.token_ids[0] for sample in samples] == [10, 12]
