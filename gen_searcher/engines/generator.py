"""An `ImageModel` as the `Generator` of the loop: references in, reference out.

    Grounding -> pictures from the store -> ImageModel.draw -> picture into the store -> ImageRef

The model is code that we did not write: whatever it raises is the world's failure, not a bug of ours.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from PIL import Image

from gen_searcher.errors import GeneratorError, UserError
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import ImageModel
from gen_searcher.types import Grounding, ImageRef

REMEMBERED = 4096
"""Finished drawings that are not drawn again; a reference is a hundred bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """Everything that a drawing depends on."""

    prompt: str
    references: tuple[str, ...]
    seed: int


class StoredGenerator:
    """Draws each (prompt, references, seed) once, also when asked twice at the same time."""

    def __init__(self, model: ImageModel, store: ImageStore, *, remembered: int = REMEMBERED) -> None:
        """`remembered` bounds the memory of finished drawings."""
        self._model = model
        self._store = store
        self._remembered = remembered
        self._drawn: OrderedDict[_Order, ImageRef] = OrderedDict()
        self._drawing: dict[_Order, asyncio.Task[ImageRef]] = {}

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        """Draw the grounding and store the picture. Raises GeneratorError."""
        order = _Order(
            prompt=grounding.gen_prompt,
            references=tuple(reference.image.sha256 for reference in grounding.references),
            seed=seed,
        )
        if order in self._drawn:
            self._drawn.move_to_end(order)
            return self._drawn[order]
        task = self._drawing.get(order)
        if task is None:
            task = asyncio.create_task(self._draw(grounding, seed=seed))
            self._drawing[order] = task
            task.add_done_callback(lambda done: self._finished(order, done))
        return await asyncio.shield(task)

    async def _draw(self, grounding: Grounding, *, seed: int) -> ImageRef:
        try:
            references = [self._store.get(reference.image) for reference in grounding.references]
        except (OSError, SyntaxError) as error:
            raise GeneratorError(f"a reference picture cannot be read: {error}") from error
        try:
            drawn = await self._model.draw(grounding.gen_prompt, references, seed=seed)
        except UserError:  # a budget, a key, a cassette: no other try would mend it
            raise
        except Exception as error:  # a plug may raise anything, and all of it is the world's failure
            kind = type(self._model).__name__
            raise GeneratorError(f"{kind} raised {type(error).__name__}: {error}") from error
        if not isinstance(drawn, Image.Image):  # pyright: ignore[reportUnnecessaryIsInstance] - a plug may be untyped
            raise GeneratorError(f"{type(self._model).__name__} returned {type(drawn).__name__}, not a PIL image")
        try:
            return self._store.put(drawn)
        except (OSError, ValueError) as error:
            raise GeneratorError(f"the drawing cannot be stored: {error}") from error

    def _finished(self, order: _Order, task: asyncio.Task[ImageRef]) -> None:
        del self._drawing[order]
        if task.cancelled() or task.exception() is not None:
            return
        self._drawn[order] = task.result()
        while len(self._drawn) > self._remembered:
            self._drawn.popitem(last=False)
