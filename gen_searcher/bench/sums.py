"""What K is made of, per task, so that every resample of the tasks can apply its formula anew. Axes: N tasks, D dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gen_searcher.drawing import DrawnHow
from gen_searcher.errors import ConfigError
from gen_searcher.rewards.compose import IMAGE
from gen_searcher.rewards.verdict import NOT_APPLICABLE, WEIGHTS
from gen_searcher.types import Attempt, Group

Verdict = Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Per task and dimension, in the order of `WEIGHTS`: sum and number of the values that apply. [N, D] each."""

    totals_N_D: NDArray[np.float64]
    counts_N_D: NDArray[np.float64]

    @classmethod
    def of(cls, groups: Sequence[Group]) -> Sums:
        """One row per group. Raises ConfigError for an attempt that no image judge has seen."""
        totals = np.zeros((len(groups), len(WEIGHTS)))
        counts = np.zeros_like(totals)
        for row, group in enumerate(groups):
            for attempt in group.attempts:
                parts = attempt_parts(attempt)
                for column, name in enumerate(WEIGHTS):
                    value = parts[name]
                    if value is not None:
                        totals[row, column] += value
                        counts[row, column] += 1.0
        return cls(totals_N_D=totals, counts_N_D=counts)

    def k_scores(self, draws_B_N: NDArray[np.intp]) -> NDArray[np.float64]:
        """[B] K of each resample, 0 to 100."""
        totals, counts = self.totals_N_D[draws_B_N].sum(axis=1), self.counts_N_D[draws_B_N].sum(axis=1)
        means = np.where(counts > 0, totals / np.maximum(counts, 1.0), NOT_APPLICABLE)
        return 100.0 * means @ np.array(list(WEIGHTS.values()))


def attempt_parts(attempt: Attempt) -> Verdict:
    """The four dimensions of an attempt; all 0 without a grounding, or with one that the generator refused."""
    if attempt.trajectory.grounding is None or is_refused(attempt):
        return dict.fromkeys(WEIGHTS, 0.0)
    for judgement in attempt.judgements:
        if judgement.judge == IMAGE:
            return judgement.parts
    raise ConfigError(
        f"the benchmark needs a judge named {IMAGE!r}; task {attempt.trajectory.task_id} has no such verdict"
    )


def is_refused(attempt: Attempt) -> bool:
    """Whether the image model declined the content."""
    return attempt.drawing is not None and attempt.drawing.how is DrawnHow.REFUSED
