from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_searcher.grpo.advantage import group_advantages


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
