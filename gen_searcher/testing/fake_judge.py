"""A fake judge: scores from a table, by task."""

from __future__ import annotations

from collections.abc import Mapping

from gen_searcher.image_store import ImageStore
from gen_searcher.types import ImageRef, Judgement, Task, Trajectory


class FakeJudge:
    """A `Judge` that is a fake and says so: it looks at nothing and gives the score that its table holds for the task."""

    def __init__(
        self,
        *,
        store: ImageStore | None = None,
        name: str = "image",
        scores: Mapping[str, float],
        parts: Mapping[str, float | None] | None = None,
    ) -> None:
        """`scores` by task id. `parts` is what every judgement reports; `store` is taken so that a plug can build it."""
        del store
        self.name = name
        self._scores = scores
        self._parts: Mapping[str, float | None] = {} if parts is None else parts
        self.asked: list[str] = []

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """The score of the table. A task that it does not hold raises KeyError: a fake has no opinion of its own."""
        del trajectory, image
        self.asked.append(task.id)
        return Judgement(
            judge=self.name,
            score=self._scores[task.id],
            parts=self._parts,
            rationale="A fake judge: the score comes from a table.",
            model="fake",
            prompt_sha256="0" * 64,
            latency_s=0.0,
        )
