"""Every picture of a kind as it would look in a given slot and style: what a judge compares a drawing with.

A shelf is rendered when it is first asked for and kept. It holds the *whole* kind, so the hardest look-alike is always
among the distractors and no random choice enters a score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from gen_searcher.rewards.offline.similarity import GRID, Bank, Floats, Mask, bank, grid
from gen_searcher.world.canvas import LAYOUTS, SIZE_PX, SLOT_PX, compose


class KnownEntity(Protocol):
    """What a judge reads of an entity."""

    @property
    def kind(self) -> str:
        """`flag`, `element`, ...: a drawing is compared with its own kind."""
        ...

    @property
    def name(self) -> str:
        """Title of its picture."""
        ...


class PictureWorld(Protocol):
    """What a judge reads of the embedded world; `gen_searcher.world.World` is one."""

    @property
    def entities(self) -> Mapping[str, KnownEntity]:
        """By id."""
        ...

    def picture(self, entity_id: str) -> Image.Image:
        """The entity's square picture."""
        ...

    def look_alikes(self, entity_id: str) -> tuple[str, ...]:
        """Entities whose picture nobody can tell from this one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One place of a layout."""

    layout: str
    index: int

    @property
    def visible(self) -> Mask:
        """[G, G] cells of this slot that no later slot covers."""
        left, top, right, bottom = LAYOUTS[self.layout].slots[self.index]
        mask = np.ones((GRID, GRID), dtype=np.bool_)
        for l2, t2, r2, b2 in LAYOUTS[self.layout].slots[self.index + 1 :]:
            columns = slice(_cell(l2, left, right), _cell(r2, left, right))
            mask[_cell(t2, top, bottom) : _cell(b2, top, bottom), columns] = False
        return mask

    @property
    def shape(self) -> tuple[int, bytes]:
        """Slots of one shape show a picture the same way, whatever their layout: side in pixels, visible cells."""
        left, _, right, _ = LAYOUTS[self.layout].slots[self.index]
        return right - left, self.visible.tobytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """One kind in one slot shape and style."""

    entity_ids: tuple[str, ...]
    rows: Mapping[str, int]
    """Entity id to its row in `bank`."""
    bank: Bank


class Shelves:
    """Shelves by kind, slot shape and style, rendered once."""

    def __init__(self, world: PictureWorld) -> None:
        """Nothing is rendered yet."""
        self._world = world
        self._ids_by_kind: dict[str, tuple[str, ...]] = {}
        for entity_id in sorted(world.entities):
            kind = world.entities[entity_id].kind
            self._ids_by_kind[kind] = (*self._ids_by_kind.get(kind, ()), entity_id)
        self._small: dict[str, Image.Image] = {}
        self._shelves: dict[tuple[str, tuple[int, bytes], str], Shelf] = {}

    def shelf(self, kind: str, *, slot: Slot, style: str) -> Shelf:
        """All entities of `kind`, as they look there."""
        key = (kind, slot.shape, style)
        if key not in self._shelves:
            ids = self._ids_by_kind[kind]
            grids = [self.grid(entity_id, slot=slot, style=style) for entity_id in ids]
            self._shelves[key] = Shelf(
                entity_ids=ids,
                rows={entity_id: row for row, entity_id in enumerate(ids)},
                bank=bank(grids, slot.visible),
            )
        return self._shelves[key]

    def grid(self, entity_id: str, *, slot: Slot, style: str) -> Floats:
        """[3, G, G] one entity as it looks there."""
        box = LAYOUTS[slot.layout].slots[slot.index]
        pictures = [self.picture(entity_id)] * len(LAYOUTS[slot.layout].slots)
        return grid(compose(pictures, layout=slot.layout, style=style, caption=None).crop(box))

    def picture(self, entity_id: str) -> Image.Image:
        """The entity's picture at reference size, decoded once."""
        if entity_id not in self._small:
            picture = self._world.picture(entity_id).convert("RGB")
            self._small[entity_id] = picture.resize((SLOT_PX, SLOT_PX), Image.Resampling.LANCZOS)
        return self._small[entity_id]


def crop(image: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
    """The part of a picture at `box`, given as fractions, at least one pixel large."""
    left, top, right, bottom = (
        round(fraction * side) for fraction, side in zip(box, (image.width, image.height) * 2, strict=True)
    )
    return image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))


def to_canvas(image: Image.Image) -> Image.Image:
    """The picture at the canvas' size, whatever size the image model draws."""
    return image if image.size == SIZE_PX else image.resize(SIZE_PX, Image.Resampling.LANCZOS)


def _cell(position: int, start: int, end: int) -> int:
    return min(GRID, max(0, round((position - start) * GRID / (end - start))))
