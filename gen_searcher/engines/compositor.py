"""An image model without a network: it pastes the references where the words say, and sets the caption.

It draws what it is asked for exactly, and nothing else: a policy that was trained on another model's pictures can be
measured on it (transfer), and what remains wrong in a picture is the grounding's doing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gen_searcher.drawing import Capability
from gen_searcher.rewards.offline.reading import layout_in, styles_in
from gen_searcher.world import canvas

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_REFERENCES = 2
"""No arrangement has more places."""
BY_COUNT = ("card", "alone", "beside")
"""Arrangement of none, one and two references where the words name none."""


class Compositor:
    """Implements `ImageModel` for the embedded world's pictures."""

    is_local = True

    @staticmethod
    def declare(keywords: Mapping[str, object]) -> Capability:
        """Two references; the size of the embedded world's pictures."""
        del keywords
        return Capability(max_references=MAX_REFERENCES, sizes_px=(canvas.SIZE_PX,), takes_seed=False)

    async def draw(self, prompt: str, references: Sequence[Image], *, seed: int) -> Image:
        """Equal prompts and references give equal pictures, whatever the seed.

        Places without a reference stay white. Of several looks that the words ask for the first by name is taken.
        """
        del seed
        pictures = list(references[:MAX_REFERENCES])
        layout = layout_in(prompt) or BY_COUNT[len(pictures)]
        places = len(canvas.ARRANGEMENTS[layout].slots)
        pictures = [*pictures, *(_white() for _ in range(places - len(pictures)))][:places]
        style = min(styles_in(prompt), default="plain")
        return canvas.compose(pictures, layout=layout, style=style, caption=canvas.caption_in(prompt))


def _white() -> Image:
    from PIL import Image as pictures

    return pictures.new("RGB", (canvas.SLOT_PX, canvas.SLOT_PX), "white")
