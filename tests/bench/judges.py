"""How good the offline judges are, measured: `python -m tests.bench.judges [--quick]`.

Ground truths are spoiled the way a small denoiser spoils them (blur, brightness, noise), then judged. Prints three
tables (recognition by kind, verdicts by case, captions read) and, as the last line, the same as JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.offline import caption as captions
from gen_searcher.rewards.offline.image_judge import OfflineImageJudge
from gen_searcher.rewards.offline.shelf import Shelves, Slot, crop
from gen_searcher.rewards.offline.similarity import grid
from gen_searcher.types import Facts, Subject, Task
from gen_searcher.world.canvas import ART_PX, LAYOUTS, SLOT_PX, STYLES, compose, slot_boxes, with_caption
from gen_searcher.world.world import World

AMONG = 100
"""Pictures of one kind that the right one is picked from."""
SPOILS: Mapping[str, tuple[float, float]] = {
    "none": (0.0, 0.0),
    "mild": (0.7, 8.0),
    "painter": (1.0, 12.0),
    "bad": (1.5, 20.0),
}
"""Blur radius in pixels and noise in 0..255."""


def spoil(image: Image.Image, rng: np.random.Generator, *, level: str = "painter") -> Image.Image:
    """Blur, brightness 0.8 to 1.1, noise."""
    blur, noise = SPOILS[level]
    if level == "none":
        return image
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(blur)), dtype=np.float64) * rng.uniform(0.8, 1.1)
    return Image.fromarray((pixels + rng.normal(0.0, noise, pixels.shape)).clip(0, 255).astype(np.uint8))


def auc(right: NDArray[np.float64], wrong: NDArray[np.float64]) -> float:
    """Chance that a right pair scores above a wrong one; a tie counts half."""
    ordered = np.sort(wrong)
    below, up_to = np.searchsorted(ordered, right, "left"), np.searchsorted(ordered, right, "right")
    return float((below + up_to).mean() / 2 / len(wrong))


def recognition(world: World, *, per_kind: int) -> list[dict[str, object]]:
    """Per kind and slot size, over all styles: top-1 among 100, AUC of the similarity, and what the judge makes of it."""
    rng, shelves = np.random.default_rng(0), Shelves(world)
    judge = OfflineImageJudge(store=ImageStore(Path(tempfile.gettempdir())), world=world)
    rows: list[dict[str, object]] = []
    for kind in sorted({entity.kind for entity in world.entities.values()}):
        ids = sorted(entity_id for entity_id, entity in world.entities.items() if entity.kind == kind)
        for slot in (Slot(layout="alone", index=0), Slot(layout="inset", index=1)):
            first, right, wrong, correct, mistaken = [], [], [], [], []
            for number in range(per_kind):
                asked, style = str(rng.choice(ids)), list(STYLES)[number % len(STYLES)]
                others = [i for i in ids if i != asked and i not in world.look_alikes(asked)]
                among = [asked, *rng.permutation(others)[: AMONG - 1].tolist()]
                box = slot_boxes(slot.layout)[slot.index]
                drawn = spoil(_drawn(world, asked, slot, style), rng)
                shelf = shelves.shelf(kind, slot=slot, style=style)
                likeness = shelf.bank.similarity(grid(crop(drawn, box)), [shelf.rows[i] for i in among])
                first.append(likeness[0] > likeness[1:].max())
                right.append(float(likeness[0]))
                wrong += likeness[1:].tolist()
                correct.append(_correctness(judge, world, asked, drawn, slot, style))
                mistake = spoil(_drawn(world, among[1], slot, style), rng)
                mistaken.append(_correctness(judge, world, asked, mistake, slot, style))
            rows.append(
                {
                    "kind": kind,
                    "slot_px": slot.shape[0],
                    "pictures": len(ids),
                    "top1": float(np.mean(first)),
                    "auc": auc(np.array(right), np.array(wrong)),
                    "right_mean": float(np.mean(correct)),
                    "right_p5": float(np.quantile(correct, 0.05)),
                    "wrong_mean": float(np.mean(mistaken)),
                    "wrong_max": float(np.max(mistaken)),
                }
            )
    return rows


def _drawn(world: World, entity: str, slot: Slot, style: str) -> Image.Image:
    return compose(
        [world.picture(entity)] * len(LAYOUTS[slot.layout].slots), layout=slot.layout, style=style, caption=None
    )


def _correctness(
    judge: OfflineImageJudge, world: World, asked: str, drawn: Image.Image, slot: Slot, style: str
) -> float:
    subjects = tuple(Subject(entity=asked, name="", box=box) for box in slot_boxes(slot.layout))
    task = Task(
        id="bench", prompt="", target=None, facts=Facts(subjects=subjects, layout=slot.layout, style=style), meta={}
    )
    return judge.slots(task, drawn)[slot.index].correctness


def cases(world: World, texts: Sequence[str], *, count: int) -> list[dict[str, object]]:
    """Mean verdict on drawings that are right or wrong in one way, and the judge's cost."""
    rng, pick = np.random.default_rng(1), random.Random(1)
    judge = OfflineImageJudge(store=ImageStore(Path(tempfile.gettempdir())), world=world)
    ids = sorted(world.entities)
    found: dict[str, list[list[float]]] = {}
    for number in range(count):
        layout, style = pick.choice(list(LAYOUTS)), pick.choice(list(STYLES))
        boxes, text = slot_boxes(layout), pick.choice(texts) if number % 4 else None
        asked = [pick.choice(ids) for _ in boxes]
        alike = [_other(world, entity, pick) for entity in asked]
        subjects = tuple(
            Subject(entity=e, name=world.entities[e].name, box=b) for e, b in zip(asked, boxes, strict=True)
        )
        facts = Facts(subjects=subjects, layout=layout, style=style, caption=text)
        task = Task(id=str(number), prompt="", target=None, facts=facts, meta={})
        ideal = _poster(world, asked, layout, style, text)
        noise = Image.fromarray(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8))
        drawings = {
            "ground truth": ideal,
            "painted": _painted(ideal, text, rng),
            "other pictures": _painted(_poster(world, alike, layout, style, text), text, rng),
            "other style": _painted(
                _poster(world, asked, layout, "plain" if style != "plain" else "night", text), text, rng
            ),
            "no references": _painted(noise.filter(ImageFilter.GaussianBlur(6)), text, rng),
            "noise": noise,
            "white": Image.new("RGB", (128, 96), "white"),
        }
        for name, drawing in drawings.items():
            started = time.process_time()
            verdict = judge.verdict(task, drawing)
            cost_ms = 1000 * (time.process_time() - started)
            parts = [np.nan if value is None else value for value in verdict.parts.values()]
            found.setdefault(name, []).append([verdict.score, *parts, cost_ms])
    names = ("k_score", "faithfulness", "visual_correctness", "text_accuracy", "aesthetics")
    return [
        {
            "case": case,
            **dict(zip(names, np.nanmean(np.array(rows)[:, :5], axis=0).tolist(), strict=True)),
            "cpu_ms_median": float(np.median(np.array(rows)[:, 5])),
        }
        for case, rows in found.items()
    ]


def _other(world: World, entity: str, pick: random.Random) -> str:
    kind = world.entities[entity].kind
    alike = {entity, *world.look_alikes(entity)}
    return pick.choice([i for i, other in sorted(world.entities.items()) if other.kind == kind and i not in alike])


def _poster(world: World, entities: Sequence[str], layout: str, style: str, text: str | None) -> Image.Image:
    return compose([world.picture(entity) for entity in entities], layout=layout, style=style, caption=text)


def _painted(ideal: Image.Image, text: str | None, rng: np.random.Generator) -> Image.Image:
    """The art spoiled, the strip set afterwards, as the embedded generator does."""
    return with_caption(spoil(ideal.crop((0, 0, *ART_PX)), rng), text)


def reading(texts: Sequence[str]) -> list[dict[str, object]]:
    """Share of captions read exactly, when the strip is spoiled as well."""
    rng, reader = np.random.default_rng(2), captions.OcrReader()
    blank = Image.new("RGB", (SLOT_PX, SLOT_PX), "gray")
    rows: list[dict[str, object]] = []
    for level in SPOILS:
        scores: list[float] = []
        started = time.process_time()
        for text in texts:
            drawn = spoil(compose([blank], layout="alone", style="plain", caption=text), rng, level=level)
            scores.append(
                max((captions.text_accuracy(text, found) for found in captions.readings(drawn, reader)), default=0.0)
            )
        cost_ms = 1000 * (time.process_time() - started) / len(texts)
        exact = float(np.mean(np.array(scores) == 1.0))
        rows.append(
            {
                "spoiled": level,
                "captions": len(texts),
                "exact": exact,
                "mean": float(np.mean(scores)),
                "cpu_ms": cost_ms,
            }
        )
    return rows


def some_captions(world: World, count: int) -> list[str]:
    """Names of capitals and the like, numbers, names of entities: what tasks ask for and longer."""
    pool = {value for page in world.pages.values() for _, value in page.infobox if 2 <= len(value) <= 28}
    pool |= {entity.name.removeprefix("Flag of ") for entity in world.entities.values() if len(entity.name) <= 28}
    return random.Random(3).sample(sorted(pool), count)


def text_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as aligned text."""
    cells = [list(rows[0]), *([f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the pictures")
    scale = 1 if parser.parse_args().quick else 10
    world = World.load()
    texts = some_captions(world, 20 * scale)
    result = {
        "recognition": recognition(world, per_kind=20 * scale),
        "cases": cases(world, texts, count=16 * scale),
        "reading": reading(texts),
    }
    for rows in result.values():
        sys.stdout.write(text_table(rows) + "\n\n")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({**result, "peak_rss_mib": round(peak_mib)}) + "\n")


if __name__ == "__main__":
    main()
