from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_searcher.config.objective import ObjectiveConfig
from gen_searcher.grpo.advantage import attempt_advantages, group_advantages, shaped_reward
from tests.grpo.groups import group


def test_advantages_are_centred_and_divided_by_the_sample_spread():
    assert group_advantages((1.0, 0.0, 0.5)) == pytest.approx((1.0, -1.0, 0.0), abs=3e-6)


def test_without_scale_only_the_mean_is_taken_off():
    assert group_advantages((1.0, 0.0, 0.5), scale="none") == (0.5, -0.5, 0.0)


@pytest.mark.parametrize("rewards", [(), (0.7,), (0.1, 0.1, 0.1)])
def test_nothing_to_compare_is_exactly_zero(rewards: tuple[float, ...]):
    assert group_advantages(rewards) == (0.0,) * len(rewards)


@given(st.lists(st.integers(0, 100).map(lambda k: k / 100), min_size=2, max_size=8).filter(lambda r: max(r) > min(r)))
def test_any_group_has_mean_zero_and_spread_one(rewards: list[float]):
    advantages = group_advantages(rewards)
    assert sum(advantages) == pytest.approx(0.0, abs=1e-9)
    assert statistics.stdev(advantages) == pytest.approx(1.0, abs=3e-3)
    assert sorted(range(len(rewards)), key=lambda i: rewards[i]) == sorted(
        range(len(rewards)), key=lambda i: advantages[i]
    )


@given(st.lists(st.integers(0, 100).map(lambda k: k / 100), min_size=2, max_size=8).filter(lambda r: max(r) > min(r)))
def test_leave_one_out_compares_each_with_the_mean_of_the_others(rewards: list[float]):
    advantages = group_advantages(rewards, scale="none", baseline="leave-one-out")
    others = [statistics.fmean(rewards[:i] + rewards[i + 1 :]) for i in range(len(rewards))]
    assert advantages == pytest.approx([r - other for r, other in zip(rewards, others, strict=True)], abs=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("grpo", (1.0, -1.0, 0.0)),
        ("dr_grpo", (0.5, -0.5, 0.0)),
        ("rloo", (0.75, -0.75, 0.0)),
        ("gspo", (1.0, -1.0, 0.0)),
        ("cispo", (1.0, -1.0, 0.0)),
    ],
)
def test_an_objective_brings_its_advantages(name: str, expected: tuple[float, ...]):
    objective = ObjectiveConfig.model_validate({"name": name})
    assert attempt_advantages(group(1.0, 0.0, 0.5), objective) == pytest.approx(expected, abs=3e-6)


def test_a_long_response_is_compared_at_its_shaped_reward():
    """Three sampled tokens each: three quarters of the way through the buffer of 4 at a limit of 4."""
    dapo = ObjectiveConfig.model_validate({"name": "dapo", "max_response_tokens": 4, "overlong_frac": 1.0})
    assert shaped_reward(group(1.0).attempts[0], dapo) == pytest.approx(0.25)
    short = ObjectiveConfig.model_validate({"name": "dapo", "max_response_tokens": 4, "overlong_frac": 0.25})
    assert shaped_reward(group(1.0).attempts[0], short) == 1.0
