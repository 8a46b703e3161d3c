"""`gen-searcher plan`: what this cluster would do with this configuration, and what a budget is best spent on."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from gen_searcher.config.plan import PlanConfig
from gen_searcher.config.root import RunConfig
from gen_searcher.errors import ConfigError
from gen_searcher.plan.assume import configured_shape, stated_workload
from gen_searcher.plan.forecast import Forecast, forecast
from gen_searcher.plan.propose import NOTHING, Proposal, propose
from gen_searcher.plan.recorded import Measured, read_measured
from gen_searcher.plan.shape import Shape


def run(cfg: RunConfig) -> int:
    """Write the forecast to standard output, and a proposal when there is a budget."""
    plan = cfg.plan
    shape = configured_shape(plan, cfg.cluster, cfg.grpo)
    workload = stated_workload(plan)
    measured = None
    if plan.recorded is not None:
        measured = read_measured(plan.recorded, workload, shape)
        workload = measured.workload
    lines = [*_assumed(plan, measured), "", *_told("this configuration", shape, forecast(workload, shape, plan))]
    if measured is not None and measured.step_s is not None:
        lines.append(f"  measured step      {measured.step_s:.1f} s")
        lines.append(
            f"  engine slowdown    {measured.slowdown:.3f} fits the recorded turns best; "
            f"plan.engine.slowdown is {plan.engine.slowdown:g}"
        )
    budget = _most_gpus(plan)
    if budget is not None:
        lines += ["", *_proposed(propose(workload, shape, plan, most_gpus=budget), budget, configured=shape)]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _most_gpus(plan: PlanConfig) -> float | None:
    budgets: list[float] = []
    if plan.budget_gpus is not None:
        budgets.append(float(plan.budget_gpus))
    if plan.budget_usd_per_hour is not None:
        if plan.usd_per_gpu_hour == 0.0:
            raise ConfigError("plan.budget_usd_per_hour: with plan.usd_per_gpu_hour=0 any number of GPUs costs nothing")
        budgets.append(plan.budget_usd_per_hour / plan.usd_per_gpu_hour)
    return min(budgets, default=None)


def _assumed(plan: PlanConfig, measured: Measured | None) -> list[str]:
    if measured is None:
        return [f"latencies: stated (plan.*); {plan.steps} steps of the production scheduler on a virtual clock"]
    return [f"latencies: of {measured.attempts} attempts in {plan.recorded}; what it did not measure is stated"]


def _proposed(proposal: Proposal, budget: float, *, configured: Shape) -> Iterator[str]:
    shape = proposal.shape
    unbounded = "" if configured.attempts_in_flight is None else " grpo.attempts_in_flight=null"
    yield from _told(f"proposed for {budget:g} GPUs", shape, proposal.forecast)
    yield (
        f"  settings           cluster.rollout_workers={shape.engines.workers} "
        f"cluster.generator_workers={shape.generators.workers} cluster.reward_workers={shape.judges.workers} "
        f"cluster.learner_ranks={shape.learner_ranks}{unbounded}"
    )
    if shape.gpus < budget:
        yield f"  left over          {budget - shape.gpus:g} GPUs, which would make a step shorter by less than {NOTHING:.0%}"
    if shape.learner_ranks < configured.learner_ranks:
        yield "  memory             not looked at: fewer learner ranks hold more each; see gen-searcher doctor"


def _told(title: str, shape: Shape, said: Forecast) -> Iterator[str]:
    yield (
        f"{title}: {shape.engines.workers} rollout workers, {shape.generators.workers} generators, "
        f"{shape.judges.workers} reward workers, {shape.learner_ranks} learner ranks ({shape.gpus:g} GPUs); "
        f"{shape.groups_per_step} groups of {shape.group_size}, staleness {shape.max_staleness}"
    )
    yield f"  step               {said.step_s:.1f} s, {3600 / said.step_s:.1f} steps/h"
    yield f"  limit T*           {said.limit_s:.1f} s, T*/T {said.efficiency:.2f}; it waits for: {said.bottleneck}"
    yield "  idle               " + ", ".join(f"{name} {share:.0%}" for name, share in said.idle.items())
    yield f"  staleness          {said.mean_staleness:.2f} on average, {said.max_staleness} at most"
    yield f"  cost               {said.usd_per_hour:.2f} USD/h for GPUs, {said.usd_per_step:.2f} USD a step"
