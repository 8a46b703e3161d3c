"""An image worker: one frozen image model."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from gen_searcher.config.capability import plug_capability
from gen_searcher.config.plug import Plug
from gen_searcher.engines.generator import StoredGenerator
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import ImageModel
from gen_searcher.types import Grounding, ImageRef


class GeneratorActor:
    """`Generator` behind an actor."""

    def __init__(self, plug: Plug, images: str) -> None:
        """Build the image model where it runs."""
        model: ImageModel = cast("ImageModel", plug.build())
        self._generator = StoredGenerator(model, store=ImageStore(Path(images)), capability=plug_capability(plug))

    async def ready(self) -> bool:
        """True once the model is loaded."""
        return True

    async def generate(self, grounding: Grounding, seed: int) -> ImageRef:
        """One picture."""
        return await self._generator.generate(grounding, seed=seed)
