"""Evaluated groups of each arm -> the table of arms, with intervals and paired differences.

    {arm: groups} -> make_table() -> JSON rows -> render() -> text

KnowGen's figures are 0 to 100, the text reward is 0 to 1. An attempt that handed in no grounding was not judged and
counts as 0 in every dimension, text included. Lost tries are left out and counted. What an attempt took and cost is
explained in `spent`.
K is the formula on the means of the dimensions (`verdict.aggregate`), and every resample applies it anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from itertools import pairwise
from statistics import fmean
from typing import NotRequired, TypedDict

import numpy as np

from gen_searcher.bench.bootstrap import interval, resamples
from gen_searcher.bench.spent import PAID_TO, Part, per_attempt, spent
from gen_searcher.bench.sums import Sums, attempt_parts, is_refused
from gen_searcher.rewards.compose import TEXT
from gen_searcher.rewards.verdict import aggregate
from gen_searcher.types import Attempt, Group

Verdict = Mapping[str, float | None]


class ArmRow(TypedDict):
    """One arm. Figures are None when every try was lost, seconds and USD also where they are not known."""

    arm: str
    k_score: float | None
    low: float | None
    high: float | None
    faithfulness: float | None
    visual_correctness: float | None
    text_accuracy: float | None
    aesthetics: float | None
    text_reward: float | None
    tasks: int
    attempts: int
    grounded: int
    lost: int
    seconds_per_attempt: float | None
    usd_per_attempt: float | None
    seconds_of: dict[Part, float | None]
    usd_of: dict[str, float | None]
    """By whom it is paid to: `tools`, `pictures`, `judges`."""
    calls: NotRequired[float]
    failed_calls: NotRequired[int]
    orders_read: NotRequired[int]
    orders_obeyed: NotRequired[int]


class PairRow(TypedDict):
    """K of one arm minus K of another on the tasks that both have."""

    better: str
    baseline: str
    difference: float
    low: float
    high: float
    tasks: int


class Table(TypedDict):
    """The benchmark's result, as `bench/table.json` holds it."""

    arms: list[ArmRow]
    paired: list[PairRow]
    title: NotRequired[str]
    """What the report calls it; the run's own benchmark has none."""


def make_table(
    groups: Mapping[str, Sequence[Group]],
    *,
    seed: int,
    pairs: Sequence[tuple[str, str]] | None = None,
    free: Mapping[str, Set[Part]] | Set[Part] = frozenset(),
) -> Table:
    """One row per arm.

    Args:
        groups: What was evaluated, by arm.
        seed: Draws the resamples.
        pairs: (arm, baseline); by default each arm against the one before, and last against first.
        free: The parts of an attempt in which nobody is asked who has a price; by arm where arms differ in that.
    """
    names = list(groups)
    if pairs is None:
        pairs = [(arm, before) for before, arm in pairwise(names)]
        if len(names) > 2:
            pairs = [*pairs, (names[-1], names[0])]
    of_arm = free if isinstance(free, Mapping) else dict.fromkeys(names, free)
    rows = [_arm_row(arm, groups[arm], seed=seed, free=of_arm[arm]) for arm in names]
    paired = [_pair_row(arm, baseline, groups, seed=seed) for arm, baseline in pairs]
    return Table(arms=rows, paired=[row for row in paired if row is not None])


def text_reward(attempt: Attempt) -> float | None:
    """The text judge's score, 0 without a usable grounding; None when the run has no text judge."""
    if attempt.trajectory.grounding is None or is_refused(attempt):
        return 0.0
    return next((judgement.score for judgement in attempt.judgements if judgement.judge == TEXT), None)


def _arm_row(arm: str, groups: Sequence[Group], *, seed: int, free: Set[Part]) -> ArmRow:
    judged = [group for group in groups if group.attempts]
    attempts = [attempt for group in judged for attempt in group.attempts]
    lost = sum(len(group.lost) for group in groups)
    took = per_attempt([spent(attempt) for attempt in attempts], free=free)
    usd_of = {PAID_TO[part]: usd for part, usd in took.usd_of.items()}
    if not attempts:
        return ArmRow(
            arm=arm, k_score=None, low=None, high=None, faithfulness=None, visual_correctness=None,
            text_accuracy=None, aesthetics=None, text_reward=None, tasks=0, attempts=0, grounded=0, lost=lost,
            seconds_per_attempt=None, usd_per_attempt=None, seconds_of=took.seconds_of, usd_of=usd_of,
        )  # fmt: skip
    scores = aggregate([attempt_parts(attempt) for attempt in attempts])
    texts = [value for attempt in attempts if (value := text_reward(attempt)) is not None]
    around = interval(100.0 * scores.k_score, Sums.of(judged).k_scores(resamples(len(judged), seed=seed)))
    return ArmRow(
        arm=arm,
        k_score=around.value,
        low=around.low,
        high=around.high,
        faithfulness=100.0 * scores.faithfulness,
        visual_correctness=100.0 * scores.visual_correctness,
        text_accuracy=100.0 * scores.text_accuracy,
        aesthetics=100.0 * scores.aesthetics,
        text_reward=fmean(texts) if texts else None,
        tasks=len(judged),
        attempts=len(attempts),
        grounded=sum(attempt.trajectory.grounding is not None for attempt in attempts),
        lost=lost,
        seconds_per_attempt=took.seconds,
        usd_per_attempt=took.usd,
        seconds_of=took.seconds_of,
        usd_of=usd_of,
    )


def _pair_row(arm: str, baseline: str, groups: Mapping[str, Sequence[Group]], *, seed: int) -> PairRow | None:
    ours, theirs = ({group.task.id: group for group in groups[name] if group.attempts} for name in (arm, baseline))
    shared = [task_id for task_id in ours if task_id in theirs]
    if not shared:
        return None
    everything = np.arange(len(shared), dtype=np.intp)[None]
    draws = resamples(len(shared), seed=seed)
    a, b = Sums.of([ours[task_id] for task_id in shared]), Sums.of([theirs[task_id] for task_id in shared])
    difference = float((a.k_scores(everything) - b.k_scores(everything))[0])
    around = interval(difference, a.k_scores(draws) - b.k_scores(draws))
    return PairRow(
        better=arm, baseline=baseline, difference=around.value, low=around.low, high=around.high, tasks=len(shared)
    )


_HEADINGS = (
    "arm", "K", "95 %", "faithful", "correct", "text", "aesthetic", "text reward", "tasks", "grounded", "lost",
    "s/attempt", "USD/attempt",
)  # fmt: skip


def aligned(headings: tuple[str, ...], cells: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of a table: headings, a rule, the rows; the first column to the left, the others to the right."""
    rows = [headings, *cells]
    widths = [max(len(row[column]) for row in rows) for column in range(len(headings))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def render(table: Table) -> str:
    """The table as aligned text, then one line per paired difference."""
    lines = aligned(_HEADINGS, [_cells(row) for row in table["arms"]])
    lines += [
        f"{row['better']} - {row['baseline']}: {row['difference']:+.2f} K [{row['low']:+.2f}, {row['high']:+.2f}], "
        f"paired over {row['tasks']} tasks"
        for row in table["paired"]
    ]
    return "\n".join(lines)


def _cells(row: ArmRow) -> tuple[str, ...]:
    between = "-" if row["low"] is None or row["high"] is None else f"{row['low']:.2f} to {row['high']:.2f}"
    return (
        row["arm"],
        _figure(row["k_score"]),
        between,
        _figure(row["faithfulness"]),
        _figure(row["visual_correctness"]),
        _figure(row["text_accuracy"]),
        _figure(row["aesthetics"]),
        _figure(row["text_reward"]),
        str(row["tasks"]),
        f"{row['grounded']}/{row['attempts']}",
        str(row["lost"]),
        _figure(row["seconds_per_attempt"]),
        _figure(row["usd_per_attempt"], digits=4),
    )


def _figure(value: float | None, *, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
