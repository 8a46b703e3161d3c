"""What a benchmark has paid for already: question -> answer, so that a killed run pays nothing twice.

    RememberedSearcher(searcher)   -> Trajectory
    RememberedGenerator(generator) -> ImageRef, or that it refused        each is what it wraps
    RememberedJudge(judge)         -> Judgement

The key is the digest of everything that shaped the answer (who was asked, with which settings, what, with which seed):
after a change only what it touches is asked again, and nothing has to be deleted. Failures of the world are never kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from pydantic import TypeAdapter, ValidationError

from gen_searcher.errors import GeneratorRefused
from gen_searcher.image_store import ImageStore
from gen_searcher.protocols import Generator, Judge, Searcher
from gen_searcher.types import Attempt, Grounding, ImageRef, Judgement, Task, Trajectory

_TASK = TypeAdapter(Task)
_TRAJECTORY = TypeAdapter(Trajectory)
_GROUNDING = TypeAdapter(Grounding)
_JUDGEMENT = TypeAdapter(Judgement)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A line: `value` is JSON text, read only when it is asked for."""

    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """What the generator said."""

    image: ImageRef | None = None
    refused: str = ""
    took_s: float | None = None
    """None in files of earlier versions."""


@dataclass(frozen=True, slots=True)
class _Place:
    offset: int
    length: int


_ENTRY = TypeAdapter(_Entry)
_PICTURE = TypeAdapter(_Picture)


class Journal:
    """A file of answers by key. Only the places of the answers are in memory: trajectories are long."""

    def __init__(self, path: Path) -> None:
        """Reads the keys; a last line that a killed process left half written is not taken and is ended."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("a+b")
        self._places: dict[str, _Place] = {}
        self._file.seek(0)
        offset, line = 0, b""
        for line in self._file:
            if line.endswith(b"\n") and (entry := _entry(line)) is not None:
                self._places[entry.key] = _Place(offset, len(line))
            offset += len(line)
        if line and not line.endswith(b"\n"):
            self._file.write(b"\n")
            self._file.flush()

    def get(self, key: str) -> str | None:
        """The answer as JSON, None when there is none."""
        place = self._places.get(key)
        if place is None:
            return None
        self._file.seek(place.offset)
        return _ENTRY.validate_json(self._file.read(place.length)).value

    def put(self, key: str, value: bytes) -> None:
        """Keep an answer."""
        line = _ENTRY.dump_json(_Entry(key=key, value=value.decode())) + b"\n"
        self._file.seek(0, 2)
        self._places[key] = _Place(self._file.tell(), len(line))
        self._file.write(line)
        self._file.flush()

    def __len__(self) -> int:
        """How many answers there are."""
        return len(self._places)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class RememberedSearcher:
    """A `Searcher` that is asked once per task and seed."""

    def __init__(self, searcher: Searcher, journal: Journal, *, who: str) -> None:
        """`who` names the policy, its sampling and its tools."""
        self._searcher = searcher
        self._journal = journal
        self._who = who

    async def search(self, task: Task, *, seed: int) -> Trajectory:
        """The trajectory that was paid for, or a new one."""
        key = digest("search", self._who, task.id, task.prompt, seed)
        known = self._journal.get(key)
        if known is not None:
            return _TRAJECTORY.validate_json(known)
        found = await self._searcher.search(task, seed=seed)
        self._journal.put(key, _TRAJECTORY.dump_json(found))
        return found


class RememberedGenerator:
    """A `Generator` that is asked once per grounding and seed; what it refused stays refused."""

    def __init__(self, generator: Generator, journal: Journal, *, who: str, store: ImageStore) -> None:
        """`who` names the model and its settings; `store` must still hold a picture for it to count."""
        self._generator = generator
        self._journal = journal
        self._who = who
        self._store = store

    def took_s(self, grounding: Grounding, *, seed: int) -> float | None:
        """How long the picture or its refusal took when it was asked for; None when that is not known."""
        known = self._journal.get(self._key(grounding, seed))
        return None if known is None else _PICTURE.validate_json(known).took_s

    def _key(self, grounding: Grounding, seed: int) -> str:
        return digest("picture", self._who, _GROUNDING.dump_json(grounding).decode(), seed)

    async def generate(self, grounding: Grounding, *, seed: int) -> ImageRef:
        """The picture that was paid for, or a new one."""
        key = self._key(grounding, seed)
        known = self._journal.get(key)
        if known is not None:
            picture = _PICTURE.validate_json(known)
            if picture.image is None:
                raise GeneratorRefused(picture.refused)
            if self._store.path(picture.image).is_file():
                return picture.image
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        try:
            image = await self._generator.generate(grounding, seed=seed)
        except GeneratorRefused as error:
            said = _Picture(refused=error.message, took_s=loop.time() - asked_s)
            self._journal.put(key, _PICTURE.dump_json(said))
            raise
        self._journal.put(key, _PICTURE.dump_json(_Picture(image=image, took_s=loop.time() - asked_s)))
        return image


def at_first(attempt: Attempt, generator: RememberedGenerator) -> Attempt:
    """With the time that its picture took when it was paid for, not the time that it took to be remembered."""
    grounding, drawing = attempt.trajectory.grounding, attempt.drawing
    if grounding is None or drawing is None or drawing.seed is None:
        return attempt
    took_s = generator.took_s(grounding, seed=drawing.seed)
    return replace(attempt, drawing=replace(drawing, latency_s=0.0 if took_s is None else took_s))


class RememberedJudge:
    """A `Judge` that is asked once per picture, task and grounding."""

    def __init__(self, judge: Judge, journal: Journal, *, who: str) -> None:
        """`who` names the judge and its settings."""
        self._judge = judge
        self._journal = journal
        self._who = who

    @property
    def name(self) -> str:
        """The judge's."""
        return self._judge.name

    async def judge(self, task: Task, trajectory: Trajectory, image: ImageRef | None) -> Judgement:
        """The verdict that was paid for, or a new one."""
        shown = _TRAJECTORY.dump_json(replace(trajectory, turns=())).decode()
        key = digest("verdict", self._who, _TASK.dump_json(task).decode(), shown, image and image.sha256)
        known = self._journal.get(key)
        if known is not None:
            return _JUDGEMENT.validate_json(known)
        found = await self._judge.judge(task, trajectory, image)
        self._journal.put(key, _JUDGEMENT.dump_json(found))
        return found


def digest(*parts: object) -> str:
    """Hex digest of parts that JSON can write."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _entry(line: bytes) -> _Entry | None:
    try:
        return _ENTRY.validate_json(line)
    except ValidationError:
        return None
