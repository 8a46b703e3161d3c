"""Agreement by hand."""

from __future__ import annotations

import pytest

from gen_searcher.rewards.golden.agreement import Graded, exact_agreement, nearest_level, weighted_kappa

LEVELS = (0.0, 0.5, 1.0)


def pairs(*grades: tuple[float, float]) -> list[Graded]:
    return [Graded(label=label, verdict=verdict) for label, verdict in grades]


def test_perfect_agreement_is_one_and_reversal_minus_one() -> None:
    assert weighted_kappa(pairs((0, 0), (0.5, 0.5), (1, 1)), LEVELS) == pytest.approx(1.0)
    assert weighted_kappa(pairs((0, 1), (1, 0)), LEVELS) == pytest.approx(-1.0)


def test_a_judge_that_always_says_the_same_agrees_as_chance_does() -> None:
    assert weighted_kappa(pairs((0, 1), (0.5, 1), (1, 1)), LEVELS) == pytest.approx(0.0)


def test_a_near_miss_costs_a_quarter_of_a_far_one() -> None:
    # O: (0,0) (0,.5) (1,1) (1,1). sum w O = 1/4. Histograms (2,0,2) and (1,1,2); E = outer / 4;
    # sum w E = (2*1/4 + 2*2*1 + 2*1*1 + 2*1/4) / 4 = (0.5 + 4 + 2 + 0.5) / 4 = 1.75.
    assert weighted_kappa(pairs((0, 0), (0, 0.5), (1, 1), (1, 1)), LEVELS) == pytest.approx(1 - 0.25 / 1.75)
    assert weighted_kappa(pairs((0, 0), (0, 1), (1, 1), (1, 1)), LEVELS) == pytest.approx(0.5)


def test_without_variance_kappa_is_undefined_and_not_a_number_made_up() -> None:
    assert weighted_kappa(pairs((1, 1), (1, 1)), LEVELS) is None


def test_exact_agreement_counts_equal_grades() -> None:
    assert exact_agreement(pairs((0, 0), (0, 0.5), (1, 1), (1, 0))) == 0.5
    with pytest.raises(ValueError, match="nothing"):
        exact_agreement([])


@pytest.mark.parametrize(
    ("value", "level"), [(0.0, 0.0), (0.25, 0.0), (0.26, 0.5), (0.75, 0.5), (0.76, 1.0), (1.0, 1.0)]
)
def test_a_score_counts_as_the_nearest_level_the_lower_one_half_way(value: float, level: float) -> None:
    assert nearest_level(value, LEVELS) == level
