"""A reward worker: all judges of the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from gen_searcher.cassette.seams import TapedJudge
from gen_searcher.cassette.tape import Identity, Tape
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.plug import Plug
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import Judge
from gen_searcher.tools.meter import Meter, Reading
from gen_searcher.types import ImageRef, Judgement, Task, Trajectory


class RewardActor:
    """The judges behind an actor."""

    def __init__(self, plugs: Mapping[str, Plug], images: str, cassette: CassetteConfig, tape_folder: str) -> None:
        """Build each judge where it runs."""
        store = ImageStore(Path(images))
        self._meter = Meter()
        tape = Tape(cassette, folder=Path(tape_folder), meter=self._meter)
        self._judges = {
            name: TapedJudge(cast("Judge", plug.build(store=store)), tape, Identity.of(plug))
            for name, plug in plugs.items()
        }

    async def ready(self) -> bool:
        """True once the judges are built."""
        return True

    async def reading(self) -> Reading:
        """What was asked and paid since the last reading."""
        return self._meter.take()

    async def retire(self) -> Reading:
        """What was not read yet; nobody asks any more."""
        return self._meter.take()

    async def judge(self, name: str, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """One verdict of the judge called `name`."""
        self._meter.add("judge/asked_calls")
        return await self._judges[name].judge(task, trajectory, image)
