"""Reduction: parts add up to the whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gen_searcher.metrics.values import Fraction, Max, Mean, Sum, numbers

FLOATS = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20)


@given(left=FLOATS, right=FLOATS)
def test_a_split_does_not_change_any_number(left: list[float], right: list[float]) -> None:
    whole = [*left, *right]
    assert (Mean.of(left) + Mean.of(right)).value == pytest.approx(sum(whole) / len(whole), abs=1e-9)
    assert (Sum.of(left) + Sum.of(right)).value == pytest.approx(sum(whole), abs=1e-9)
    assert (Max.of(left) + Max.of(right)).value == max(whole)
    claims = [value > 0 for value in whole]
    split = Fraction.of(claims[: len(left)]) + Fraction.of(claims[len(left) :])
    assert split.value == pytest.approx(sum(claims) / len(claims))


def test_the_spread_is_the_population_standard_deviation() -> None:
    assert Mean.of([1.0, 3.0]).std == pytest.approx(1.0)
    assert Mean.of([0.7, 0.7, 0.7]).std == pytest.approx(0.0, abs=1e-7)


def test_what_counted_nothing_is_left_out_and_not_zero() -> None:
    assert numbers({"mean": Mean(), "max": Max(), "frac": Fraction(), "sum": Sum(), "one": Mean.of([1.0])}) == {
        "sum": 0.0,
        "one": 1.0,
    }
