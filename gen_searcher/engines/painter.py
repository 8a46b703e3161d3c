"""The embedded painter: a small trained Flux2Klein that ships with the package, and a renderer for the caption.

    prompt, references -> denoiser -> 128x64 art area
    caption_in(prompt) -> renderer -> 128x32 strip below it

The strip is set by a renderer after the denoiser, because a network of three million numbers cannot draw letters.
Layout and look are the network's own reading of the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING

from gen_searcher.drawing import Capability, DrawOrder
from gen_searcher.engines.diffusers_model import Call, DiffusersModel, declared
from gen_searcher.engines.painter_net import TEXT_LAYERS, TEXT_TOKENS
from gen_searcher.world import canvas

if TYPE_CHECKING:
    from PIL.Image import Image

STEPS = 1
"""One is as good as two or four: the reference says everything that the noise does not."""
MAX_REFERENCES = 2
"""What it was trained with; it accepts more and looks at the first two."""


def painter_call(*, steps: int = STEPS) -> Call:
    """How the painter's pipeline is called, in training and afterwards."""
    return Call(
        size_px=canvas.ART_PX,
        steps=steps,
        guidance=1.0,
        reference_size_px=(canvas.SLOT_PX, canvas.SLOT_PX),
        max_references=MAX_REFERENCES,
        extra={"text_encoder_out_layers": TEXT_LAYERS, "max_sequence_length": TEXT_TOKENS},
    )


def shipped_folder() -> str:
    """Where the trained weights lie in the package."""
    return str(resources.files("gen_searcher.world") / "painter")


class EmbeddedPainter:
    """Draws the pictures of the embedded world."""

    is_local = True

    def __init__(self, *, path: str | None = None, steps: int = STEPS, threads: int | None = 1, batch: int = 1) -> None:
        """`path` is a folder of `train_painter`, by default the shipped one; the rest is as in `DiffusersModel`."""
        call = painter_call(steps=steps)
        self._model = DiffusersModel(
            pipeline="Flux2KleinPipeline",
            path=path or shipped_folder(),
            size_px=call.size_px,
            steps=call.steps,
            guidance=call.guidance,
            max_references=call.max_references,
            reference_size_px=call.reference_size_px,
            dtype="float32",
            threads=threads,
            batch=batch,
            extra=call.extra,
        )

    @staticmethod
    def declare(keywords: Mapping[str, object]) -> Capability:
        """Two references; the size of the embedded world's pictures."""
        return replace(declared({**keywords, "max_references": MAX_REFERENCES}), sizes_px=(canvas.SIZE_PX,))

    async def draw(self, prompt: str, references: Sequence[Image], *, seed: int) -> Image:
        """The art area from the network, the caption strip from the renderer."""
        art = await self._model.draw(prompt, references, seed=seed)
        return canvas.with_caption(art, canvas.caption_in(prompt))

    def batch_shape(self, order: DrawOrder) -> str:
        """As the network's."""
        return self._model.batch_shape(order)

    async def draw_batch(self, orders: Sequence[DrawOrder]) -> Mapping[str, Image]:
        """As `draw`, several at once."""
        art = await self._model.draw_batch(orders)
        return {order.id: canvas.with_caption(art[order.id], canvas.caption_in(order.prompt)) for order in orders}
