"""Searchers that do not search: what a file says was found, and what becomes of a search that found nothing."""

from __future__ import annotations

from collections.abc import Mapping

from gen_searcher.protocols import Searcher
from gen_searcher.types import Grounding, Outcome, Task, Trajectory


class GivenSearcher:
    """A `Searcher` that hands in what somebody else's agent found."""

    def __init__(self, groundings: Mapping[str, Grounding | None]) -> None:
        """`groundings` by task id; a task that is not there, or None, has no grounding."""
        self._groundings = groundings

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        """A trajectory without turns."""
        del seed
        grounding = self._groundings.get(task.id)
        outcome = Outcome.MALFORMED if grounding is None else Outcome.GROUNDED
        return Trajectory(task_id=task.id, turns=(), outcome=outcome, grounding=grounding)


class RequestInstead:
    """A `Searcher` that hands in the request as it is where the search ends without a grounding.

    `instead` keeps the ids of those tasks: what the generator does without the agent is not the agent's.
    """

    def __init__(self, searcher: Searcher) -> None:
        """`searcher` is asked first."""
        self._searcher = searcher
        self.instead: set[str] = set()

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        """Always grounded."""
        found = await self._searcher.search(task, seed=seed)
        if found.grounding is not None:
            return found
        self.instead.add(task.id)
        grounding = Grounding(gen_prompt=task.prompt, references=())
        return Trajectory(task_id=task.id, turns=found.turns, outcome=Outcome.GROUNDED, grounding=grounding)
