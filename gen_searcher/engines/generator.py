"""An `ImageModel` behind the image store: Grounding -> pixels -> ImageRef."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from gen_searcher.errors import GeneratorError, WorldError
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import ImageModel
from gen_searcher.types import Grounding, ImageRef

CACHED_PICTURES = 4096
"""Groundings whose picture is remembered: siblings of a group often agree."""

Key = tuple[str, tuple[str, ...], int]


class StoredGenerator:
    """Implements `Generator`. An equal grounding with an equal seed is drawn once, also when asked for twice at once."""

    def __init__(self, model: ImageModel, *, store: ImageStore) -> None:
        """`model` is somebody's plug-in; whatever it raises becomes a GeneratorError."""
        self._model = model
        self._store = store
        self._drawn: OrderedDict[Key, asyncio.Future[ImageRef]] = OrderedDict()

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        """Draw the grounding and store the picture. Raises GeneratorError; a failure is not remembered."""
        key = (grounding.gen_prompt, tuple(reference.image.sha256 for reference in grounding.references), seed)
        drawing = self._drawn.get(key)
        if drawing is None:
            drawing = asyncio.ensure_future(self._draw(grounding, seed))
            self._drawn[key] = drawing
            if len(self._drawn) > CACHED_PICTURES:
                self._drawn.popitem(last=False)
        try:
            return await asyncio.shield(drawing)
        except WorldError:
            self._drawn.pop(key, None)
            raise

    async def _draw(self, grounding: Grounding, seed: int) -> ImageRef:
        references = [self._store.get(reference.image) for reference in grounding.references]
        try:
            image = await self._model.draw(grounding.gen_prompt, references, seed=seed)
        except Exception as error:  # the edge: a plug may raise anything
            raise GeneratorError(f"{type(self._model).__name__}: {type(error).__name__}: {error}") from error
        return self._store.put(image)
