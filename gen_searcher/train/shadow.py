"""Judges that watch: they score a share of the attempts, and what they say is recorded and changes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from gen_searcher.errors import StopRun, WorldError
from gen_searcher.protocols import Judge
from gen_searcher.rewards.compose import check_judgement
from gen_searcher.train.seeds import derive_seed
from gen_searcher.types import ImageRef, Judgement, Task, Trajectory

log = logging.getLogger(__name__)

DEADLINE_S = 60.0
"""A watching judge that takes longer is not waited for: the attempt it watches must not be lost by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """The watching judges and their share."""

    judges: Sequence[Judge]
    frac: float
    """Share of the judged attempts, 0..1, picked by seed: a replayed run watches the same ones."""

    def is_due(self, task: Task, *, seed: int) -> bool:
        """Whether this attempt is watched."""
        return derive_seed("shadow", task.id, seed) < self.frac * 2**31

    async def watch(self, task: Task, trajectory: Trajectory, image: ImageRef, *, seed: int) -> tuple[Judgement, ...]:
        """What they say, empty when the attempt is not watched. A watching judge without a verdict is left out."""
        if not self.is_due(task, seed=seed):
            return ()
        found = await asyncio.gather(*(_ask(judge, task, trajectory, image) for judge in self.judges))
        return tuple(judgement for judgement in found if judgement is not None)


async def _ask(judge: Judge, task: Task, trajectory: Trajectory, image: ImageRef) -> Judgement | None:
    try:
        async with asyncio.timeout(DEADLINE_S):
            judgement = await judge.judge(task, trajectory, image)
        check_judgement(judgement)
    except (WorldError, StopRun, TimeoutError) as error:
        log.warning("task %s: a shadow judge gave no verdict: %s", task.id, error)
        return None
    return judgement
