"""What all attempts of a training say together: which tools were called, how far the judges agree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from markupsafe import Markup

from gen_searcher.metrics.report import figures
from gen_searcher.metrics.report.read import Entry
from gen_searcher.types import ToolKind

SAME_SIDE = 0.5
"""Two judges that both say more, or both at most this, are on the same side."""
FEWEST = 3
"""A correlation of fewer attempts says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRow:
    """One tool in the histogram."""

    name: str
    bar: Markup
    per_attempt: str
    calls: str
    empty: str
    failed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementRow:
    """Two judges of the same attempts."""

    judges: str
    attempts: str
    correlation: str
    """Pearson's; a dash where one judge always says the same."""
    distance: str
    same_side: str


def tool_rows(entries: Sequence[Entry]) -> tuple[ToolRow, ...]:
    """The histogram of tool calls, the most called first."""
    scored = sum(entry.outcome != "lost" for entry in entries)
    calls = Counter(use.name for entry in entries for use in entry.tools)
    kinds = Counter((use.name, use.kind) for entry in entries for use in entry.tools)
    most = max(calls.values(), default=0)
    return tuple(
        ToolRow(
            name=name,
            bar=Markup(figures.count_bar(count, most=most)),
            per_attempt=f"{count / scored:.2f}" if scored else "-",
            calls=f"{count:,}",
            empty=f"{kinds[name, ToolKind.EMPTY] / count:.1%}",
            failed=f"{kinds[name, ToolKind.FAILED] / count:.1%}",
        )
        for name, count in calls.most_common()
    )


def agreement_rows(entries: Sequence[Entry]) -> tuple[AgreementRow, ...]:
    """Every pair of judges that scored the same attempts."""
    names = sorted({name for entry in entries for name in entry.scores})
    rows: list[AgreementRow] = []
    for one, other in combinations(names, 2):
        pairs = [(e.scores[one], e.scores[other]) for e in entries if one in e.scores and other in e.scores]
        if len(pairs) < FEWEST:
            continue
        r = correlation([first for first, _ in pairs], [second for _, second in pairs])
        rows.append(
            AgreementRow(
                judges=f"{one} and {other}",
                attempts=f"{len(pairs):,}",
                correlation="-" if r is None else f"{r:.2f}",
                distance=f"{sum(abs(first - second) for first, second in pairs) / len(pairs):.2f}",
                same_side=f"{sum((f > SAME_SIDE) == (s > SAME_SIDE) for f, s in pairs) / len(pairs):.0%}",
            )
        )
    return tuple(rows)


def correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pearson's r of two columns [N]; None where one of them does not vary."""
    mean_first, mean_second = math.fsum(first) / len(first), math.fsum(second) / len(second)
    deviations = [(a - mean_first, b - mean_second) for a, b in zip(first, second, strict=True)]
    spread = math.sqrt(math.fsum(a * a for a, _ in deviations)) * math.sqrt(math.fsum(b * b for _, b in deviations))
    return math.fsum(a * b for a, b in deviations) / spread if spread > 1e-12 else None
