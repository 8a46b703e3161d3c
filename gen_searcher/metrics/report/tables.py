"""Results as rows that the template prints: arms with their intervals, and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from gen_searcher.metrics.report import figures
from gen_searcher.metrics.report.read import Table

KNOWN_COLUMNS = ("k_score", "faithfulness", "visual_correctness", "text_accuracy", "aesthetics", "text_reward")
COST_COLUMNS = ("seconds_per_attempt", "usd_per_attempt")
"""Beside every score, also where nobody knows them."""
NONE = "n/a"
INTERVAL = frozenset({"low", "high"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRow:
    """One printed row of the table of arms."""

    name: str
    bar: Markup
    score: str
    interval: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """One printed comparison."""

    better: str
    baseline: str
    bar: Markup
    difference: str
    interval: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableView:
    """One section of results: arms, or one arm at several settings or on several kinds of tasks."""

    id: str
    title: str
    columns: tuple[str, ...]
    arms: tuple[ArmRow, ...]
    pairs: tuple[PairRow, ...]


def table_view(table: Table, index: int) -> TableView:
    """The `index`-th table of the page."""
    names = columns(table)
    return TableView(
        id="arms" if index == 0 else f"arms-{index}",
        title=table.title,
        columns=tuple(map(heading, names)),
        arms=tuple(_arm_rows(table, names)),
        pairs=tuple(_pair_rows(table)),
    )


def columns(table: Table) -> list[str]:
    """Names of the columns beside the K-Score: those of the paper, what an attempt takes, the others."""
    present = {name for arm in table.arms for name in arm.numbers} - INTERVAL
    known = [name for name in KNOWN_COLUMNS[1:] if name in present]
    return [*known, *COST_COLUMNS, *sorted(present.difference(KNOWN_COLUMNS, COST_COLUMNS))]


def heading(name: str) -> str:
    """A column's name as people read it."""
    return "K-Score" if name == "k_score" else name.replace("_", " ").replace("usd", "USD")


def _arm_rows(table: Table, columns: Sequence[str]) -> list[ArmRow]:
    domain = figures.bar_domain([arm.numbers.get("high", arm.numbers.get("k_score", 0.0)) for arm in table.arms])
    rows: list[ArmRow] = []
    for arm in table.arms:
        score = arm.numbers.get("k_score")
        low, high = arm.numbers.get("low"), arm.numbers.get("high")
        whisker = (low, high) if low is not None and high is not None else None
        bar = ""
        if score is not None:
            bar = figures.interval_bar(score, *(whisker or (score, score)), domain=domain)
        rows.append(
            ArmRow(
                name=arm.name,
                bar=Markup(bar),
                score=NONE if score is None else f"{score:.3f}" if domain[1] <= 1 else f"{score:.1f}",
                interval=f"{figures.number(whisker[0])} to {figures.number(whisker[1])}" if whisker else "",
                cells=tuple(figures.number(arm.numbers[c]) if c in arm.numbers else NONE for c in columns),
            )
        )
    return rows


def _pair_rows(table: Table) -> list[PairRow]:
    domain = figures.difference_domain([value for pair in table.paired for value in (pair.low, pair.high)])
    return [
        PairRow(
            better=pair.better,
            baseline=pair.baseline,
            bar=Markup(figures.difference_bar(pair.difference, pair.low, pair.high, domain=domain)),
            difference=f"{pair.difference:+.3f}",
            interval=f"{pair.low:+.3f} to {pair.high:+.3f}",
        )
        for pair in table.paired
    ]
