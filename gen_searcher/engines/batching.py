"""Waiting drawings -> batches of one shape -> one call of the model -> each picture to whom it belongs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from gen_searcher.drawing import Capability, DrawOrder
from gen_searcher.errors import GeneratorError
from gen_searcher.protocols import BatchImageModel, ImageModel

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Waiting:
    order: DrawOrder
    shape: str
    picture: asyncio.Future[Image]


class Batcher:
    """A batch model as an `ImageModel`: what waits while a batch is drawn makes up the next ones.

    The oldest order decides which shape is drawn next, so that no shape starves.
    """

    def __init__(self, model: BatchImageModel, *, most: int) -> None:
        """`most`: pictures per batch."""
        self._model = model
        self._most = most
        self._numbers = count()
        self._waiting: list[_Waiting] = []
        self._worker: asyncio.Task[None] | None = None
        self.sizes: list[int] = []
        """Pictures of every batch so far."""

    async def draw(self, prompt: str, references: Sequence[Image], *, seed: int) -> Image:
        """Wait for the batch that this drawing falls into."""
        order = DrawOrder(id=str(next(self._numbers)), prompt=prompt, references=references, seed=seed)
        waiting = _Waiting(
            order=order, shape=self._model.batch_shape(order), picture=asyncio.get_running_loop().create_future()
        )
        self._waiting.append(waiting)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await waiting.picture

    async def _work(self) -> None:
        """Waits for nothing but the model; ends when no order is left."""
        try:
            while self._waiting:
                await asyncio.sleep(0)  # lets the callers that are ready now join this batch
                batch = self._next_batch()
                if batch:
                    await self._draw(batch)
        finally:
            self._worker = None

    def _next_batch(self) -> list[_Waiting]:
        self._waiting = [waiting for waiting in self._waiting if not waiting.picture.done()]  # callers that gave up
        if not self._waiting:
            return []
        shape = self._waiting[0].shape
        batch = [waiting for waiting in self._waiting if waiting.shape == shape][: self._most]
        self._waiting = [waiting for waiting in self._waiting if waiting not in batch]
        return batch

    async def _draw(self, batch: Sequence[_Waiting]) -> None:
        """Hand out the pictures; a batch that fails is drawn again one by one, so that one order spoils no other."""
        self.sizes.append(len(batch))
        try:
            drawn = await self._model.draw_batch([waiting.order for waiting in batch])
            check_reply(batch=[waiting.order.id for waiting in batch], drawn=drawn)
        except Exception as error:  # noqa: BLE001 - a plug may raise anything; each order gets its own error below
            if len(batch) > 1:
                for waiting in batch:
                    await self._draw([waiting])
            elif not batch[0].picture.done():
                batch[0].picture.set_exception(error)
            return
        for waiting in batch:
            if not waiting.picture.done():
                waiting.picture.set_result(drawn[waiting.order.id])


def batched(model: ImageModel, capability: Capability) -> ImageModel:
    """The model, behind a batcher when it declares that it draws several pictures at once."""
    if capability.batch > 1 and isinstance(model, BatchImageModel):
        return Batcher(model, most=capability.batch)
    return model


def check_reply(*, batch: Sequence[str], drawn: Mapping[str, Image]) -> None:
    """Raise GeneratorError unless the reply names exactly the pictures that were ordered."""
    if set(drawn) != set(batch):
        missing, foreign = sorted(set(batch) - set(drawn)), sorted(set(drawn) - set(batch))
        raise GeneratorError(
            f"the batch came back without {missing or 'nothing'} and with {foreign or 'nothing'} besides"
        )
