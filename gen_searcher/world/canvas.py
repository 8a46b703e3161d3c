"""What a picture of the embedded world looks like: subjects in slots, a look over them, a caption strip below.

    pictures + layout + style + caption -> compose() -> ground truth
                                        -> wording() -> the words that ask for it

The image model reads the words for layout and style by itself; nothing here parses them. Only the caption strip is
set by a renderer, from `caption_in(prompt)`, because letters are what a small denoiser cannot draw.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gen_searcher.world.vocabulary import (
    ARRANGEMENTS,
    CAPTION_CLAUSE,
    CAPTION_PHRASES,
    FIRST,
    LAYOUTS,
    SECOND,
    STYLES,
    Layout,
    Style,
)

__all__ = [
    "ARRANGEMENTS",
    "ART_PX",
    "LAYOUTS",
    "SIZE_PX",
    "SLOT_PX",
    "STYLES",
    "Layout",
    "Style",
    "art_words",
    "caption_in",
    "compose",
    "slot_boxes",
    "with_caption",
    "wording",
]

SIZE_PX = (128, 96)
"""Width and height of a whole picture."""
ART_PX = (128, 64)
"""The upper part, which the image model draws."""
SLOT_PX = 64
"""Side of a main slot, and of a reference as the image model gets it."""

_STRIP_MARGIN_PX = 2
_FONT_SIZES_PX = range(28, 6, -1)
_WRAP_BELOW_PX = 13
_FRAME_RGB = (214, 24, 30)
_CAPTION_WORD = re.compile(r"\bcaption", re.IGNORECASE)
_QUOTED = re.compile(r'"([^"]*)"')
_CURLY_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"'})


def compose(pictures: Sequence[Image.Image], *, layout: str, style: str, caption: str | None) -> Image.Image:
    """The exact picture: what the ground truth is, and what the image model is trained to draw."""
    slots = ARRANGEMENTS[layout].slots
    if len(pictures) != len(slots):
        raise ValueError(f"layout {layout} takes {len(slots)} pictures, got {len(pictures)}")
    art = Image.new("RGB", ART_PX, "white")
    draw = ImageDraw.Draw(art)
    for picture, (left, top, right, bottom) in zip(pictures, slots, strict=True):
        size = (right - left, bottom - top)
        art.paste(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS), (left, top))
        if style == "framed":
            draw.rectangle((left, top, right - 1, bottom - 1), outline=_FRAME_RGB, width=max(2, size[0] // 16))
    return with_caption(_LOOKS[style](art), caption)


def with_caption(art: Image.Image, caption: str | None) -> Image.Image:
    """The art area with its caption strip below; the strip stays white without a caption."""
    if art.size != ART_PX:
        raise ValueError(f"the art area is {ART_PX} px, got {art.size}")
    picture = Image.new("RGB", SIZE_PX, "white")
    picture.paste(art, (0, 0))
    if caption and caption.strip():
        _set_caption(picture, caption.strip())
    return picture


def slot_boxes(layout: str) -> tuple[tuple[float, float, float, float], ...]:
    """Where the subjects lie, as fractions of the whole picture: left, top, right, bottom."""
    width, height = SIZE_PX
    return tuple((a / width, b / height, c / width, d / height) for a, b, c, d in ARRANGEMENTS[layout].slots)


def wording(*, layout: str, style: str, caption: str | None, variant: int = 0) -> str:
    """Words that ask for this picture.

    Variant 0 is canonical (`the first reference image beside the second, at night. caption: WARSAW`); every other
    number is a paraphrase, the same one each time.
    """
    if variant == 0:
        body = ARRANGEMENTS[layout].phrases[0].format(a=FIRST[0], b=SECOND[0])
        look = STYLES[style].phrases[0]
        return ". ".join(filter(None, (body + (f", {look}" if look else ""), _filled(CAPTION_CLAUSE, caption))))
    pick = random.Random(f"{layout}/{style}/{variant}")
    body = pick.choice(ARRANGEMENTS[layout].phrases).format(a=pick.choice(FIRST), b=pick.choice(SECOND))
    look = pick.choice(STYLES[style].phrases)
    if look and pick.random() < 0.2:
        body = f"{look}, {body}"
    elif look:
        body += pick.choice((", ", " ")) + look
    clause = _filled(pick.choice(CAPTION_PHRASES), caption)
    parts = (clause, body) if pick.random() < 0.15 else (body, clause)
    return pick.choice((". ", ", ")).join(filter(None, parts))


def caption_in(prompt: str) -> str | None:
    """The caption that the words ask for: what is quoted after the word `caption`, or all that follows `caption:`.

    Of several quoted texts the last one counts. None when the words ask for none.
    """
    word = _CAPTION_WORD.search(prompt)
    if word is None:
        return None
    rest = prompt[word.end() :].translate(_CURLY_QUOTES)
    quoted = _QUOTED.findall(rest)
    if quoted:
        return str(quoted[-1]).strip() or None
    return rest[1:].strip() or None if rest.startswith(":") else None


def art_words(prompt: str) -> str:
    """The words without a caption that stands last and unquoted: it asks for letters, not for a look."""
    word = _CAPTION_WORD.search(prompt)
    if word is None:
        return prompt
    rest = prompt[word.end() :]
    is_bare = rest.startswith(":") and not _QUOTED.search(rest.translate(_CURLY_QUOTES))
    return prompt[: word.start()] if is_bare else prompt


def _filled(clause: str, caption: str | None) -> str:
    return clause.format(text=caption) if caption else ""


def _plain(art: Image.Image) -> Image.Image:
    return art


def _night(art: Image.Image) -> Image.Image:
    pixels = np.asarray(art, dtype=np.float32) * np.array((0.34, 0.40, 0.60), dtype=np.float32)
    return Image.fromarray((pixels + np.array((4, 8, 30), dtype=np.float32)).round().astype(np.uint8))


def _gray(art: Image.Image) -> Image.Image:
    return art.convert("L").convert("RGB")


_LOOKS: Mapping[str, Callable[[Image.Image], Image.Image]] = MappingProxyType(
    {"plain": _plain, "night": _night, "gray": _gray, "framed": _plain}
)


def _set_caption(picture: Image.Image, caption: str) -> None:
    """Black text in the strip, one line or two, as large as fits."""
    width = SIZE_PX[0] - 2 * _STRIP_MARGIN_PX
    height = SIZE_PX[1] - ART_PX[1] - 2 * _STRIP_MARGIN_PX
    draw = ImageDraw.Draw(picture)
    texts = [caption]
    words = caption.split()
    if len(words) > 1:
        halves = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words))]
        texts.append("\n".join(min(halves, key=lambda pair: max(len(pair[0]), len(pair[1])))))
    fits = [(_fitting_size(draw, text, width, height), text) for text in texts]
    size, text = fits[0]
    if size < _WRAP_BELOW_PX:
        size, text = max(fits, key=lambda fit: fit[0])
    draw.multiline_text(
        (SIZE_PX[0] / 2, (SIZE_PX[1] + ART_PX[1]) / 2),
        text,
        fill="black",
        font=ImageFont.load_default(size),
        anchor="mm",
        align="center",
        spacing=1,
    )


def _fitting_size(draw: ImageDraw.ImageDraw, text: str, width: int, height: int) -> int:
    for size in _FONT_SIZES_PX:
        left, top, right, bottom = draw.multiline_textbbox(
            (0, 0), text, font=ImageFont.load_default(size), anchor="mm", align="center", spacing=1
        )
        if right - left <= width and bottom - top <= height:
            return size
    return _FONT_SIZES_PX[-1]
