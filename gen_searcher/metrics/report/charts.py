"""Which numbers of a run share a chart: by topic, then by size, so that no line is flat under another."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from gen_searcher.metrics.report.figures import COLOURS, HoverLine, Series, line_chart
from gen_searcher.metrics.report.read import Entry

SAME_SIZE = 20.0
"""Lines whose largest values differ by less than this factor can be read in one chart."""
OTHERS = 48
"""Most charts of numbers that belong to no topic."""
_WALL_TIME = "time_s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A question that several numbers answer."""

    title: str
    pattern: re.Pattern[str]


def _topic(title: str, pattern: str) -> Topic:
    return Topic(title=title, pattern=re.compile(pattern))


TOPICS = (
    _topic("K-Score and its parts", r"k_score|faithfulness|visual_correctness|text_accuracy|aesthetics"),
    _topic("Reward", r"reward|advantage"),
    _topic("How attempts ended", r"^outcome/|grounded|malformed|repeated|out_of_"),
    _topic("Lost and dropped", r"lost|dropped|discard|requeue|stale"),
    _topic("How pictures came about", r"^picture/.*_count"),
    _topic("Loss", r"loss|perplexity|accuracy"),
    _topic("Gradient norm", r"grad"),
    _topic("Entropy", r"entropy"),
    _topic("Log-probability gap of sampler and learner", r"logprob|log_prob|(^|[/_])kl([/_]|$)|ratio|clip|gap"),
    _topic("Step time, split", r"_s$"),
    _topic("Tokens and turns", r"token|turn|calls|length"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A chart as the template prints it."""

    id: str
    title: str
    svg: str
    lines: tuple[HoverLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """All charts of one training stage."""

    id: str
    title: str
    panels: tuple[Panel, ...]
    others: tuple[Panel, ...]
    left_out: int
    """Numbers that got no chart."""


def stage(stage_id: str, *, title: str, series: Sequence[Series]) -> Stage:
    """Charts of the topics, then one chart for each number that belongs to none."""
    left = [one for one in series if one.name != _WALL_TIME and any(map(math.isfinite, one.values))]
    panels: list[Panel] = []
    for topic in TOPICS:
        matching = [one for one in left if topic.pattern.search(one.name)]
        left = [one for one in left if one not in matching]
        panels.extend(_panel(f"{stage_id}-{len(panels)}-{i}", topic.title, g) for i, g in enumerate(by_size(matching)))
    others = [_panel(f"{stage_id}-other-{index}", one.name, [one]) for index, one in enumerate(left[:OTHERS])]
    return Stage(
        id=stage_id, title=title, panels=tuple(panels), others=tuple(others), left_out=max(0, len(left) - OTHERS)
    )


def by_size(series: Sequence[Series]) -> list[list[Series]]:
    """Groups of series whose largest absolute values are alike, large ones first, at most `COLOURS` each."""
    groups: list[list[Series]] = []
    for one in sorted(series, key=lambda item: (-_size(item), item.name)):
        fits = groups and len(groups[-1]) < COLOURS and _size(one) * SAME_SIZE >= _size(groups[-1][0])
        if fits or (groups and len(groups[-1]) < COLOURS and _size(one) == 0.0):
            groups[-1].append(one)
        else:
            groups.append([one])
    return [sorted(group, key=lambda item: item.name) for group in groups]


def outcome_series(entries: Sequence[Entry]) -> tuple[Series, ...]:
    """Share of each outcome among the attempts of each step, lost ones included."""
    counts: dict[int, dict[str, int]] = {}
    for entry in entries:
        at_step = counts.setdefault(entry.step, {})
        at_step[entry.outcome] = at_step.get(entry.outcome, 0) + 1
    steps = tuple(sorted(counts))
    return tuple(
        Series(
            name=f"outcome/{outcome}_frac",
            steps=steps,
            values=tuple(counts[step].get(outcome, 0) / sum(counts[step].values()) for step in steps),
        )
        for outcome in sorted({entry.outcome for entry in entries})
    )


def _size(series: Series) -> float:
    return max((abs(value) for value in series.values if math.isfinite(value)), default=0.0)


def _panel(panel_id: str, title: str, series: Sequence[Series]) -> Panel:
    chart = line_chart(series, label=title)
    return Panel(id=panel_id, title=title, svg=chart.svg, lines=chart.lines)
