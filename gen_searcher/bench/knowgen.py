"""KnowGen's figures: judged rows, each of a split -> figures per split -> the overall row.

    split    F, V, A: means over its rows;  T: mean over its rows that ask for text, 0.5 when none does
             K = 0.1 F + 0.4 V + 0.4 T + 0.1 A  of these means
    overall  the unweighted mean of the two splits, for K and for every dimension

Rows without a picture or a verdict are not in the denominator of the published figures; they are counted here, because
a model that refuses the hard requests would gain by it. Nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gen_searcher.errors import DataError
from gen_searcher.rewards.verdict import Scores, aggregate, mean_of_splits

SCIENCE = "science & knowledge"
POP = "pop culture & news"
SPLITS = (SCIENCE, POP)
"""The benchmark's two halves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One request of the benchmark, as far as it came."""

    split: str
    parts: Mapping[str, float | None] | None
    """KnowGen's four dimensions, each 0..1, `text_accuracy` None where no text is asked for; None when the request has
    no picture or no verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowgen:
    """The benchmark's table row."""

    overall: Scores
    splits: Mapping[str, Scores]
    unjudged: Mapping[str, int]
    """Rows of each split that have no verdict and are in none of the figures."""


def knowgen(rows: Sequence[Row], *, splits: Sequence[str] = SPLITS) -> Knowgen:
    """The figures of all rows.

    Raises:
        DataError: A row of an unknown split, or a split without a single verdict: its mean would be made up.
    """
    unknown = sorted({row.split for row in rows} - set(splits))
    if unknown:
        raise DataError(f"rows of unknown splits {unknown}; KnowGen has {', '.join(splits)}")
    judged = {split: [row.parts for row in rows if row.split == split and row.parts is not None] for split in splits}
    empty = [split for split, parts in judged.items() if not parts]
    if empty:
        raise DataError(f"no row of {', '.join(empty)} has a verdict, so there is no overall score")
    scores = {split: aggregate(parts) for split, parts in judged.items()}
    return Knowgen(
        overall=mean_of_splits(list(scores.values())),
        splits=scores,
        unjudged={split: sum(row.split == split and row.parts is None for row in rows) for split in splits},
    )
