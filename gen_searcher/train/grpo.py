"""The main loop: groups -> advantages -> samples -> batch -> step -> publish, until the last step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from gen_searcher.config.objective import ObjectiveConfig
from gen_searcher.errors import UserError, WorldError
from gen_searcher.grpo.advantage import attempt_advantages
from gen_searcher.grpo.pack import pack
from gen_searcher.grpo.samples import group_samples, trajectory_sample
from gen_searcher.ledger.book import Ledger
from gen_searcher.ledger.payload import Unreadable
from gen_searcher.protocols import Learner, Scorer
from gen_searcher.train.attempt import AttemptRunner, GroupRules, GroupRunner, run_group
from gen_searcher.train.mismatch import check_first_batch, check_step, widest
from gen_searcher.train.seeds import derive_seed
from gen_searcher.train.stop import Stop
from gen_searcher.train.stream import GroupStream, Step, StreamRules
from gen_searcher.train.tasks import Visit
from gen_searcher.types import Attempt, Batch, Group, StepReport, Task

log = logging.getLogger(__name__)


class Recorder(Protocol):
    """What the loop tells the run, which writes it down."""

    async def after_step(self, step: int, taken: Step, report: StepReport) -> None:
        """A step is published: book it, and checkpoint when due."""
        ...

    async def at_end(self, step: int) -> None:
        """Nothing more will be trained in this process, `step` was published last: make sure that it can be continued."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpoRules:
    """What the loop itself decides by."""

    steps: int
    row_tokens: int
    """Longest packed row, in expanded tokens."""
    objective: ObjectiveConfig
    """How attempts are compared, and which of them carry a gradient."""
    group: GroupRules
    stream: StreamRules
    max_gap_nats: float | None
    """Most that sampler and learner may disagree on a token; None = any."""
    keep: Callable[[Group], bool]
    """Which groups a step may learn from."""
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpoParts:
    """What the loop works with."""

    attempt: AttemptRunner
    learner: Learner
    scorer: Scorer
    """The learner's weights, asked before the first step whether they find likely what was sampled."""
    recorder: Recorder
    ledger: Ledger
    """Where every group stands; what it holds is not run again."""
    stop: Stop = field(default_factory=Stop)
    """Asked for by a signal."""
    group: GroupRunner | None = None
    """Runs a whole group; None runs every member by itself with `attempt`."""


async def train(rules: GrpoRules, parts: GrpoParts, order: Iterator[Visit], *, from_step: int = 0) -> None:
    """Run steps `from_step + 1` to `rules.steps`.

    Raises:
        TooManyLost: The world is down.
        MismatchError: Sampler and learner disagree by more than `rules.max_gap_nats`.
        Interrupted: `parts.stop` was asked for.
    """
    orphans = parts.ledger.orphans()
    await parts.learner.publish(from_step)
    async with GroupStream(
        order, partial(_one_group, rules, parts), rules=rules.stream, keep=rules.keep, version=from_step
    ) as stream:
        for step in range(from_step + 1, rules.steps + 1):
            try:
                taken = await parts.stop.unless(stream.take())
            except (WorldError, UserError):
                await parts.recorder.at_end(step - 1)
                raise
            if step == from_step + 1:
                sampled_here = [group for group in taken.groups if group.visit not in orphans]
                await _probe(sampled_here, rules, parts.scorer, version=from_step)
            batch = step_batch(taken.groups, rules)
            report = await parts.learner.step(batch)
            if rules.stream.max_staleness == 0:
                check_step(report, step=step, bound_nats=rules.max_gap_nats)
            await parts.learner.publish(step)
            stream.published()
            await parts.recorder.after_step(step, taken, report)
    await parts.recorder.at_end(rules.steps)


async def _one_group(rules: GrpoRules, parts: GrpoParts, visit: Visit, version: int) -> Group:
    """The group of a visit: the one that an earlier start of the run finished, or a new one, booked as it comes.

    Its seeds depend on the visit alone, so that a run which was interrupted asks for the same as one which was not.
    """
    ledger, task = parts.ledger, visit.task
    try:
        finished = ledger.restored(visit.number, task)
    except Unreadable as error:
        log.warning("the finished group of visit %d is damaged and is run again: %s", visit.number, error)
        ledger.forget(visit.number)
        finished = None
    if finished is not None:
        return finished
    version = ledger.issue(visit.number, task.id, version=version)
    seed = derive_seed(rules.seed, "grpo", 0, task.id, visit.number)
    booked = BookedAttempts(ledger, visit=visit.number, attempt=parts.attempt)
    run = parts.group or partial(run_group, rules=rules.group, attempt=booked)
    group = replace(await run(task, seed=seed, version=version), visit=visit.number)
    ledger.score(group)
    return group


class BookedAttempts:
    """An `AttemptRunner` whose attempts are on disk the moment they end, and which makes none twice."""

    def __init__(self, ledger: Ledger, *, visit: int, attempt: AttemptRunner) -> None:
        """What earlier starts of the run kept of this visit is read now."""
        self._ledger = ledger
        self._visit = visit
        self._attempt = attempt
        self._kept = ledger.kept(visit)

    async def __call__(self, task: Task, *, seed: int) -> Attempt:
        """The kept attempt, or a new one."""
        if seed in self._kept:
            return self._kept[seed]
        try:
            made = await self._attempt(task, seed=seed)
        except WorldError as error:
            self._ledger.note("lost", f"seed {seed}: {error}", visit=self._visit)
            raise
        self._ledger.keep(self._visit, made)
        return made


async def _probe(groups: Sequence[Group], rules: GrpoRules, scorer: Scorer, *, version: int) -> None:
    """Let the learner score what was sampled, masked attempts too, before any weight changes. Raises MismatchError."""
    samples = [trajectory_sample(attempt.trajectory, 0.0) for group in groups for attempt in group.attempts]
    scored = await scorer.logprobs(pack(samples, row_tokens=rules.row_tokens))
    check_first_batch(widest(groups, samples, scored, version=version), bound_nats=rules.max_gap_nats)


def step_batch(groups: Sequence[Group], rules: GrpoRules) -> Batch:
    """Compare within each group, then drop what carries no gradient, then pack."""
    masks = rules.objective.masks
    samples = [
        sample
        for group in groups
        for sample in group_samples(group, attempt_advantages(group, rules.objective), masks=masks)
    ]
    masked = sum(len(group.attempts) for group in groups) - len(samples)
    return pack(samples, row_tokens=rules.row_tokens, masked=masked if masks.counted else 0)
