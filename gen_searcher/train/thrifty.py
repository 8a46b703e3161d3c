"""Attempts that go on where a lost try broke off: what was searched is not searched and paid for again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable
from typing import Protocol

from gen_searcher.protocols import Searcher
from gen_searcher.types import Attempt, Task, Trajectory

REMEMBERED = 256
"""Trajectories without a score that are kept. One of 30,000 tokens takes some 3 MB; only those of an outage pile up."""


class TrajectoryScorer(Protocol):
    """Makes a scored attempt of what was searched, or raises WorldError."""

    def __call__(self, task: Task, trajectory: Trajectory, *, seed: int) -> Awaitable[Attempt]:
        """Draw and judge."""
        ...


class ThriftyAttempt:
    """An `AttemptRunner`: search, then score; a try that lost only its score leaves the search to the next one."""

    def __init__(self, searcher: Searcher, score: TrajectoryScorer) -> None:
        """`score` is asked again with the same trajectory until it gives an attempt."""
        self._searcher = searcher
        self._score = score
        self._found: OrderedDict[tuple[str, int], Trajectory] = OrderedDict()

    async def __call__(self, task: Task, *, seed: int) -> Attempt:
        """Work on the task with everything sampled from `seed`."""
        at = (task.id, seed)
        trajectory = self._found.get(at)
        if trajectory is None:
            trajectory = await self._searcher.search(task, seed=seed)
            self._found[at] = trajectory
        while len(self._found) > REMEMBERED:
            self._found.popitem(last=False)
        attempt = await self._score(task, trajectory, seed=seed)
        self._found.pop(at, None)
        return attempt
