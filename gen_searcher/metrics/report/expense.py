"""What a training used, by kind: USD by whom it was paid to, worker and GPU seconds by role; in all, per step, per K point.

A worker counts from step to step, busy or not: it is held. K points are those that the benchmark's arm of this training has
over the arm that it started from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gen_searcher.metrics.report.derived import COSTS, WALL_TIME
from gen_searcher.metrics.report.figures import Series, number
from gen_searcher.metrics.report.read import Pair, Table

ROLES = ("learner", "rollout", "generator", "reward", "tool")
TRAINED, START = "sft+grpo", "sft"
UNKNOWN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpenseRow:
    """One line of the ledger, as text."""

    kind: str
    total: str
    per_step: str
    per_point: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expenses:
    """The ledger and what its last column is measured by."""

    rows: tuple[ExpenseRow, ...]
    gain: str
    """In a sentence."""


def expenses(metrics: Sequence[Series], tables: Sequence[Table], settings: Mapping[str, str]) -> Expenses | None:
    """The ledger; None for a run that has logged no step. `settings` are dotted names of the training's configuration."""
    by_name = {one.name: one for one in metrics}
    held = _step_seconds(by_name.get(WALL_TIME))
    if not held:
        return None
    pair = _gained(tables)
    points = pair.difference if pair is not None and pair.difference > 0.0 else None
    usd = {name: math.fsum(filter(math.isfinite, by_name[name].values)) for name in COSTS if name in by_name}
    worker_s = _worker_seconds(by_name, held, settings)
    gpus = {role: _setting(settings, f"cluster.roles.{role}.gpus") for role in worker_s}
    amounts: dict[str, float | None] = {f"{name.split('/')[0]}s, USD": paid or None for name, paid in usd.items()}
    amounts["all, USD"] = math.fsum(usd.values()) or None
    amounts |= {f"{role} workers, s": seconds for role, seconds in worker_s.items()}
    if all(count is not None for count in gpus.values()):
        amounts["GPUs, s"] = math.fsum(worker_s[role] * (count or 0.0) for role, count in gpus.items())
    amounts["wall time, s"] = math.fsum(held.values())
    rows = [_row(kind, amount, steps=len(held), points=points) for kind, amount in amounts.items()]
    return Expenses(rows=tuple(rows), gain=_sentence(pair))


def _row(kind: str, amount: float | None, *, steps: int, points: float | None) -> ExpenseRow:
    if amount is None:
        return ExpenseRow(kind=kind, total=UNKNOWN, per_step=UNKNOWN, per_point=UNKNOWN)
    return ExpenseRow(
        kind=kind,
        total=number(amount),
        per_step=number(amount / steps),
        per_point=UNKNOWN if points is None else number(amount / points),
    )


def _step_seconds(wall: Series | None) -> dict[int, float]:
    """Step -> seconds since the one before. The clock of a resumed run starts anew."""
    if wall is None:
        return {}
    times = sorted(zip(wall.steps, wall.values, strict=True))
    before_s, found = 0.0, dict[int, float]()
    for step, time_s in times:
        found[step] = time_s - before_s if time_s >= before_s else time_s
        before_s = time_s
    return found


def _worker_seconds(
    by_name: Mapping[str, Series], held: Mapping[int, float], settings: Mapping[str, str]
) -> dict[str, float]:
    found: dict[str, float] = {}
    ranks = _setting(settings, "cluster.learner_ranks")
    if ranks is not None:
        found["learner"] = ranks * math.fsum(held.values())
    for role in ROLES[1:]:
        workers = by_name.get(f"cluster/{role}_workers")
        if workers is not None:
            counts = zip(workers.steps, workers.values, strict=True)
            found[role] = math.fsum(count * held.get(step, 0.0) for step, count in counts if math.isfinite(count))
    return found


def _setting(settings: Mapping[str, str], name: str) -> float | None:
    try:
        return float(settings[name])
    except (KeyError, ValueError):
        return None


def _gained(tables: Sequence[Table]) -> Pair | None:
    pairs = [pair for table in tables[:1] for pair in table.paired]
    return next((pair for pair in pairs if (pair.better, pair.baseline) == (TRAINED, START)), None)


def _sentence(pair: Pair | None) -> str:
    if pair is None:
        return f"No K-Score of {TRAINED} beside {START} yet, so that nothing is said per K point."
    between = f"{pair.difference:+.2f} K [{pair.low:+.2f}, {pair.high:+.2f}]"
    said = f"{TRAINED} - {START} in the benchmark: {between}."
    if pair.difference <= 0.0:
        return f"{said} Nothing was gained, so that nothing is said per K point."
    return said if pair.low > 0.0 else f"{said} That may be chance, and with it every figure per K point."
