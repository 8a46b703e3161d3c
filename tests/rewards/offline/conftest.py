"""A world of twelve three-stripe flags, one pair of which is the same picture, and three ring emblems."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from gen_searcher.image_store import ImageStore
from gen_searcher.types import Facts, Subject, Task
from gen_searcher.world.canvas import slot_boxes

COLOURS = ("red", "white", "blue", "gold", "green", "black")
TWIN = "flag-12"
"""Looks like `flag-00`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallEntity:
    name: str
    kind: str

    @property
    def picture_url(self) -> str:
        return f"http://small.mini.web/{self.name.replace(' ', '-')}.webp"


class SmallWorld:
    def __init__(self) -> None:
        self.pictures = {f"flag-{i:02d}": _flag(i) for i in range(12)}
        self.pictures[TWIN] = self.pictures["flag-00"]
        self.pictures |= {f"ring-{i}": _ring(i) for i in range(3)}
        self.entities: Mapping[str, SmallEntity] = {
            entity_id: SmallEntity(name=f"Picture {entity_id}", kind=entity_id.split("-")[0])
            for entity_id in self.pictures
        }

    def picture(self, entity_id: str) -> Image.Image:
        return self.pictures[entity_id]

    def look_alikes(self, entity_id: str) -> tuple[str, ...]:
        pair = {"flag-00": TWIN, TWIN: "flag-00"}
        return (pair[entity_id],) if entity_id in pair else ()


def _flag(number: int) -> Image.Image:
    picture = Image.new("RGB", (128, 128))
    draw = ImageDraw.Draw(picture)
    for stripe in range(3):
        colour = COLOURS[(number * (stripe + 1) + stripe * (1 + number // 6)) % 6]
        box = (0, 43 * stripe, 127, 43 * stripe + 43) if number % 2 else (43 * stripe, 0, 43 * stripe + 43, 127)
        draw.rectangle(box, fill=colour)
    draw.ellipse((10 + 8 * number, 50, 34 + 8 * number, 74), fill=COLOURS[(number + 3) % 6])
    return picture


def _ring(number: int) -> Image.Image:
    picture = Image.new("RGB", (128, 128), "white")
    ImageDraw.Draw(picture).ellipse((20, 20, 108, 108), outline=COLOURS[2 * number], width=12 + 8 * number)
    return picture


@pytest.fixture
def world() -> SmallWorld:
    return SmallWorld()


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


MakeTask = Callable[..., Task]


@pytest.fixture
def make_task(world: SmallWorld) -> MakeTask:
    """make_task("flag-01", "flag-02", layout="beside", style="night", caption="WARSAW")"""

    def make(*entities: str, layout: str = "alone", style: str = "plain", caption: str | None = None) -> Task:
        subjects = tuple(
            Subject(entity=entity, name=world.entities[entity].name, box=box)
            for entity, box in zip(entities, slot_boxes(layout), strict=True)
        )
        facts = Facts(subjects=subjects, layout=layout, style=style, caption=caption)
        return Task(id=f"task-{'-'.join(entities)}", prompt="draw it", target=None, facts=facts, meta={})

    return make
