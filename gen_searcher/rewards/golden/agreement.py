"""How far two lists of grades agree.

Quadratic-weighted kappa, for grades i, j on L levels, observed counts O and expected counts E (outer product of the
two histograms over their sum):

    kappa = 1 - sum w_ij O_ij / sum w_ij E_ij,    w_ij = (i - j)^2 / (L - 1)^2

1 is perfect agreement, 0 what chance gives, below 0 worse than chance. (Cohen 1968, doi:10.1037/h0026256)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """One label and what the judge said, both on the same scale."""

    label: float
    verdict: float


def nearest_level(value: float, levels: Sequence[float]) -> float:
    """The level that a score counts as; half way between two it is the lower one."""
    return min(levels, key=lambda level: (round(abs(level - value), 9), level))


def exact_agreement(pairs: Sequence[Graded]) -> float:
    """Share of equal grades, 0..1."""
    if not pairs:
        raise ValueError("there is nothing to compare")
    return sum(pair.label == pair.verdict for pair in pairs) / len(pairs)


def weighted_kappa(pairs: Sequence[Graded], levels: Sequence[float]) -> float | None:
    """Quadratic-weighted kappa; None when all grades on both sides are one and the same, where it is undefined."""
    if not pairs:
        raise ValueError("there is nothing to compare")
    place = {level: index for index, level in enumerate(levels)}
    count = len(levels)
    observed = np.zeros((count, count))
    for pair in pairs:
        observed[place[pair.label], place[pair.verdict]] += 1
    expected = np.outer(observed.sum(axis=1), observed.sum(axis=0)) / len(pairs)
    steps = np.arange(count)
    weights = ((steps[:, None] - steps[None, :]) / (count - 1)) ** 2
    by_chance = float((weights * expected).sum())
    return None if by_chance == 0.0 else 1.0 - float((weights * observed).sum()) / by_chance
