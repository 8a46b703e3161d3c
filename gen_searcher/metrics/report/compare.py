"""Two runs side by side: their arms, the settings that differ, and where the training's numbers ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gen_searcher.metrics.report import figures
from gen_searcher.metrics.report.figures import Series
from gen_searcher.metrics.report.read import Arm, Table
from gen_searcher.metrics.report.run_data import RunData, settings
from gen_searcher.metrics.report.tables import NONE, columns, heading

LAST = 5
"""Steps that the last value of a number is the mean of: single steps are noisy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BothRow:
    """One thing of both runs."""

    name: str
    ours: tuple[str, ...]
    """One cell per column."""
    theirs: tuple[str, ...]
    difference: str
    """Ours minus theirs of the first column; empty when one of them is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BothTable:
    """A table of both runs."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[BothRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the page prints of two runs beside their curves and samples."""

    ours: str
    theirs: str
    arms: tuple[BothTable, ...]
    numbers: BothTable
    settings: tuple[BothTable, ...]
    """One table per config file with a difference."""


def compare(ours: RunData, theirs: RunData) -> Comparison:
    """Everything that both have, and what only one has."""
    return Comparison(
        ours=ours.label,
        theirs=theirs.label,
        arms=tuple(_tables(ours.tables, theirs.tables)),
        numbers=_numbers(ours.grpo, theirs.grpo),
        settings=tuple(_settings(ours, theirs)),
    )


def _tables(ours: Sequence[Table], theirs: Sequence[Table]) -> list[BothTable]:
    by_title = {one.title: one for one in theirs}
    pairs = [(one, by_title.pop(one.title, Table())) for one in ours]
    pairs += [(Table(title=one.title), one) for one in by_title.values()]
    return [_arms(one, other) for one, other in pairs]


def _arms(ours: Table, theirs: Table) -> BothTable:
    names = ["k_score", *dict.fromkeys([*columns(ours), *columns(theirs)])]
    own, other = ({arm.name: arm for arm in table.arms} for table in (ours, theirs))
    rows = [
        BothRow(
            name=name,
            ours=_cells(own.get(name), names),
            theirs=_cells(other.get(name), names),
            difference=_difference(own.get(name), other.get(name)),
        )
        for name in dict.fromkeys([*own, *other])
    ]
    return BothTable(title=ours.title, columns=tuple(map(heading, names)), rows=tuple(rows))


def _cells(arm: Arm | None, names: Sequence[str]) -> tuple[str, ...]:
    numbers = arm.numbers if arm else {}
    return tuple(figures.number(numbers[name]) if name in numbers else NONE for name in names)


def _difference(ours: Arm | None, theirs: Arm | None) -> str:
    if not ours or not theirs or "k_score" not in ours.numbers or "k_score" not in theirs.numbers:
        return ""
    return f"{ours.numbers['k_score'] - theirs.numbers['k_score']:+.4g}"


def _numbers(ours: Sequence[Series], theirs: Sequence[Series]) -> BothTable:
    own, other = ({one.name: one for one in both} for both in (ours, theirs))
    rows: list[BothRow] = []
    for name in sorted(own.keys() | other.keys()):
        first = last_mean(own[name]) if name in own else None
        second = last_mean(other[name]) if name in other else None
        difference = f"{first - second:+.3g}" if first is not None and second is not None else ""
        cells = [(NONE if value is None else figures.number(value),) for value in (first, second)]
        rows.append(BothRow(name=name, ours=cells[0], theirs=cells[1], difference=difference))
    title = f"Numbers of the training: mean of the last {LAST} steps of each"
    return BothTable(title=title, columns=("value",), rows=tuple(rows))


def last_mean(series: Series) -> float | None:
    """Mean of the last `LAST` finite values; None when there is none."""
    finite = [value for value in series.values if math.isfinite(value)][-LAST:]
    return math.fsum(finite) / len(finite) if finite else None


def _settings(ours: RunData, theirs: RunData) -> list[BothTable]:
    own, other = ({one.name: settings(one) for one in run.configs} for run in (ours, theirs))
    tables: list[BothTable] = []
    for config in sorted(own.keys() & other.keys()):
        first, second = own[config], other[config]
        names = [name for name in dict.fromkeys([*first, *second]) if first.get(name) != second.get(name)]
        rows = tuple(
            BothRow(name=name, ours=(first.get(name, NONE),), theirs=(second.get(name, NONE),), difference="")
            for name in names
            if name != "run_dir"
        )
        if rows:
            tables.append(BothTable(title=config, columns=("value",), rows=rows))
    return tables
