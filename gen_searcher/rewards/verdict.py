"""KnowGen's verdict: four dimensions, each 0..1, and the K-score they make.

    K = 0.1 faithfulness + 0.4 visual_correctness + 0.4 text_accuracy + 0.1 aesthetics

`text_accuracy` is None for a task that asks for no text. What None counts as depends on the question:

- the reward of *one attempt* counts it as 0.5, so an attempt without text earns 0.2 to 0.8;
- the *aggregate* of a benchmark averages it over the rows where it applies, and is 0.5 when it applies nowhere.

Nothing is rounded here: rewards that differ must stay different.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

FAITHFULNESS = "faithfulness"
VISUAL_CORRECTNESS = "visual_correctness"
TEXT_ACCURACY = "text_accuracy"
AESTHETICS = "aesthetics"

WEIGHTS: Mapping[str, float] = {FAITHFULNESS: 0.1, VISUAL_CORRECTNESS: 0.4, TEXT_ACCURACY: 0.4, AESTHETICS: 0.1}
"""Dimension to its share of the K-score; they sum to one."""

NOT_APPLICABLE = 0.5
"""What `text_accuracy` counts as where there is nothing to average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """A benchmark's figures, each 0..1."""

    k_score: float
    faithfulness: float
    visual_correctness: float
    text_accuracy: float
    aesthetics: float
    rows: int
    text_rows: int
    """How many of `rows` asked for text."""


def k_score(parts: Mapping[str, float | None], *, weights: Mapping[str, float] = WEIGHTS) -> float:
    """K-score of one attempt, 0..1; `text_accuracy` of None counts as 0.5. `weights` sum to one.

    Raises ValueError unless `parts` holds exactly the four dimensions, each 0..1.
    """
    check_parts(parts)
    return sum(weight * _number(parts[name]) for name, weight in weights.items())


def check_parts(parts: Mapping[str, float | None]) -> None:
    """Raise ValueError for a verdict with a dimension missing, unknown, out of range or wrongly not applicable."""
    if set(parts) != set(WEIGHTS):
        raise ValueError(f"a verdict has the dimensions {sorted(WEIGHTS)}, not {sorted(parts)}")
    for name, value in parts.items():
        if value is None and name == TEXT_ACCURACY:
            continue
        if value is None or not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} is {value}; it must be a number from 0 to 1")


def aggregate(rows: Sequence[Mapping[str, float | None]]) -> Scores:
    """Figures of one set of attempts: the mean of each dimension, and the K-score of those means."""
    if not rows:
        raise ValueError("there is no row to aggregate")
    for row in rows:
        check_parts(row)
    texts = [value for row in rows if (value := row[TEXT_ACCURACY]) is not None]
    means = {name: fmean(_number(row[name]) for row in rows) for name in WEIGHTS if name != TEXT_ACCURACY}
    means[TEXT_ACCURACY] = fmean(texts) if texts else NOT_APPLICABLE
    return Scores(k_score=k_score(means), rows=len(rows), text_rows=len(texts), **means)


def mean_of_splits(splits: Sequence[Scores]) -> Scores:
    """KnowGen's overall row: every figure is the unweighted mean over the splits."""
    if not splits:
        raise ValueError("there is no split to average")
    return Scores(
        k_score=fmean(split.k_score for split in splits),
        faithfulness=fmean(split.faithfulness for split in splits),
        visual_correctness=fmean(split.visual_correctness for split in splits),
        text_accuracy=fmean(split.text_accuracy for split in splits),
        aesthetics=fmean(split.aesthetics for split in splits),
        rows=sum(split.rows for split in splits),
        text_rows=sum(split.text_rows for split in splits),
    )


def _number(value: float | None) -> float:
    return NOT_APPLICABLE if value is None else value
