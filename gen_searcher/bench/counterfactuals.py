"""Runs what the attribution needs and no more: attempt -> oracle picture, oracle grounding, swaps -> Attribution.

Every drawing is made with the seed of the attempt's own, so that what differs is the grounding alone. A generator that
remembers its drawings draws equal groundings once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from gen_searcher.bench.attribution import Attribution, Failed, Standing, attribute
from gen_searcher.bench.links import Parts, Swap, complaints
from gen_searcher.bench.oracle import Evidence, Oracle
from gen_searcher.bench.sums import attempt_parts
from gen_searcher.bench.trace import Trace
from gen_searcher.errors import GeneratorRefused
from gen_searcher.protocols import Generator, Judge
from gen_searcher.rewards.compose import check_judgement
from gen_searcher.rewards.verdict import WEIGHTS
from gen_searcher.train.attempt import GroupRules, tried
from gen_searcher.types import Attempt, Grounding, ImageRef, Outcome, Task, Trajectory

REFUSED: Parts = dict.fromkeys(WEIGHTS, 0.0)
"""What a grounding is worth that the generator declines, as in the table of arms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactuals:
    """What counterfactuals are run with: the parts that made the attempts."""

    oracle: Oracle
    generator: Generator
    judge: Judge
    """The one whose dimensions are the K-Score."""
    bar: float
    """A question answered with less is a complaint, 0..1."""
    rules: GroupRules
    """How often and how long a counterfactual is tried."""

    async def why(self, task: Task, attempt: Attempt) -> Attribution:
        """Attribute one attempt. What the world spoils leaves it undecided."""
        own = attempt_parts(attempt)
        if not complaints(own, bar=self.bar):
            return Attribution(standing=Standing.NONE)
        done = await tried(task, seed=attempt.seed, rules=self.rules, make=partial(self._why, task, attempt, own=own))
        if done.made is None:
            lost = done.lost[-1]
            return Attribution(
                standing=Standing.UNDECIDED,
                why=f"a counterfactual was lost at {lost.stage}: {lost.error}",
                complaints=tuple(sorted(complaints(own, bar=self.bar))),
            )
        return done.made

    async def _why(self, task: Task, attempt: Attempt, *, own: Parts) -> Attribution:
        disagreeing = self._disagreeing(attempt)
        if disagreeing is not None:
            return attribute(Failed(own=own, bar=self.bar, disagreeing=disagreeing, runs={}))
        evidence = self.oracle.evidence(task)
        seed = attempt.seed if attempt.drawing is None or attempt.drawing.seed is None else attempt.drawing.seed
        runs = {} if task.target is None else {Swap.PICTURE: await self._judged(task, _request(task), task.target)}
        if evidence is None:
            return attribute(Failed(own=own, bar=self.bar, runs=runs))
        trace, grounding = Trace(attempt.trajectory, evidence), attempt.trajectory.grounding
        runs[Swap.GROUNDING] = await self._drawn(task, evidence.grounding, seed=seed)
        if grounding is None:
            return attribute(Failed(own=own, bar=self.bar, runs=runs, of_lacking=trace.of_lacking()))
        failed = Failed(
            own=own,
            bar=self.bar,
            runs=runs,
            of_references=trace.of_references(),
            of_prompt=trace.of_prompt(self.oracle.prompt_faults(task, grounding.gen_prompt)),
        )
        if failed.complaints == failed.still(Swap.PICTURE) | failed.still(Swap.GROUNDING):
            return attribute(failed)
        for swap, swapped in _swaps(grounding, evidence).items():
            runs[swap] = await self._drawn(task, swapped, seed=seed)
        return attribute(replace(failed, runs=runs))

    def _disagreeing(self, attempt: Attempt) -> Parts | None:
        """The verdict of a judge that only watched, if it answers the same questions and has no complaint."""
        others = [judgement.parts for judgement in attempt.shadow if set(judgement.parts) == set(WEIGHTS)]
        return next((parts for parts in others if not complaints(parts, bar=self.bar)), None)

    async def _drawn(self, task: Task, grounding: Grounding, *, seed: int) -> Parts:
        try:
            image = await self.generator.generate(grounding, seed=seed)
        except GeneratorRefused:
            return REFUSED
        return await self._judged(task, grounding, image)

    async def _judged(self, task: Task, grounding: Grounding, image: ImageRef) -> Parts:
        trajectory = Trajectory(task_id=task.id, turns=(), outcome=Outcome.GROUNDED, grounding=grounding)
        judgement = await self.judge.judge(task, trajectory, image)
        check_judgement(judgement)
        return judgement.parts


def _request(task: Task) -> Grounding:
    """What stands for the grounding of a picture that nobody drew from one."""
    return Grounding(gen_prompt=task.prompt, references=())


def _swaps(own: Grounding, evidence: Evidence) -> dict[Swap, Grounding]:
    return {
        Swap.REFERENCES: replace(own, references=evidence.grounding.references),
        Swap.PROMPT: replace(own, gen_prompt=evidence.grounding.gen_prompt),
    }
