"""Scored rows -> figures, counted both ways, with intervals; two runs -> their paired difference.

    excluded   failed rows are in no mean, as the benchmarks' own scripts count: who refuses the hard ones gains by it
    zero       a failed row has 0 in every dimension, text included

Resamples draw tasks within each stratum, in each with a seed of its own, and apply the whole formula anew: strata that
drew the same places would move together. Axes: B resamples, N tasks, D dimensions.
Nothing is rounded; everything is 0 to 1, times the scheme's scale where it says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from gen_searcher.bench.bootstrap import Interval, interval, resamples
from gen_searcher.bench.scheme import Scheme
from gen_searcher.bench.scored import Scored
from gen_searcher.bench.spent import Part, per_attempt
from gen_searcher.rewards.verdict import NOT_APPLICABLE
from gen_searcher.train.seeds import derive_seed


class Way(StrEnum):
    """How failed rows count."""

    EXCLUDED = "excluded"
    ZERO = "zero"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One arm, counted one way; times the scheme's scale."""

    overall: Interval | None
    """None when a stratum has no row: its share would be made up."""
    strata: Mapping[str, Interval]
    """Of the strata that have rows."""
    dimensions: Mapping[str, Mapping[str, float]]
    """Stratum -> dimension -> mean; `overall` beside the strata when there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One part of the rows, e.g. a category."""

    key: str
    """Of `meta`."""
    value: str
    rows: int
    failed: int
    excluded: float | None
    """The formula on the means of this part; None without a verdict."""
    zero: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Everything about one arm."""

    arm: str
    rows: int
    judged: int
    failed: Mapping[str, int]
    """Stage -> rows that have no verdict because of it."""
    excluded: Figures
    zero: Figures
    slices: tuple[Slice, ...]
    cost_usd: float | None
    """Of all rows; None where a price is not known, see `bench.spent`."""
    row_usd: float | None
    row_s: float | None
    """Median over the rows whose time is known; None without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One arm minus another over the tasks that both have, task by task; times the scheme's scale."""

    arm: str
    baseline: str
    way: Way
    overall: Interval
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """Tasks of one stratum: sum and number of the values that apply. [N, D] each."""

    totals_N_D: NDArray[np.float64]
    counts_N_D: NDArray[np.float64]

    def means(self, draws_B_N: NDArray[np.intp] | None = None) -> NDArray[np.float64]:
        """[B, D] mean of each dimension in each resample; B is 1 without `draws_B_N`."""
        if draws_B_N is None:
            draws_B_N = np.arange(len(self.totals_N_D), dtype=np.intp)[None]
        totals, counts = self.totals_N_D[draws_B_N].sum(axis=1), self.counts_N_D[draws_B_N].sum(axis=1)
        return np.where(counts > 0, totals / np.maximum(counts, 1.0), NOT_APPLICABLE)


def standing(arm: str, rows: Sequence[Scored], *, scheme: Scheme, seed: int, free: Set[Part] = frozenset()) -> Standing:
    """All figures of one arm. `rows` may hold several tries at a task; a resample draws them together.

    `free` are the parts of an attempt in which nobody is asked who has a price.
    """
    if not rows:
        raise ValueError(f"arm {arm} has no rows")
    took = per_attempt([row.spent for row in rows if row.spent is not None], free=free)
    told = [row.cost_usd for row in rows if row.spent is None and row.cost_usd]
    cost_usd = sum(told) if told else took.total_usd
    return Standing(
        arm=arm,
        rows=len(rows),
        judged=sum(row.parts is not None for row in rows),
        failed=dict(Counter(row.failure.stage for row in rows if row.failure is not None)),
        excluded=figures(rows, scheme=scheme, way=Way.EXCLUDED, seed=seed),
        zero=figures(rows, scheme=scheme, way=Way.ZERO, seed=seed),
        slices=tuple(_slices(rows, scheme)),
        cost_usd=cost_usd,
        row_usd=sum(told) / len(rows) if told else took.usd,
        row_s=took.seconds,
    )


def figures(rows: Sequence[Scored], *, scheme: Scheme, way: Way, seed: int) -> Figures:
    """The overall figure, each stratum's, and the means that they are made of."""
    sums = {name: found for name in scheme.strata if (found := _stratum(rows, name, scheme, way)) is not None}
    weights_D, means, draws = _weights(scheme), dict[str, NDArray[np.float64]](), dict[str, NDArray[np.float64]]()
    for name, one in sums.items():
        means[name] = one.means()[0]
        draws[name] = one.means(_resamples(name, one, seed)) @ weights_D
    scale = scheme.scale
    strata = {name: interval(scale * float(mean @ weights_D), scale * draws[name]) for name, mean in means.items()}
    dimensions = {name: _named(scale * mean, scheme) for name, mean in means.items()}
    overall = None
    if len(sums) == len(scheme.strata):
        shares = scheme.strata.items()
        value = sum(share * strata[name].value for name, share in shares)
        overall = interval(value, np.sum([share * scale * draws[name] for name, share in shares], axis=0))
        mean = np.sum([share * scale * means[name] for name, share in shares], axis=0)
        dimensions["overall"] = _named(mean, scheme)
    return Figures(overall=overall, strata=strata, dimensions=dimensions)


def difference(
    arm: str, rows: Sequence[Scored], baseline: str, others: Sequence[Scored], *, scheme: Scheme, way: Way, seed: int
) -> Difference | None:
    """The paired difference; None when a stratum has no task that both have."""
    ours, theirs = _by_task(rows, way), _by_task(others, way)
    shared = [
        task_id for task_id, own in ours.items() if task_id in theirs and theirs[task_id][0].stratum == own[0].stratum
    ]
    mine = [row for task_id in shared for row in ours[task_id]]
    other = [row for task_id in shared for row in theirs[task_id]]
    weights_D = _weights(scheme)
    value, draws = 0.0, np.zeros(1)
    for name, share in scheme.strata.items():
        a, b = _stratum(mine, name, scheme, way), _stratum(other, name, scheme, way)
        if a is None or b is None:
            return None
        value += share * float((a.means()[0] - b.means()[0]) @ weights_D)
        draws_B_N = _resamples(name, a, seed)
        draws = draws + share * ((a.means(draws_B_N) - b.means(draws_B_N)) @ weights_D)
    return Difference(
        arm=arm,
        baseline=baseline,
        way=way,
        overall=interval(scheme.scale * value, scheme.scale * draws),
        tasks=len(shared),
    )


def _by_task(rows: Sequence[Scored], way: Way) -> dict[str, list[Scored]]:
    found: dict[str, list[Scored]] = {}
    for row in rows:
        if way is Way.ZERO or row.parts is not None:
            found.setdefault(row.id, []).append(row)
    return found


def _stratum(rows: Sequence[Scored], name: str, scheme: Scheme, way: Way) -> _Sums | None:
    """The tasks of a stratum in the order of `rows`; None without one."""
    tasks = list(_by_task([row for row in rows if row.stratum == name], way).values())
    return _sums(tasks, scheme) if tasks else None


def _resamples(stratum: str, sums: _Sums, seed: int) -> NDArray[np.intp]:
    """[B, N] places in a stratum: the same ones for every arm, other ones in another stratum of as many tasks."""
    return resamples(len(sums.totals_N_D), seed=derive_seed(seed, "resamples", stratum))


def _sums(tasks: Sequence[Sequence[Scored]], scheme: Scheme) -> _Sums:
    totals = np.zeros((len(tasks), len(scheme.dimensions)))
    counts = np.zeros_like(totals)
    for number, task in enumerate(tasks):
        for row in task:
            for column, name in enumerate(scheme.dimensions):
                value = 0.0 if row.parts is None else row.parts[name]
                if value is not None:
                    totals[number, column] += value
                    counts[number, column] += 1.0
    return _Sums(totals_N_D=totals, counts_N_D=counts)


def _slices(rows: Sequence[Scored], scheme: Scheme) -> list[Slice]:
    found: list[Slice] = []
    for key in scheme.slices:
        for value in sorted({_label(row, key) for row in rows}):
            part = [row for row in rows if _label(row, key) == value]
            judged = [row for row in part if row.parts is not None]
            found.append(
                Slice(
                    key=key,
                    value=value,
                    rows=len(part),
                    failed=len(part) - len(judged),
                    excluded=_formula(judged, scheme) if judged else None,
                    zero=_formula(part, scheme),
                )
            )
    return found


def _formula(rows: Sequence[Scored], scheme: Scheme) -> float:
    return scheme.scale * float(_sums([rows], scheme).means()[0] @ _weights(scheme))


def _label(row: Scored, key: str) -> str:
    return row.meta.get(key, "").strip().lower() or "(none)"


def _weights(scheme: Scheme) -> NDArray[np.float64]:
    return np.array(list(scheme.dimensions.values()))


def _named(values_D: NDArray[np.float64], scheme: Scheme) -> dict[str, float]:
    return dict(zip(scheme.dimensions, values_D.tolist(), strict=True))
