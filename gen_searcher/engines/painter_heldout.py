"""How well a painter draws pictures it never saw: right against wrong reference, family by layout by style."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from gen_searcher.engines.painter_pictures import Named
from gen_searcher.world import canvas

Draw = Callable[[str, Sequence[Image.Image], int], Image.Image]
"""Prompt, references, seed -> art area."""

_CANDIDATES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One cell of the held-out table; the numbers are means."""

    family: str
    layout: str
    style: str
    pictures: int
    right_db: float
    """PSNR against the picture that was asked for."""
    wrong_db: float
    """PSNR when the references are those of another picture of the family."""
    found: float
    """How often the first subject's slot is nearest to the right one of up to a hundred pictures of its family."""
    found_second: float | None
    """The same of the second subject's slot; None when the layout has one."""


def psnr_db(one: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio of two pictures of one size."""
    error = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    return float(10 * np.log10(255.0**2 / max(float((error**2).mean()), 1e-6)))


def held_out_table(draw: Draw, held_out: Sequence[Named], everything: Sequence[Named], *, pictures: int) -> list[Row]:
    """Draw `pictures` held-out pictures in every cell; candidates to be told from come from `everything`."""
    rows: list[Row] = []
    for family in sorted({picture.family for picture in held_out}):
        members = [picture for picture in held_out if picture.family == family]
        relatives = [picture for picture in everything if picture.family == family]
        rows.extend(
            _row(draw, members[:pictures], relatives, layout=layout, style=style)
            for layout in canvas.LAYOUTS
            for style in canvas.STYLES
        )
    return rows


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """As JSON, with the means first."""
    means = {
        "right_db": round(float(np.mean([row.right_db for row in rows])), 2),
        "wrong_db": round(float(np.mean([row.wrong_db for row in rows])), 2),
        "found": round(float(np.mean([row.found for row in rows])), 3),
        "found_second": round(float(np.mean([row.found_second for row in rows if row.found_second is not None])), 3),
    }
    path.write_text(json.dumps({"mean": means, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")


def sample_sheet(draw: Draw, held_out: Sequence[Named], *, per_family: int = 2) -> Image.Image:
    """For the eye: truth over drawing, a column per layout and style, a row per picture."""
    cells = [(layout, style) for layout in canvas.LAYOUTS for style in canvas.STYLES]
    families = sorted({picture.family for picture in held_out})
    width, height = canvas.ART_PX
    sheet = Image.new("RGB", (len(cells) * (width + 4), len(families) * per_family * (2 * height + 6)), "gray")
    for row, (family, index) in enumerate((family, index) for family in families for index in range(per_family)):
        members = [picture.image for picture in held_out if picture.family == family]
        chosen = (members[index % len(members)], members[(index + 1) % len(members)])
        for column, (layout, style) in enumerate(cells):
            shown, truth = _asked(chosen, layout=layout, style=style)
            drawn = draw(canvas.wording(layout=layout, style=style, caption=None), shown, 0)
            place = (column * (width + 4), row * (2 * height + 6))
            sheet.paste(truth, place)
            sheet.paste(drawn, (place[0], place[1] + height + 1))
    return sheet


def _asked(chosen: Sequence[Image.Image], *, layout: str, style: str) -> tuple[list[Image.Image], Image.Image]:
    """The references of a layout and the art area that they should become."""
    shown = list(chosen[: len(canvas.LAYOUTS[layout].slots)])
    return shown, canvas.compose(shown, layout=layout, style=style, caption=None).crop((0, 0, *canvas.ART_PX))


def _row(draw: Draw, members: Sequence[Named], relatives: Sequence[Named], *, layout: str, style: str) -> Row:
    prompt = canvas.wording(layout=layout, style=style, caption=None)
    slots = canvas.LAYOUTS[layout].slots
    truths: list[Image.Image] = []
    drawings: list[Image.Image] = []
    found: list[list[bool]] = [[] for _ in slots]
    for index, member in enumerate(members):
        subjects = (member, members[(index + 1) % len(members)])
        shown, truth = _asked([subject.image for subject in subjects], layout=layout, style=style)
        drawing = draw(prompt, shown, index)
        for which, slot in enumerate(slots):
            others = [other for other in relatives if other.name not in {s.name for s in subjects}][: _CANDIDATES - 1]
            candidates: list[Image.Image] = []
            for other in others:
                pair = [other.image if k == which else subject.image for k, subject in enumerate(subjects)]
                candidates.append(_asked(pair, layout=layout, style=style)[1].crop(slot))
            right_db = psnr_db(drawing.crop(slot), truth.crop(slot))
            found[which].append(all(psnr_db(drawing.crop(slot), other) <= right_db for other in candidates))
        truths.append(truth)
        drawings.append(drawing)
    wrong = [psnr_db(drawing, truth) for drawing, truth in zip(drawings[1:] + drawings[:1], truths, strict=True)]
    return Row(
        family=members[0].family,
        layout=layout,
        style=style,
        pictures=len(members),
        right_db=round(float(np.mean([psnr_db(a, b) for a, b in zip(drawings, truths, strict=True)])), 2),
        wrong_db=round(float(np.mean(wrong)), 2),
        found=round(float(np.mean(found[0])), 3),
        found_second=round(float(np.mean(found[1])), 3) if len(slots) > 1 else None,
    )
