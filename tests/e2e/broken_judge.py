"""A judge that never has a verdict."""

from __future__ import annotations

from gen_searcher.errors import JudgeError
from gen_searcher.image_store import ImageStore
from gen_searcher.types import ImageRef, Judgement, Task, Trajectory


class BrokenJudge:
    name = "image"

    def __init__(self, *, store: ImageStore) -> None:
        self._store = store

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        raise JudgeError("the judge is out")
