"""A budget -> the shape that trains most attempts an hour for it.

    capacities -> workers in proportion to the work of each pool -> neighbours tried on the simulated cluster

GPUs are counted; judges on CPUs are given as many workers as they need.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gen_searcher.config.plan import PlanConfig
from gen_searcher.errors import ConfigError
from gen_searcher.plan.forecast import Forecast, forecast
from gen_searcher.plan.shape import Shape, Workload

SPARE = 1.25
"""Judges on CPUs get so much more than they need on average, so that nobody waits for them."""
TRIED = 4
"""Shapes that are simulated: the best by arithmetic, which knows no queues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A shape and what it would do."""

    shape: Shape
    forecast: Forecast


def propose(workload: Workload, shape: Shape, plan: PlanConfig, *, most_gpus: float) -> Proposal:
    """The best of the shapes around the balanced one; sizes of a step are those of `shape`.

    Raises:
        ConfigError: The budget does not pay for one worker of each kind.
    """
    smallest = _shaped(shape, engines=1, generators=1, ranks=1)
    if smallest.gpus == 0.0:
        raise ConfigError(
            "plan: no role of this cluster asks for a GPU (cluster.roles.*.gpus), so a budget of GPUs cannot be spent; "
            "plan for a cluster that has them, e.g. cluster=one_node"
        )
    if smallest.gpus > most_gpus:
        raise ConfigError(
            f"plan: one rollout worker, one generator and one learner rank take {smallest.gpus:g} GPUs; "
            f"the budget pays for {most_gpus:g}"
        )
    affordable = [one for one in _candidates(workload, shape, most_gpus) if one.gpus <= most_gpus]
    affordable.sort(key=lambda one: (_step_s(workload, one), one.gpus))
    tried = [Proposal(shape=one, forecast=forecast(workload, one, plan)) for one in affordable[:TRIED]]
    return min(tried, key=lambda one: (one.forecast.step_s, one.shape.gpus))


def attempt_work_s(workload: Workload) -> tuple[float, float, float, float]:
    """Mean work of an attempt for engines, generators, judges and learner, as it would take alone."""
    turns = sum(workload.turns) / len(workload.turns)
    drawn = workload.grounded_frac
    return (
        turns * workload.turn_s.mean_s,
        drawn * workload.draw_s.mean_s,
        drawn * sum(judge.mean_s for judge in workload.judges_s),
        workload.learn_s * (1.0 - workload.flat_frac),
    )


def _candidates(workload: Workload, shape: Shape, most_gpus: float) -> Iterator[Shape]:
    """Every split of the budget near the balanced one, engines and generators taking what the learner leaves."""
    engine_s, draw_s, _, learn_s = attempt_work_s(workload)
    needs = (
        engine_s / shape.engines.kind.capacity * shape.engines.gpus,
        draw_s / shape.generators.kind.capacity * shape.generators.gpus,
        learn_s * shape.learner_gpus,
    )
    total = sum(needs) or 1.0
    each_gpus = (shape.engines.gpus, shape.generators.gpus, shape.learner_gpus)
    ideal = [need / total * most_gpus / max(each, 1e-9) for need, each in zip(needs, each_gpus, strict=True)]
    seen: set[tuple[int, int, int]] = set()
    for engines in _around(ideal[0]):
        for generators in _around(ideal[1]):
            for ranks in _around(ideal[2]):
                counts = (engines, generators, ranks)
                if counts not in seen:
                    seen.add(counts)
                    yield _with_judges(workload, _shaped(shape, engines=engines, generators=generators, ranks=ranks))
    yield _with_judges(workload, _shaped(shape, engines=1, generators=1, ranks=1))


def _around(ideal: float) -> range:
    return range(max(1, math.floor(ideal) - 1), max(1, math.ceil(ideal) + 1) + 1)


def _shaped(shape: Shape, *, engines: int, generators: int, ranks: int) -> Shape:
    return replace(
        shape,
        engines=replace(shape.engines, workers=engines),
        generators=replace(shape.generators, workers=generators),
        learner_ranks=ranks,
        attempts_in_flight=None,
    )


def _with_judges(workload: Workload, shape: Shape) -> Shape:
    *_, judge_s, _ = attempt_work_s(workload)
    need = judge_s * _attempts(workload, shape) / _step_s(workload, shape) * SPARE
    return replace(
        shape,
        judges=replace(shape.judges, workers=max(1, math.ceil(need / shape.judges.kind.capacity))),
    )


def _attempts(workload: Workload, shape: Shape) -> float:
    """Of a step, those of passed-over groups too."""
    return shape.groups_per_step * shape.group_size / (1.0 - workload.flat_frac)


def _step_s(workload: Workload, shape: Shape) -> float:
    """Of a cluster whose GPU pools never wait."""
    engine_s, draw_s, _, learn_s = attempt_work_s(workload)
    per_attempt = max(
        engine_s / shape.engines.capacity, draw_s / shape.generators.capacity, learn_s / shape.learner_ranks
    )
    return per_attempt * _attempts(workload, shape)
