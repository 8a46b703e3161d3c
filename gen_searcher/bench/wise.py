"""WISE's files, in either of its conventions: rows, pictures named by their row, and score lines.

    rows      Prompt, Explanation, Category, Subcategory, prompt_id     JSON arrays, one or several files
    pictures  FOLDER/{prompt_id}.png
    scores    prompt_id, Subcategory, then consistency, realism, aesthetic_quality 0..2 (legacy) or score 0/1 (Verified)

The two conventions share file formats, ids and nothing else: other prompts, other ranges of ids, another judge. A file
of one is refused where the other is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gen_searcher.bench.knowgen import complaint
from gen_searcher.bench.pictures import NoPicture, PictureFiles
from gen_searcher.bench.rowfile import Line, Problem, RowFile, read_rows, shown
from gen_searcher.bench.scheme import (
    AESTHETIC_QUALITY,
    CONSISTENCY,
    REALISM,
    SCORE,
    WISE_LEGACY,
    WISE_LEGACY_RANGES,
    WISE_VERIFIED,
    WISE_VERIFIED_RANGES,
    Range,
    Scheme,
    wise_range,
)
from gen_searcher.bench.scored import Failure, Scored, failed, stratum_of
from gen_searcher.bench.suite import Choice, DrawnRows, ScoredRows, TaskRows
from gen_searcher.errors import DataError
from gen_searcher.types import Facts, ImageRef, Task

STRANGERS = 10
"""Rows of the other convention that make a file the other's; fewer are slips of single rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """One of the two."""

    scheme: Scheme
    ranges: tuple[Range, ...]
    top: int
    """Highest score of a dimension in the score files; parts are scores over it."""
    setting: str
    """The configuration that reads it."""


LEGACY = Convention(scheme=WISE_LEGACY, ranges=WISE_LEGACY_RANGES, top=2, setting="benchmark=wise_legacy")
VERIFIED = Convention(scheme=WISE_VERIFIED, ranges=WISE_VERIFIED_RANGES, top=1, setting="benchmark=wise_verified")


class _Identified(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    prompt_id: int = Field(strict=True)


class _Row(_Identified):
    Prompt: str = Field(min_length=1)
    Explanation: str = Field(min_length=1)
    Category: str
    Subcategory: str


class _Score(_Identified):
    Subcategory: str = ""
    consistency: float | None = None
    realism: float | None = None
    aesthetic_quality: float | None = None
    score: float | None = None


R = TypeVar("R", bound=_Identified)


class WiseFiles:
    """The formats of one convention; a `Suite`."""

    def __init__(self, pictures: PictureFiles, convention: Convention) -> None:
        """`pictures` reads files."""
        self._pictures = pictures
        self._convention = convention

    @property
    def scheme(self) -> Scheme:
        """The convention's."""
        return self._convention.scheme

    def tasks(self, paths: Sequence[Path]) -> TaskRows:
        """Rows whose id and category agree under this convention; the others are problems.

        Raises:
            DataError: So many of them are the other convention's that the whole file is.
        """
        tasks: list[Task] = []
        problems: list[Problem] = []
        taken: dict[int, str] = {}
        strangers = 0
        for path in paths:
            file = read_rows(path)
            problems += file.problems
            for found in self._rows(file, _Row, taken):
                if isinstance(found, Problem):
                    problems.append(found)
                    continue
                line, row = found
                wrong = self._category_problem(row)
                if wrong is not None:
                    problems.append(file.problem(line, str(row.prompt_id), wrong))
                    strangers += self._is_of_the_other(row)
                    continue
                tasks.append(_task(row))
        if strangers >= STRANGERS:
            raise DataError(
                f"{', '.join(map(str, paths))}: {strangers} rows have ids and categories of {self._other.scheme.name}, "
                f"not of {self.scheme.name}; the two are never mixed: read the files with {self._other.setting}"
            )
        return TaskRows(tasks=tuple(tasks), problems=tuple(problems))

    def drawn(self, path: Path, tasks: Sequence[Task], *, others: Set[str] = frozenset()) -> DrawnRows:
        """A folder of pictures named by their row."""
        if not path.is_dir():
            raise DataError(f"{path} is no folder; WISE's pictures lie in one, each named PROMPT_ID.png")
        pictures: dict[str, ImageRef] = {}
        failures: dict[str, Failure] = {}
        for task in tasks:
            try:
                pictures[task.id] = self._pictures.put(f"{task.id}.png", folder=path)
            except NoPicture as error:
                failures[task.id] = Failure(stage="picture", what=str(error))
        names = {f"{task.id}.png" for task in tasks}
        further = {entry.name for entry in path.glob("*.png")} - names
        strays = sorted(further - {f"{task_id}.png" for task_id in others})
        problems = [
            Problem(file=str(path), line=0, row="", what=f"{shown(name)} belongs to no row that is scored")
            for name in strays
        ]
        return DrawnRows(
            pictures=pictures, failures=failures, problems=tuple(problems), aside=len(further) - len(strays)
        )

    def scored(self, path: Path, tasks: Sequence[Task], *, others: Set[str] = frozenset()) -> ScoredRows:
        """Score lines of WISE's own scripts, or what `export` wrote. Raises DataError for the other convention's."""
        file = read_rows(path)
        choice = Choice(file, tasks or None, others)
        rows: dict[str, Scored] = {}
        known = {task.id: task for task in tasks}
        for found in self._rows(file, _Score, {}):
            if isinstance(found, Problem):
                choice.problems.append(found)
                continue
            line, row = found
            row_id = str(row.prompt_id)
            made = self._scored(row, known.get(row_id), where=f"{path}, line {line.number}")
            if not choice.takes(line, row_id, field="prompt_id"):
                continue
            if isinstance(made, str):
                choice.problems.append(file.problem(line, row_id, made))
            else:
                rows[made.id] = made
        absent = Failure(stage="judge", what=f"{path} has no usable row of this id")
        missing = [failed(task, absent, scheme=self.scheme) for task in tasks if task.id not in rows]
        return ScoredRows(rows=(*rows.values(), *missing), problems=tuple(choice.problems), aside=choice.aside)

    def export(self, rows: Sequence[Scored], folder: Path, *, arm: str) -> Path:
        """Score lines as WISE's own calculators read them: judged rows only, by id."""
        path = folder / f"scores-{arm}.jsonl"
        lines = [
            json.dumps(
                {
                    "prompt_id": int(row.id),
                    "Subcategory": row.meta.get("subcategory", ""),
                    **{name: (part or 0.0) * self._convention.top for name, part in row.parts.items()},
                }
            )
            for row in sorted(rows, key=lambda row: int(row.id))
            if row.parts is not None
        ]
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return path

    def _rows(self, file: RowFile, model: type[R], taken: dict[int, str]) -> Iterator[tuple[Line, R] | Problem]:
        ranges = self._convention.ranges
        for line in file.lines:
            given = line.values.get("prompt_id", "")
            try:
                row = model.model_validate(line.values)
            except ValidationError as error:
                yield file.problem(line, given, complaint(error))
                continue
            number = row.prompt_id
            if wise_range(ranges, number) is None:
                yield file.problem(line, given, f"prompt_id: WISE has {ranges[0].first} to {ranges[-1].last}")
            elif number in taken:
                yield file.problem(line, given, f"prompt_id: taken by {taken[number]}; this row is not read")
            else:
                taken[number] = f"{file.path}, line {line.number}"
                yield line, row

    def _category_problem(self, row: _Row) -> str | None:
        here = wise_range(self._convention.ranges, row.prompt_id)
        name = row.Category.strip().lower()
        if here is None or name.startswith(here.label):
            return None
        if not any(name.startswith(one.label) for one in self._convention.ranges):
            return f"Category: {shown(row.Category)} is none of WISE's"
        return (
            f"Category: {shown(row.Category)}, but in {self.scheme.name} this id is {here.name}: "
            "is it a file of the other convention?"
        )

    @property
    def _other(self) -> Convention:
        return VERIFIED if self._convention is LEGACY else LEGACY

    def _is_of_the_other(self, row: _Row) -> bool:
        there = wise_range(self._other.ranges, row.prompt_id)
        return there is not None and row.Category.strip().lower().startswith(there.label)

    def _scored(self, row: _Score, task: Task | None, *, where: str) -> Scored | str:
        legacy = {CONSISTENCY: row.consistency, REALISM: row.realism, AESTHETIC_QUALITY: row.aesthetic_quality}
        verified = {SCORE: row.score}
        mine, other = (legacy, verified) if self._convention is LEGACY else (verified, legacy)
        if all(value is None for value in mine.values()) and None not in other.values():
            raise DataError(
                f"{where}: a score of {self._other.scheme.name} in a table of {self.scheme.name}; the two are never "
                f"mixed: read the file with {self._other.setting}"
            )
        top = self._convention.top
        parts: dict[str, float | None] = {}
        for name, value in mine.items():
            if value is None or value not in range(top + 1):
                return f"{name}: {value} is none of {', '.join(map(str, range(top + 1)))}"
            parts[name] = value / top
        made = task or Task(id=str(row.prompt_id), prompt="", target=None, meta={"subcategory": row.Subcategory})
        return Scored(
            id=made.id, prompt=made.prompt, meta=made.meta, stratum=stratum_of(self.scheme, made), parts=parts
        )


def _task(row: _Row) -> Task:
    return Task(
        id=str(row.prompt_id),
        prompt=row.Prompt,
        target=None,
        facts=Facts(explanation=row.Explanation),
        meta={"category": row.Category, "subcategory": row.Subcategory},
    )
