"""Evaluation: every task a few times, at once, with the attempt that training uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from gen_searcher.train.attempt import AttemptRunner, GroupRules, run_group
from gen_searcher.train.seeds import derive_seed
from gen_searcher.types import Grounding, Group, Outcome, Task, Trajectory


async def evaluate(
    tasks: Sequence[Task],
    *,
    attempt: AttemptRunner,
    rules: GroupRules,
    concurrency: int,
    seed: int,
    on_group: Callable[[Group], None],
) -> list[Group]:
    """One group per task, in the order of the tasks; `concurrency` groups run beside each other.

    When one of them ends the run (a judge is gone, a budget spent) the others are stopped before the error leaves here:
    nothing more is bought.
    """
    gate = asyncio.Semaphore(concurrency)

    async def one(task: Task) -> Group:
        async with gate:
            group = await run_group(
                task, seed=derive_seed(seed, "evaluate", task.id), version=0, rules=rules, attempt=attempt
            )
        on_group(group)
        return group

    running = [asyncio.ensure_future(one(task)) for task in tasks]
    try:
        return list(await asyncio.gather(*running))
    finally:
        for group in running:
            group.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class DirectSearcher:
    """A `Searcher` that does not search: the request goes to the generator as it is."""

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        """A trajectory without turns."""
        del seed
        return Trajectory(
            task_id=task.id,
            turns=(),
            outcome=Outcome.GROUNDED,
            grounding=Grounding(gen_prompt=task.prompt, references=()),
        )
