"""An `ImageModel` as the `Generator` of the loop: references in, reference out.

    Grounding -> order -> pictures from the store -> ImageModel.draw -> picture into the store -> ImageRef

The model is code that we did not write: whatever it raises is the world's failure, not a bug of ours. What is known to
pass is waited for here; what is known to stay is raised at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from PIL import Image

from gen_searcher.drawing import Capability
from gen_searcher.engines.batching import batched
from gen_searcher.errors import (
    GeneratorError,
    GeneratorInvalid,
    GeneratorOverloaded,
    GeneratorUnavailable,
    UserError,
    disk_trouble,
)
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import ImageModel
from gen_searcher.types import Grounding, ImageRef

log = logging.getLogger(__name__)

REMEMBERED = 4096
"""Finished drawings that are not drawn again; a reference is a hundred bytes."""

Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often a passing failure is tried again before the attempt is lost."""

    tries: int = 3
    wait_s: float = 1.0
    """Before the second try; doubles with each further one. A model that says how long to wait is believed instead."""
    longest_s: float = 60.0
    """No single wait is longer, whatever the model says."""

    def wait_after(self, error: GeneratorUnavailable | GeneratorOverloaded, *, tries: int) -> float:
        """Seconds to wait after failed try number `tries`, from 1."""
        asked = error.retry_after_s if isinstance(error, GeneratorOverloaded) else None
        return min(self.longest_s, self.wait_s * 2 ** (tries - 1) if asked is None else asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """Everything that a drawing depends on; the size is the model's own and belongs to its revision."""

    revision: str
    prompt: str
    references: tuple[str, ...]
    seed: int


class StoredGenerator:
    """Draws each (revision, prompt, references, seed) once, also when asked twice at the same time."""

    def __init__(
        self,
        model: ImageModel,
        store: ImageStore,
        *,
        capability: Capability | None = None,
        patience: Patience | None = None,
        remembered: int = REMEMBERED,
        pause: Pause = asyncio.sleep,
    ) -> None:
        """Wrap a model.

        Args:
            model: Draws. With `draw_batch` and a capability for batches, waiting orders are drawn together.
            store: Where pictures come from and go to.
            capability: What the model declares; None for one that declares nothing.
            patience: What to do about passing failures.
            remembered: Finished drawings that are kept.
            pause: Waits for the given seconds; tests pass their own.
        """
        self._capability = Capability() if capability is None else capability
        self._name = type(model).__name__
        self._model = batched(model, self._capability)
        self._store = store
        self._patience = Patience() if patience is None else patience
        self._remembered = remembered
        self._pause = pause
        self._drawn: OrderedDict[_Order, ImageRef] = OrderedDict()
        self._drawing: dict[_Order, asyncio.Task[ImageRef]] = {}

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        """Draw the grounding and store the picture.

        Raises:
            GeneratorError: No usable picture; `GeneratorRefused` when the content was declined.
            GeneratorGone: The model does not exist any more.
        """
        shown = shown_references(grounding, self._capability)
        order = _Order(
            revision=self._capability.revision,
            prompt=grounding.gen_prompt,
            references=tuple(ref.sha256 for ref in shown),
            seed=seed,
        )
        if order in self._drawn:
            self._drawn.move_to_end(order)
            return self._drawn[order]
        task = self._drawing.get(order)
        if task is None:
            if len(shown) < len(grounding.references):
                log.warning("%s is shown %d of %d references", self._name, len(shown), len(grounding.references))
            task = asyncio.create_task(self._draw(order, shown))
            self._drawing[order] = task
            task.add_done_callback(lambda done: self._finished(order, done))
        return await asyncio.shield(task)

    async def _draw(self, order: _Order, shown: tuple[ImageRef, ...]) -> ImageRef:
        longest = self._capability.max_prompt_chars
        if longest is not None and len(order.prompt) > longest:
            raise GeneratorInvalid(f"{self._name} takes {longest} characters; the prompt has {len(order.prompt)}")
        try:
            references = [self._store.get(reference) for reference in shown]
        except (OSError, SyntaxError, ValueError) as error:
            raise GeneratorError(f"a reference picture cannot be read: {error}") from error
        drawn = await self._patiently(order, references)
        sizes = self._capability.sizes_px
        if sizes and drawn.size not in sizes:
            raise GeneratorError(f"{self._name} returned {drawn.size[0]}x{drawn.size[1]} px; it declares {sizes}")
        try:
            return self._store.put(drawn)
        except OSError as error:
            raise disk_trouble(error) or GeneratorError(f"the drawing cannot be stored: {error}") from error
        except ValueError as error:
            raise GeneratorError(f"the drawing cannot be stored: {error}") from error

    async def _patiently(self, order: _Order, references: list[Image.Image]) -> Image.Image:
        for tries in range(1, self._patience.tries):
            try:
                return await self._ask(order, references)
            except (GeneratorUnavailable, GeneratorOverloaded) as error:
                wait_s = self._patience.wait_after(error, tries=tries)
                log.warning("%s; try %d follows in %g s", error, tries + 1, wait_s)
                await self._pause(wait_s)
        return await self._ask(order, references)

    async def _ask(self, order: _Order, references: list[Image.Image]) -> Image.Image:
        try:
            drawn = await self._model.draw(order.prompt, references, seed=order.seed)
        except (GeneratorError, UserError):  # the latter: a budget, a key, a cassette; no other try would mend it
            raise
        except Exception as error:  # a plug may raise anything, and all of it is the world's failure
            raise GeneratorError(f"{self._name} raised {type(error).__name__}: {error}") from error
        if not isinstance(drawn, Image.Image):  # pyright: ignore[reportUnnecessaryIsInstance] - a plug may be untyped
            raise GeneratorError(f"{self._name} returned {type(drawn).__name__}, not a PIL image")
        return drawn

    def _finished(self, order: _Order, task: asyncio.Task[ImageRef]) -> None:
        del self._drawing[order]
        if task.cancelled() or task.exception() is not None:
            return
        self._drawn[order] = task.result()
        while len(self._drawn) > self._remembered:
            self._drawn.popitem(last=False)


def shown_references(grounding: Grounding, capability: Capability) -> tuple[ImageRef, ...]:
    """The references that the model is shown: the first ones, as many as it takes."""
    return tuple(reference.image for reference in grounding.references)[: capability.max_references]
