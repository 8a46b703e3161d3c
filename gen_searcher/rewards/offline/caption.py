# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (rapidocr is partly typed)
"""Read the caption strip and say how well it spells what was asked.

    text_accuracy = max(0, 2 * similarity - 1),    similarity = 1 - edit distance / longer length

so a caption that is right in every letter scores 1, one wrong letter of six scores 0.67, and text that shares less
than half of its letters scores 0. Case and spaces do not count. A letter with an accent counts as right whatever is
read in its place: the recogniser knows few of them (it reads `Curaçao` as `Curaao` even when printed perfectly).

Only recognition runs, on the ink's bounding box: without the tight crop a reader invents letters around short words.
"""

from __future__ import annotations

import unicodedata
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STRIP_TOP = 2 / 3
"""Where the strip begins, as a fraction of the picture's height."""

_JOKER = "\N{MIDDLE DOT}"
_INK_BELOW = 128
_UNWANTED_INK_FRAC = 0.01
_MARGIN_PX = 3
_LINE_PX = 48
"""Height that the recogniser works at."""
_LINE_WIDTH_PX = 160
"""Narrowest line it works at; a shorter one is padded. The default of 320 doubles the time for short captions."""
_GAP_FRAC = 0.25
"""A row with less ink than this share of the busiest row may separate two lines."""


class LineReader(Protocol):
    """Reads one line of text."""

    def read(self, line: Image.Image) -> str:
        """The text of a picture that holds one line, cut out tightly."""
        ...


class OcrReader:
    """PP-OCRv6 recognition on one thread; the model lies in the rapidocr wheel, nothing is downloaded."""

    def __init__(self) -> None:
        """Load the recogniser (0.7 s the first time in a process)."""
        from rapidocr import RapidOCR  # here: it loads OpenCV and ONNX Runtime
        from rapidocr.ch_ppocr_rec import TextRecOutput

        self._output = TextRecOutput
        self._ocr = RapidOCR(
            params={
                "Global.use_det": False,
                "Global.use_cls": False,
                "Global.log_level": "error",
                "Global.text_score": 0.0,
                "Rec.rec_img_shape": [3, _LINE_PX, _LINE_WIDTH_PX],
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )

    def read(self, line: Image.Image) -> str:
        """The text of a picture that holds one line, cut out tightly; empty when nothing is legible."""
        width = max(1, round(line.width * _LINE_PX / line.height))
        pixels = np.asarray(line.convert("RGB").resize((width, _LINE_PX), Image.Resampling.BICUBIC))
        found = self._ocr(np.ascontiguousarray(pixels[:, :, ::-1]), use_det=False, use_cls=False, use_rec=True)
        return str(found.txts[0]) if isinstance(found, self._output) and found.txts else ""


def strip(image: Image.Image) -> Image.Image:
    """The caption strip in shades of gray, stretched to full contrast."""
    gray = np.asarray(image.convert("L").crop((0, round(image.height * STRIP_TOP), *image.size)), dtype=np.float32)
    low, high = float(gray.min()), float(np.percentile(gray, 90))
    if high - low < 40.0:
        return Image.new("L", (gray.shape[1], gray.shape[0]), 255)
    return Image.fromarray(((gray - low) / (high - low) * 255.0).clip(0, 255).astype(np.uint8))


def has_ink(image: Image.Image) -> bool:
    """Whether the strip carries anything dark."""
    return bool((np.asarray(strip(image)) < _INK_BELOW).mean() > _UNWANTED_INK_FRAC)


def readings(image: Image.Image, reader: LineReader) -> tuple[str, ...]:
    """What the strip says, read as one line and, where a gap suggests it, also as two; empty without ink."""
    gray = strip(image)
    ink = np.asarray(gray) < _INK_BELOW
    if not ink.any():
        return ()
    found = [reader.read(_tight(gray, ink, 0, gray.height))]
    gap = _gap(ink)
    if gap is not None:
        halves = (_tight(gray, ink, 0, gap), _tight(gray, ink, gap, gray.height))
        found.append(" ".join(reader.read(half) for half in halves))
    return tuple(found)


def text_accuracy(wanted: str, found: str) -> float:
    """Score of a reading, 0..1; see the module."""
    return max(0.0, 2.0 * similarity(wanted, found) - 1.0)


def similarity(wanted: str, found: str) -> float:
    """1 minus the edit distance over the longer length, without case and spaces."""
    left = _joined(
        "".join(_JOKER if c.isalpha() and not c.isascii() else c for c in unicodedata.normalize("NFC", wanted))
    )
    right = "".join(c for c in unicodedata.normalize("NFKD", _joined(found)) if not unicodedata.combining(c))
    longest = max(len(left), len(right))
    return 1.0 - edit_distance(left, right) / longest if longest else 1.0


def _joined(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def edit_distance(wanted: str, found: str) -> int:
    """Fewest insertions, deletions and replacements between two texts; a joker in `wanted` is free to change or drop."""
    previous = list(range(len(found) + 1))
    for a in wanted:
        free = a == _JOKER
        current = [previous[0] + (not free)]
        for j, b in enumerate(found, start=1):
            replaced = previous[j - 1] + (a != b and not free)
            current.append(min(previous[j] + (not free), current[j - 1] + 1, replaced))
        previous = current
    return previous[-1]


def _gap(ink: NDArray[np.bool_]) -> int | None:
    """The row between two lines, or None when there is one line."""
    per_row = ink.sum(axis=1)
    rows = np.flatnonzero(per_row)
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    height = bottom - top
    if height < ink.shape[0] // 3:
        return None
    middle = per_row[top + height // 3 : bottom - height // 3]
    if middle.size == 0 or middle.min() > _GAP_FRAC * per_row.max():
        return None
    lowest = np.flatnonzero(middle == middle.min())
    return top + height // 3 + int(lowest[len(lowest) // 2])


def _tight(gray: Image.Image, ink: NDArray[np.bool_], top: int, bottom: int) -> Image.Image:
    """Rows `top` to `bottom`, cut to their ink with a white margin around it."""
    part = ink[top:bottom]
    if not part.any():
        return Image.new("L", (_MARGIN_PX * 4, _MARGIN_PX * 4), 255)
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    box = (int(columns[0]), top + int(rows[0]), int(columns[-1]) + 1, top + int(rows[-1]) + 1)
    cut = gray.crop(box)
    framed = Image.new("L", (cut.width + 2 * _MARGIN_PX, cut.height + 2 * _MARGIN_PX), 255)
    framed.paste(cut, (_MARGIN_PX, _MARGIN_PX))
    return framed
