"""Does the picture show the facts? KnowGen's four dimensions, measured on the embedded world's own pictures.

    slot crop -> grid -> likeness to the whole kind -> visual_correctness, presence
    caption strip -> recognition -> text_accuracy          whole art area -> faithfulness, aesthetics

For a slot with crop q and asked entity t, and s(., .) the similarity of `similarity.py`:

- **margin** of q towards t over a distractor d: m = (s(q, t) - s(q, d)) / (1 - s(t, d)). It is 1 when q is t, -1 when
  q is d, 0 half way, and about 0 for noise, however alike t and d are.
- **visual_correctness** of the slot: ramp of the smallest margin over all distractors of the kind, 0 at `MARGIN_ZERO`
  and 1 at `MARGIN_FULL`. Entities in `Subject.accepted`, look-alikes, and pictures that the style makes equal to t
  (s(t, d) > `SAME`) are right as well: t is whichever of them q is closest to, and none of them is a distractor.
  The task's score is the mean over its slots.
- **presence** of the slot: ramp of the best similarity to *any* picture of the kind, `PRESENT_ZERO` to `PRESENT_FULL`.
- **style fit** of the slot: with n the nearest picture of the kind, how much closer q is to n in the task's style than
  to n in any other style o: (|q - o|^2 - |q - n|^2) / |n - o|^2, ramp 0 to 0.5. Styles that look equal on n are skipped.
- **faithfulness** = background * mean over slots of presence * (1 + style fit) / 2, halved by an unwanted caption.
  So a wrong flag in the right place and style is faithful and not correct; noise is neither.
  A task without subjects has an empty art area as its right answer: both dimensions are then the background's score.
- **text_accuracy**: see `caption.py`; None when the task asks for no text.
- **aesthetics**: see `looks.py`, beside the clean picture made of each slot's nearest entity.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen_searcher.errors import JudgeError, JudgeUnable
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.compose import IMAGE
from gen_searcher.rewards.offline import caption as captions
from gen_searcher.rewards.offline import looks
from gen_searcher.rewards.offline.looks import ramp
from gen_searcher.rewards.offline.shelf import PictureWorld, Shelf, Shelves, Slot, crop, to_canvas
from gen_searcher.rewards.offline.similarity import Floats, grid
from gen_searcher.rewards.verdict import AESTHETICS, FAITHFULNESS, TEXT_ACCURACY, VISUAL_CORRECTNESS, k_score
from gen_searcher.types import Facts, ImageRef, Judgement, Subject, Task, Trajectory
from gen_searcher.world.canvas import ARRANGEMENTS, ART_PX, STYLES, compose
from gen_searcher.world.world import World

VERSION = "offline-image-1"
"""Changes whenever a score may change."""

MARGIN_ZERO, MARGIN_FULL = 0.05, 0.45
PRESENT_ZERO, PRESENT_FULL = 0.30, 0.60
SAME = 0.95
"""Similarity above which two pictures count as one."""
HARDEST = 24
"""Distractors compared in full: those of the kind that correlate best with the crop."""
STYLE_FULL = 0.5
_STYLE_SAME = 2e-4
"""Mean squared difference below which two styles of a picture count as one."""
_CACHE_SIZE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotVerdict:
    """What one slot holds."""

    correctness: float
    presence: float
    style_fit: float
    margin: float
    """Smallest margin over the distractors, -1..1."""
    nearest: str
    """Entity of the kind that the crop is most like."""


class OfflineImageJudge:
    """Scores pictures of the embedded world; deterministic, one thread, no model to ask."""

    name = IMAGE
    is_local = True

    def __init__(
        self, *, store: ImageStore, world: PictureWorld | None = None, reader: captions.LineReader | None = None
    ) -> None:
        """`world` and `reader` are the package's own world and its OCR unless given."""
        self._store = store
        self._world = world if world is not None else World.load()
        self._reader = reader
        self._shelves = Shelves(self._world)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="image-judge")
        self._cache: OrderedDict[tuple[str, str], Judgement] = OrderedDict()

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """Judge the picture alone; the trajectory is not read. One picture of one task is judged once."""
        del trajectory
        if image is None:
            raise ValueError(f"task {task.id}: the image judge was given no picture")
        key = (image.sha256, task.id)
        if key in self._cache:
            self._cache.move_to_end(key)
            return replace(self._cache[key], latency_s=0.0)
        try:
            picture = self._store.get(image)
        except OSError as error:
            raise JudgeError(f"picture {image.sha256[:12]} of task {task.id} is not in the store: {error}") from error
        judgement = await asyncio.get_running_loop().run_in_executor(self._thread, self.verdict, task, picture)
        self._cache[key] = judgement
        if len(self._cache) > _CACHE_SIZE:
            self._cache.popitem(last=False)
        return judgement

    def verdict(self, task: Task, picture: Image.Image) -> Judgement:
        """The judgement itself, as a function of task and picture."""
        started = time.perf_counter()
        slots = self.slots(task, picture)
        facts = task.facts
        drawn = to_canvas(picture.convert("RGB"))
        art = (0, 0, *ART_PX)
        nearest = [self._shelves.picture(slot.nearest) for slot in slots]
        clean = compose(nearest, layout=facts.layout, style=facts.style, caption=None).crop(art)
        ground = looks.background(drawn.crop(art), clean, _covered(facts.layout))
        unwanted = facts.caption is None and captions.has_ink(picture)
        read, text = self._text(facts, picture)
        shown = [slot.presence * (1.0 + slot.style_fit) / 2.0 for slot in slots] or [1.0]
        correct = [slot.correctness for slot in slots] or [ground]  # of nothing, nothing else may be shown
        parts: dict[str, float | None] = {
            FAITHFULNESS: fmean(shown) * ground * (0.5 if unwanted else 1.0),
            VISUAL_CORRECTNESS: fmean(correct),
            TEXT_ACCURACY: text,
            AESTHETICS: looks.aesthetics(drawn.crop(art), clean),
        }
        return Judgement(
            judge=self.name,
            score=k_score(parts),
            parts=parts,
            rationale=self._rationale(facts, parts, slots, ground=ground, unwanted=unwanted, read=read),
            model=VERSION,
            prompt_sha256=hashlib.sha256(VERSION.encode()).hexdigest(),
            latency_s=time.perf_counter() - started,
        )

    def slots(self, task: Task, picture: Image.Image) -> list[SlotVerdict]:
        """What each slot of the task's layout holds, in the order of its subjects."""
        self._check(task)
        drawn = to_canvas(picture.convert("RGB"))
        return [self._slot(drawn, task.facts, index) for index in range(len(task.facts.subjects))]

    def _check(self, task: Task) -> None:
        facts = task.facts
        if facts.layout not in ARRANGEMENTS or facts.style not in STYLES:
            raise JudgeUnable(
                f"task {task.id} has no facts of the embedded world (layout {facts.layout!r}, style {facts.style!r}, "
                f"{len(facts.subjects)} subjects); judge it with a judge that asks a vision-language model"
            )
        if len(facts.subjects) != len(ARRANGEMENTS[facts.layout].slots):
            raise JudgeUnable(
                f"task {task.id}: layout {facts.layout} shows {len(ARRANGEMENTS[facts.layout].slots)} subjects, "
                f"the facts name {len(facts.subjects)}"
            )
        unknown = [subject.entity for subject in facts.subjects if subject.entity not in self._world.entities]
        if unknown:
            raise JudgeUnable(f"task {task.id} asks for entities that the embedded world does not have: {unknown}")

    def _slot(self, drawn: Image.Image, facts: Facts, index: int) -> SlotVerdict:
        subject = facts.subjects[index]
        slot = Slot(layout=facts.layout, index=index)
        shelf = self._shelves.shelf(self._world.entities[subject.entity].kind, slot=slot, style=facts.style)
        query = grid(crop(drawn, subject.box))
        right = self._right_rows(subject, shelf)
        candidates = np.argsort(-shelf.bank.correlation(query), kind="stable")[:HARDEST]
        rows = np.concatenate((right, candidates[~np.isin(candidates, right)]))
        likeness = shelf.bank.similarity(query, rows)
        asked = int(right[int(np.argmax(likeness[: len(right)]))])
        to_asked = shelf.bank.similarity(shelf.bank.grids_N[asked], rows)
        distractor = (np.arange(len(rows)) >= len(right)) & (to_asked <= SAME)
        margins = (likeness[: len(right)].max() - likeness[distractor]) / (1.0 - to_asked[distractor])
        margin = float(margins.min()) if margins.size else float(likeness[: len(right)].max())
        best = int(np.argmax(likeness))
        nearest = shelf.entity_ids[int(rows[best])]
        return SlotVerdict(
            correctness=ramp(margin, low=MARGIN_ZERO, high=MARGIN_FULL),
            presence=ramp(float(likeness[best]), low=PRESENT_ZERO, high=PRESENT_FULL),
            style_fit=self._style_fit(query, nearest, slot=slot, style=facts.style),
            margin=margin,
            nearest=nearest,
        )

    def _right_rows(self, subject: Subject, shelf: Shelf) -> NDArray[np.intp]:
        """Rows of the shelf that are right: the entity, what the task accepts, and what looks the same."""
        ids = dict.fromkeys((subject.entity, *subject.accepted, *self._world.look_alikes(subject.entity)))
        return np.array([shelf.rows[entity_id] for entity_id in ids if entity_id in shelf.rows], dtype=np.intp)

    def _style_fit(self, query: Floats, nearest: str, *, slot: Slot, style: str) -> float:
        visible = slot.visible
        ours = self._shelves.grid(nearest, slot=slot, style=style)[:, visible]
        seen = query[:, visible]
        fits: list[float] = []
        for other in STYLES:
            theirs = self._shelves.grid(nearest, slot=slot, style=other)[:, visible]
            apart = float(((ours - theirs) ** 2).mean())
            if apart > _STYLE_SAME:
                closer = float(((seen - theirs) ** 2).mean()) - float(((seen - ours) ** 2).mean())
                fits.append(closer / apart)
        return ramp(min(fits), low=0.0, high=STYLE_FULL) if fits else 1.0

    def _text(self, facts: Facts, picture: Image.Image) -> tuple[str, float | None]:
        """What the strip says, as far as it helps, and its score."""
        if facts.caption is None:
            return "", None
        if self._reader is None:
            self._reader = captions.OcrReader()
        wanted = facts.caption
        found = captions.readings(picture, self._reader)
        read = max(found, key=lambda text: captions.similarity(wanted, text), default="")
        return read, captions.text_accuracy(wanted, read)

    def _rationale(
        self,
        facts: Facts,
        parts: Mapping[str, float | None],
        slots: list[SlotVerdict],
        *,
        ground: float,
        unwanted: bool,
        read: str,
    ) -> str:
        seen = "; ".join(
            f"{subject.name}: looks most like {self._world.entities[slot.nearest].name} (margin {slot.margin:+.2f})"
            for subject, slot in zip(facts.subjects, slots, strict=True)
        )
        held = ", ".join(f"{slot.presence:.2f}/{slot.style_fit:.2f}" for slot in slots)
        extra = ", and an unwanted caption" if unwanted else ""
        text = "no text was asked for" if facts.caption is None else f"asked for {facts.caption!r}, reads {read!r}"
        return " ".join(
            (
                f"Visual correctness {parts[VISUAL_CORRECTNESS]:.2f}: {seen}.",
                f"Faithfulness {parts[FAITHFULNESS]:.2f}: presence/style {held}, background {ground:.2f}{extra}.",
                f"Text accuracy: {text}.",
                f"Aesthetics {parts[AESTHETICS]:.2f}: sharpness, cleanness and colour beside the clean picture.",
            )
        )


def _covered(layout: str) -> NDArray[np.bool_]:
    """[H, W] pixels of the art area that a slot covers, one pixel of blur around it included."""
    covered = np.zeros((ART_PX[1], ART_PX[0]), dtype=np.bool_)
    for left, top, right, bottom in ARRANGEMENTS[layout].slots:
        covered[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1] = True
    return covered
