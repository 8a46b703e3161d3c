"""Figures of scored rows: KnowGen's published rule and table, both ways of counting, intervals, pairs."""

from __future__ import annotations

import random
from statistics import fmean

import pytest

from gen_searcher.bench.figures import Way, difference, figures, standing
from gen_searcher.bench.scored import Scored
from tests.bench.rows import KNOWGEN, POP, SCIENCE, parts, row

TABLE = """\
GPT-Image-1        20.92 27.89 72.79 63.95 19.43 31.98 84.64 61.60 34.19
GPT-Image-1.5      29.25 40.14 81.29 77.21 29.43 46.22 89.64 71.17 44.97
Nano-Banana        18.03 19.39 72.79 65.82 14.24 26.04 84.39 70.91 30.24
Nano-Banana-Pro    39.46 49.32 86.22 70.92 30.51 53.37 91.07 68.75 50.38
Seedream-4.0       13.10 24.66 62.93 64.97 11.90 22.19 78.72 70.24 28.21
Seedream-4.5       14.46 26.19 64.46 65.65 12.50 31.77 81.25 69.05 31.01
SD-3.5-Medium       5.61  2.21 30.44 48.47  3.12  0.58 58.18 54.76 11.90
SD-3.5-Large        5.44  2.04 31.29 46.77  5.21  2.01 55.36 58.33 12.53
Lumina-Image-2.0    1.19  0.34 30.95 36.05  2.68  0.58 54.76 47.62  9.43
FLUX.1-dev          2.89  0.34 28.91 50.17  2.38  1.16 54.46 53.72 10.71
FLUX.1-Krea         3.91  1.53 33.16 48.13  4.32  2.02 62.05 53.87 12.22
FLUX.2-klein-4B     4.59  1.53 37.07 45.58  3.42  0.86 62.05 55.51 12.09
FLUX.2-klein-9B     6.12  0.34 42.69 50.85  5.06  1.72 69.05 59.08 13.73
BAGEL               4.93  1.70 43.37 51.87  8.33  2.59 64.14 53.57 13.85
HunyuanImage-3.0    4.76  1.19 40.14 56.46  6.10  2.51 63.99 64.14 14.15
Qwen-Image          6.80  0.34 47.45 56.80  7.59  1.40 68.90 61.90 14.98
Z-Image-Turbo       3.91  1.02 28.40 50.85  4.32  3.45 50.15 55.21 11.77
Z-Image             6.80  2.72 41.16 43.54  7.89  2.00 70.24 57.29 14.49
GS+Qwen-Image      26.87 17.18 65.14 55.44 25.30 23.55 76.64 61.46 31.52
GS+Seedream-4.5    36.35 43.52 75.77 61.26 39.04 45.86 85.74 63.96 47.29
GS+Nano-Banana-Pro 45.07 49.32 86.56 64.80 43.01 52.30 90.92 64.88 53.30
"""
"""V, T, F, A of either split and the overall K, times 100, as the paper prints them."""
PRINTED = {line.split()[0]: [float(number) for number in line.split()[1:]] for line in TABLE.splitlines()}
ROUNDING = 0.005 + 0.005
"""Of the printed K and, through weights that sum to one, of the printed dimensions."""


def overall(rows: list[Scored], way: Way = Way.EXCLUDED) -> float:
    """0 to 100."""
    found = figures(rows, scheme=KNOWGEN, way=way, seed=0).overall
    assert found is not None
    return found.value


def recomputed(numbers: list[float]) -> float:
    v1, t1, f1, a1, v2, t2, f2, a2 = (number / 100 for number in numbers[:8])
    return overall([row(1, SCIENCE, parts(f1, v1, t1, a1)), row(2, POP, parts(f2, v2, t2, a2))])


def test_the_table_has_21_rows() -> None:
    assert len(PRINTED) == 21


@pytest.mark.parametrize("model", [model for model in PRINTED if model != "BAGEL"])
def test_a_published_row_follows_from_its_split_scores(model: str) -> None:
    assert recomputed(PRINTED[model]) == pytest.approx(PRINTED[model][8], abs=ROUNDING + 1e-9)


def test_one_row_is_printed_inconsistently() -> None:
    assert recomputed(PRINTED["BAGEL"]) == pytest.approx(14.16, abs=0.005)
    assert PRINTED["BAGEL"][8] == 13.85


def published_rule(table: list[tuple[str, list[float | None]]]) -> list[float]:
    """F, V, T, A and K of the overall row, written down from the benchmark's description alone."""
    rows: list[list[float]] = []
    for split in (SCIENCE, POP):
        scores = [numbers for name, numbers in table if name == split]
        f, v, a = (fmean(float(numbers[i] or 0.0) for numbers in scores) for i in (0, 1, 3))
        shown = [numbers[2] for numbers in scores if numbers[2] is not None]
        t = sum(shown) / len(shown) if shown else 0.5
        rows.append([f, v, t, a, f / 10 + 4 * v / 10 + 4 * t / 10 + a / 10])
    return [(left + right) / 2 for left, right in zip(*rows, strict=True)]


@pytest.mark.parametrize("seed", range(50))
def test_the_figures_are_the_published_rule_on_a_random_table(seed: int) -> None:
    pick = random.Random(seed)
    na_frac = pick.choice((0.0, 0.3, 0.9, 1.0))
    table: list[tuple[str, list[float | None]]] = []
    for split in (SCIENCE, POP):
        for _ in range(pick.randint(1, 40)):
            numbers: list[float | None] = [pick.choice((0.0, 0.5, 1.0)) for _ in range(4)]
            if pick.random() < na_frac:
                numbers[2] = None
            table.append((split, numbers))
    pick.shuffle(table)
    rows = [
        row(number, split, dict(zip(parts(0, 0, 0, 0), numbers, strict=True)))
        for number, (split, numbers) in enumerate(table)
    ]
    failed = [row(1000, SCIENCE, None), row(1001, POP, None)]
    found = figures([*rows, *failed], scheme=KNOWGEN, way=Way.EXCLUDED, seed=seed)
    assert found.overall is not None
    assert found.overall.low <= found.overall.value <= found.overall.high
    means = [*found.dimensions["overall"].values(), found.overall.value]
    assert means == pytest.approx([100 * value for value in published_rule(table)], abs=1e-9)


def test_a_failed_row_is_in_no_mean_or_counts_zero_everywhere() -> None:
    rows = [row(1, SCIENCE, parts(1, 1, 1, 1)), row(2, POP, parts(1, 1, None, 1)), row(3, SCIENCE, None)]
    assert overall(rows) == pytest.approx((100 + 80) / 2)
    assert overall(rows, Way.ZERO) == pytest.approx((50 + 80) / 2)


def test_text_that_applies_nowhere_is_half_and_a_failed_row_makes_it_apply() -> None:
    rows = [row(1, SCIENCE, parts(1, 1, None, 1)), row(2, POP, parts(1, 1, None, 1)), row(3, POP, None)]
    found = figures(rows, scheme=KNOWGEN, way=Way.ZERO, seed=0)
    assert found.dimensions[SCIENCE]["text_accuracy"] == 50
    assert found.dimensions[POP] == parts(50, 50, 0, 50)


def test_without_a_verdict_in_one_split_there_is_no_overall_figure() -> None:
    rows = [row(1, SCIENCE, parts(1, 1, 1, 1)), row(2, POP, None)]
    excluded = figures(rows, scheme=KNOWGEN, way=Way.EXCLUDED, seed=0)
    assert excluded.overall is None
    assert "overall" not in excluded.dimensions
    assert excluded.strata[SCIENCE].value == 100
    assert overall(rows, Way.ZERO) == 50


def test_a_standing_counts_failures_by_stage_and_gives_categories_both_ways() -> None:
    rows = [
        row(1, SCIENCE, parts(1, 1, 1, 1), category="Physics"),
        row(2, SCIENCE, None, category="physics", stage="refused"),
        row(3, SCIENCE, None, category="art", stage="generate"),
        row(4, POP, parts(0, 0.5, None, 0)),
    ]
    found = standing("mine", rows, scheme=KNOWGEN, seed=0)
    assert (found.rows, found.judged, found.failed) == (4, 2, {"refused": 1, "generate": 1})
    slices = {(one.key, one.value): (one.rows, one.failed, one.excluded, one.zero) for one in found.slices}
    assert slices["category", "physics"] == (2, 1, pytest.approx(100), pytest.approx(50))
    assert slices["category", "art"] == (1, 1, None, 0)
    assert slices["category", "anime"] == (1, 0, pytest.approx(40), pytest.approx(40))
    assert slices["difficulty", "easy"][:2] == (4, 2)


def test_several_tries_at_a_task_are_drawn_together() -> None:
    """Ten tasks of two equal tries are as uncertain as ten tasks, not as twenty."""
    once = [
        row(10 * half + n, split, parts(n % 2, n % 2, n % 2, n % 2))
        for half, split in enumerate((SCIENCE, POP))
        for n in range(10)
    ]
    twice = [one for one in once for _ in range(2)]
    found = [figures(rows, scheme=KNOWGEN, way=Way.EXCLUDED, seed=3) for rows in (once, twice)]
    assert found[0] == found[1]
    assert found[0].overall is not None
    assert found[0].overall.high - found[0].overall.low > 10


def test_strata_of_one_size_are_drawn_apart() -> None:
    """Two halves that are each other's opposite: the same draws for both would leave no doubt about their mean."""
    rows = [
        row(20 * half + n, split, dict.fromkeys(parts(0, 0, 0, 0), float((n < 10) == (half == 0))))
        for half, split in enumerate((SCIENCE, POP))
        for n in range(20)
    ]
    nothing = [row(int(one.id), one.stratum, parts(0, 0, 0, 0)) for one in rows]
    found = figures(rows, scheme=KNOWGEN, way=Way.EXCLUDED, seed=0)
    assert found.overall is not None
    overall_width = found.overall.high - found.overall.low
    stratum_width = found.strata[SCIENCE].high - found.strata[SCIENCE].low
    assert overall_width == pytest.approx(stratum_width / 2**0.5, rel=0.15), "the mean of two independent halves"
    difference = paired(rows, nothing, Way.EXCLUDED)
    assert difference is not None
    assert difference[:3] == (found.overall.value, found.overall.low, found.overall.high), "every arm draws the same"


def paired(mine: list[Scored], other: list[Scored], way: Way) -> tuple[float, float, float, int] | None:
    found = difference("a", mine, "b", other, scheme=KNOWGEN, way=way, seed=0)
    if found is None:
        return None
    return (found.overall.value, found.overall.low, found.overall.high, found.tasks)


def test_a_paired_difference_cancels_what_both_find_hard() -> None:
    pick = random.Random(7)
    mine: list[Scored] = []
    other: list[Scored] = []
    for number in range(60):
        split, hard = (SCIENCE, POP)[number % 2], pick.choice((0.0, 0.5))
        mine.append(row(number, split, parts(hard + 0.5, hard + 0.5, hard + 0.5, hard + 0.5)))
        other.append(row(number, split, parts(hard, hard, hard, hard)))
    found = paired(mine, list(reversed(other)), Way.EXCLUDED)
    assert found == (pytest.approx(50), pytest.approx(50), pytest.approx(50), 60)


def test_pairs_are_the_tasks_that_both_have_judged_or_both_have() -> None:
    mine = [row(1, SCIENCE, parts(1, 1, 1, 1)), row(2, POP, parts(1, 1, 1, 1)), row(3, POP, None)]
    other = [row(2, POP, parts(0, 0, 0, 0)), row(1, SCIENCE, parts(1, 1, 1, 1)), row(3, POP, parts(1, 1, 1, 1))]
    other.append(row(4, POP, parts(1, 1, 1, 1)))
    excluded, zero = paired(mine, other, Way.EXCLUDED), paired(mine, other, Way.ZERO)
    assert excluded is not None
    assert zero is not None
    assert (excluded[0], excluded[3]) == (pytest.approx(50), 2)
    assert (zero[0], zero[3]) == (pytest.approx(0), 3)
    assert paired(mine, other[1:2], Way.EXCLUDED) is None, "no task of one split in common"
    moved = [row(1, POP, parts(1, 1, 1, 1)), *other[:1]]
    assert paired(mine, moved, Way.EXCLUDED) is None, "an id that changed its category is another task"
