"""A reward worker: all judges of the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from gen_searcher.config.plug import Plug
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import Judge
from gen_searcher.types import ImageRef, Judgement, Task, Trajectory


class RewardActor:
    """The judges behind an actor."""

    def __init__(self, plugs: Mapping[str, Plug], images: str) -> None:
        """Build each judge where it runs."""
        store = ImageStore(Path(images))
        self._judges = {name: cast("Judge", plug.build(store=store)) for name, plug in plugs.items()}

    async def ready(self) -> bool:
        """True once the judges are built."""
        return True

    async def judge(self, name: str, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """One verdict of the judge called `name`."""
        return await self._judges[name].judge(task, trajectory, image)
