"""Duplicates and leaks planted among clean rows: how many are caught, and how many clean rows are rejected with them.

`python -m tests.data.test_planted` prints the figures that are asserted here.
"""

from __future__ import annotations

import asyncio
import io
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

from gen_searcher.config.data import DedupeConfig
from gen_searcher.data.dedupe import Heldout, dedupe
from gen_searcher.data.rows import StageName
from gen_searcher.data.stage import DataFolder, Inputs, Located
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Task
from gen_searcher.world import World
from tests.data.pipeline_parts import lines, verified

HELD, CLEAN, PLANTED = 60, 240, 20
"""Held-out tasks, clean rows, and plants of each kind."""
STARTS = ("Draw {}", "Paint a scene for this: {}", "A photo that shows what is meant: {}", "Make a poster. {}")
OTHER_STARTS = ("Create an image of {}", "Please illustrate: {}", "Show in a photograph: {}", "Design a poster. {}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """What one request is about, with a picture of its own."""

    start: int
    words: str
    picture: Image.Image

    @property
    def prompt(self) -> str:
        return STARTS[self.start].format(self.words)


def typo(text: str) -> str:
    at = len(text) // 2
    at += next(k for k, pair in enumerate(zip(text[at:], text[at + 1 :], strict=False)) if pair[0] != pair[1])
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def without_a_word(text: str) -> str:
    words = text.split()
    return " ".join(words[: len(words) // 2] + words[len(words) // 2 + 1 :])


def swapped(text: str) -> str:
    words = text.split()
    return " ".join(words[len(words) // 2 :] + words[: len(words) // 2])


REWORDED: Mapping[str, Callable[[Thing], str]] = {
    "verbatim": lambda thing: thing.prompt,
    "case and punctuation": lambda thing: thing.prompt.upper().replace(".", "!").replace(",", ""),
    "a typo": lambda thing: typo(thing.prompt),
    "a word left out": lambda thing: without_a_word(thing.prompt),
    "halves swapped": lambda thing: swapped(thing.prompt),
    "words of quality added": lambda thing: f"{thing.prompt} High quality, detailed, 4k.",
    "another beginning": lambda thing: OTHER_STARTS[thing.start].format(thing.words),
    "inside a longer text": lambda thing: (
        "This is for the cover of our yearly report, so please take care that it looks friendly. "
        f"{thing.prompt} Leave some room for a title at the top, and keep the lower edge free of detail."
    ),
}


def recompressed(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=60)
    return Image.open(file).convert("RGB")


def cropped(image: Image.Image) -> Image.Image:
    edge = image.width // 20
    return image.crop((edge, edge, image.width - edge, image.height - edge)).resize(image.size)


REDRAWN: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "the same picture": lambda image: image,
    "twice as large": lambda image: image.resize((256, 256), Image.Resampling.LANCZOS),
    "half as large": lambda image: image.resize((64, 64), Image.Resampling.LANCZOS),
    "recompressed": recompressed,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.08),
    "cropped by a twentieth": cropped,
}

LEAKED = {
    "verbatim": 20, "case and punctuation": 20, "a typo": 20, "a word left out": 19, "halves swapped": 20,
    "words of quality added": 20, "another beginning": 16, "inside a longer text": 20,
}  # fmt: skip
"""Caught of 20, at least."""
REPEATED = {
    "verbatim": 20, "case and punctuation": 20, "a typo": 19, "a word left out": 18, "halves swapped": 19,
    "words of quality added": 14, "another beginning": 5, "inside a longer text": 0,
}  # fmt: skip
"""Between rows only the similarity as a whole is looked at: what is told at length is not caught."""
SEEN = {
    "the same picture": 20, "twice as large": 19, "half as large": 16, "recompressed": 17, "brighter": 17,
    "cropped by a twentieth": 18,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What became of plants and of clean rows."""

    caught: Mapping[str, int]
    """By the kind of plant and its reason, e.g. `leak_prompt/a typo`."""
    wrong: Sequence[object]
    """Clean rows that were rejected."""


def things() -> list[Thing]:
    """Requests about different things, no two of them about one page or with pictures that look alike."""
    world = World.load()
    pick = random.Random(5)
    pages = [page for page in world.pages.values() if page.sentences and len(page.sentences[0]) > 45]
    shown = [one.id for one in world.entities.values() if one.kind in ("flag", "concept") and not one.look_alikes]
    pick.shuffle(pages)
    pick.shuffle(shown)
    return [
        Thing(start=number % len(STARTS), words=page.sentences[0], picture=world.picture(entity))
        for number, (page, entity) in enumerate(zip(pages, shown, strict=False))
    ]


def found(folder: Path, cfg: DedupeConfig | None = None) -> Found:
    """Run the stage over clean rows with plants among them."""
    store = ImageStore(folder / "images")
    every = things()
    held, clean = every[:HELD], every[HELD : HELD + CLEAN]
    fresh = iter(every[HELD + CLEAN :])
    rows = [verified(store.put(one.picture), f"clean/{number}", one.prompt) for number, one in enumerate(clean)]
    for victims, reason in ((held, "leak"), (clean, "duplicate")):
        for kind, reword in REWORDED.items():
            for number in range(PLANTED):
                picture = store.put(next(fresh).picture)
                rows.append(verified(picture, f"{reason}_prompt/{kind}/{number}", reword(victims[number])))
        for kind, redraw in REDRAWN.items():
            for number in range(PLANTED):
                picture = store.put(redraw(victims[number].picture))
                rows.append(verified(picture, f"{reason}_picture/{kind}/{number}", next(fresh).prompt))
    tasks = [
        Task(id=str(number), prompt=one.prompt, target=store.put(one.picture), meta={})
        for number, one in enumerate(held)
    ]
    out = DataFolder(root=folder / "data")
    inputs = Inputs(rows=tuple(Located(file="v.jsonl", line=at, value=row) for at, row in enumerate(rows, start=1)))
    heldout = [Heldout(name="benchmark.json", tasks=tasks)]
    asyncio.run(dedupe(inputs, heldout, cfg or DedupeConfig(), folder=out, store=store))
    rejects = lines(out.rejects(StageName.DEDUPE))
    assert len(rejects) + len(lines(out.rows(StageName.DEDUPE))) == len(rows), "every row is kept or has a reason"
    planted = [str(one["id"]).rsplit("/", 1)[0] for one in rejects if one["reason"] == str(one["id"]).split("/")[0]]
    return Found(caught=Counter(planted), wrong=[one for one in rejects if str(one["id"]).startswith("clean/")])


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return found(tmp_path_factory.mktemp("planted"))


@pytest.mark.parametrize("kind", REWORDED)
def test_a_leaked_request_is_caught_also_in_other_clothes(default: Found, kind: str) -> None:
    assert default.caught[f"leak_prompt/{kind}"] >= LEAKED[kind]


@pytest.mark.parametrize("kind", REWORDED)
def test_a_repeated_request_is_caught_while_it_says_little_else(default: Found, kind: str) -> None:
    assert default.caught[f"duplicate_prompt/{kind}"] >= REPEATED[kind]


@pytest.mark.parametrize("kind", REDRAWN)
def test_a_picture_is_known_again_in_both_places(default: Found, kind: str) -> None:
    assert default.caught[f"leak_picture/{kind}"] >= SEEN[kind]
    assert default.caught[f"duplicate_picture/{kind}"] >= SEEN[kind]


def test_clean_rows_pass(default: Found) -> None:
    assert len(default.wrong) <= 2, default.wrong


def test_the_similarity_of_the_whole_alone_misses_what_is_told_at_length(tmp_path: Path) -> None:
    before = found(tmp_path, DedupeConfig(heldout_share=None))
    assert before.caught["leak_prompt/inside a longer text"] == 0
    assert before.caught["leak_prompt/another beginning"] < LEAKED["another beginning"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as _folder:
        _found = found(Path(_folder))
    for _reason in ("leak_prompt", "duplicate_prompt", "leak_picture", "duplicate_picture"):
        for _kind in REWORDED if _reason.endswith("prompt") else REDRAWN:
            sys.stdout.write(f"{_reason:18} {_kind:24} {_found.caught[f'{_reason}/{_kind}']:3} of {PLANTED}\n")
    sys.stdout.write(f"clean rows rejected: {len(_found.wrong)} of {CLEAN}\n")
    sys.stdout.writelines(f"  {_one}\n" for _one in _found.wrong)
