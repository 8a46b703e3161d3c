"""What fine-tuning keeps of its steps, so that the same command goes on after a kill.

    step -> metrics.jsonl -> checkpoint, when due -> ... -> the policy, and no checkpoint any more

A kill between any two of these leaves something that `resume_sft` brings back to the last checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, TypeAdapter

from gen_searcher.ledger.book import Fence
from gen_searcher.points import Point, passed
from gen_searcher.train.keeper import Saves
from gen_searcher.train.run import MetricLog, RunFolder, cut_after_step
from gen_searcher.types import Sample


class _Line(BaseModel):
    step: int


_STEP = TypeAdapter(_Line)
KEPT = 1
"""Checkpoints beside the one that is being written: nothing ever goes back further."""


def resume_sft(folder: RunFolder) -> int:
    """Bring fine-tuning back to its last checkpoint; returns the step it goes on from, 0 at the start."""
    step = folder.sft_checkpoints.latest()
    folder.sft_checkpoints.sweep()
    cut_after_step(folder.sft_metrics, step, lambda line: _STEP.validate_json(line).step)
    return step


def samples_digest(samples: Iterable[Sample]) -> str:
    """Hex digest of everything that fine-tuning learns from, in its order."""
    whole = hashlib.sha256()
    for sample in samples:
        pictures = [image.sha256 for image in sample.images]
        whole.update(json.dumps([sample.token_ids, sample.loss_mask, pictures, sample.advantage]).encode())
    return whole.hexdigest()


class SftKeeper:
    """Writes the numbers of each step, saves checkpoints when due."""

    def __init__(self, folder: RunFolder, learner: Saves, *, fence: Fence, every_steps: int, saved: int) -> None:
        """`saved` is the step of the checkpoint that fine-tuning goes on from."""
        self._checkpoints = folder.sft_checkpoints
        self._learner = learner
        self._fence = fence
        self._every_steps = every_steps
        self._saved = saved
        self._metrics = MetricLog(folder.sft_metrics)

    def close(self) -> None:
        """Close the file."""
        self._metrics.close()

    async def book(self, step: int, values: Mapping[str, float]) -> None:
        """Write the step down; save a checkpoint every so often."""
        self._fence.check()
        self._metrics.log(step, values)
        passed(Point.STEP_BOOKED)
        if step % self._every_steps == 0:
            await self.save(step)

    async def save(self, step: int) -> None:
        """Write a checkpoint of the step unless there is one, then let go of those before it."""
        if step == self._saved:
            return
        self._metrics.sync()
        self._fence.check()
        await self._learner.save(self._checkpoints.folder(step))
        self._fence.check()
        self._saved = step
        self._checkpoints.thin(KEPT)
