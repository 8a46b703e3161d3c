"""The main loop: groups -> advantages -> samples -> batch -> step -> publish, until the last step."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from gen_searcher.config.objective import ObjectiveConfig
from gen_searcher.errors import UserError, WorldError
from gen_searcher.grpo.advantage import attempt_advantages
from gen_searcher.grpo.pack import pack
from gen_searcher.grpo.samples import group_samples, trajectory_sample
from gen_searcher.ledger.book import Ledger
from gen_searcher.metrics.log_fields import log_fields
from gen_searcher.protocols import Learner, Scorer
from gen_searcher.train.attempt import AttemptRunner, GroupRules, GroupRunner
from gen_searcher.train.booked import BookedGroups
from gen_searcher.train.mismatch import check_first_batch, check_step, widest
from gen_searcher.train.room import Room
from gen_searcher.train.stop import Stop
from gen_searcher.train.stream import GroupStream, Step, StreamRules
from gen_searcher.train.tasks import Visit
from gen_searcher.types import Batch, Group, StepReport

log = logging.getLogger(__name__)

WARN_EVERY_IDLE = 10
"""Steps without any advantage between two warnings: one is chance, ten are a policy that always or never succeeds."""


class Recorder(Protocol):
    """What the loop tells the run, which writes it down."""

    def on_group(self, group: Group) -> None:
        """A group is final, trained on or not; the ledger has it already."""
        ...

    def on_wait(self, says: str) -> None:
        """The world is down, in a line; an empty one when it is back."""
        ...

    async def after_step(self, step: int, taken: Step, report: StepReport) -> None:
        """A step is published: book it, and checkpoint when due."""
        ...

    async def before_stop(self, step: int) -> None:
        """The run ends early, on purpose, and `step` is the last one that was published: checkpoint it."""
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
    attempts_in_flight: int | None = None
    """At once; None: as many as the stream's groups have."""


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
        StopRun: The world stayed down, or cannot serve this run; the last step is checkpointed.
        Interrupted: `parts.stop` was asked for; the last step is checkpointed.
        MismatchError: Sampler and learner disagree by more than `rules.max_gap_nats`.
        LeaseLost: Another process has taken over the run directory; nothing of the step under way is published or kept.
    """
    groups = BookedGroups(
        parts.ledger,
        rules=rules.group,
        attempt=parts.attempt,
        whole=parts.group,
        seed=rules.seed,
    )
    orphans = parts.ledger.orphans()
    await _publish(parts, from_step)
    idle = 0
    async with GroupStream(
        order,
        groups,
        rules=rules.stream,
        keep=rules.keep,
        on_group=parts.recorder.on_group,
        give_up=groups.give_up,
        set_aside=groups.set_aside,
        room=Room(attempts=rules.attempts_in_flight, group_size=rules.group.size + rules.group.spare),
        on_wait=parts.recorder.on_wait,
        version=from_step,
    ) as stream:
        for step in range(from_step + 1, rules.steps + 1):
            with log_fields(step=step):
                async with _saved(stream, parts.recorder, step - 1):
                    taken = await parts.stop.unless(stream.take())
                if step == from_step + 1:
                    sampled_here = [group for group in taken.groups if group.visit not in orphans]
                    await _probe(sampled_here, rules, parts.scorer, version=from_step)
                batch = step_batch(taken.groups, rules)
                idle = 0 if _teaches(batch) else idle + 1
                if idle and idle % WARN_EVERY_IDLE == 0:
                    log.warning(
                        "%d steps in a row had no advantage to learn from: all rewards of each group were equal", idle
                    )
                report = await parts.learner.step(batch)
                if rules.stream.max_staleness == 0:
                    check_step(report, step=step, bound_nats=rules.max_gap_nats)
                await _publish(parts, step)
                stream.published()
                async with _saved(stream, parts.recorder, step):
                    await parts.recorder.after_step(step, taken, report)


async def _publish(parts: GrpoParts, version: int) -> None:
    """Not over the weights of a process that has taken over: it publishes in the same place. Raises LeaseLost."""
    parts.ledger.fence.check()
    await parts.learner.publish(version)


@asynccontextmanager
async def _saved(stream: GroupStream, recorder: Recorder, step: int) -> AsyncGenerator[None]:
    """What ends the run in here, on purpose or with the world, leaves the weights of `step`, which is published, saved.

    That may take minutes, and nothing is bought meanwhile.
    """
    try:
        yield
    except (UserError, WorldError):
        await stream.stop()
        await recorder.before_stop(step)
        raise


def _teaches(batch: Batch) -> bool:
    return any(sample.advantage != 0.0 for row in batch.rows for sample in row)


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
