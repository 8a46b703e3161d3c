"""Reads task files: one JSON line each or one JSON array, pictures beside them.

line -> row -> Task, with the ground-truth picture in the store
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gen_searcher.bench.rowfile import read_rows
from gen_searcher.errors import DataError
from gen_searcher.image_store import ImageStore
from gen_searcher.types import Facts, ImageRef, Task

FORMATS = ("PNG", "JPEG", "WEBP")
"""Of pictures in data sets; others may call programs to decode them."""
BAD_PICTURE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning)
"""What a file that is no picture of ours raises; `FileNotFoundError` is one of them."""


class TaskRow(BaseModel):
    """A line as it is written; keys we do not know are other people's business."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    prompt: str = Field(min_length=1)
    meta: dict[str, str] = Field(default_factory=dict)
    gt_image: str | None = None
    gen_image: str | None = None
    facts: Facts = Facts()

    @field_validator("id", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return str(value) if isinstance(value, int) else value

    @field_validator("meta", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        pairs: dict[object, object] = value  # pyright: ignore[reportUnknownVariableType]  # JSON
        return {key: str(item) if isinstance(item, int | float) else item for key, item in pairs.items()}


def load_tasks(path: Path, store: ImageStore, *, required: bool = True) -> list[Task]:
    """Read a task file; ground-truth pictures are put into the store.

    Args:
        path: JSON lines, or the JSON array of a published file; paths of pictures are relative to its folder.
        store: Where the pictures go.
        required: Whether every task must have a ground-truth picture.

    Raises:
        DataError: Names file, line and field.
    """
    if not path.is_file():
        raise DataError(f"there is no task file {path}")
    tasks: list[Task] = []
    seen: dict[str, int] = {}
    for number, line in _lines(path):
        row = _row(line, where=f"{path}, line {number}")
        if row.id in seen:
            raise DataError(
                f"{path}, line {number}: id: {row.id!r} is taken by line {seen[row.id]}; give each task its own"
            )
        seen[row.id] = number
        target = _target(row, path=path, number=number, store=store, required=required)
        tasks.append(Task(id=row.id, prompt=row.prompt, target=target, facts=row.facts, meta=row.meta))
    if not tasks:
        raise DataError(f"{path} holds no task; write one JSON object a line, or name another file")
    return tasks


def chosen(ids: Iterable[str], count: int | None) -> frozenset[str]:
    """`count` of the ids, those with the lowest SHA-256; None = all.

    Places in a file choose nothing: whichever way it is sorted, and whichever rows another file lacks, an id that was
    chosen among more is chosen among fewer, and a higher count adds to a lower one.
    """
    every = set(ids)
    if count is None or count >= len(every):
        return frozenset(every)
    return frozenset(sorted(every, key=lambda each: hashlib.sha256(each.encode()).digest())[:count])


def chosen_tasks(tasks: Sequence[Task], count: int | None) -> tuple[Task, ...]:
    """The tasks whose ids are `chosen`, in their order."""
    ids = chosen((task.id for task in tasks), count)
    return tuple(task for task in tasks if task.id in ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruth:
    """A ground-truth picture as a task file names it."""

    line: int
    name: str
    sha256: str
    """Hex digest of the file."""


def ground_truths(path: Path) -> list[GroundTruth]:
    """The pictures that a task file names, by the content of their files; raises DataError as `load_tasks` does."""
    found: list[GroundTruth] = []
    for number, line in _lines(path):
        row = _row(line, where=f"{path}, line {number}")
        name = row.gt_image or row.gen_image
        if name is None:
            continue
        try:
            digest = hashlib.sha256((path.parent / name).read_bytes()).hexdigest()
        except (OSError, ValueError) as error:
            raise DataError(f"{path}, line {number}: gt_image: {path.parent / name}: {error}") from error
        found.append(GroundTruth(line=number, name=name, sha256=digest))
    return found


def open_picture(path: Path) -> Image.Image:
    """A picture file of a data set as RGB: PNG, JPEG or WebP, the first frame. Raises one of `BAD_PICTURE`."""
    with warnings.catch_warnings(), Image.open(path, formats=FORMATS) as image:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return image.convert("RGB")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Each row with its line, from 1."""
    with path.open("rb") as file:
        first = next((line for line in file if line.strip()), b"").lstrip()
    if first.startswith(b"["):
        found = read_rows(path)
        if found.problems:
            raise DataError(str(found.problems[0]))
        yield from ((line.number, json.dumps(line.values).encode()) for line in found.lines)
        return
    with path.open("rb") as file:
        yield from ((number, line) for number, line in enumerate(file, start=1) if line.strip())


def _row(line: bytes, *, where: str) -> TaskRow:
    try:
        return TaskRow.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "the line"
        raise DataError(f"{where}: {field}: {first['msg']}") from error


def _target(row: TaskRow, *, path: Path, number: int, store: ImageStore, required: bool) -> ImageRef | None:
    where = f"{path}, line {number}: gt_image"
    name = row.gt_image or row.gen_image
    if name is None:
        if required:
            raise DataError(f"{where}: is missing; every task needs a ground-truth picture here: name its file")
        return None
    picture = path.parent / name
    try:
        image = open_picture(picture)
    except FileNotFoundError as error:
        raise DataError(
            f"{where}: there is no file {picture}; put the picture there, or correct the line: paths are relative to the "
            "task file's folder"
        ) from error
    except BAD_PICTURE as error:
        raise DataError(
            f"{where}: {picture} is not a picture that can be read ({error}); save it as PNG, JPEG or WebP"
        ) from error
    try:
        return store.put(image)
    except ValueError as error:
        raise DataError(f"{where}: {picture}: {error}") from error
