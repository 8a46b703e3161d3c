"""Does the grounding hold the facts? Would a perfect image model reach the ground truth from it?

Four questions, a quarter each, so the score is 0, 0.25, 0.5, 0.75 or 1:

1. **references**: exactly the right pictures, in the order of their slots (told by their URLs: a title can be
   anything);
2. **caption**: `gen_prompt` quotes exactly the asked caption, or none when none is asked (`canvas.caption_in`;
   capital letters and runs of spaces do not count);
3. **layout**: the words for the arrangement, in `gen_prompt`, are those of the asked layout (none for no subjects);
4. **style**: the words for the look are those of the asked style and of no other; plain needs none.

It reads `gen_prompt` and the references' URLs. It never reads the text of a page, so no page can talk to it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Protocol

from gen_searcher.errors import JudgeUnable
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.compose import TEXT
from gen_searcher.rewards.offline.reading import layout_in, right_words, styles_in
from gen_searcher.types import Facts, Grounding, ImageRef, Judgement, Reference, Subject, Task, Trajectory
from gen_searcher.world.canvas import ARRANGEMENTS, STYLES, caption_in
from gen_searcher.world.world import World

VERSION = "offline-text-1"
"""Changes whenever a score may change."""


class NamedEntity(Protocol):
    """What this judge reads of an entity."""

    @property
    def name(self) -> str:
        """Title of its picture."""
        ...

    @property
    def picture_url(self) -> str:
        """Where its picture is served."""
        ...


class NamedWorld(Protocol):
    """What this judge reads of the embedded world; `gen_searcher.world.World` is one."""

    @property
    def entities(self) -> Mapping[str, NamedEntity]:
        """By id."""
        ...

    def look_alikes(self, entity_id: str) -> tuple[str, ...]:
        """Entities whose picture nobody can tell from this one."""
        ...


class OfflineTextJudge:
    """Scores groundings of the embedded world by four questions with a yes or no."""

    name = TEXT
    is_local = True

    def __init__(self, *, store: ImageStore, world: NamedWorld | None = None) -> None:
        """`store` is not read: this judge looks at no pixel. `world` is the package's own unless given."""
        del store
        self._world = world if world is not None else World.load()
        entities = self._world.entities
        self._by_url = {entity.picture_url: entity_id for entity_id, entity in entities.items()}

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """Judge the grounding alone; the picture is not looked at."""
        del image
        started = time.perf_counter()
        if trajectory.grounding is None:
            raise ValueError(f"task {task.id}: the text judge was given a trajectory without a grounding")
        facts = task.facts
        if facts.layout not in ARRANGEMENTS or facts.style not in STYLES:
            raise JudgeUnable(
                f"task {task.id} has no facts of the embedded world (layout {facts.layout!r}, style {facts.style!r}, "
                f"{len(facts.subjects)} subjects); judge it with a judge that asks a language model"
            )
        parts = self._answers(facts, trajectory.grounding)
        return Judgement(
            judge=self.name,
            score=sum(parts.values()) / len(parts),
            parts=parts,
            rationale=_rationale(facts, trajectory.grounding, parts),
            model=VERSION,
            prompt_sha256=hashlib.sha256(VERSION.encode()).hexdigest(),
            latency_s=time.perf_counter() - started,
        )

    def _answers(self, facts: Facts, grounding: Grounding) -> dict[str, float]:
        references = grounding.references
        pictures = len(references) == len(facts.subjects) and all(
            self._shows(reference, subject) for reference, subject in zip(references, facts.subjects, strict=True)
        )
        words = right_words(grounding.gen_prompt, facts)
        return {"references": float(pictures)} | {name: float(is_right) for name, is_right in words.items()}

    def _shows(self, reference: Reference, subject: Subject) -> bool:
        right = {subject.entity, *subject.accepted, *self._world.look_alikes(subject.entity)}
        return self._by_url.get(reference.url) in right


def _rationale(facts: Facts, grounding: Grounding, parts: Mapping[str, float]) -> str:
    verdict = {name: "right" if score else "wrong" for name, score in parts.items()}
    got = ", ".join(reference.title for reference in grounding.references) or "none"
    asked = ", ".join(subject.name for subject in facts.subjects)
    return " ".join(
        (
            f"References {verdict['references']}: asked for {asked}; got {got}.",
            f"Caption {verdict['caption']}: asked for {facts.caption!r}, quoted {caption_in(grounding.gen_prompt)!r}.",
            f"Layout {verdict['layout']}: asked for {facts.layout}, words say {layout_in(grounding.gen_prompt)}.",
            f"Style {verdict['style']}: asked for {facts.style}, words say "
            f"{', '.join(sorted(styles_in(grounding.gen_prompt))) or 'nothing'}.",
        )
    )
