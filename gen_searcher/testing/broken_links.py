"""Fakes that break one link of the chain on purpose, so that an error analysis can be held against what was planted.

A teacher that mishears or missays one thing between real tools, an image model that draws something else with some
seeds, and a judge that says no to every picture of some tasks.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import cast

from PIL import Image

from gen_searcher.protocols import ImageModel, Judge
from gen_searcher.rewards.verdict import TEXT_ACCURACY, k_score
from gen_searcher.types import ImageRef, Judgement, Task, Trajectory
from gen_searcher.world.relations import small
from gen_searcher.world.teacher import Speech

_CALL = re.compile(r"<tool_call>(.*)</tool_call>", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*)</answer>", re.DOTALL)
_SHOWN = re.compile(r"^(.+) is (IMG_\d+)", re.MULTILINE)
_TILE_PX = 16
NOTHING: Mapping[str, str] = MappingProxyType({})

Edit = Callable[[dict[str, object]], dict[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakage:
    """What is changed between a teacher and its tools; the defaults change nothing."""

    name: str
    hears: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    """Sentences of observations, and what the teacher reads instead."""
    queries: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    """Tool to the query that it is asked instead of the teacher's."""
    avoids: Collection[str] = ()
    """Titles of pictures that are never chosen where another one was shown."""
    says: Edit | None = None
    """Changes the answer, as JSON."""


class BrokenSpeech:
    """A fake `Speech`: between a real renderer and a real `Teacher`, it changes what a breakage says and nothing else."""

    def __init__(self, renderer: Speech, breakage: Breakage, *, seed: int) -> None:
        """`seed` picks among the pictures that may be chosen instead."""
        self._renderer = renderer
        self._breakage = breakage
        self._pick = random.Random(f"{breakage.name}:{seed}")
        self._shown: dict[str, str] = {}

    def text(self, token_ids: Sequence[int]) -> str:
        """What the teacher hears."""
        text = self._renderer.text(token_ids)
        self._shown = {img_id: title for title, img_id in _SHOWN.findall(text)}
        for sentence, instead in self._breakage.hears.items():
            text = text.replace(sentence, instead)
        return text

    def encode_completion(self, text: str) -> tuple[int, ...]:
        """What the teacher is understood to say."""
        text = _edited(text, _CALL, self._call)
        return self._renderer.encode_completion(_edited(text, _ANSWER, self._answer))

    def _call(self, call: dict[str, object]) -> dict[str, object]:
        query = self._breakage.queries.get(str(call["name"]))
        if query is None:
            return call
        return call | {"arguments": {"queries": [query]} if call["name"] == "search" else {"query": query}}

    def _answer(self, answer: dict[str, object]) -> dict[str, object]:
        picks = cast("list[dict[str, str]]", answer["reference_images"])
        chosen = [pick["img_id"] for pick in picks]
        for pick in picks:
            if self._shown.get(pick["img_id"]) in self._breakage.avoids:
                others = [
                    img_id
                    for img_id, title in self._shown.items()
                    if title not in self._breakage.avoids and img_id not in chosen
                ]
                pick["img_id"] = self._pick.choice(others)
        answer = answer | {"reference_images": picks}
        return answer if self._breakage.says is None else self._breakage.says(answer)


def _edited(text: str, where: re.Pattern[str], edit: Edit) -> str:
    found = where.search(text)
    if found is None:
        return text
    return text[: found.start(1)] + json.dumps(edit(json.loads(found[1])), ensure_ascii=False) + text[found.end(1) :]


def misheard(statement: str, *, value: str, instead: str) -> str:
    """The sentence with another value in it. Raises ValueError where the value does not stand in it exactly once."""
    for form, other in ((value, instead), (small(value), small(instead))):
        if statement.count(form) == 1:
            return statement.replace(form, other)
    raise ValueError(f"{value!r} does not stand once in {statement!r}")


class MisdrawingModel:
    """A fake `ImageModel` around a real one: with some seeds it draws a chequered board, whatever it is asked for."""

    def __init__(self, model: ImageModel, *, seeds: Collection[int]) -> None:
        """`seeds` are those that it misdraws with."""
        self._model = model
        self._seeds = seeds

    async def draw(self, prompt: str, references: Sequence[Image.Image], *, seed: int) -> Image.Image:
        """The model's picture, or a board of the same size."""
        picture = await self._model.draw(prompt, references, seed=seed)
        return _board(picture.size, seed=seed) if seed in self._seeds else picture


def _board(size_px: tuple[int, int], *, seed: int) -> Image.Image:
    pick = random.Random(seed)
    board = Image.new("RGB", size_px, tuple(pick.randrange(256) for _ in range(3)))
    other = Image.new("RGB", (_TILE_PX, _TILE_PX), tuple(pick.randrange(256) for _ in range(3)))
    for left in range(0, size_px[0], _TILE_PX):
        for top in range(left % (2 * _TILE_PX), size_px[1], 2 * _TILE_PX):
            board.paste(other, (left, top))
    return board


class UnfairJudge:
    """A fake `Judge` around a real one: it finds nothing right in any picture of some tasks."""

    def __init__(self, judge: Judge, *, task_ids: Collection[str]) -> None:
        """`task_ids` are those that it is unfair to."""
        self._judge = judge
        self._task_ids = task_ids

    @property
    def name(self) -> str:
        """The real judge's."""
        return self._judge.name

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """The real verdict, or one of noughts."""
        verdict = await self._judge.judge(task, trajectory, image)
        if task.id not in self._task_ids:
            return verdict
        parts = {
            name: None if name == TEXT_ACCURACY and value is None else 0.0 for name, value in verdict.parts.items()
        }
        return replace(verdict, parts=parts, score=k_score(parts), rationale="A fake verdict: this judge is unfair.")
