"""An image worker: one frozen image model."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from gen_searcher.cassette.seams import TapedImageModel
from gen_searcher.cassette.tape import Identity, Tape
from gen_searcher.config.capability import plug_capability
from gen_searcher.config.cassette import CassetteConfig
from gen_searcher.config.plug import Plug
from gen_searcher.engines.batching import batched
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import ImageModel
from gen_searcher.tools.meter import Meter, Reading
from gen_searcher.types import Grounding, ImageRef


class GeneratorActor:
    """`Generator` behind an actor."""

    def __init__(self, plug: Plug, images: str, cassette: CassetteConfig, tape_folder: str) -> None:
        """Build the image model where it runs."""
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
        return self._meter.take()

    async def generate(self, grounding: Grounding, seed: int) -> ImageRef:
        """One picture."""
        self._meter.add("generate/asked_calls")
        return await self._generator.generate(grounding, seed=seed)
