"""What the painter learns from: the world's pictures, changed and made-up ones, and the words that ask for them."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gen_searcher.world import canvas

_HELD_OUT_EVERY = 8
_JUNK = ("please", "high quality", "detailed", "a card", "poster", "sharp", "for my class", "as asked", "nice", "flat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A picture with its title and family."""

    name: str
    family: str
    """`flag`, `element`, ...: rows of the held-out table."""
    image: Image.Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One thing to learn: draw `art` from `prompt` and `references`."""

    references: tuple[Image.Image, ...]
    """As the painter gets them: SLOT_PX square."""
    art: Image.Image
    prompt: str


def split(pictures: Sequence[Named]) -> tuple[list[Named], list[Named]]:
    """Training and held-out pictures: every eighth of each family, in order of name, is held out."""
    kept: list[Named] = []
    held_out: list[Named] = []
    for family in sorted({picture.family for picture in pictures}):
        members = sorted((p for p in pictures if p.family == family), key=lambda p: p.name)
        for index, picture in enumerate(members):
            (held_out if index % _HELD_OUT_EVERY == _HELD_OUT_EVERY // 2 else kept).append(picture)
    return kept, held_out


def reference(image: Image.Image) -> Image.Image:
    """A picture as the painter gets it."""
    return image.convert("RGB").resize((canvas.SLOT_PX, canvas.SLOT_PX), Image.Resampling.LANCZOS)


class Examples:
    """An endless seeded source of examples."""

    def __init__(self, pictures: Sequence[Named], *, seed: int) -> None:
        """`pictures` are the training pictures only."""
        self._families = [
            [p for p in pictures if p.family == family] for family in sorted({p.family for p in pictures})
        ]
        self._names = [p.name for p in pictures] or ["the subject"]
        self._pick = random.Random(seed)

    def subject(self) -> Image.Image:
        """A picture of the world as it is or changed, or a made-up one; families are drawn evenly."""
        chance = self._pick.random()
        if not self._families or chance < 0.25:
            return self._pick.choice(_MADE_UP)(self._pick)
        image = self._pick.choice(self._pick.choice(self._families)).image
        return _changed(image, self._pick) if chance < 0.6 else image

    def example(self, *, layout: str, style: str, references: int) -> Example:
        """An example; a reference that the layout has no slot for is there to be ignored."""
        slots = len(canvas.LAYOUTS[layout].slots)
        subjects = [self.subject() for _ in range(max(slots, references))]
        return self.composed(subjects, layout=layout, style=style, references=references)

    def composed(self, subjects: Sequence[Image.Image], *, layout: str, style: str, references: int) -> Example:
        """An example of the given subjects."""
        slots = len(canvas.LAYOUTS[layout].slots)
        art = canvas.compose(subjects[:slots], layout=layout, style=style, caption=None)
        return Example(
            references=tuple(reference(subject) for subject in subjects[:references]),
            art=art.crop((0, 0, *canvas.ART_PX)),
            prompt=self.prompt(layout=layout, style=style),
        )

    def prompt(self, *, layout: str, style: str) -> str:
        """Words for the picture: half canonical, half paraphrased, with captions, names and junk about them."""
        pick = self._pick
        caption = self._caption() if pick.random() < 0.5 else None
        variant = 0 if pick.random() < 0.4 else pick.randrange(1, 1 << 30)
        text = canvas.wording(layout=layout, style=style, caption=caption, variant=variant)
        if pick.random() < 0.25:
            text = re.sub("the first reference image", self._noun("the first reference image"), text)
            text = re.sub("the second(?: reference image)?", self._noun("the second"), text)
        chance = pick.random()
        if chance < 0.1:
            text = f"{pick.choice(_JUNK)}: {text}"
        elif chance < 0.2:
            text = f"{text}, {pick.choice(_JUNK)}"
        elif chance < 0.25:
            text = text.capitalize() + "."
        return text

    def _noun(self, noun: str) -> str:
        name = self._pick.choice(self._names).replace("\\", "")
        return self._pick.choice((name, f"{noun} ({name})", f"the {name}"))

    def _caption(self) -> str:
        pick = self._pick
        chance = pick.random()
        if chance < 0.5:
            return pick.choice(self._names).upper() if chance < 0.25 else pick.choice(self._names)
        if chance < 0.65:
            return str(pick.randrange(10000))
        return "".join(pick.choices(string.ascii_uppercase, k=pick.randrange(2, 12)))


def _changed(image: Image.Image, pick: random.Random) -> Image.Image:
    """Recoloured, mirrored or turned, so that the painter copies what it sees and not what it remembers."""
    pixels = np.asarray(image)
    if pick.random() < 0.5:
        pixels = pixels[..., pick.sample(range(3), 3)]
    elif pick.random() < 0.4:
        pixels = 255 - pixels
    chance = pick.random()
    if chance < 0.2:
        pixels = pixels[:, ::-1]
    elif chance < 0.35:
        pixels = pixels.swapaxes(0, 1)
    return Image.fromarray(np.ascontiguousarray(pixels))


def _colour(pick: random.Random) -> tuple[int, int, int]:
    return (pick.randrange(256), pick.randrange(256), pick.randrange(256))


def _tile(pick: random.Random) -> Image.Image:
    """A coloured tile with a few letters."""
    image = Image.new("RGB", (128, 128), _colour(pick))
    draw = ImageDraw.Draw(image)
    ink = pick.choice(("black", "white", _colour(pick)))
    letters = "".join(pick.choices(string.ascii_letters + string.digits, k=pick.choice((1, 2, 2, 3))))
    centre = (pick.gauss(64, 8), pick.gauss(64, 8))
    draw.text(centre, letters, fill=ink, font=ImageFont.load_default(pick.randrange(30, 72)), anchor="mm")
    for y in (16, 112):
        if pick.random() < 0.6:
            words = "".join(pick.choices(string.ascii_letters + string.digits, k=pick.randrange(2, 10)))
            draw.text((pick.randrange(20, 108), y), words, fill=ink, font=ImageFont.load_default(16), anchor="mm")
    return image


def _sky(pick: random.Random) -> Image.Image:
    """A dark chart of dots and thin lines."""
    image = Image.new("RGB", (128, 128), tuple(pick.randrange(50) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    stars = [(pick.randrange(6, 122), pick.randrange(6, 122)) for _ in range(pick.randrange(4, 16))]
    line = _colour(pick)
    for start, end in pairwise(stars):
        if pick.random() < 0.7:
            draw.line((*start, *end), fill=line, width=pick.choice((1, 2)))
    for x, y in stars:
        radius = pick.uniform(1.2, 5)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=pick.choice(("white", _colour(pick))))
    return image


def _shapes(pick: random.Random) -> Image.Image:
    """Boxes, discs, triangles and bands over each other."""
    image = Image.new("RGB", (128, 128), _colour(pick))
    draw = ImageDraw.Draw(image)
    for _ in range(pick.randrange(1, 7)):
        corners = [(pick.randrange(-10, 138), pick.randrange(-10, 138)) for _ in range(3)]
        xs, ys = sorted(x for x, _ in corners), sorted(y for _, y in corners)
        kind = pick.randrange(4)
        if kind == 0:
            draw.rectangle((xs[0], ys[0], xs[2], ys[2]), fill=_colour(pick))
        elif kind == 1:
            draw.ellipse((xs[0], ys[0], xs[2], ys[2]), fill=_colour(pick))
        elif kind == 2:
            draw.polygon(corners, fill=_colour(pick))
        else:
            draw.line((*corners[0], *corners[1]), fill=_colour(pick), width=pick.randrange(1, 20))
    return image


def _field(pick: random.Random) -> Image.Image:
    """A soft coloured noise, like a photo out of focus."""
    noise = np.random.default_rng(pick.randrange(1 << 30)).integers(0, 256, (*[pick.choice((2, 4, 8, 16))] * 2, 3))
    return Image.fromarray(noise.astype(np.uint8)).resize((128, 128), Image.Resampling.BICUBIC)


_MADE_UP: tuple[Callable[[random.Random], Image.Image], ...] = (_tile, _sky, _shapes, _field)
