"""One group, paying only for pictures that can move the policy.

    search all -> judge without pictures -> plan (`grpo.pictures`) -> draw and judge what is left -> Group

Between the steps the members wait for each other, because what a picture is worth depends on the siblings; groups still
run beside each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from gen_searcher.drawing import Capability, Drawing, DrawnHow
from gen_searcher.errors import GeneratorRefused
from gen_searcher.grpo.pictures import Candidate, PicturePlan, PictureRules, plan_pictures
from gen_searcher.protocols import Generator, Judge, Searcher
from gen_searcher.rewards.compose import IMAGE
from gen_searcher.train.attempt import (
    Compose,
    GroupRules,
    PictureSeed,
    Tried,
    asked,
    member_seed,
    member_seeds,
    refused,
    tried,
)
from gen_searcher.types import Attempt, Group, Judgement, Reward, Task, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """The parts of an attempt, apart from each other."""

    searcher: Searcher
    generator: Generator
    judges: Sequence[Judge]
    compose: Compose
    picture_seed: PictureSeed = member_seed
    capability: Capability | None = None
    """Of the generator; None for one that declares nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsefulGroups:
    """A `GroupRunner` that draws only what can move the policy."""

    stages: Stages
    rules: GroupRules
    pictures: PictureRules

    async def __call__(self, task: Task, *, seed: int, version: int) -> Group:
        """Waits for all searches, then for all text verdicts, then for the pictures that are left."""
        seeds = member_seeds(seed, rules=self.rules)
        found = await asyncio.gather(
            *(self._tried(task, seed, partial(self.stages.searcher.search, task, seed=seed)) for seed in seeds)
        )
        members = [
            _Found(seed=seed, trajectory=one.made)
            for seed, one in zip(seeds, found, strict=True)
            if one.made is not None
        ]
        read = await asyncio.gather(
            *(self._tried(task, member.seed, partial(self._candidate, task, member)) for member in members)
        )
        candidates = [
            _Planned(seed=member.seed, candidate=one.made)
            for member, one in zip(members, read, strict=True)
            if one.made is not None
        ]
        plans = plan_pictures([planned.candidate for planned in candidates], rules=self.pictures)
        made = await asyncio.gather(
            *(
                self._tried(task, planned.seed, partial(self._attempt, task, planned, plan))
                for planned, plan in zip(candidates, plans, strict=True)
            )
        )
        return Group(
            task=task,
            attempts=tuple(one.made for one in made if one.made is not None),
            lost=tuple(lost for one in (*found, *read, *made) for lost in one.lost),
            version=version,
        )

    async def _tried[T](self, task: Task, seed: int, make: partial[Awaitable[T]]) -> Tried[T]:
        return await tried(task, seed=seed, rules=self.rules, make=make)
