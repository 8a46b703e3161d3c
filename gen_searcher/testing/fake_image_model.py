"""A fake image model: it draws nothing, it lays the references side by side. For tests of loops and plug-ins."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from PIL import Image, ImageDraw

FAKE_TILE_PX = 64


class FakeImageModel:
    """Fake: pastes its references in a row over a colour made from prompt and seed, and writes FAKE on it."""

    def __init__(self, *, fails_on: str = "") -> None:
        """A prompt that holds `fails_on` makes it raise RuntimeError."""
        self.calls: list[tuple[str, int, int]] = []
        """Prompt, number of references and seed of every call."""
        self._fails_on = fails_on

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        """The same arguments give the same picture."""
        self.calls.append((prompt, len(references), seed))
        if self._fails_on and self._fails_on in prompt:
            raise RuntimeError(f"fake failure: the prompt holds {self._fails_on!r}")
        digest = hashlib.sha256(f"{seed}:{prompt}".encode()).digest()
        tile = FAKE_TILE_PX
        picture = Image.new(
            "RGB", (tile * max(1, len(references)), tile + tile // 4), (digest[0], digest[1], digest[2])
        )
        for index, reference in enumerate(references):
            picture.paste(reference.convert("RGB").resize((tile, tile)), (index * tile, 0))
        ImageDraw.Draw(picture).text((2, tile + 2), "FAKE", fill="white" if digest[1] < 128 else "black")
        return picture
