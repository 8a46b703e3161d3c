"""Numbers per step that no sink logs because they follow from others: failures by whose they are, attempts per minute, spend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from gen_searcher.metrics.report.figures import Series
from gen_searcher.metrics.report.read import Entry
from gen_searcher.types import Outcome

COSTS = ("tool/cost_usd", "look/cost_usd", "picture/cost_usd", "judge/cost_usd")
"""What a step spent, by whom it was paid to."""
WALL_TIME = "time_s"


def failure_series(entries: Sequence[Entry]) -> tuple[Series, ...]:
    """Share of the tries of each step that the policy spoiled, and share that the world spoiled (lost, no reward)."""
    totals: dict[int, int] = {}
    failed: dict[str, dict[int, int]] = {"failed/policy_frac": {}, "failed/world_frac": {}}
    for entry in entries:
        totals[entry.step] = totals.get(entry.step, 0) + 1
        if entry.outcome == Outcome.GROUNDED:
            continue
        whose = failed["failed/world_frac" if entry.outcome == "lost" else "failed/policy_frac"]
        whose[entry.step] = whose.get(entry.step, 0) + 1
    steps = tuple(sorted(totals))
    return tuple(
        Series(name=name, steps=steps, values=tuple(counts.get(step, 0) / totals[step] for step in steps))
        for name, counts in failed.items()
        if steps
    )


def throughput_series(metrics: Sequence[Series], entries: Sequence[Entry]) -> tuple[Series, ...]:
    """Scored attempts per minute of wall time between a step and the one before; a resumed run's clock starts anew."""
    times: dict[int, float] = {}
    for one in metrics:
        if one.name == WALL_TIME:
            times.update(zip(one.steps, one.values, strict=True))
    counts: dict[int, int] = {}
    for entry in entries:
        counts[entry.step] = counts.get(entry.step, 0) + (entry.outcome != "lost")
    pairs = [(last, step) for last, step in pairwise(sorted(times)) if times[step] > times[last] and step in counts]
    if not pairs:
        return ()
    values = tuple(60.0 * counts[step] / (times[step] - times[last]) for last, step in pairs)
    return (Series(name="rollout/attempts_per_min", steps=tuple(step for _, step in pairs), values=values),)


def spend_series(metrics: Sequence[Series]) -> tuple[Series, ...]:
    """What tools, pictures and judges cost up to each step; empty for a run that logs no costs."""
    costs = [dict(zip(one.steps, one.values, strict=True)) for one in metrics if one.name in COSTS]
    steps = sorted({step for one in costs for step in one})
    total, values = 0.0, list[float]()
    for step in steps:
        total += sum(one[step] for one in costs if step in one and math.isfinite(one[step]))
        values.append(total)
    return (Series(name="spend/so_far_usd", steps=tuple(steps), values=tuple(values)),) if steps else ()


def spend_line(metrics: Sequence[Series]) -> str:
    """What the training has cost so far, by whom it was paid to; empty for a run that logs no costs."""
    costs = {one.name: math.fsum(filter(math.isfinite, one.values)) for one in metrics if one.name in COSTS}
    if not costs:
        return ""
    total = math.fsum(costs.values())
    if not total:
        return "Spend: nothing was paid to tools, image models or judges."
    parts = [f"{name.split('/')[0]}s {usd:.2f} USD" for name, usd in costs.items() if usd]
    return f"Spend: {total:.2f} USD ({', '.join(parts)})."
