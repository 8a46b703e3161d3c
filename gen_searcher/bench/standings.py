"""Standings of all arms -> the table that people read and the JSON that programs read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise

from pydantic import TypeAdapter

from gen_searcher.bench.bootstrap import Interval
from gen_searcher.bench.figures import Difference, Slice, Standing, Way, difference, standing
from gen_searcher.bench.rowfile import Problem
from gen_searcher.bench.scheme import SHORT, Scheme
from gen_searcher.bench.scored import Scored
from gen_searcher.bench.spent import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Standings:
    """A benchmark's result; one scheme, so that no two conventions share a table."""

    benchmark: str
    arms: tuple[Standing, ...]
    paired: tuple[Difference, ...]
    left_out: int
    """Problems of the files; each is in `problems.jsonl`."""
    notes: tuple[str, ...]
    """What a reader of the table must know."""


STANDINGS = TypeAdapter(Standings)


def standings(
    arms: Mapping[str, Sequence[Scored]],
    *,
    scheme: Scheme,
    seed: int,
    problems: Sequence[Problem] = (),
    notes: Sequence[str] = (),
    free: Mapping[str, Set[Part]] | None = None,
) -> Standings:
    """One standing per arm; each is paired with the one before it, and the last with the first.

    `free` are, by arm, the parts of an attempt in which nobody is asked who has a price.
    """
    names = list(arms)
    pairs = [(arm, before) for before, arm in pairwise(names)]
    if len(names) > 2:
        pairs.append((names[-1], names[0]))
    paired = [
        difference(arm, arms[arm], baseline, arms[baseline], scheme=scheme, way=way, seed=seed)
        for arm, baseline in pairs
        for way in Way
    ]
    return Standings(
        benchmark=scheme.name,
        arms=tuple(
            standing(name, arms[name], scheme=scheme, seed=seed, free=(free or {}).get(name, frozenset()))
            for name in names
        ),
        paired=tuple(one for one in paired if one is not None),
        left_out=len(problems),
        notes=tuple(notes),
    )


def render(found: Standings, *, scheme: Scheme) -> str:
    """The table, the paired differences, and each arm by category and the like."""
    digits = 2 if scheme.scale > 1.0 else 3
    lines = [f"{found.benchmark}, 95 % bootstrap intervals"]
    lines += _table(found.arms, scheme, digits)
    lines += ["", *(_paired(one, digits) for one in found.paired)] if found.paired else []
    lines += ["", *found.notes] if found.notes else []
    for arm in found.arms:
        lines += ["", f"{arm.arm}:", *_slices(arm.slices, digits)]
    return "\n".join(lines)


def _table(arms: Sequence[Standing], scheme: Scheme, digits: int) -> list[str]:
    columns = [*scheme.strata, *(scheme.dimensions if len(scheme.dimensions) > 1 else ())]
    headings = [SHORT.get(name, name) for name in columns]
    rows = [["arm", "failed rows", "overall", "95 %", *headings, "rows", "judged", "failed", "s/row", "USD/row", "USD"]]
    for arm in arms:
        for way, figures in ((Way.EXCLUDED, arm.excluded), (Way.ZERO, arm.zero)):
            means = figures.dimensions.get("overall", {})
            cells = [figures.strata[name].value if name in figures.strata else means.get(name) for name in columns]
            rows.append(
                [arm.arm, "excluded" if way is Way.EXCLUDED else "count 0", *_interval(figures.overall, digits)]
                + [_figure(cell, digits) for cell in cells]
                + [str(arm.rows), str(arm.judged), _failed(arm)]
                + [_figure(arm.row_s, 2), _figure(arm.row_usd, 4), _figure(arm.cost_usd, 2)]
            )
    return _aligned(rows)


def _slices(slices: Sequence[Slice], digits: int) -> list[str]:
    rows = [["by", "", "rows", "failed", "excluded", "count 0"]]
    rows += [
        [one.key, one.value, str(one.rows), str(one.failed), _figure(one.excluded, digits), _figure(one.zero, digits)]
        for one in slices
    ]
    return _aligned(rows)


def _paired(one: Difference, digits: int) -> str:
    low, high = (f"{value:+.{digits}f}" for value in (one.overall.low, one.overall.high))
    how = "failed rows excluded" if one.way is Way.EXCLUDED else "failed rows count 0"
    value = f"{one.overall.value:+.{digits}f}"
    return f"{one.arm} - {one.baseline}: {value} [{low}, {high}], paired over {one.tasks} tasks, {how}"


def _failed(arm: Standing) -> str:
    total = sum(arm.failed.values())
    by_stage = ", ".join(f"{stage} {count}" for stage, count in sorted(arm.failed.items()))
    return f"{total} ({by_stage})" if total else "0"


def _interval(one: Interval | None, digits: int) -> list[str]:
    if one is None:
        return ["-", "-"]
    return [f"{one.value:.{digits}f}", f"{one.low:.{digits}f} to {one.high:.{digits}f}"]


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) if column < 2 else cell.rjust(width) for column, (cell, width) in cells).rstrip()
        for cells in (list(enumerate(zip(row, widths, strict=True))) for row in rows)
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines
