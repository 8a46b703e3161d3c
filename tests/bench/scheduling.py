"""How close the production scheduler comes to the limit T*, on simulated workers and a virtual clock.

    T*/T, where T* = max(engine work / capacity, drawing work / capacity, judging work / capacity, learner work,
                         longest attempt per staleness window)

`GroupStream`, `run_group`, `run_attempt` and the router are the production ones; engines, generators, judges, learner
and tools are drawn latencies (see `WORK`). Beside it, on the same draw: the barrier schedule (every attempt of a step,
then learn, then publish) and one-step-off (the next step's attempts run while the learner works). With churn, 5 % of
the rollout workers die per step, lose what they were doing and come back after a quarter of a step; T* stays that of a
cluster on which nobody dies.

    python -m tests.bench.scheduling [--quick]

64 and 1,024 rollout workers; 64 and 256 with --quick.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import pickle
import statistics
import sys
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

from gen_searcher.plan.latency import Lognormal
from gen_searcher.plan.limit import limit
from gen_searcher.plan.propose import attempt_work_s
from gen_searcher.plan.shape import Churn, PoolShape, Shape, Workload
from gen_searcher.plan.simulate import Published, Simulation, group_seed, simulate
from gen_searcher.plan.station import StationKind
from gen_searcher.plan.virtual_time import run_virtually
from gen_searcher.train.attempt import GroupRules, run_attempt, run_group
from gen_searcher.train.outage import OutageRules
from gen_searcher.train.stream import GroupStream, StreamRules
from gen_searcher.train.tasks import Visit
from gen_searcher.types import Attempt, Grounding, Group, ImageRef, Judgement, Outcome, Reward, Task, Trajectory, Turn

GROUP_SIZE = 8
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
RULES = GroupRules(size=GROUP_SIZE, tries=100, deadline_s=1e9)


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
    return tuple(
        await asyncio.gather(
            *(
                run_group(task(visit), seed=group_seed(0, visit), version=step, rules=RULES, attempt=simulation.attempt)
                for visit in range(step * per_step, (step + 1) * per_step)
            )
        )
    )


async def learn(simulation: Simulation, groups: Sequence[Group]) -> float:
    took_s = simulation.learn_s(sum(len(group.attempts) for group in groups))
    await asyncio.sleep(took_s)
    return took_s


def task(number: int) -> Task:
    return Task(id=f"t{number}", prompt="", target=None, meta={})


def tasks() -> Iterator[Visit]:
    number = 0
    while True:
        yield Visit(number=number, task=task(number))
        number += 1


def answer(turns: int) -> bytes:
    """What a rollout worker sends back: turns of 900 read and 400 written tokens."""
    written = tuple(range(400))
    turn = Turn(
        prompt_ids=tuple(range(900)),
        completion_ids=written,
        logprobs=tuple(-token / 1000 for token in written),
        versions=(0,) * 400,
    )
    trajectory = Trajectory(
        task_id="t",
        turns=tuple(replace(turn, prompt_ids=tuple(range(number, number + 900))) for number in range(turns)),
        outcome=Outcome.GROUNDED,
        grounding=Grounding(gen_prompt="", references=()),
    )
    return pickle.dumps(trajectory)


class Instant:
    """A searcher, a generator and a judge with nothing behind them but a wait."""

    name = "instant"
    picture = ImageRef(sha256="0" * 64, width_px=1, height_px=1)

    def __init__(self, sent: bytes) -> None:
        """Every answer is read from `sent`, as the driver reads those of actors."""
        self._sent = sent

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        await asyncio.sleep(1.0 + seed % 1000 / 1000)
        return pickle.loads(self._sent)

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        return self.picture

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        return Judgement(judge=self.name, score=0.0, parts={}, rationale="", model="", prompt_sha256="", latency_s=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """What the driver itself costs."""

    cpu_ms: float
    """Per attempt."""
    bytes_per_attempt: float
    """What stays of an attempt that was trained on; None was counted when it is NaN."""


async def drive(in_flight: int, attempts: int, *, turns: int, counts_memory: bool = False) -> Driver:
    """The stream on workers that cost nothing; so many attempts in flight all the time, answers of so many turns."""
    instant = Instant(answer(turns))
    groups = in_flight // GROUP_SIZE // 4

    async def attempt(task: Task, *, seed: int) -> Attempt:
        return await run_attempt(
            task, seed=seed, searcher=instant, generator=instant, judges=[instant], compose=no_reward
        )

    async def start(visit: Visit, version: int, earlier: Group | None) -> Group:
        return await run_group(
            visit.task, seed=visit.number, version=version, rules=RULES, attempt=attempt, earlier=earlier
        )

    rules = StreamRules(groups_per_step=groups, max_staleness=3, max_dropped=1, outage=OutageRules(max_lost_frac=1.0))
    done = 0
    async with GroupStream(tasks(), start, rules=rules, keep=lambda _: True, on_group=lambda _: None) as stream:
        for _ in range(4):  # until all slots have been used
            await stream.take()
            stream.published()
        gc.collect()
        before, began_s = tracemalloc.get_traced_memory()[0] if counts_memory else 0, time.process_time()
        while done < attempts:
            taken = await stream.take()
            stream.published()
            done += sum(len(group.attempts) for group in taken.groups)
        cpu_s = time.process_time() - began_s
        gc.collect()
        after = tracemalloc.get_traced_memory()[0] if counts_memory else 0
    return Driver(cpu_ms=cpu_s / done * 1e3, bytes_per_attempt=(after - before) / done)


def no_reward(trajectory: Trajectory, judgements: object) -> Reward:
    return Reward(total=0.0, parts={})


def driver_costs(quick: bool) -> dict[str, float]:
    """Medians over turns about, so that a busy machine disturbs all alike."""
    attempts = 4096 if quick else 8192
    cpu_ms: dict[tuple[int, int], list[float]] = {(64, 8): [], (4096, 8): [], (64, 0): [], (4096, 0): []}
    for _ in range(3 if quick else 5):
        for (in_flight, turns), measured in cpu_ms.items():
            measured.append(run_virtually(drive(in_flight, attempts, turns=turns)).cpu_ms)
    tracemalloc.start()
    memory = run_virtually(drive(64, 10_000, turns=0, counts_memory=True))
    tracemalloc.stop()
    median = {key: statistics.median(measured) for key, measured in cpu_ms.items()}
    return {
        "cpu_ms_64": median[64, 8],
        "cpu_ms_4096": median[4096, 8],
        "cpu_growth": median[4096, 8] / median[64, 8] - 1.0,
        "bare_cpu_ms_64": median[64, 0],
        "bare_cpu_ms_4096": median[4096, 0],
        "bare_cpu_growth": median[4096, 0] / median[64, 0] - 1.0,
        "bytes_per_attempt": memory.bytes_per_attempt,
    }


def cases(quick: bool) -> list[Case]:
    """The largest first: they take longest."""
    workers, measured = (256, 16) if quick else (1024, 60)
    large = [Case(schedule=name, workers=workers, filling=14, measured=16) for name in ("ours", "ours, churn")]
    large += [Case(schedule=name, workers=workers, filling=1, measured=4) for name in ("one-step-off", "barrier")]
    schedules = ("ours", "ours, all at once", "ours, churn", "one-step-off", "barrier")
    return large + [Case(schedule=name, workers=64, filling=14, measured=measured) for name in schedules]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute on two cores")
    quick = parser.parse_args(argv).quick
    costs = driver_costs(quick)
    with ProcessPoolExecutor(max_workers=2, mp_context=multiprocessing.get_context("spawn")) as processes:
        results = list(processes.map(measure, cases(quick)))
    out = sys.stdout.write
    out(f"{'workers':>8}  {'schedule':<18} {'step s':>7} {'T* s':>7} {'T*/T':>6}  engines  oldest  limit\n")
    for result in sorted(results, key=lambda each: each.case.workers):
        out(
            f"{result.case.workers:>8}  {result.case.schedule:<18} {result.step_s:>7.1f} {result.limit_s:>7.1f} "
            f"{result.efficiency:>6.3f}  {result.engines_used:>6.0%}  {result.staleness:>6}  {result.bottleneck}\n"
        )
    for what, name in (("answers of 10,400 tokens read", ""), ("empty answers", "bare_")):
        out(
            f"driver CPU per attempt, {what}: {costs[name + 'cpu_ms_64']:.3f} ms with 64 in flight, "
            f"{costs[name + 'cpu_ms_4096']:.3f} ms with 4,096 ({costs[name + 'cpu_growth']:+.1%})\n"
        )
    out(f"memory kept per attempt, over 10,000: {costs['bytes_per_attempt']:.1f} bytes\n")

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
