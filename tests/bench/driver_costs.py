"""What the driver itself costs: CPU time and memory per attempt, on workers that cost nothing. Part of `scheduling`.

With 64 and 4,096 attempts in flight and steps of two groups; once more with 4,096 in flight and steps that have grown
as well (`large_steps`), whose 1,024 attempts of 10,400 tokens fill half a gigabyte. The sizes are measured in turns, and
their ratio is taken turn by turn, so that a busy machine disturbs all alike.
"""

from __future__ import annotations

import asyncio
import gc
import pickle
import statistics
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, replace

from gen_searcher.plan.virtual_time import run_virtually
from gen_searcher.train.attempt import GroupRules, run_attempt, run_group
from gen_searcher.train.outage import OutageRules
from gen_searcher.train.stream import GroupStream, StreamRules
from gen_searcher.train.tasks import Visit
from gen_searcher.types import Attempt, Grounding, Group, ImageRef, Judgement, Outcome, Reward, Task, Trajectory, Turn

GROUP_SIZE = 8
RULES = GroupRules(size=GROUP_SIZE, tries=100, deadline_s=1e9)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the driver has to do."""

    in_flight: int
    """Attempts, all the time."""
    turns: int = 8
    """Of each answer."""
    groups_per_step: int = 2

    @property
    def max_staleness(self) -> int:
        """So that all of them are in flight."""
        return self.in_flight // GROUP_SIZE // self.groups_per_step - 1


async def drive(load: Load, attempts: int, *, counts_memory: bool = False) -> Driver:
    """The stream on workers that cost nothing."""
    instant = Instant(answer(load.turns))

    async def attempt(task: Task, *, seed: int) -> Attempt:
        return await run_attempt(
            task, seed=seed, searcher=instant, generator=instant, judges=[instant], compose=no_reward
        )

    async def start(visit: Visit, version: int, earlier: Group | None) -> Group:
        return await run_group(
            visit.task, seed=visit.number, version=version, rules=RULES, attempt=attempt, earlier=earlier
        )

    rules = StreamRules(
        groups_per_step=load.groups_per_step,
        max_staleness=load.max_staleness,
        max_dropped=1,
        outage=OutageRules(max_lost_frac=1.0),
    )
    done = 0
    async with GroupStream(tasks(), start, rules=rules, keep=lambda _: True, on_group=lambda _: None) as stream:
        for _ in range(load.max_staleness + 1):  # until all slots have been used
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


LOADS = {
    "64": Load(in_flight=64),
    "4096": Load(in_flight=4096),
    "4096_large_steps": Load(in_flight=4096, groups_per_step=128),
    "bare_64": Load(in_flight=64, turns=0),
    "bare_4096": Load(in_flight=4096, turns=0),
}


def driver_costs(*, quick: bool) -> dict[str, float]:
    """Medians; the keys of the bench."""
    attempts = 4096 if quick else 8192  # every slot at least once: answers come in bursts of as many as there are
    cpu_ms: dict[str, list[float]] = {name: [] for name in LOADS}
    for turn in range(2 if quick else 7):
        for name in list(LOADS) if turn % 2 else list(LOADS)[::-1]:
            cpu_ms[name].append(run_virtually(drive(LOADS[name], attempts)).cpu_ms)
    tracemalloc.start()
    memory = run_virtually(drive(LOADS["bare_64"], 2_000 if quick else 10_000, counts_memory=True))
    tracemalloc.stop()

    def growth(large: str, small: str) -> float:
        return statistics.median(a / b for a, b in zip(cpu_ms[large], cpu_ms[small], strict=True)) - 1.0

    return {
        **{f"cpu_ms_{name}": statistics.median(measured) for name, measured in cpu_ms.items()},
        "cpu_growth": growth("4096", "64"),
        "cpu_growth_large_steps": growth("4096_large_steps", "64"),
        "cpu_growth_bare": growth("bare_4096", "bare_64"),
        "bytes_per_attempt": memory.bytes_per_attempt,
    }
