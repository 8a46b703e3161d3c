"""`gen-searcher plan`: what this cluster would do with this configuration, and what a budget is best spent on."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from gen_searcher.config.plan import PlanConfig
from gen_searcher.config.root import RunConfig
from gen_searcher.errors import ConfigError
from gen_searcher.plan.assume import configured_shape, stated_workload
from gen_searcher.plan.forecast import Forecast, forecast
from gen_searcher.plan.propose import NOTHING, Proposal, Role, count_of, counted, gpus_said, propose
from gen_searcher.plan.recorded import Measured, read_measured
from gen_searcher.plan.recorded_shape import RecordedShape, read_shape
from gen_searcher.plan.shape import Shape

LEFT_GPUS = 0.005
"""Less is the rounding of a price."""


def run(cfg: RunConfig) -> int:
    """Write the forecast to standard output, and a proposal when there is a budget."""
    plan = cfg.plan
    shape = configured_shape(plan, cfg.cluster, cfg.grpo)
    workload = stated_workload(plan, drops_flat=cfg.grpo.drop_flat_groups, looks=cfg.agent.looks > 0)
    lines = [f"latencies: stated (plan.*); {plan.steps} steps of the production scheduler on a virtual clock"]
    if plan.recorded is not None:
        ran = read_shape(plan.recorded, plan)
        measured = read_measured(plan.recorded, workload, ran.shape)
        workload = measured.workload
        lines = [*_recorded(plan, ran, measured)]
    lines += ["", *_told("this configuration", shape, forecast(workload, shape, plan))]
    budget, shapes = _most_gpus(plan), [shape]
    if budget is not None:
        proposal = propose(workload, shape, plan, most_gpus=budget)
        shapes.append(proposal.shape)
        lines += ["", *_proposed(proposal, budget, configured=shape)]
    lines += ["", *_left_out(cfg, shapes)]
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


def _recorded(plan: PlanConfig, ran: RecordedShape, measured: Measured) -> Iterator[str]:
    """What the latencies come from, whatever is planned with them."""
    yield f"latencies: of {counted(measured.attempts, 'attempt')} in {plan.recorded}; what it did not measure is stated"
    yield f"  recorded with      {_workers(ran.shape)}"
    for setting, counts in ran.came_and_went.items():
        yield f"  came and went      cluster.{setting} was {counts[0]} to {counts[-1]} while it ran; the median is taken"
    if measured.step_s is not None:
        yield f"  measured step      {measured.step_s:.1f} s"
        yield (
            f"  engine slowdown    {measured.slowdown:.3f} fits the recorded turns best; "
            f"plan.engine.slowdown is {plan.engine.slowdown:g}"
        )


def _proposed(proposal: Proposal, budget: float, *, configured: Shape) -> Iterator[str]:
    shape = proposal.shape
    unbounded = "" if configured.attempts_in_flight is None else " grpo.attempts_in_flight=null"
    yield from _told(f"proposed for {gpus_said(budget)}", shape, proposal.forecast)
    yield (
        f"  settings           cluster.rollout_workers={shape.engines.workers} "
        f"cluster.generator_workers={shape.generators.workers} cluster.reward_workers={shape.judges.workers} "
        f"cluster.learner_ranks={shape.learner_ranks}{unbounded}"
    )
    if budget - shape.gpus >= LEFT_GPUS:
        yield f"  left over          {gpus_said(budget - shape.gpus)}, {_why_left(proposal)}"
    if shape.learner_ranks < configured.learner_ranks:
        yield "  memory             not looked at: fewer learner ranks hold more each, see gen-searcher doctor;"
        yield f"                     plan.least_learner_ranks={configured.learner_ranks} keeps as many as are configured"


def _why_left(proposal: Proposal) -> str:
    if not proposal.too_large:
        return f"which would make a step shorter by less than {NOTHING:.0%}"
    helpers = " or ".join(f"one more {role} takes {gpus_said(gpus)}" for role, gpus in proposal.too_large.items())
    return f"into which nothing fits that would help: {helpers}"


def _told(title: str, shape: Shape, said: Forecast) -> Iterator[str]:
    yield (
        f"{title}: {_workers(shape)} ({gpus_said(shape.gpus)}); "
        f"{counted(shape.groups_per_step, 'group')} of {shape.group_size}, staleness {shape.max_staleness}{_extras(shape)}"
    )
    yield f"  step               {said.step_s:.1f} s, {3600 / said.step_s:.1f} steps/h"
    yield f"  limit T*           {said.limit_s:.1f} s, T*/T {said.efficiency:.2f}; it waits for: {said.bottleneck}"
    yield "  idle               " + ", ".join(f"{name} {max(0.0, share):.0%}" for name, share in said.idle.items())
    yield f"  staleness          {said.mean_staleness:.2f} on average, {said.max_staleness} at most"
    yield f"  cost               {said.usd_per_hour:.2f} USD/h for GPUs, {said.usd_per_step:.2f} USD a step"


def _workers(shape: Shape) -> str:
    return ", ".join(counted(count_of(shape, role), role) for role in Role)


def _extras(shape: Shape) -> str:
    """What of a step is not as by default."""
    said = {
        f"{counted(shape.attempts_in_flight or 0, 'attempt')} in flight": shape.attempts_in_flight is not None,
        f"{shape.samples} pictures each": shape.samples > 1,
        counted(shape.spare_groups, "spare group"): shape.spare_groups > 0,
        f"{counted(shape.spare_members, 'spare member')} a group": shape.spare_members > 0,
        "tails cut off": shape.tail is not None,
    }
    return "".join(f", {words}" for words, holds in said.items() if holds)


def _left_out(cfg: RunConfig, shapes: Sequence[Shape]) -> Iterator[str]:
    """What the figures take for granted, and the settings of this run that they leave out."""
    plan, is_stated = cfg.plan, cfg.plan.recorded is None
    yield "not modelled: lost attempts and their retries, queues of tool workers, checkpoints, benchmarks, memory"
    if cfg.grpo.pictures.only_useful:
        yield "  grpo.pictures.only_useful      every answer is drawn, and no member waits for the others"
    if cfg.agent.looks:
        yield "  agent.looks                    " + (
            "every answer is drawn, looked at for one turn more, changed and drawn again: the most that it can take"
            if is_stated
            else "only the turns on record: what was drawn to be looked at is a wait there and no work"
        )
    if not cfg.grpo.drop_flat_groups and not is_stated:
        yield "  grpo.drop_flat_groups          groups are passed over as they were on record"
    served = [cfg.cluster.rollout_concurrency * shape.engines.workers for shape in shapes]
    under_way = [shape.most_under_way for shape in shapes]
    if any(most > can for most, can in zip(under_way, served, strict=True)):
        yield (
            f"  cluster.rollout_concurrency    rollout workers take up {min(served)} of up to {max(under_way)} attempts, and here "
            "all at once"
        )
    if shapes[0].generators.gpus == 0.0 and is_stated and not {"draw", "generator"} & plan.model_fields_set:
        yield (
            "  generator without a GPU        plan.draw and plan.generator are those of a 20B model on one: state those of your "
            "service, e.g. plan.draw.median_s=12 plan.generator.batch=16"
        )
