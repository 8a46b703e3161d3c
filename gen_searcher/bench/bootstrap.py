"""Percentile bootstrap: how far a figure would move with other tasks of the same kind.

Tasks are drawn with replacement; a paired difference draws the *same* tasks for both arms, so that what both arms find
hard cancels out. Axes: B resamples, N tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
"""Enough that the ends of a 95 % interval move by less than its tenth from seed to seed."""
LEVEL = 0.95
"""Share of the resamples inside the interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure and how far it may be off."""

    value: float
    low: float
    high: float


def resamples(tasks: int, *, seed: int, count: int = RESAMPLES) -> NDArray[np.intp]:
    """[B, N] indices of tasks drawn with replacement."""
    if tasks < 1:
        raise ValueError("there is no task to draw from")
    return np.random.default_rng(seed).integers(0, tasks, size=(count, tasks), dtype=np.intp)


def nested_resamples(runs: int, tasks: int, *, seed: int, count: int = RESAMPLES) -> NDArray[np.intp]:
    """[B, runs * tasks] indices into runs x tasks, run by run: runs are drawn, then the same tasks for all of them.

    The interval then says how far a figure would move with other seeds *and* other tasks. With three runs it is rough.
    """
    if runs < 1 or tasks < 1:
        raise ValueError(f"there is nothing to draw from: {runs} runs of {tasks} tasks")
    pick = np.random.default_rng(seed)
    drawn_B_R = pick.integers(0, runs, size=(count, runs), dtype=np.intp)
    drawn_B_N = pick.integers(0, tasks, size=(count, tasks), dtype=np.intp)
    return (drawn_B_R[:, :, None] * tasks + drawn_B_N[:, None, :]).reshape(count, runs * tasks)


def interval(value: float, draws: NDArray[np.float64]) -> Interval:
    """The middle `LEVEL` of `draws` [B] around the figure itself."""
    low, high = np.quantile(draws, ((1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0)).tolist()
    return Interval(value=value, low=float(low), high=float(high))


def mean_interval(values: Sequence[float], *, seed: int) -> Interval:
    """The mean over tasks; `values` [N] holds one number per task."""
    values_N = np.asarray(values, dtype=np.float64)
    draws = values_N[resamples(len(values), seed=seed)].mean(axis=1)
    return interval(float(values_N.mean()), draws)


def paired_difference(values: Sequence[float], baseline: Sequence[float], *, seed: int) -> Interval:
    """Mean of `values - baseline`, task by task; both are in the same order of tasks."""
    if len(values) != len(baseline):
        raise ValueError(f"a paired difference needs the same tasks, got {len(values)} and {len(baseline)}")
    return mean_interval([a - b for a, b in zip(values, baseline, strict=True)], seed=seed)
