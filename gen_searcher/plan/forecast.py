"""A simulated run -> what it says about a shape: step time, idle shares, staleness, cost, and what it waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gen_searcher.config.plan import PlanConfig
from gen_searcher.plan.limit import limit
from gen_searcher.plan.shape import Shape, Workload
from gen_searcher.plan.simulate import Published, simulate
from gen_searcher.plan.virtual_time import run_virtually

FILLING_STEPS = 3
"""Beside those of the staleness bound: until the pools are as full as they will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a shape would do."""

    step_s: float
    limit_s: float
    """T* of a step, see `plan.limit`."""
    bottleneck: str
    """What the limit waits for."""
    idle: Mapping[str, float]
    """Share of each pool's capacity that is not used."""
    mean_staleness: float
    max_staleness: int
    usd_per_hour: float
    """Of the GPUs."""
    usd_per_step: float
    """Of the GPUs, and of what attempts pay."""

    @property
    def efficiency(self) -> float:
        """T*/T."""
        return self.limit_s / self.step_s


def forecast(workload: Workload, shape: Shape, plan: PlanConfig, *, seed: int = 0) -> Forecast:
    """Simulate the shape until it runs evenly, and then for `plan.steps` steps."""
    filling = FILLING_STEPS + 2 * shape.max_staleness
    published = run_virtually(simulate(workload, shape, steps=filling + plan.steps, seed=seed))
    return summary(published[filling - 1 :], workload, shape, plan)


def summary(published: Sequence[Published], workload: Workload, shape: Shape, plan: PlanConfig) -> Forecast:
    """What the steps after the first of `published` say."""
    first, last, steps = published[0], published[-1], published[1:]
    span_s = last.at_s - first.at_s
    bound = limit([step.work for step in steps], workload, shape)
    ages = [age for step in steps for age in step.staleness]
    usd_per_hour = shape.gpus * plan.usd_per_gpu_hour
    attempts = sum(step.attempts for step in steps) / len(steps)
    return Forecast(
        step_s=span_s / len(steps),
        limit_s=bound.total_s / len(steps),
        bottleneck=bound.bottleneck,
        idle={
            "engines": 1.0 - (last.engines_s - first.engines_s) / (shape.engines.capacity * span_s),
            "generators": 1.0 - (last.generators_s - first.generators_s) / (shape.generators.capacity * span_s),
            "judges": 1.0 - (last.judges_s - first.judges_s) / (shape.judges.capacity * span_s),
            "learner": 1.0 - (last.learner_s - first.learner_s) / span_s,
        },
        mean_staleness=sum(ages) / len(ages),
        max_staleness=max(ages),
        usd_per_hour=usd_per_hour,
        usd_per_step=usd_per_hour * span_s / len(steps) / 3600.0 + attempts * plan.usd_per_attempt,
    )
