"""One group, paying only for pictures that can move the policy.

    search all -> judge without pictures -> plan (`grpo.pictures`) -> draw and judge what is left -> Group

Between the steps the members wait for each other, because what a picture is worth depends on the siblings; groups still
run beside each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from gen_searcher.drawing import Capability, Drawing, DrawnHow
from gen_searcher.errors import GeneratorRefused
from gen_searcher.grpo.pictures import Candidate, PicturePlan, PictureRules, plan_pictures
from gen_searcher.metrics.traces.attempts import AttemptTrace
from gen_searcher.protocols import Generator, Judge, Searcher
from gen_searcher.rewards.compose import IMAGE
from gen_searcher.train.attempt import (
    Compose,
    GroupRules,
    PictureSeed,
    asked,
    drawn_after,
    member_seed,
    member_seeds,
    refused,
    run_member,
    still_to_make,
    tried,
    verdicts,
    without_evidence,
)
from gen_searcher.train.sampled import draw_samples, seeing_all
from gen_searcher.train.shadow import Shadow
from gen_searcher.train.tail import everybody
from gen_searcher.types import Attempt, Group, Judgement, Reward, Task, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """The parts of an attempt, apart from each other."""

    searcher: Searcher
    generator: Generator
    judges: Sequence[Judge]
    compose: Compose
    picture_seed: PictureSeed = member_seed
    shadow: Shadow | None = None
    capability: Capability | None = None
    """Of the generator; None for one that declares nothing."""
    samples: int = 1
    """Pictures per grounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    seed: int
    trajectory: Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class UsefulGroups:
    """A `GroupRunner` that draws only what can move the policy."""

    stages: Stages
    rules: GroupRules
    pictures: PictureRules

    async def __call__(self, task: Task, *, seed: int, version: int, earlier: Group | None = None) -> Group:
        """Waits for all searches, then for all verdicts without pictures, then for the pictures that are left.

        What is made of an `earlier` group is planned anew with its siblings; pictures that still serve are kept.
        """
        seeds = member_seeds(seed, rules=self.rules)
        with ExitStack() as stack:
            traces = {own: stack.enter_context(AttemptTrace(task.id, seed=own)) for own in seeds}
            return await self._run(task, seeds, traces, version=version, earlier=earlier)

    async def _run(
        self,
        task: Task,
        seeds: Sequence[int],
        traces: Mapping[int, AttemptTrace],
        *,
        version: int,
        earlier: Group | None,
    ) -> Group:
        kept = {} if earlier is None else {attempt.seed: attempt for attempt in earlier.attempts}
        searched = await everybody(
            [
                run_member(task, seed=own, rules=self.rules, make=partial(self._search, task, own), trace=traces[own])
                for own in still_to_make(seeds, earlier)
            ]
        )
        read = await everybody(
            [
                tried(
                    task,
                    seed=one.made.seed,
                    rules=self.rules,
                    make=partial(self._read, task, one.made),
                    trace=traces[one.made.seed],
                )
                for one in searched
                if one.made is not None
            ]
        )
        candidates = [one.made for one in read if one.made is not None]
        candidates += [self._again(task, attempt) for attempt in kept.values()]
        candidates.sort(key=lambda candidate: seeds.index(candidate.seed))
        plans = plan_pictures(candidates, rules=self.pictures)
        finished = await everybody(
            [
                tried(
                    task,
                    seed=candidate.seed,
                    rules=self.rules,
                    make=partial(self._finish, task, candidate, plan, kept.get(candidate.seed)),
                    trace=traces[candidate.seed],
                )
                for candidate, plan in zip(candidates, plans, strict=True)
            ]
        )
        return Group(
            task=task,
            attempts=tuple(one.made for one in finished if one.made is not None),
            lost=(
                *(() if earlier is None else earlier.lost),
                *(lost for one in (*searched, *read, *finished) for lost in one.lost),
            ),
            version=version,
        )

    async def _search(self, task: Task, seed: int) -> _Found:
        return _Found(seed=seed, trajectory=await self.stages.searcher.search(task, seed=seed))

    async def _read(self, task: Task, found: _Found) -> Candidate:
        """Ask the judges that need no picture: all but the one named `image`."""
        judgements: list[Judgement] = []
        if found.trajectory.grounding is not None:
            blind = [judge for judge in self.stages.judges if judge.name != IMAGE]
            judgements = [*await verdicts(blind, task, without_evidence(found.trajectory), None)]
        return Candidate(
            trajectory=found.trajectory,
            seed=found.seed,
            picture_seed=self.stages.picture_seed(task, found.seed),
            judgements=tuple(judgements),
        )

    def _again(self, task: Task, attempt: Attempt) -> Candidate:
        return Candidate(
            trajectory=attempt.trajectory,
            seed=attempt.seed,
            picture_seed=self.stages.picture_seed(task, attempt.seed),
            judgements=tuple(judgement for judgement in attempt.judgements if judgement.judge != IMAGE),
        )

    async def _finish(
        self, task: Task, candidate: Candidate, plan: PicturePlan | None, before: Attempt | None
    ) -> Attempt:
        """Draw and judge what the plan wants, unless that was done `before`."""
        if before is not None and _serves(before, plan):
            return before
        trajectory = candidate.trajectory
        grounding = trajectory.grounding
        if plan is None or grounding is None:
            return _undrawn(candidate, self.stages.compose(trajectory, ()), None)
        if plan.how is DrawnHow.UNWANTED:
            drawing = Drawing(how=plan.how, reason=plan.reason)
            return _undrawn(candidate, self.stages.compose(trajectory, candidate.judgements), drawing)
        if plan.how is DrawnHow.SKIPPED:
            drawing = Drawing(how=plan.how, reason=plan.reason)
            return _undrawn(candidate, without_picture(candidate.judgements, self.pictures), drawing)
        samples = self.stages.samples
        drawing = asked(grounding, seed=plan.seed, capability=self.stages.capability, samples=samples)
        drawing = replace(drawing, how=plan.how, reason=plan.reason or drawing.reason)
        asked_s = asyncio.get_running_loop().time()
        try:
            image, *more = images = await draw_samples(
                self.stages.generator, grounding, seed=plan.seed, count=samples, capability=self.stages.capability
            )
        except GeneratorRefused as error:
            drawing = replace(drawing, latency_s=asyncio.get_running_loop().time() - asked_s)
            return refused(candidate.trajectory, drawing, error, seed=candidate.seed)
        drawing = drawn_after(drawing, trajectory, image, capability=self.stages.capability, asked_s=asked_s)
        seeing = [judge for judge in self.stages.judges if judge.name == IMAGE]
        shown, shadow = without_evidence(trajectory), self.stages.shadow
        judgements = (*await verdicts(seeing_all(seeing, images), task, shown, image), *candidate.judgements)
        return Attempt(
            trajectory=candidate.trajectory,
            seed=candidate.seed,
            image=image,
            judgements=judgements,
            reward=self.stages.compose(trajectory, judgements),
            shadow=() if shadow is None else await shadow.watch(task, shown, image, seed=candidate.seed),
            drawing=drawing if plan.how is DrawnHow.DRAWN else replace(drawing, cost_usd=0.0),
            more_images=tuple(more),
        )


def without_picture(judgements: Sequence[Judgement], rules: PictureRules) -> Reward:
    """What the other judges give an attempt of a group that trains nobody; its pictures would have added the same to all."""
    parts = {judgement.judge: judgement.score for judgement in judgements}
    return Reward(total=(1.0 - rules.share) * sum(parts.values()), parts=parts)


def _serves(attempt: Attempt, plan: PicturePlan | None) -> bool:
    """Whether the attempt was made as the plan wants it."""
    drawing = attempt.drawing
    if plan is None or drawing is None:
        return plan is None
    if plan.how in (DrawnHow.UNWANTED, DrawnHow.SKIPPED):
        return drawing.how is plan.how
    asked_for = drawing.how in (DrawnHow.DRAWN, DrawnHow.REUSED, DrawnHow.REFUSED)
    return asked_for and drawing.seed == plan.seed


def _undrawn(candidate: Candidate, reward: Reward, drawing: Drawing | None) -> Attempt:
    return Attempt(
        trajectory=candidate.trajectory,
        seed=candidate.seed,
        image=None,
        judgements=candidate.judgements,
        reward=reward,
        drawing=drawing,
    )
