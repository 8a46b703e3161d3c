"""A fake image model of the embedded world: no network, it lays out its references exactly as the words ask."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from gen_searcher.rewards.offline.reading import layout_in, styles_in
from gen_searcher.world.canvas import ARRANGEMENTS, SLOT_PX, caption_in, compose
from gen_searcher.world.vocabulary import CARD


class CanvasModel:
    """Fake: composes what the real painter is trained to draw; the seed changes nothing."""

    is_local = True

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        """The exact picture of these words. A reference too few is a gray square, one too many is left out."""
        del seed
        layout = layout_in(prompt) or CARD
        missing = Image.new("RGB", (SLOT_PX, SLOT_PX), "gray")
        slots = len(ARRANGEMENTS[layout].slots)
        pictures = [*references, missing, missing][:slots]
        return compose(
            pictures, layout=layout, style=min(styles_in(prompt), default="plain"), caption=caption_in(prompt)
        )
