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
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw, ImageFont

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

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """An arrangement of subjects."""

    name: str
    slots: tuple[Box, ...]
    """One box in the art area for each subject, drawn in this order."""
    phrases: tuple[str, ...]
    """Ways to ask for it, the canonical one first; `{a}` and `{b}` stand for the subjects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """A look of the whole art area."""

    name: str
    phrases: tuple[str, ...]
    """Ways to ask for it, the canonical one first; the canonical words for `plain` are none."""


_MAIN: Box = (32, 0, 96, 64)

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        layout.name: layout
        for layout in (
            Layout(
                name="alone",
                slots=(_MAIN,),
                phrases=(
                    "{a} alone",
                    "{a} on its own",
                    "{a} by itself",
                    "only {a}",
                    "just {a}",
                    "{a}",
                    "nothing but {a}",
                    "a picture of {a}",
                    "a single picture of {a}",
                    "{a} and nothing else",
                    "{a}, no other picture",
                    "{a} in the middle",
                    "{a} in the centre",
                    "{a} centred",
                    "show {a}",
                    "draw {a}",
                    "a poster with {a}",
                    "one subject: {a}",
                    "a card that shows {a}",
                    "please paint {a} alone",
                    "solely {a}",
                    "{a} as the only subject",
                ),
            ),
            Layout(
                name="beside",
                slots=((0, 0, 64, 64), (64, 0, 128, 64)),
                phrases=(
                    "{a} beside {b}",
                    "{a} next to {b}",
                    "{a} and {b} side by side",
                    "{a} on the left, {b} on the right",
                    "{a} left, {b} right",
                    "{a} alongside {b}",
                    "{a} with {b} beside it",
                    "{a} with {b} next to it",
                    "{a} together with {b}, side by side",
                    "both: {a} and {b}",
                    "{a} and {b}",
                    "{a} and {b} next to each other",
                    "{a} adjacent to {b}",
                    "a pair: {a}, then {b}",
                    "two pictures, {a} and {b}",
                    "{a} to the left of {b}",
                    "side by side: {a}, {b}",
                    "{a} in the left half and {b} in the right half",
                    "draw {a} beside {b}",
                    "show {a} and {b} in a row",
                    "{a} followed by {b}",
                    "{a} by the side of {b}",
                ),
            ),
            Layout(
                name="inset",
                slots=(_MAIN, (64, 32, 96, 64)),
                phrases=(
                    "{a} with {b} as inset",
                    "{a} with {b} as an inset",
                    "{a} with {b} inset",
                    "{a} with {b} in the corner",
                    "{a} with {b} small in the corner",
                    "{a} with a small {b} in it",
                    "{a}, and {b} as a small inset",
                    "{a} with an inset of {b}",
                    "{a}, inset: {b}",
                    "{a} with {b} in its lower right corner",
                    "{a} with {b} set into the bottom right corner",
                    "{a} large, {b} small in its corner",
                    "{b} inset into {a}",
                    "{b} as an inset in {a}",
                    "{a} with a little inset showing {b}",
                    "{a} overlaid by {b} in the corner",
                    "{a} holding {b} in the lower corner",
                    "{a} big with {b} as a thumbnail",
                    "draw {a} with {b} as inset",
                    "show {a} and inset {b}",
                    "{a} with the corner showing {b}",
                    "{a} with {b} tucked into the corner",
                ),
            ),
        )
    }
)
"""By name."""

STYLES: Mapping[str, Style] = MappingProxyType(
    {
        style.name: style
        for style in (
            Style(
                name="plain",
                phrases=(
                    "",
                    "plain",
                    "as it is",
                    "unchanged",
                    "by day",
                    "in daylight",
                    "in plain colours",
                    "in full colour",
                    "in natural colours",
                    "in its own colours",
                    "in the original colours",
                    "in a plain style",
                    "without effects",
                    "with no effect",
                    "no frame",
                    "without a frame",
                    "in colour",
                    "bright and clear",
                    "in normal light",
                    "true to the original",
                    "plainly",
                    "on white",
                ),
            ),
            Style(
                name="night",
                phrases=(
                    "at night",
                    "by night",
                    "in the night",
                    "at night time",
                    "after dark",
                    "in the dark",
                    "in moonlight",
                    "by moonlight",
                    "at midnight",
                    "in night colours",
                    "as a night scene",
                    "dark and bluish",
                    "in dim blue light",
                    "under a night sky",
                    "dimly lit at night",
                    "in the blue of the night",
                    "during the night",
                    "late at night",
                    "seen at night",
                    "in darkness",
                    "nocturnal",
                    "in a night style",
                ),
            ),
            Style(
                name="gray",
                phrases=(
                    "in gray",
                    "in grey",
                    "in black and white",
                    "in grayscale",
                    "in greyscale",
                    "in shades of gray",
                    "in shades of grey",
                    "in monochrome",
                    "monochrome",
                    "without colour",
                    "without color",
                    "colourless",
                    "gray",
                    "desaturated",
                    "as a black and white photo",
                    "as a gray picture",
                    "in gray tones",
                    "in grey tones",
                    "like an old black and white photo",
                    "drained of colour",
                    "in neutral gray",
                    "in a gray style",
                ),
            ),
            Style(
                name="framed",
                phrases=(
                    "in a red frame",
                    "in red frames",
                    "with a red frame",
                    "framed in red",
                    "with a red border",
                    "inside a red frame",
                    "inside a red border",
                    "in a frame",
                    "framed",
                    "with red edges",
                    "bordered in red",
                    "with a red frame around it",
                    "surrounded by a red frame",
                    "with a border of red",
                    "each in a red frame",
                    "in a thick red frame",
                    "set in a red frame",
                    "with a frame of red",
                    "with a red outline",
                    "edged with red",
                    "in a red picture frame",
                    "in a framed style",
                ),
            ),
        )
    }
)
"""By name."""

_FIRST = (
    "the first reference image",
    "the first reference",
    "the first image",
    "the first picture",
    "reference image 1",
    "reference 1",
    "image 1",
    "picture 1",
    "the reference image",
    "the subject of the first reference image",
)
_SECOND = (
    "the second",
    "the second reference image",
    "the second reference",
    "the second image",
    "the second picture",
    "reference image 2",
    "reference 2",
    "image 2",
    "picture 2",
    "the other reference image",
)
_CAPTION_PHRASES = (
    'caption "{text}"',
    'with the caption "{text}"',
    'the caption reads "{text}"',
    'caption: "{text}"',
    'and the caption "{text}" below',
)


def compose(pictures: Sequence[Image.Image], *, layout: str, style: str, caption: str | None) -> Image.Image:
    """The exact picture: what the ground truth is, and what the image model is trained to draw."""
    slots = LAYOUTS[layout].slots
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
    return tuple((a / width, b / height, c / width, d / height) for a, b, c, d in LAYOUTS[layout].slots)


def wording(*, layout: str, style: str, caption: str | None, variant: int = 0) -> str:
    """Words that ask for this picture.

    Variant 0 is canonical (`the first reference image beside the second, at night. caption "WARSAW"`); every other
    number is a paraphrase, the same one each time.
    """
    if variant == 0:
        body = LAYOUTS[layout].phrases[0].format(a=_FIRST[0], b=_SECOND[0])
        look = STYLES[style].phrases[0]
        clause = _CAPTION_PHRASES[0]
        return ". ".join(filter(None, (body + (f", {look}" if look else ""), _filled(clause, caption))))
    pick = random.Random(f"{layout}/{style}/{variant}")
    body = pick.choice(LAYOUTS[layout].phrases).format(a=pick.choice(_FIRST), b=pick.choice(_SECOND))
    look = pick.choice(STYLES[style].phrases)
    if look and pick.random() < 0.2:
        body = f"{look}, {body}"
    elif look:
        body += pick.choice((", ", " ")) + look
    clause = _filled(pick.choice(_CAPTION_PHRASES), caption)
    parts = (clause, body) if pick.random() < 0.15 else (body, clause)
    return pick.choice((". ", ", ")).join(filter(None, parts))


def caption_in(prompt: str) -> str | None:
    """The text between the last pair of double quotes after the word `caption`; None when there is none."""
    word = _CAPTION_WORD.search(prompt)
    if word is None:
        return None
    quoted = _QUOTED.findall(prompt[word.end() :].translate(_CURLY_QUOTES))
    return str(quoted[-1]).strip() or None if quoted else None


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
