"""The vocabulary of the embedded world's pictures: arrangements, looks, and the many ways to ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

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


MAIN: Box = (32, 0, 96, 64)

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        layout.name: layout
        for layout in (
            Layout(
                name="alone",
                slots=(MAIN,),
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
                slots=(MAIN, (64, 32, 96, 64)),
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

CARD = "card"
"""The arrangement of nothing: an empty art area above a caption. The image model has not been trained on it."""
ARRANGEMENTS: Mapping[str, Layout] = MappingProxyType(
    {**LAYOUTS, CARD: Layout(name=CARD, slots=(), phrases=("an empty white card",))}
)
"""The layouts, and the card."""

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

FIRST = (
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
SECOND = (
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
CAPTION_CLAUSE = "caption: {text}"
"""The canonical way to ask for a caption; it stands last, so that it needs no quotes."""
CAPTION_PHRASES = (
    'caption "{text}"',
    'with the caption "{text}"',
    'the caption reads "{text}"',
    'caption: "{text}"',
    'and the caption "{text}" below',
)
