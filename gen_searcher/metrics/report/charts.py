"""Which numbers of a run share a chart: by topic, then by size, so that no line is flat under another."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
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
    _topic("Reward", r"^(?!cluster/)(?!.*std).*(reward|advantage)"),
    _topic("Spread of rewards", r"reward.*std"),
    _topic("How attempts ended", r"^outcome/|grounded|malformed|repeated|out_of_"),
    _topic("Whose failure: the policy's or the world's", r"^failed/"),
    _topic("Staleness: versions between sampling and learning", r"stale"),
    _topic("Throughput", r"per_s$|per_min$|idle|busy"),
    _topic("Spend", r"_usd$"),
    _topic("Lost and dropped", r"lost|dropped|discard|requeue"),
    _topic("Workers", r"^cluster/"),
    _topic("Tools: failed, empty, cached", r"^tool/.*_frac$"),
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


def stage(stage_id: str, *, title: str, series: Sequence[Series], other: Sequence[Series] = ()) -> Stage:
    """Charts of the topics, then one chart for each number that belongs to none; `other` is a second run's."""
    left = _drawable(series)
    beside = {one.name: one for one in _drawable(other)}
    known = {one.name for one in left}
    left += [Series(name=name, steps=(), values=()) for name in beside if name not in known]
    panels: list[Panel] = []
    for topic in TOPICS:
        matching = [one for one in left if topic.pattern.search(one.name)]
        left = [one for one in left if one not in matching]
        for index, group in enumerate(by_size(matching, other=beside)):
            panels.append(_panel(f"{stage_id}-{len(panels)}-{index}", topic.title, group, other=beside))
    others = [
        _panel(f"{stage_id}-other-{index}", one.name, [one], other=beside) for index, one in enumerate(left[:OTHERS])
    ]
    return Stage(
        id=stage_id, title=title, panels=tuple(panels), others=tuple(others), left_out=max(0, len(left) - OTHERS)
    )


def by_size(series: Sequence[Series], *, other: Mapping[str, Series] | None = None) -> list[list[Series]]:
    """Groups of series whose largest absolute values are alike, large ones first, at most `COLOURS` each.

    `other` holds a second run's series by name, which count for the size of their namesakes.
    """
    beside = other or {}
    sizes = {one.name: max(_size(one), _size(beside.get(one.name, one))) for one in series}
    groups: list[list[Series]] = []
    for one in sorted(series, key=lambda item: (-sizes[item.name], item.name)):
        size = sizes[one.name]
        fits = groups and len(groups[-1]) < COLOURS and size * SAME_SIZE >= sizes[groups[-1][0].name]
        if fits or (groups and len(groups[-1]) < COLOURS and size == 0.0):
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


def _drawable(series: Sequence[Series]) -> list[Series]:
    return [one for one in series if one.name != _WALL_TIME and any(map(math.isfinite, one.values))]


def _panel(panel_id: str, title: str, series: Sequence[Series], *, other: Mapping[str, Series]) -> Panel:
    chart = line_chart(series, label=title, other=other)
    return Panel(id=panel_id, title=title, svg=chart.svg, lines=chart.lines)
