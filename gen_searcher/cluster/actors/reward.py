"""A reward worker: all judges of the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from gen_searcher.cassette.seams import TapedJudge
from gen_searcher.cassette.tape import Identity, Tape
from gen_searcher.cluster.actors.traced import TracedActor, trace_actor
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.plug import Plug
from gen_searcher.image_store import ImageStore
from gen_searcher.metrics.log_fields import log_fields
from gen_searcher.metrics.traces import names
from gen_searcher.metrics.traces.process import TraceSetup, flush
from gen_searcher.metrics.traces.spans import span, under
from gen_searcher.protocols import Judge
from gen_searcher.tools.meter import Meter, Reading
from gen_searcher.types import ImageRef, Judgement, Task, Trajectory


class RewardActor(TracedActor):
    """The judges behind an actor."""

    def __init__(
        self,
        plugs: Mapping[str, Plug],
        images: str,
        cassette: CassetteConfig,
        tape_folder: str,
        trace: TraceSetup | None = None,
    ) -> None:
        """Build each judge where it runs."""
        trace_actor(trace, role="reward")
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
        await flush()
        return self._meter.take()

    async def judge(
        self, name: str, task: Task, trajectory: Trajectory, image: ImageRef | None, trace: str | None = None
    ) -> Judgement:
        """One verdict of the judge called `name`. `trace`: the caller's span."""
        self._meter.add("judge/asked_calls")
        with log_fields(task=task.id), under(trace), span(f"evaluate {name}", {names.EVALUATION: name}, kind="server"):
            return await self._judges[name].judge(task, trajectory, image)
