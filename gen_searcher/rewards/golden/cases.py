"""The golden set: cases.json + the embedded world's pictures -> attempts with known scores.

A case is a request, what a policy answered to it, what was drawn from that, and labels. Labels follow the rubric of
`prompts/image.txt` and `prompts/text.txt` from how the case was *made*, never from what a judge says of it. A
dimension whose label would be a matter of taste is left out. The file is frozen: a changed case is a new version.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Literal

from pydantic import TypeAdapter

from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.golden.drawing import Drawing, draw
from gen_searcher.types import (
    Facts,
    Grounding,
    ImageRef,
    Outcome,
    Reference,
    Subject,
    Task,
    Trajectory,
)
from gen_searcher.world.canvas import slot_boxes
from gen_searcher.world.world import World


class CaseClass(StrEnum):
    """What a case probes."""

    PERFECT = "perfect"
    WRONG_ENTITY = "wrong_entity"
    WRONG_TEXT = "wrong_text"
    BAD_LAYOUT = "bad_layout"
    """The right things in the wrong arrangement or look."""
    EMPTY = "empty"
    ADVERSARIAL = "adversarial"
    """Noise, patterns and colours; keys and phrases that are no instructions."""
    INSTRUCTIONS = "instructions"
    """Words to the judge, in the picture and in the answer."""


Dimension = Literal["faithfulness", "visual_correctness", "text_accuracy", "aesthetics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One golden attempt, as it is written in the file."""

    id: str
    kind: CaseClass
    asked: Drawing
    """What the request asks for: the ground truth."""
    drawn: Drawing
    """What was drawn."""
    prompt: str
    """The request."""
    gen_prompt: str
    references: tuple[str, ...]
    """Entities whose pictures the answer chose, in order."""
    image: Mapping[Dimension, float | None] = field(default_factory=dict[Dimension, float | None])
    """Labels of the picture, by dimension; None = does not apply. A dimension that is absent has no label."""
    text: float | None = None
    """Label of the grounding; None = no label."""
    control: str | None = None
    """Case that is the same but for what it adds to talk a judge round: its scores must not be beaten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSet:
    """All cases."""

    version: str
    cases: tuple[Case, ...]

    def spread(self, count: int | None) -> GoldenSet:
        """About `count` cases, evenly over the file and so over the classes; controls come along."""
        if count is None or count >= len(self.cases):
            return self
        chosen = {self.cases[index * len(self.cases) // count].id for index in range(count)}
        chosen |= {case.control for case in self.cases if case.id in chosen and case.control is not None}
        return GoldenSet(version=self.version, cases=tuple(case for case in self.cases if case.id in chosen))


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenAttempt:
    """A case as a judge gets it."""

    case: Case
    task: Task
    trajectory: Trajectory
    image: ImageRef


_FILE = "cases.json"


@cache
def golden_set() -> GoldenSet:
    """The set that ships."""
    return TypeAdapter(GoldenSet).validate_json(_bytes())


def golden_digest() -> str:
    """Sha256 of the file: what a calibration was made with."""
    return hashlib.sha256(_bytes()).hexdigest()


def attempt(case: Case, store: ImageStore) -> GoldenAttempt:
    """Draw the case and put its pictures into the store."""
    world, asked = World.load(), case.asked
    subjects = tuple(
        Subject(entity=entity, name=world.entities[entity].name, box=box, accepted=world.look_alikes(entity))
        for entity, box in zip(asked.entities, slot_boxes(asked.layout), strict=True)
    )
    task = Task(
        id=f"golden/{case.id}",
        prompt=case.prompt,
        target=store.put(draw(asked, world=world, seed=case.id)),
        facts=Facts(subjects=subjects, layout=asked.layout, style=asked.style, caption=asked.caption),
        meta={"class": case.kind.value},
    )
    references = tuple(
        Reference(
            img_id=f"IMG_{number:03d}",
            note="",
            title=world.entities[entity].name,
            url=world.entities[entity].picture_url,
            page_url="",
            image=store.put(world.picture(entity)),
        )
        for number, entity in enumerate(case.references, start=1)
    )
    grounding = Grounding(gen_prompt=case.gen_prompt, references=references)
    return GoldenAttempt(
        case=case,
        task=task,
        trajectory=Trajectory(task_id=task.id, turns=(), outcome=Outcome.GROUNDED, grounding=grounding),
        image=store.put(draw(case.drawn, world=world, seed=case.id)),
    )


def _bytes() -> bytes:
    return resources.files("gen_searcher.rewards.golden").joinpath(_FILE).read_bytes()
