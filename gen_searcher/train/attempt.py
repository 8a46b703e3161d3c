"""One attempt and one group: Task -> Trajectory -> ImageRef -> Judgement* -> Attempt -> Group.

The only place where a `WorldError` becomes a `Lost`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from gen_searcher.errors import WorldError
from gen_searcher.protocols import Generator, Judge, Searcher
from gen_searcher.train.seeds import derive_seed
from gen_searcher.types import Attempt, Group, ImageRef, Judgement, Lost, Outcome, Reward, Task, Trajectory

Compose = Callable[[Outcome, Sequence[Judgement]], Reward]


class AttemptRunner(Protocol):
    """Makes one scored attempt, or raises WorldError."""

    async def __call__(self, task: Task, *, seed: int) -> Attempt:
        """Work on the task with everything sampled from `seed`."""
        ...


async def run_attempt(
    task: Task,
    *,
    seed: int,
    searcher: Searcher,
    generator: Generator,
    judges: Sequence[Judge],
    compose: Compose,
) -> Attempt:
    """Search, draw, judge. Judges run beside each other; an attempt without a grounding is neither drawn nor judged."""
    trajectory = await searcher.search(task, seed=seed)
    image: ImageRef | None = None
    judgements: tuple[Judgement, ...] = ()
    if trajectory.grounding is not None:
        image = await generator.generate(trajectory.grounding, seed=seed)
        judged = without_evidence(trajectory)
        judgements = tuple(await asyncio.gather(*(judge.judge(task, judged, image) for judge in judges)))
    return Attempt(
        trajectory=trajectory,
        seed=seed,
        image=image,
        judgements=judgements,
        reward=compose(trajectory.outcome, judgements),
    )


def without_evidence(trajectory: Trajectory) -> Trajectory:
    """What a judge gets: outcome and grounding. The turns hold what strangers wrote, and no page may talk to a judge."""
    return replace(trajectory, turns=())


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRules:
    """How a group is run."""

    size: int
    """G: attempts per task."""
    tries: int = 3
    """How often one member is tried before it is given up; only the world's failures are tried again."""
    deadline_s: float = 600.0
    """Longest time for one try; a try past it is lost at stage `deadline`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    attempt: Attempt | None
    lost: tuple[Lost, ...]


async def _run_member(task: Task, *, seed: int, rules: GroupRules, attempt: AttemptRunner) -> _Member:
    """Try until scored or out of tries. The seed stays: a lost try says nothing about the policy."""
    lost: list[Lost] = []
    for _ in range(rules.tries):
        try:
            async with asyncio.timeout(rules.deadline_s):
                return _Member(attempt=await attempt(task, seed=seed), lost=tuple(lost))
        except WorldError as error:
            lost.append(Lost(task_id=task.id, seed=seed, stage=error.stage, error=error.message))
        except TimeoutError:
            lost.append(
                Lost(task_id=task.id, seed=seed, stage="deadline", error=f"no score after {rules.deadline_s:g} s")
            )
    return _Member(attempt=None, lost=tuple(lost))


async def run_group(task: Task, *, seed: int, version: int, rules: GroupRules, attempt: AttemptRunner) -> Group:
    """Run all members beside each other; those that stay lost are recorded and the group is the rest."""
    members = await asyncio.gather(
        *(
            _run_member(task, seed=derive_seed(seed, member), rules=rules, attempt=attempt)
            for member in range(rules.size)
        )
    )
    return Group(
        task=task,
        attempts=tuple(member.attempt for member in members if member.attempt is not None),
        lost=tuple(lost for member in members for lost in member.lost),
        version=version,
    )
