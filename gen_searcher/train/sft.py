"""Supervised fine-tuning: demonstrations -> samples -> epochs of batches -> the learner."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gen_searcher.data.demonstrations import Demonstration, LabelledSample
from gen_searcher.errors import EXIT_INTERRUPTED, DataError, StopRun, WorldError
from gen_searcher.grpo.pack import pack, sample_tokens
from gen_searcher.grpo.samples import trajectory_sample
from gen_searcher.protocols import Learner, Searcher
from gen_searcher.train.seeds import derive_seed
from gen_searcher.types import Outcome, Sample, StepReport, Task

T = TypeVar("T")

SearcherFor = Callable[[Task, int], Searcher]
"""(task, seed) -> a searcher whose policy is the teacher."""


async def collect(
    tasks: Sequence[Task], searcher_for: SearcherFor, *, count: int, concurrency: int, seed: int
) -> list[Demonstration]:
    """Let the teacher work `count` times through the tasks, in a seeded order.

    Demonstrations without a grounding are dropped: a teacher that found no answer teaches none.

    Raises:
        StopRun: The world spoiled one, and a demonstration set with holes depends on the weather: exit code 75, or 3 where
            no waiting helps. Or none of them reached an answer: 3.
    """
    order = [task for epoch in range(-(-count // len(tasks))) for task in _shuffled(tasks, seed, epoch)][:count]
    gate = asyncio.Semaphore(concurrency)

    async def demonstrate(number: int, task: Task) -> Demonstration:
        async with gate:
            each = derive_seed(seed, "demonstration", task.id, number)
            try:
                trajectory = await searcher_for(task, each).search(task, seed=each)
            except WorldError as error:
                raise StopRun(
                    f"demonstration {number + 1} of {count}, task {task.id}, is lost: {error}. Nothing is kept of them; run the "
                    "same command again, or give it a file of them (sft.demonstrations)",
                    exit_code=EXIT_INTERRUPTED if error.passes else 3,
                ) from error
            return Demonstration(task=task, trajectory=trajectory)

    made = await asyncio.gather(*(demonstrate(number, task) for number, task in enumerate(order)))
    kept = [demo for demo in made if demo.trajectory.outcome is Outcome.GROUNDED]
    if not kept:
        raise StopRun(f"none of {len(made)} demonstrations of the teacher reached an answer; see agent and search")
    return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class SftRules:
    """How much of what."""

    epochs: int
    batch_samples: int
    row_tokens: int
    """Longest packed row, in expanded tokens."""
    seed: int

    def steps(self, samples: int) -> int:
        """Optimizer steps for that many samples."""
        return self.epochs * -(-samples // self.batch_samples)


async def train_sft(
    rules: SftRules,
    samples: Sequence[Sample],
    *,
    learner: Learner,
    after_step: Callable[[int, StepReport], Awaitable[None]],
    from_step: int = 0,
) -> None:
    """Every sample once per epoch, each epoch in its own order, from the step after `from_step` on."""
    for step, batch_samples in enumerate(_batches(samples, rules), start=1):
        if step <= from_step:
            continue
        report = await learner.step(pack(batch_samples, row_tokens=rules.row_tokens))
        await after_step(step, report)


def demonstration_samples(demonstrations: Sequence[Demonstration]) -> list[LabelledSample]:
    """Each demonstration as a sample with advantage 1."""
    return [
        LabelledSample(
            label=f"demonstration {number}, task {demo.task.id}", sample=trajectory_sample(demo.trajectory, 1.0)
        )
        for number, demo in enumerate(demonstrations, start=1)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlong:
    """A sample that is left out."""

    label: str
    tokens: int
    """Pictures expanded."""


def find_overlong(samples: Sequence[LabelledSample], *, cutoff_tokens: int) -> list[Overlong]:
    """The samples that are longer than the cutoff; they are never cut, since the answer stands at their end."""
    lengths = [(each.label, sample_tokens(each.sample)) for each in samples]
    return [Overlong(label=label, tokens=tokens) for label, tokens in lengths if tokens > cutoff_tokens]


def refuse_overlong(found: Sequence[Overlong], *, cutoff_tokens: int) -> None:
    """Raise a DataError that names the first overlong sample and their number."""
    if found:
        raise DataError(
            f"{found[0].label}: {found[0].tokens} tokens, pictures expanded, and the cutoff is {cutoff_tokens} "
            f"({len(found)} such samples); raise sft.max_tokens and sft.optim.row_tokens, or set sft.overlong=drop"
        )


def _batches(samples: Sequence[Sample], rules: SftRules) -> Iterator[list[Sample]]:
    for epoch in range(rules.epochs):
        order = _shuffled(samples, rules.seed, epoch)
        for start in range(0, len(order), rules.batch_samples):
            yield order[start : start + rules.batch_samples]


def _shuffled(items: Sequence[T], seed: int, epoch: int) -> list[T]:
    order = list(items)
    random.Random(derive_seed(seed, "epoch", epoch)).shuffle(order)
    return order
