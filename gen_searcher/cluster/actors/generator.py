"""An image worker: one frozen image model."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from gen_searcher.cassette.seams import TapedImageModel
from gen_searcher.cassette.tape import Identity, Tape
from gen_searcher.cluster.actors.traced import TracedActor, trace_actor
from gen_searcher.config.capability import plug_capability
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.plug import Plug
from gen_searcher.engines.batching import batched
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.image_store import ImageStore
from gen_searcher.metrics.traces import names
from gen_searcher.metrics.traces.process import TraceSetup, flush
from gen_searcher.metrics.traces.spans import span, under
from gen_searcher.protocols import ImageModel
from gen_searcher.tools.meter import Meter, Reading
from gen_searcher.types import Grounding, ImageRef


class GeneratorActor(TracedActor):
    """`Generator` behind an actor."""

    def __init__(
        self, plug: Plug, images: str, cassette: CassetteConfig, tape_folder: str, trace: TraceSetup | None = None
    ) -> None:
        """Build the image model where it runs."""
        trace_actor(trace, role="generator")
        capability = plug_capability(plug)
        model = batched(cast("ImageModel", plug.build()), capability)
        self._meter = Meter()
        tape = Tape(cassette, folder=Path(tape_folder), meter=self._meter)
        self._generator = StoredGenerator(
            TapedImageModel(model, tape, Identity.of(plug)), store=ImageStore(Path(images)), capability=capability
        )

    async def ready(self) -> bool:
        """True once the model is loaded."""
        return True

    async def reading(self) -> Reading:
        """What was asked and paid since the last reading."""
        return self._meter.take()

    async def retire(self) -> Reading:
        """What was not read yet; nobody asks any more."""
        await flush()
        return self._meter.take()

    async def generate(self, grounding: Grounding, seed: int, trace: str | None = None) -> ImageRef:
        """One picture. `trace`: the caller's span."""
        self._meter.add("generate/asked_calls")
        about = {names.OPERATION: "generate_content", names.OUTPUT_TYPE: "image", names.SEED: seed}
        with under(trace), span("generate_content", about, kind="server"):
            return await self._generator.generate(grounding, seed=seed)
