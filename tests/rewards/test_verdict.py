"""K-scores by hand and by the published table."""

from __future__ import annotations

import itertools

import pytest

from gen_searcher.rewards.verdict import Scores, aggregate, k_score, mean_of_splits


def parts(f: float, v: float, t: float | None, a: float) -> dict[str, float | None]:
    return {"faithfulness": f, "visual_correctness": v, "text_accuracy": t, "aesthetics": a}


def test_the_k_score_weighs_the_four_dimensions() -> None:
    assert k_score(parts(1, 0, 0, 0)) == pytest.approx(0.1)
    assert k_score(parts(0, 1, 0, 0)) == pytest.approx(0.4)
    assert k_score(parts(0, 0, 1, 0)) == pytest.approx(0.4)
    assert k_score(parts(0, 0, 0, 1)) == pytest.approx(0.1)
    assert k_score(parts(0.5, 0.25, 0.75, 1)) == pytest.approx(0.55)


def test_one_attempt_counts_text_that_does_not_apply_as_a_half() -> None:
    assert k_score(parts(0, 0, None, 0)) == pytest.approx(0.2)
    assert k_score(parts(1, 1, None, 1)) == pytest.approx(0.8)


def test_on_the_three_levels_nothing_is_lost_by_upstreams_rounding() -> None:
    for f, v, t, a in itertools.product((0.0, 0.5, 1.0), repeat=4):
        assert k_score(parts(f, v, t, a)) == pytest.approx(round(0.1 * f + 0.4 * v + 0.4 * t + 0.1 * a, 2), abs=1e-12)


@pytest.mark.parametrize(
    "bad",
    [
        {"faithfulness": 1.0},
        {**parts(1, 1, 1, 1), "overall": 1.0},
        parts(1, 1, 1.2, 1),
        parts(1, float("nan"), 1, 1),
        {**parts(1, 1, 1, 1), "aesthetics": None},
    ],
)
def test_a_verdict_that_is_not_one_raises(bad: dict[str, float | None]) -> None:
    with pytest.raises(ValueError, match=r"dimensions|number from 0 to 1"):
        k_score(bad)


def test_the_aggregate_averages_text_over_the_rows_that_ask_for_text() -> None:
    scores = aggregate([parts(1, 1, 1, 1), parts(0, 0, None, 0), parts(1, 0, 0.5, 0)])
    assert scores.text_accuracy == pytest.approx(0.75)
    assert scores.faithfulness == pytest.approx(2 / 3)
    assert scores.k_score == pytest.approx(0.1 * 2 / 3 + 0.4 / 3 + 0.4 * 0.75 + 0.1 / 3)
    assert (scores.rows, scores.text_rows) == (3, 2)


def test_the_aggregate_takes_a_half_when_no_row_asks_for_text() -> None:
    assert aggregate([parts(1, 1, None, 1)]).text_accuracy == 0.5


def test_an_aggregate_of_nothing_raises() -> None:
    with pytest.raises(ValueError, match="no row"):
        aggregate([])


@pytest.mark.parametrize(
    ("science", "pop", "printed"),
    [
        ((0.4745, 0.0680, 0.0034, 0.5680), (0.6890, 0.0759, 0.0140, 0.6190), 14.98),  # Qwen-Image
        ((0.6514, 0.2687, 0.1718, 0.5544), (0.7664, 0.2530, 0.2355, 0.6146), 31.52),  # with the trained agent
        ((0.8622, 0.3946, 0.4932, 0.7092), (0.9107, 0.3051, 0.5337, 0.6875), 50.38),  # Nano Banana Pro
    ],
)
def test_the_mean_of_the_two_splits_reproduces_the_published_k_scores(
    science: tuple[float, float, float, float], pop: tuple[float, float, float, float], printed: float
) -> None:
    overall = mean_of_splits([aggregate([parts(*science)]), aggregate([parts(*pop)])])
    assert isinstance(overall, Scores)
    assert 100 * overall.k_score == pytest.approx(printed, abs=0.02)
