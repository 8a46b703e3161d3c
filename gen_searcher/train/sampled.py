"""A grounding drawn several times: n seeds -> n pictures -> n verdicts -> one verdict with their mean and variance."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from gen_searcher.drawing import Capability
from gen_searcher.protocols import Generator, Judge
from gen_searcher.rewards.compose import IMAGE, check_judgement
from gen_searcher.train.seeds import derive_seed
from gen_searcher.types import Grounding, ImageRef, Judgement, Task, Trajectory

T = TypeVar("T")


def sample_seeds(seed: int, *, count: int, members: int = 1) -> tuple[int, ...]:
    """[count] what each picture is drawn with; the first with `seed` itself, so that one picture is what it always was.

    Of a mixture of `members` models all name the same one.
    """
    others = (derive_seed("sample", seed, number) for number in range(1, count))
    return (seed, *(naming(seed % members, other, members=members) for other in others))


def naming(member: int, seed: int, *, members: int) -> int:
    """The seed next to this one, not above it, that names the member of a mixture; 0 or more for a seed of 31 bits."""
    below = seed - (seed - member) % members
    return below if below >= 0 else below + members


async def draw_samples(
    generator: Generator, grounding: Grounding, *, seed: int, count: int, capability: Capability | None = None
) -> tuple[ImageRef, ...]:
    """[count] pictures of the grounding. Raises GeneratorError: one that is refused or fails speaks for all."""
    members = 1 if capability is None else max(1, len(capability.members))
    seeds = sample_seeds(seed, count=count, members=members)
    return await all_or_first(generator.generate(grounding, seed=own) for own in seeds)


def seeing_all(judges: Sequence[Judge], images: Sequence[ImageRef]) -> list[Judge]:
    """The judges, of which the one that looks at pictures looks at all of these."""
    return [SeesAll(judge, images) if judge.name == IMAGE and len(images) > 1 else judge for judge in judges]


class SeesAll:
    """A judge that looks at every picture of a grounding and says what it says on average."""

    def __init__(self, judge: Judge, images: Sequence[ImageRef]) -> None:
        """`images`: two at least."""
        self._judge = judge
        self._images = images

    @property
    def name(self) -> str:
        """Of the judge inside."""
        return self._judge.name

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """One verdict on all pictures. Raises JudgeError when there is none on one of them."""
        del image
        asked = (self._judge.judge(task, trajectory, each) for each in self._images)
        return mean_judgement(await all_or_first(asked))


def mean_judgement(judgements: Sequence[Judgement]) -> Judgement:
    """Mean score, parts and unbiased variance of the score; of a part, over the verdicts to which it applies."""
    for judgement in judgements:
        check_judgement(judgement)
    first = judgements[0]
    scores = [judgement.score for judgement in judgements]
    mean = math.fsum(scores) / len(scores)
    shown = ", ".join(f"{score:.3g}" for score in scores)
    return replace(
        first,
        score=mean,
        parts={name: _mean([judgement.parts.get(name) for judgement in judgements]) for name in first.parts},
        rationale=f"mean of {len(scores)} pictures ({shown}); of the first: {first.rationale}",
        latency_s=max(judgement.latency_s for judgement in judgements),
        cost_usd=math.fsum(judgement.cost_usd for judgement in judgements),
        variance=math.fsum((score - mean) ** 2 for score in scores) / (len(scores) - 1),
    )


async def all_or_first(waited: Iterable[Awaitable[T]]) -> tuple[T, ...]:
    """All results, or the first failure; then nobody goes on working for an attempt that is lost already."""
    asking = [asyncio.ensure_future(one) for one in waited]
    try:
        return tuple(await asyncio.gather(*asking))
    finally:
        for one in asking:
            one.cancel()


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
