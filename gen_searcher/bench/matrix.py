"""A table of policies at settings -> one row per policy, one column per setting.

rows "sft @ flux", "sft @ painter", ... -> sft | K at flux | K at painter | painter - flux
"""

from __future__ import annotations

from collections.abc import Sequence

from gen_searcher.bench.table import PairRow, Table, aligned


def cell(arm: str, setting: str) -> str:
    """What the table calls an arm at a setting."""
    return f"{arm} @ {setting}"


def cells(arms: Sequence[str], settings: Sequence[str]) -> list[tuple[str, str]]:
    """Names of all rows as (arm, setting), arm by arm."""
    return [(arm, setting) for arm in arms for setting in settings]


def pairs(arms: Sequence[str], settings: Sequence[str], *, between_arms: bool) -> list[tuple[str, str]]:
    """(row, baseline): each setting against the first, arm by arm; then, if wanted, each arm against the one before it."""
    first, *others = settings
    found = [(cell(arm, setting), cell(arm, first)) for arm in arms for setting in others]
    if between_arms:
        steps = list(zip(arms[1:], arms, strict=False))
        found += [(cell(arm, setting), cell(before, setting)) for setting in settings for arm, before in steps]
    return found


def render(table: Table, *, arms: Sequence[str], settings: Sequence[str], corner: str = "policy") -> str:
    """K with its interval in each cell, then the differences of each setting from the first."""
    first, *others = settings
    headings = (corner, *settings, *(f"{setting} - {first}" for setting in others))
    shown = {row["arm"]: _interval(row["k_score"], row["low"], row["high"], sign="") for row in table["arms"]}
    apart = {(row["better"], row["baseline"]): _difference(row) for row in table["paired"]}
    rows = [
        (
            arm,
            *(shown.get(cell(arm, setting), "-") for setting in settings),
            *(apart.get((cell(arm, setting), cell(arm, first)), "-") for setting in others),
        )
        for arm in arms
    ]
    return "\n".join(aligned(headings, rows))


def _difference(row: PairRow) -> str:
    return _interval(row["difference"], row["low"], row["high"], sign="+")


def _interval(value: float | None, low: float | None, high: float | None, *, sign: str) -> str:
    if value is None or low is None or high is None:
        return "-"
    return f"{value:{sign}.2f} [{low:{sign}.2f}, {high:{sign}.2f}]"
