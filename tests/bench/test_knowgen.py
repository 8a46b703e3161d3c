"""KnowGen's aggregation against its published rule and its published table."""

from __future__ import annotations

import random
from statistics import fmean

import pytest

from gen_searcher.bench.knowgen import POP, SCIENCE, Row, knowgen
from gen_searcher.errors import DataError

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


def parts(f: float, v: float, t: float | None, a: float) -> dict[str, float | None]:
    return {"faithfulness": f, "visual_correctness": v, "text_accuracy": t, "aesthetics": a}


def recomputed(numbers: list[float]) -> float:
    v1, t1, f1, a1, v2, t2, f2, a2 = (number / 100 for number in numbers[:8])
    found = knowgen([Row(split=SCIENCE, parts=parts(f1, v1, t1, a1)), Row(split=POP, parts=parts(f2, v2, t2, a2))])
    return 100 * found.overall.k_score


def test_the_table_has_21_rows() -> None:
    assert len(PRINTED) == 21


@pytest.mark.parametrize("model", [model for model in PRINTED if model != "BAGEL"])
def test_a_published_row_follows_from_its_split_scores(model: str) -> None:
    assert recomputed(PRINTED[model]) == pytest.approx(PRINTED[model][8], abs=ROUNDING + 1e-9)


def test_one_row_is_printed_inconsistently() -> None:
    assert recomputed(PRINTED["BAGEL"]) == pytest.approx(14.16, abs=0.005)
    assert PRINTED["BAGEL"][8] == 13.85


def published_rule(table: list[tuple[str, list[float | None]]]) -> list[float]:
    """K, F, V, T, A of the overall row, written down from the benchmark's description alone."""
    rows: list[list[float]] = []
    for split in (SCIENCE, POP):
        scores = [numbers for name, numbers in table if name == split]
        f, v, a = (fmean(float(numbers[i] or 0.0) for numbers in scores) for i in (0, 1, 3))
        shown = [numbers[2] for numbers in scores if numbers[2] is not None]
        t = sum(shown) / len(shown) if shown else 0.5
        rows.append([f / 10 + 4 * v / 10 + 4 * t / 10 + a / 10, f, v, t, a])
    return [(left + right) / 2 for left, right in zip(*rows, strict=True)]


@pytest.mark.parametrize("seed", range(200))
def test_the_aggregate_is_the_published_rule_on_a_random_table(seed: int) -> None:
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
    rows = [Row(split=split, parts=dict(zip(parts(0, 0, 0, 0), numbers, strict=True))) for split, numbers in table]
    overall = knowgen(rows).overall
    found = [
        overall.k_score,
        overall.faithfulness,
        overall.visual_correctness,
        overall.text_accuracy,
        overall.aesthetics,
    ]
    assert found == pytest.approx(published_rule(table), abs=1e-12)


def test_rows_without_a_verdict_are_counted_and_enter_no_mean() -> None:
    judged = [Row(split=SCIENCE, parts=parts(1, 1, 1, 1)), Row(split=POP, parts=parts(0, 0, None, 0))]
    lost = [Row(split=SCIENCE, parts=None)] * 3
    found = knowgen([*judged, *lost])
    assert found.unjudged == {SCIENCE: 3, POP: 0}
    assert found.overall == knowgen(judged).overall
    assert found.overall.k_score == pytest.approx((1.0 + 0.4 * 0.5) / 2)


def test_a_split_without_a_verdict_has_no_mean_and_an_unknown_split_is_refused() -> None:
    with pytest.raises(DataError, match=POP):
        knowgen([Row(split=SCIENCE, parts=parts(1, 1, 1, 1)), Row(split=POP, parts=None)])
    with pytest.raises(DataError, match="sports"):
        knowgen([Row(split="sports", parts=parts(1, 1, 1, 1))])
