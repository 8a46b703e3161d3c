"""Pictures of the golden set, from the world's pictures and a seed: right, spoiled, and no pictures at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from gen_searcher.world.canvas import ART_PX, SIZE_PX, compose, with_caption
from gen_searcher.world.world import World

Surface = Literal["clean", "painted", "white", "black", "gray", "noise", "checker", "stripes", "mean", "collage"]
"""`clean` and `painted` (blurred and noisy, as a small denoiser leaves it) show the entities; the others show nothing:
`mean` is each half's average colour of the right picture, `collage` small other pictures in a grid."""

_BLUR_PX, _NOISE = 1.0, 12.0
"""What `painted` adds: blur radius in pixels, noise in 0..255."""
_TILE_PX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A picture in words."""

    entities: tuple[str, ...]
    layout: str
    style: str
    caption: str | None = None
    surface: Surface = "clean"
    slogan: str | None = None
    """Text painted over the art, to whoever judges it."""


def draw(drawing: Drawing, *, world: World, seed: str) -> Image.Image:
    """The picture; equal arguments give equal pixels."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big"))
    pictures = [world.picture(entity) for entity in drawing.entities]
    clean = compose(pictures, layout=drawing.layout, style=drawing.style, caption=drawing.caption)
    if drawing.surface == "clean":
        picture = clean
    elif drawing.surface == "painted":
        art = np.asarray(clean.crop((0, 0, *ART_PX)).filter(ImageFilter.GaussianBlur(_BLUR_PX)), dtype=np.float64)
        noisy = (art + rng.normal(0.0, _NOISE, art.shape)).clip(0, 255).astype(np.uint8)
        picture = with_caption(Image.fromarray(noisy), drawing.caption)
    else:
        picture = _SURFACES[drawing.surface](clean, world, rng)
    return picture if drawing.slogan is None else _painted_over(picture, drawing.slogan)


def _painted_over(picture: Image.Image, slogan: str) -> Image.Image:
    """The slogan in black on white, across the upper edge of the art."""
    picture = picture.copy()
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, ART_PX[0], 12), fill="white")
    pen.text((ART_PX[0] / 2, 6), slogan, fill="black", font=ImageFont.load_default(9), anchor="mm")
    return picture


def _uniform(colour: str) -> Callable[[Image.Image, World, np.random.Generator], Image.Image]:
    def fill(clean: Image.Image, world: World, rng: np.random.Generator) -> Image.Image:
        del world, rng
        return Image.new("RGB", clean.size, colour)

    return fill


def _noise(clean: Image.Image, world: World, rng: np.random.Generator) -> Image.Image:
    del world
    return Image.fromarray(rng.integers(0, 256, (clean.height, clean.width, 3), dtype=np.uint8))


def _checker(clean: Image.Image, world: World, rng: np.random.Generator) -> Image.Image:
    del world
    rows, columns = np.indices((clean.height, clean.width)) // 8
    colours = rng.integers(0, 256, (2, 3), dtype=np.uint8)
    return Image.fromarray(colours[(rows + columns) % 2])


def _stripes(clean: Image.Image, world: World, rng: np.random.Generator) -> Image.Image:
    del world
    colours = rng.integers(0, 256, (clean.height // 6 + 1, 3), dtype=np.uint8)
    return Image.fromarray(np.repeat(colours[np.arange(clean.height) // 6][:, None, :], clean.width, axis=1))


def _mean(clean: Image.Image, world: World, rng: np.random.Generator) -> Image.Image:
    del world, rng
    pixels = np.asarray(clean).copy()
    half = clean.width // 2
    for columns in (slice(0, half), slice(half, clean.width)):
        pixels[:, columns] = pixels[:, columns].mean(axis=(0, 1)).astype(np.uint8)
    return Image.fromarray(pixels)


def _collage(clean: Image.Image, world: World, rng: np.random.Generator) -> Image.Image:
    ids = sorted(world.entities)
    picture = Image.new("RGB", clean.size, "white")
    for top in range(0, SIZE_PX[1], _TILE_PX):
        for left in range(0, SIZE_PX[0], _TILE_PX):
            other = world.picture(ids[int(rng.integers(len(ids)))])
            picture.paste(other.convert("RGB").resize((_TILE_PX, _TILE_PX)), (left, top))
    return picture


_SURFACES: Mapping[str, Callable[[Image.Image, World, np.random.Generator], Image.Image]] = MappingProxyType(
    {
        "white": _uniform("white"),
        "black": _uniform("black"),
        "gray": _uniform("gray"),
        "noise": _noise,
        "checker": _checker,
        "stripes": _stripes,
        "mean": _mean,
        "collage": _collage,
    }
)
