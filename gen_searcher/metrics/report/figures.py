"""Figures as SVG text: numbers -> coordinates -> markup. Pure; colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

COLOURS = 6
"""Series classes `s0` to `s5` of the style sheet; a chart holds at most this many lines."""

POINTS = 240
"""Most points of a drawn line: about one per pixel, more cannot be seen."""

CHART_PX = (360.0, 190.0)
PLOT_PX = (46.0, 10.0, 352.0, 164.0)
"""Left, top, right, bottom of the area that the lines are in."""

BAR_PX = (180.0, 22.0)
BAR_MARGIN_PX = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A straight line from values to pixels."""

    low: float
    high: float
    from_px: float
    to_px: float

    def at(self, value: float) -> float:
        """Pixel of a value; the middle when the domain is a single value."""
        if self.high == self.low:
            return (self.from_px + self.to_px) / 2
        return self.from_px + (value - self.low) / (self.high - self.low) * (self.to_px - self.from_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One named line."""

    name: str
    steps: tuple[int, ...]
    """[N] ascending."""
    values: tuple[float, ...]
    """[N]; a value that is not finite breaks the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StyledSeries:
    """A line and how it is drawn."""

    series: Series
    style: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoverLine:
    """What the page's script needs of one line to show values under the pointer."""

    name: str
    style: str
    """Classes of the line: its colour, and `other` for the run that is compared with."""
    steps: tuple[int, ...]
    x_px: tuple[float, ...]
    y_px: tuple[float | None, ...]
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawn chart and the numbers behind it."""

    svg: str
    lines: tuple[HoverLine, ...]


def ticks(low: float, high: float, *, count: int = 4) -> tuple[float, ...]:
    """Round values (1, 2 or 5 times a power of ten apart) that enclose [low, high]: about `count` gaps."""
    if high <= low:
        half = abs(low) * 0.1 or 0.5
        low, high = low - half, high + half
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    gap = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= raw * 0.999)
    first, last = math.floor(low / gap + 1e-9), math.ceil(high / gap - 1e-9)
    return tuple(round(index * gap, 12) for index in range(first, last + 1))


def number(value: float) -> str:
    """A value as a person wants to read it: four digits, `k`, `M`, `G` for large ones."""
    if not math.isfinite(value):
        return "-"
    size = abs(value)
    if size >= 1e9:
        return f"{value / 1e9:.3g}G"
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if size >= 1e4:
        return f"{value / 1e3:.3g}k"
    if size != 0 and size < 1e-3:
        return f"{value:.1e}"
    return f"{value:.4g}"


def thinned(series: Series, *, points: int = POINTS) -> Series:
    """The series itself, or the means of `points` equal runs of it."""
    total = len(series.steps)
    if total <= points:
        return series
    edges = [index * total // points for index in range(points + 1)]
    means: list[float] = []
    for start, end in pairwise(edges):
        finite = [value for value in series.values[start:end] if math.isfinite(value)]
        means.append(sum(finite) / len(finite) if finite else math.nan)
    return Series(
        name=series.name,
        steps=tuple(series.steps[(start + end - 1) // 2] for start, end in pairwise(edges)),
        values=tuple(means),
    )


def smoothed(values: Sequence[float], *, reach: int) -> tuple[float, ...]:
    """Mean of each value and its `reach` neighbours to either side; what is not finite is left out."""
    result: list[float] = []
    for index, value in enumerate(values):
        near = [v for v in values[max(0, index - reach) : index + reach + 1] if math.isfinite(v)]
        result.append(sum(near) / len(near) if near and math.isfinite(value) else math.nan)
    return tuple(result)


def path(points: Sequence[tuple[float, float]]) -> str:
    """SVG path through the points; a point that is not finite lifts the pen."""
    parts: list[str] = []
    pen = "M"
    for x_px, y_px in points:
        if not (math.isfinite(x_px) and math.isfinite(y_px)):
            pen = "M"
            continue
        parts.append(f"{pen}{x_px:.1f} {y_px:.1f}")
        pen = "L"
    return "".join(parts)


def line_chart(series: Sequence[Series], *, label: str, other: Mapping[str, Series] | None = None) -> Chart:
    """Lines over steps with light axes. Noisy lines get a running mean, the raw values stay behind it, faint.

    `other` holds the lines of a second run by name; each is drawn dashed, in the colour of its namesake.
    """
    beside = other or {}
    lines: list[StyledSeries] = []
    for index, one in enumerate(series[:COLOURS]):
        lines.append(StyledSeries(series=thinned(one), style=f"s{index}"))
        if one.name in beside:
            lines.append(StyledSeries(series=thinned(beside[one.name]), style=f"s{index} other"))
    lines = [one for one in lines if one.series.steps]
    finite = [value for one in lines for value in one.series.values if math.isfinite(value)]
    steps = [step for one in lines for step in one.series.steps]
    if not finite:
        return Chart(svg="", lines=())
    left, top, right, bottom = PLOT_PX
    y_ticks = ticks(min(finite), max(finite))
    x_scale = Scale(low=min(steps), high=max(steps), from_px=left, to_px=right)
    y_scale = Scale(low=y_ticks[0], high=y_ticks[-1], from_px=bottom, to_px=top)
    body = [_y_axis(y_ticks, y_scale), _x_axis(min(steps), max(steps), x_scale)]
    hover: list[HoverLine] = []
    for one, style in ((line.series, line.style) for line in lines):
        x_px = [x_scale.at(step) for step in one.steps]
        y_px = [y_scale.at(value) if math.isfinite(value) else math.nan for value in one.values]
        body.append(_line(x_px, y_px, class_name=style))
        hover.append(
            HoverLine(
                name=one.name,
                style=style,
                steps=one.steps,
                x_px=tuple(round(x, 1) for x in x_px),
                y_px=tuple(round(y, 1) if math.isfinite(y) else None for y in y_px),
                values=tuple(float(f"{v:.5g}") if math.isfinite(v) else None for v in one.values),
            )
        )
    said = escape(f"{label}. {'; '.join(_in_words(one) for one in lines)}", quote=True)
    svg = (
        f'<svg class="chart" viewBox="0 0 {CHART_PX[0]:g} {CHART_PX[1]:g}" role="img" tabindex="0" '
        f'aria-label="{said}">{"".join(body)}<g class="cursor" hidden></g></svg>'
    )
    return Chart(svg=svg, lines=tuple(hover))


def _line(x_px: Sequence[float], y_px: Sequence[float], *, class_name: str) -> str:
    points = list(zip(x_px, y_px, strict=True))
    known = [point for point in points if math.isfinite(point[1])]
    if len(known) == 1:
        return f'<circle class="dot {class_name}" cx="{known[0][0]:.1f}" cy="{known[0][1]:.1f}" r="3"/>'
    raw = path(points)
    if len(known) < 30:
        return f'<path class="line {class_name}" d="{raw}"/>'
    mean = path(list(zip(x_px, smoothed(y_px, reach=max(2, len(known) // 25)), strict=True)))
    return f'<path class="line faint {class_name}" d="{raw}"/><path class="line {class_name}" d="{mean}"/>'


def _y_axis(values: Sequence[float], scale: Scale) -> str:
    left, _, right, _ = PLOT_PX
    return "".join(
        f'<path class="grid" d="M{left:g} {scale.at(v):.1f}H{right:g}"/>'
        f'<text class="tick" x="{left - 6:g}" y="{scale.at(v) + 3.5:.1f}" text-anchor="end">{number(v)}</text>'
        for v in values
    )


def _x_axis(first: int, last: int, scale: Scale) -> str:
    inside = [value for value in ticks(first, last, count=5) if first <= value <= last and value == int(value)]
    bottom = PLOT_PX[3]
    marks = "".join(
        f'<text class="tick" x="{scale.at(v):.1f}" y="{bottom + 14:g}" text-anchor="middle">{number(v)}</text>'
        for v in (inside or [float(first)])
    )
    return f'{marks}<text class="tick" x="{PLOT_PX[2]:g}" y="{bottom + 24:g}" text-anchor="end">step</text>'


def _in_words(line: StyledSeries) -> str:
    series = line.series
    name = f"{series.name} of the other run" if line.style.endswith("other") else series.name
    known = [(s, v) for s, v in zip(series.steps, series.values, strict=True) if math.isfinite(v)]
    if not known:
        return f"{name}: no value"
    (first, start), (last, end) = known[0], known[-1]
    return f"{name}: {number(start)} at step {first}, {number(end)} at step {last}"


def interval_bar(value: float, low: float, high: float, *, domain: tuple[float, float]) -> str:
    """A bar from the left edge to the value with a whisker over its interval."""
    scale = _bar_scale(domain)
    return _bar_svg(
        f"{_length(scale, value)}{_whisker(scale, low, high)}",
        said=f"{number(value)}, interval {number(low)} to {number(high)}",
    )


def length_bar(value: float, *, domain: tuple[float, float], said: str) -> str:
    """A bar from the left edge to the value, and nothing beside it."""
    return _bar_svg(_length(_bar_scale(domain), value), said=said)


def count_bar(count: int, *, most: int) -> str:
    """A bar of a histogram whose longest bar counts `most`."""
    scale = _bar_scale((0.0, float(max(most, 1))))
    return _bar_svg(
        f'<rect class="bar" x="{scale.from_px:g}" y="6" width="{scale.at(count) - scale.from_px:.1f}" '
        f'height="{BAR_PX[1] - 12:g}" rx="2"/>',
        said=f"{count:,}",
    )


def difference_bar(value: float, low: float, high: float, *, domain: tuple[float, float]) -> str:
    """A dot with its interval beside the line of no difference."""
    scale, height = _bar_scale(domain), BAR_PX[1]
    sign = "better" if low > 0 else "worse" if high < 0 else "unsure"
    return _bar_svg(
        f'<path class="zero" d="M{scale.at(0.0):.1f} 1V{height - 1:g}"/>{_whisker(scale, low, high)}'
        f'<circle class="dot {sign}" cx="{scale.at(value):.1f}" cy="{height / 2:g}" r="4"/>',
        said=f"difference {number(value)}, interval {number(low)} to {number(high)}",
    )


def bar_domain(values: Sequence[float]) -> tuple[float, float]:
    """Zero to one for fractions, zero to a hundred for percentages: bars of different tables then compare."""
    return (0.0, 1.0) if max(values, default=0.0) <= 1.0 else (0.0, max(100.0, *values))


def difference_domain(values: Sequence[float]) -> tuple[float, float]:
    """Symmetric about zero, at the next round value beyond the largest end of an interval."""
    far = max((abs(value) for value in values), default=0.0) or 1.0
    edge = ticks(0.0, far, count=2)[-1]
    return (-edge, edge)


def _bar_scale(domain: tuple[float, float]) -> Scale:
    return Scale(low=domain[0], high=domain[1], from_px=BAR_MARGIN_PX, to_px=BAR_PX[0] - BAR_MARGIN_PX)


def _length(scale: Scale, value: float) -> str:
    width_px, height_px = scale.at(value) - scale.from_px, BAR_PX[1] - 12
    return f'<rect class="bar" x="{scale.from_px:g}" y="6" width="{width_px:.1f}" height="{height_px:g}" rx="2"/>'


def _whisker(scale: Scale, low: float, high: float) -> str:
    start, end, middle = scale.at(low), scale.at(high), BAR_PX[1] / 2
    return (
        f'<path class="whisker" d="M{start:.1f} {middle:g}H{end:.1f}'
        f'M{start:.1f} {middle - 4:g}v8M{end:.1f} {middle - 4:g}v8"/>'
    )


def _bar_svg(body: str, *, said: str) -> str:
    width, height = BAR_PX
    return (
        f'<svg class="bars" viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'aria-label="{escape(said, quote=True)}">{body}</svg>'
    )
