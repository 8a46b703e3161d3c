"""One attempt and one group: Task -> Trajectory -> ImageRef -> Judgement* -> Attempt -> Group.

The only place where a `WorldError` becomes a `Lost`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, Protocol, TypeVar

from gen_searcher.agent.revision import own_pictures
from gen_searcher.drawing import Capability, Drawing, DrawnHow
from gen_searcher.errors import CUT_OFF, GeneratorRefused, WorldError
from gen_searcher.metrics.log_fields import log_fields
from gen_searcher.metrics.traces.attempts import AttemptTrace
from gen_searcher.protocols import Generator, Judge, Searcher
from gen_searcher.train.room import member_ended
from gen_searcher.train.sampled import all_or_first, draw_samples, seeing_all
from gen_searcher.train.seeds import derive_seed
from gen_searcher.train.shadow import Shadow
from gen_searcher.train.tail import TailRules, first_of, gathered
from gen_searcher.train.traced import told
from gen_searcher.types import Attempt, Grounding, Group, ImageRef, Judgement, Lost, Reward, Task, Trajectory

Compose = Callable[[Trajectory, Sequence[Judgement]], Reward]
PictureSeed = Callable[[Task, int], int]
"""Task and the attempt's seed -> what its picture is drawn with."""
log = logging.getLogger(__name__)

T = TypeVar("T")


class AttemptRunner(Protocol):
    """Makes one scored attempt, or raises WorldError."""

    async def __call__(self, task: Task, *, seed: int) -> Attempt:
        """Work on the task with everything sampled from `seed`."""
        ...


class GroupRunner(Protocol):
    """Makes one group; what the world spoils is recorded in it."""

    async def __call__(self, task: Task, *, seed: int, version: int, earlier: Group | None = None) -> Group:
        """All attempts at the task, sampled from `seed`, started when the policy was at `version`.

        `earlier` is what came of the same group before: its attempts are kept, its lost members are tried again.
        """
        ...


def member_seed(task: Task, seed: int) -> int:
    """Each attempt's picture is drawn with the attempt's own seed."""
    del task
    return seed


def task_seed(task: Task, seed: int) -> int:
    """All attempts at a task are drawn with one seed."""
    del seed
    return derive_seed("picture", task.id)


async def run_attempt(
    task: Task,
    *,
    seed: int,
    searcher: Searcher,
    generator: Generator,
    judges: Sequence[Judge],
    compose: Compose,
    shadow: Shadow | None = None,
    picture_seed: PictureSeed = member_seed,
    capability: Capability | None = None,
    samples: int = 1,
) -> Attempt:
    """Search, then `score_trajectory`."""
    return await score_trajectory(
        task,
        await searcher.search(task, seed=seed),
        seed=seed,
        generator=generator,
        judges=judges,
        compose=compose,
        shadow=shadow,
        picture_seed=picture_seed,
        capability=capability,
        samples=samples,
    )


async def score_trajectory(
    task: Task,
    trajectory: Trajectory,
    *,
    seed: int,
    generator: Generator,
    judges: Sequence[Judge],
    compose: Compose,
    shadow: Shadow | None = None,
    picture_seed: PictureSeed = member_seed,
    capability: Capability | None = None,
    samples: int = 1,
) -> Attempt:
    """Draw, judge. Judges run beside each other; an attempt without a grounding is neither drawn nor judged.

    A grounding is drawn `samples` times, see `train.sampled`. One that the generator refuses for its content is worth
    nothing, like no grounding at all. What the `shadow` judges say is kept beside the attempt and never reaches `compose`.
    """
    if trajectory.grounding is None:
        return Attempt(trajectory=trajectory, seed=seed, image=None, judgements=(), reward=compose(trajectory, ()))
    own = picture_seed(task, seed)
    drawing = asked(trajectory.grounding, seed=own, capability=capability, samples=samples)
    asked_s = asyncio.get_running_loop().time()
    try:
        image, *more = images = await draw_samples(
            generator, trajectory.grounding, seed=own, count=samples, capability=capability
        )
    except GeneratorRefused as error:
        drawing = replace(drawing, latency_s=asyncio.get_running_loop().time() - asked_s)
        return refused(trajectory, drawing, error, seed=seed)
    drawing = drawn_after(drawing, trajectory, image, capability=capability, asked_s=asked_s)
    shown = without_evidence(trajectory)
    judgements = await verdicts(seeing_all(judges, images), task, shown, image)
    return Attempt(
        trajectory=trajectory,
        seed=seed,
        image=image,
        judgements=judgements,
        reward=compose(trajectory, judgements),
        shadow=() if shadow is None else await shadow.watch(task, shown, image, seed=seed),
        drawing=drawing,
        more_images=tuple(more),
    )


def without_evidence(trajectory: Trajectory) -> Trajectory:
    """What a judge gets: outcome and grounding. The turns hold what strangers wrote, and no page may talk to a judge."""
    return replace(trajectory, turns=())


async def verdicts(
    judges: Sequence[Judge], task: Task, trajectory: Trajectory, image: ImageRef | None
) -> tuple[Judgement, ...]:
    """All verdicts, or the first failure."""
    return await all_or_first(judge.judge(task, trajectory, image) for judge in judges)


def asked(grounding: Grounding, *, seed: int, capability: Capability | None, samples: int = 1) -> Drawing:
    """The record of pictures that are asked for; `capability` None: of a model that declares nothing."""
    whole = Capability() if capability is None else capability
    able = whole.of(seed)
    most = len(grounding.references) if able.max_references is None else able.max_references
    cut = max(0, len(grounding.references) - most)
    cost_usd = samples * able.usd_per_picture
    return Drawing(how=DrawnHow.DRAWN, reason=whole.who(seed), seed=seed, cut_references=cut, cost_usd=cost_usd)


def drawn_after(
    drawing: Drawing, trajectory: Trajectory, image: ImageRef, *, capability: Capability | None, asked_s: float
) -> Drawing:
    """The record once the picture is there. The picture that the policy was shown is paid for in its own turn."""
    shown = image in own_pictures(trajectory)
    paid = 0.0
    if shown and capability is not None and drawing.seed is not None:
        paid = capability.of(drawing.seed).usd_per_picture
    return replace(
        drawing, latency_s=asyncio.get_running_loop().time() - asked_s, cost_usd=max(0.0, drawing.cost_usd - paid)
    )


def refused(trajectory: Trajectory, drawing: Drawing, error: GeneratorRefused, *, seed: int) -> Attempt:
    """An attempt whose grounding the generator declined: the policy's doing, scored 0, and recorded as what it is."""
    drawing = replace(drawing, how=DrawnHow.REFUSED, reason=error.message)
    nothing = Reward(total=0.0, parts={})
    return Attempt(trajectory=trajectory, seed=seed, image=None, judgements=(), reward=nothing, drawing=drawing)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRules:
    """How a group is run."""

    size: int
    """G: attempts per task."""
    tries: int = 3
    """How often one member is tried before it is given up; only the world's failures are tried again."""
    deadline_s: float = 600.0
    """Longest time for one try; a try past it is lost at stage `deadline`."""
    tail: TailRules | None = None
    """When the last members are given up; None waits for all."""
    spare: int = 0
    """Attempts that are started beyond `size`; when `size` are scored the others are given up. Not together with `tail`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried(Generic[T]):
    """What came of one member's tries."""

    made: T | None
    """None when it stayed lost."""
    lost: tuple[Lost, ...]


async def tried(
    task: Task, *, seed: int, rules: GroupRules, make: Callable[[], Awaitable[T]], trace: AttemptTrace | None = None
) -> Tried[T]:
    """Try until made, out of tries or hopeless. The seed stays: a lost try says nothing about the policy.

    `trace`: what the tries belong to, when they make one part of an attempt; None: they are the whole attempt.
    """
    if trace is None:
        with AttemptTrace(task.id, seed=seed) as whole:
            return await tried(task, seed=seed, rules=rules, make=make, trace=whole)
    lost: list[Lost] = []
    with log_fields(task=task.id, attempt=seed):
        for _ in range(rules.tries):
            with trace.one_try() as this:
                try:
                    async with asyncio.timeout(rules.deadline_s):
                        made = await make()
                    trace.made(told(made))
                    return Tried(made=made, lost=tuple(lost))
                except WorldError as error:
                    lost.append(
                        Lost(task_id=task.id, seed=seed, stage=error.stage, error=error.message, passes=error.passes)
                    )
                except TimeoutError:
                    said = f"no score after {rules.deadline_s:g} s"
                    lost.append(Lost(task_id=task.id, seed=seed, stage="deadline", error=said))
                this.lose(lost[-1].stage, lost[-1].error)
            log.debug("a try is lost at %s: %s", lost[-1].stage, lost[-1].error)
            if not lost[-1].passes:
                break
    return Tried(made=None, lost=tuple(lost))


def member_seeds(seed: int, *, rules: GroupRules) -> tuple[int, ...]:
    """[G + spare] what each member is sampled from."""
    return tuple(derive_seed(seed, member) for member in range(rules.size + rules.spare))


async def run_member(
    task: Task, *, seed: int, rules: GroupRules, make: Callable[[], Awaitable[T]], trace: AttemptTrace | None = None
) -> Tried[T]:
    """`tried`, and then let another attempt begin in this one's place."""
    try:
        return await tried(task, seed=seed, rules=rules, make=make, trace=trace)
    finally:
        member_ended()


def still_to_make(seeds: Sequence[int], earlier: Group | None) -> tuple[int, ...]:
    """Those members that `earlier` neither holds nor lost without hope."""
    if earlier is None:
        return tuple(seeds)
    settled = {attempt.seed for attempt in earlier.attempts} | set(earlier.hopeless)
    return tuple(seed for seed in seeds if seed not in settled)


async def run_group(
    task: Task, *, seed: int, version: int, rules: GroupRules, attempt: AttemptRunner, earlier: Group | None = None
) -> Group:
    """Run all members beside each other; those that stay lost are recorded and the group is the rest."""
    seeds = member_seeds(seed, rules=rules)
    to_make = still_to_make(seeds, earlier)
    running = [run_member(task, seed=own, rules=rules, make=partial(attempt, task, seed=own)) for own in to_make]
    if rules.spare:
        wanted = rules.size - (0 if earlier is None else len(earlier.attempts))
        ended = await first_of(running, wanted=wanted, counts=lambda one: one.made is not None)
        why = "its group had as many as it needs; see grpo.oversample"
    else:
        ended = await gathered(running, rules.tail)
        why = "most of its group had ended; see grpo.tail"
    members = [cut_off(task, own, why) if one is None else one for own, one in zip(to_make, ended, strict=True)]
    made = {own: member.made for own, member in zip(to_make, members, strict=True) if member.made is not None}
    if earlier is not None:
        made |= {kept.seed: kept for kept in earlier.attempts}
    return Group(
        task=task,
        attempts=tuple(made[own] for own in seeds if own in made),
        lost=(*(() if earlier is None else earlier.lost), *(lost for member in members for lost in member.lost)),
        version=version,
    )


def cut_off(task: Task, seed: int, why: str) -> Tried[Attempt]:
    """A member that we gave up ourselves."""
    return Tried(made=None, lost=(Lost(task_id=task.id, seed=seed, stage=CUT_OFF, error=why),))
