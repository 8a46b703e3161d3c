"""What a run keeps of its steps: line files for people, the ledger for the next start, checkpoints for the weights.

    step published -> attempts.jsonl, metrics.jsonl -> ledger -> checkpoint, when due -> ledger

A kill between any two of these leaves something that `resume` brings back to the last checkpoint.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gen_searcher.config.objective import ObjectiveConfig
from gen_searcher.grpo.advantage import attempt_advantages
from gen_searcher.ledger.book import BookedStep, Fence, Ledger
from gen_searcher.ledger.payload import Unreadable
from gen_searcher.ledger.recovery import Found, roll_back, standing
from gen_searcher.ledger.states import LATE, NOTHING_TO_TEACH
from gen_searcher.points import Point, passed
from gen_searcher.train.run import AttemptLog, MetricLog, RunFolder, TurnReader, cut_lines, lines_beyond
from gen_searcher.train.step_log import StepLog, cut_steps
from gen_searcher.train.stream import Step
from gen_searcher.types import Group, StepReport, Task

log = logging.getLogger(__name__)

ALL_LOST = "all members were lost"


class Saves(Protocol):
    """A learner that writes its state."""

    async def save(self, path: Path) -> None:
        """Write a checkpoint and point `latest` to it; return once it is whole."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepRules:
    """When a checkpoint is due, and how attempts were compared."""

    steps: int
    checkpoint_every_steps: int
    keep_checkpoints: int
    """How many of the latest ones stay."""
    objective: ObjectiveConfig


def resume(folder: RunFolder, ledger: Ledger) -> Found:
    """Bring the run directory back to its last checkpoint, see `ledger.recovery`. Returns what was found.

    Raises:
        UserError: Checkpoint and ledger do not belong together.
    """
    step = folder.checkpoints.latest()
    stands = standing(ledger, step)
    folder.checkpoints.sweep()
    cut = [line for line in lines_beyond(folder.metrics, start_bytes=stands.metrics_bytes) if line]
    found = roll_back(ledger, step, cut_metrics=cut)
    cut_lines(folder.metrics, keep_bytes=found.metrics_bytes)
    cut_lines(folder.attempts, keep_bytes=found.attempts_bytes)
    cut_steps(folder, step)
    return found


class Keeper:
    """Books steps, writes their lines, saves checkpoints when due."""

    def __init__(
        self,
        folder: RunFolder,
        ledger: Ledger,
        learner: Saves,
        *,
        fence: Fence,
        rules: KeepRules,
        read: TurnReader,
        config: str,
        tasks: Sequence[Task],
        saved: int,
    ) -> None:
        """Open the line files. `config` is kept for replays; `saved` is the step of the checkpoint the run goes on from."""
        self._tasks = {task.id: task for task in tasks}
        self._folder = folder
        self._ledger = ledger
        self._learner = learner
        self._fence = fence
        self._rules = rules
        self._saved = saved
        self._booked = saved
        """The last step that the ledger has."""
        self._attempts = AttemptLog(folder.attempts, read=read)
        self._metrics = MetricLog(folder.metrics)
        self._steps = StepLog(folder, config=config)

    @property
    def saved(self) -> int:
        """The step of the last checkpoint; 0: there is none."""
        return self._saved

    def close(self) -> None:
        """Close the files."""
        self._attempts.close()
        self._metrics.close()
        self._steps.close()

    async def book(self, step: int, taken: Step, report: StepReport, values: Mapping[str, float]) -> None:
        """Write the step down, everywhere; save a checkpoint every so often and at the end.

        Raises:
            LeaseLost: Somebody else writes the run directory now; nothing was written.
        """
        self._fence.check()  # while the step was made, this process may have hung and been taken over
        for group in (*taken.groups, *taken.dropped, *taken.late, *self._late_before(step)):
            self._log(group, step)
        self._steps.record(step, taken.groups, report)
        self._metrics.log(step, values)
        booked = BookedStep(step=step, attempts_bytes=self._attempts.size, metrics_bytes=self._metrics.size)
        self._ledger.book_step(
            booked,
            trained=[group.visit for group in taken.groups],
            rejected={
                **{group.visit: NOTHING_TO_TEACH if group.attempts else ALL_LOST for group in taken.dropped},
                **{group.visit: LATE for group in taken.late},
            },
        )
        self._booked = step
        passed(Point.STEP_BOOKED)
        if step % self._rules.checkpoint_every_steps == 0 or step == self._rules.steps:
            await self.save(step)

    async def save(self, step: int) -> None:
        """Write a checkpoint of the published step unless there is one, then let go of those before the last two.

        A step that could not be booked gets none: the books would not know it, and no start could go on from there.
        """
        if step == self._saved:
            return
        if step != self._booked:
            log.warning(
                "step %d is not in the books and is not saved; the next start goes on from step %d", step, self._saved
            )
            return
        for book in (self._attempts, self._metrics, self._steps, self._ledger):
            book.sync()  # a power cut must not leave a checkpoint of a step that the books do not know
        self._fence.check()
        await self._learner.save(self._folder.checkpoints.folder(step))
        self._fence.check()
        self._saved = step
        kept = self._folder.checkpoints.steps()
        self._folder.checkpoints.thin(self._rules.keep_checkpoints)
        self._ledger.checkpointed(step, oldest=self._oldest(kept))

    def _oldest(self, kept: Sequence[int]) -> int:
        """The step before which nothing can be brought back."""
        return kept[-self._rules.keep_checkpoints] if len(kept) >= self._rules.keep_checkpoints else 0

    def log_unused(self, step: int) -> None:
        """Write the lines of groups that ended after `step` and that none has used; the next start cuts and rewrites them.

        None after a step that could not be booked, whose own groups the ledger calls unused still.
        """
        if step != self._booked:
            return
        self._fence.check()
        for pending in self._ledger.pending():
            try:
                group = self._ledger.restored(pending.visit, self._tasks[pending.task_id], reopened=True)
            except Unreadable:
                continue  # the next start runs it again
            if group is not None:
                self._log(group, step + 1)

    def _late_before(self, step: int) -> Iterator[Group]:
        """What the step did not wait for when it was made the first time; its lines went with the weights."""
        for late in self._ledger.late(step):
            with contextlib.suppress(Unreadable):
                yield self._ledger.left_of(late, self._tasks[late.task_id])

    def _log(self, group: Group, step: int) -> None:
        self._attempts.record(
            group,
            step=step,
            group_id=f"{group.task.id}-{group.visit}",
            advantages=attempt_advantages(group, self._rules.objective),
        )
