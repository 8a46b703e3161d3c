"""Intervals that are as wide as they should be."""

from __future__ import annotations

import numpy as np
import pytest

from gen_searcher.bench.bootstrap import mean_interval, paired_difference, resamples


def test_the_interval_is_about_two_standard_errors_wide() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.2, 400).tolist()
    found = mean_interval(values, seed=1)
    error = float(np.std(values)) / 20
    assert found.value == pytest.approx(np.mean(values))
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.15 * error)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for trial in range(200):
        found = mean_interval(rng.binomial(1, 0.4, 80).tolist(), seed=trial)
        covered += found.low <= 0.4 <= found.high
    assert 0.90 <= covered / 200 <= 0.99


def test_a_paired_difference_is_narrower_than_the_two_intervals() -> None:
    rng = np.random.default_rng(3)
    hardness = rng.normal(0.5, 0.3, 100)
    base, better = hardness.tolist(), (hardness + 0.05 + rng.normal(0, 0.02, 100)).tolist()
    found = paired_difference(better, base, seed=0)
    assert found.low > 0.03
    assert found.high < 0.07


def test_the_same_seed_gives_the_same_interval_and_another_hardly_differs() -> None:
    values = np.random.default_rng(4).random(50).tolist()
    assert mean_interval(values, seed=5) == mean_interval(values, seed=5)
    assert mean_interval(values, seed=5).low == pytest.approx(mean_interval(values, seed=6).low, abs=0.01)


def test_unequal_or_empty_inputs_raise() -> None:
    with pytest.raises(ValueError, match="same tasks"):
        paired_difference([1.0], [1.0, 2.0], seed=0)
    with pytest.raises(ValueError, match="no task"):
        resamples(0, seed=0)
