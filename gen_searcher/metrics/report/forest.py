"""Figures with their intervals, one a row, as an SVG that stands alone: for a README or a paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from gen_searcher.metrics.report.figures import Scale, number, ticks

ROW_PX = 26.0
TOP_PX = 34.0
BOTTOM_PX = 30.0
LETTER_PX = 7.6
"""Of a label, on the average, with some to spare."""
PLOT_PX = 410.0
"""Width of the area that the intervals are in; labels stand to its left, figures to its right."""
FIGURES_PX = 160.0
_INK, _PALE, _LINE = "#1f2933", "#7b8794", "#2b6cb0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure."""

    label: str
    value: float
    low: float
    high: float
    dots: tuple[float, ...] = ()
    """What it is the mean of."""


def forest(rows: Sequence[Row], *, title: str) -> str:
    """Text of the SVG: a row per figure, its interval as a line, its parts as small dots. Needs at least one row."""
    values = [value for row in rows for value in (row.low, row.high, *row.dots)]
    low, high = min(0.0, *values), max(values)
    marks = ticks(low, high)
    left = 24.0 + LETTER_PX * max(len(row.label) for row in rows)
    scale = Scale(low=min(low, *marks), high=max(high, *marks), from_px=left, to_px=left + PLOT_PX)
    bottom = TOP_PX + ROW_PX * len(rows)
    body = [_text(10, 20, title, weight="600")]
    for tick in marks:
        x = scale.at(tick)
        body.append(f'<line x1="{x:.1f}" y1="{TOP_PX}" x2="{x:.1f}" y2="{bottom}" stroke="#e4e7eb"/>')
        body.append(_text(x, bottom + 18, number(tick), anchor="middle", colour=_PALE))
    for place, row in enumerate(rows):
        body += _row(row, scale, y=TOP_PX + ROW_PX * (place + 0.5))
    said = "; ".join(f"{row.label}: {row.value:.2f} ({row.low:.2f} to {row.high:.2f})" for row in rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {scale.to_px + FIGURES_PX:g} {bottom + BOTTOM_PX:g}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13"><title>{escape(title)}</title><desc>{escape(said)}</desc>'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(body)}</svg>\n'
    )


def _row(row: Row, scale: Scale, *, y: float) -> list[str]:
    left, right, middle = scale.at(row.low), scale.at(row.high), scale.at(row.value)
    dots = [f'<circle cx="{scale.at(dot):.1f}" cy="{y + 7:.1f}" r="2" fill="{_PALE}"/>' for dot in row.dots]
    return [
        _text(scale.from_px - 12, y + 4, row.label, anchor="end"),
        f'<line x1="{left:.1f}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" stroke="{_LINE}" stroke-width="3" '
        'stroke-linecap="round" opacity="0.45"/>',
        f'<circle cx="{middle:.1f}" cy="{y:.1f}" r="4.5" fill="{_LINE}"/>',
        *dots,
        _text(scale.to_px + 14, y + 4, f"{row.value:.2f}  [{row.low:.2f}, {row.high:.2f}]"),
    ]


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = _INK, weight: str = "400") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}">{escape(text)}</text>'
