"""How close the production scheduler comes to the limit T*, on simulated workers and a virtual clock.

    T*/T, where T* = max(engine work / capacity, drawing work / capacity, judging work / capacity, learner work,
                         longest attempt per staleness window)

The pools' work is that of the groups which ended in the measured steps, whether a step has trained on them yet or not;
the learner's and the longest attempts are those of the trained ones.

`GroupStream`, `run_group`, `run_attempt` and the router are the production ones; engines, generators, judges, learner
and tools are drawn latencies (see `WORK`). Beside it, on the same draw: the barrier schedule (every attempt of a step,
then learn, then publish) and one-step-off (the next step's attempts run while the learner works). With churn, 5 % of
the rollout workers die per step, lose what they were doing and come back after a quarter of a step; T* stays that of a
cluster on which nobody dies.

What the driver itself costs is measured by `driver_costs`.

    python -m tests.bench.scheduling [--quick]

64 and 1,024 rollout workers; 64 and 128 with --quick.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

from gen_searcher.plan.latency import Lognormal
from gen_searcher.plan.limit import limit
from gen_searcher.plan.propose import attempt_work_s
from gen_searcher.plan.shape import Churn, PoolShape, Shape, Workload
from gen_searcher.plan.simulate import Published, Simulation, group_seed, simulate
from gen_searcher.plan.station import StationKind
from gen_searcher.plan.virtual_time import run_virtually
from gen_searcher.train.tasks import Visit
from gen_searcher.types import Group
from tests.bench.driver_costs import GROUP_SIZE, driver_costs, task

WORK = Workload(
    turns=(2, 3, 4, 5, 6, 7, 8, 9),
    turn_s=Lognormal(median_s=4.0, sigma=0.5),
    tool_s=Lognormal(median_s=1.5, sigma=1.0),
    draw_s=Lognormal(median_s=19.0, sigma=0.2),
    judges_s=(Lognormal(median_s=3.0, sigma=1.0), Lognormal(median_s=2.0, sigma=1.0)),
    learn_s=0.0,
    publish_s=1.0,
)
"""Learner time is set by `cluster`."""
STALENESS = 8
"""With 4 a step of 55 s waits for stragglers: the longest attempts take some 200 s."""
GENERATORS_USED, LEARNER_USED = 0.8, 0.7
"""Of their capacity, when the engines are the limit."""
IN_FLIGHT_PER_WORKER = 8.0
DEATHS_PER_STEP = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Pools in proportion to their work; the engines are the limit."""

    workload: Workload
    shape: Shape
    step_s: float
    """When the engines never wait."""


def cluster(workers: int) -> Cluster:
    """Half as many groups a step as rollout workers, each of which serves two turns at a time."""
    engines = PoolShape(workers=workers, kind=StationKind(batch=2, slowdown=0.1))
    groups = workers // 2
    engine_s, draw_s, judge_s, _ = attempt_work_s(WORK)
    attempts = groups * GROUP_SIZE
    step_s = engine_s * attempts / engines.capacity
    return Cluster(
        workload=replace(WORK, learn_s=LEARNER_USED * step_s / attempts),
        shape=Shape(
            engines=engines,
            generators=PoolShape(
                workers=round(draw_s * attempts / step_s / GENERATORS_USED), kind=StationKind(batch=1)
            ),
            judges=PoolShape(workers=1 + round(judge_s * attempts / step_s / 32 / 0.5), kind=StationKind(batch=32)),
            learner_ranks=1,
            groups_per_step=groups,
            group_size=GROUP_SIZE,
            max_staleness=STALENESS,
            attempts_in_flight=round(IN_FLIGHT_PER_WORKER * workers),
        ),
        step_s=step_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One line of the table."""

    schedule: str
    workers: int
    filling: int
    """Steps before those that are measured."""
    measured: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of it."""

    case: Case
    step_s: float
    limit_s: float
    bottleneck: str
    engines_used: float
    staleness: int

    @property
    def efficiency(self) -> float:
        """T*/T, and no more than the share of the engines' capacity that was used.

        The groups that the measured steps train on were begun before them, so T*/T alone may pass 1 by some percent.
        """
        ratio = self.limit_s / self.step_s
        return min(ratio, self.engines_used) if self.bottleneck == "engines" and ratio > 1.0 else ratio


def measure(case: Case) -> Result:
    """Run one case in virtual time."""
    made = cluster(case.workers)
    steps = case.filling + case.measured
    churn = Churn(deaths_per_s=DEATHS_PER_STEP * case.workers / made.step_s, restart_s=made.step_s / 4)
    runs = {
        "ours": lambda: simulate(made.workload, made.shape, steps=steps),
        "ours, all at once": lambda: simulate(made.workload, replace(made.shape, attempts_in_flight=None), steps=steps),
        "ours, churn": lambda: simulate(made.workload, made.shape, steps=steps, churn=churn),
        "one-step-off": lambda: one_step_off(made, steps=steps),
        "barrier": lambda: barrier(made, steps=steps),
    }
    published = run_virtually(runs[case.schedule]())
    first, last, seen = published[case.filling - 1], published[-1], published[case.filling :]
    span_s = last.at_s - first.at_s
    bound = limit([step.work for step in seen], made.workload, made.shape)
    return Result(
        case=case,
        step_s=span_s / len(seen),
        limit_s=bound.total_s / len(seen),
        bottleneck=bound.bottleneck,
        engines_used=(last.engines_s - first.engines_s) / (made.shape.engines.capacity * span_s),
        staleness=max(age for step in seen for age in step.staleness),
    )


async def barrier(made: Cluster, *, steps: int) -> tuple[Published, ...]:
    """All attempts of a step, then learn, then publish."""
    simulation = Simulation(workload=made.workload, shape=made.shape)
    marks: list[Published] = []
    learner_s = 0.0
    for step in range(steps):
        groups = await a_batch(simulation, step)
        taken_s = asyncio.get_running_loop().time()
        learner_s += await learn(simulation, groups)
        await asyncio.sleep(made.workload.publish_s)
        marks.append(
            simulation.published(taken_s=taken_s, version=step, groups=groups, dropped=(), learner_s=learner_s)
        )
    return tuple(marks)


async def one_step_off(made: Cluster, *, steps: int) -> tuple[Published, ...]:
    """While the learner works on a batch, the next one is made; then both wait for each other."""
    simulation = Simulation(workload=made.workload, shape=made.shape)
    marks: list[Published] = []
    learner_s = 0.0
    groups = await a_batch(simulation, 0)
    for step in range(steps):
        taken_s = asyncio.get_running_loop().time()
        coming = asyncio.ensure_future(a_batch(simulation, step + 1))
        learner_s += await learn(simulation, groups)
        following = await coming
        await asyncio.sleep(made.workload.publish_s)
        marks.append(
            simulation.published(taken_s=taken_s, version=step, groups=groups, dropped=(), learner_s=learner_s)
        )
        groups = following
    return tuple(marks)


async def a_batch(simulation: Simulation, step: int) -> tuple[Group, ...]:
    per_step = simulation.shape.groups_per_step

    async def a_group(visit: int) -> Group:
        group = await simulation.group(Visit(number=visit, task=task(visit)), seed=group_seed(0, visit), version=step)
        simulation.ended(group)
        return group

    visits = range(step * per_step, (step + 1) * per_step)
    return tuple(await asyncio.gather(*map(a_group, visits)))


async def learn(simulation: Simulation, groups: Sequence[Group]) -> float:
    took_s = simulation.learn_s(groups)
    await asyncio.sleep(took_s)
    return took_s


def cases(quick: bool) -> list[Case]:
    """The largest first: they take longest."""
    workers, measured, measured_large = (128, 10, 8) if quick else (1024, 60, 16)
    large = [
        Case(schedule=name, workers=workers, filling=14, measured=measured_large) for name in ("ours", "ours, churn")
    ]
    large += [Case(schedule=name, workers=workers, filling=1, measured=4) for name in ("one-step-off", "barrier")]
    schedules = ("ours", "ours, all at once", "ours, churn", "one-step-off", "barrier")
    return large + [Case(schedule=name, workers=64, filling=14, measured=measured) for name in schedules]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under 50 s on two cores")
    quick = parser.parse_args(argv).quick
    costs = driver_costs(quick=quick)
    with ProcessPoolExecutor(max_workers=2, mp_context=multiprocessing.get_context("spawn")) as processes:
        results = list(processes.map(measure, cases(quick)))
    out = sys.stdout.write
    out(f"{'workers':>8}  {'schedule':<18} {'step s':>7} {'T* s':>7} {'T*/T':>6}  engines  oldest  limit\n")
    for result in sorted(results, key=lambda each: each.case.workers):
        out(
            f"{result.case.workers:>8}  {result.case.schedule:<18} {result.step_s:>7.1f} {result.limit_s:>7.1f} "
            f"{result.efficiency:>6.3f}  {result.engines_used:>6.0%}  {result.staleness:>6}  {result.bottleneck}\n"
        )
    for what, small, large, key in (
        ("answers of 10,400 tokens read", "64", "4096", "cpu_growth"),
        ("the same, steps of 1,024 attempts", "64", "4096_large_steps", "cpu_growth_large_steps"),
        ("empty answers", "bare_64", "bare_4096", "cpu_growth_bare"),
    ):
        out(
            f"driver CPU per attempt, {what}: {costs['cpu_ms_' + small]:.3f} ms with 64 in flight, "
            f"{costs['cpu_ms_' + large]:.3f} ms with 4,096 ({costs[key]:+.1%})\n"
        )
    out(f"memory kept per attempt, over {2_000 if quick else 10_000:,}: {costs['bytes_per_attempt']:.1f} bytes\n")

    def worst(schedule: str) -> float:
        return min(result.efficiency for result in results if result.case.schedule == schedule)

    keys = {
        "efficiency_steady": worst("ours"),
        "efficiency_churn": worst("ours, churn"),
        "efficiency_barrier": max(r.efficiency for r in results if r.case.schedule == "barrier"),
        "efficiency_one_step_off": max(r.efficiency for r in results if r.case.schedule == "one-step-off"),
        **costs,
    }
    out(json.dumps({name: round(value, 4) for name, value in keys.items()}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
