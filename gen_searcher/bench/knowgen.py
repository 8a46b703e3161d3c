"""KnowGen's files: published rows, and what the three scripts of its evaluation leave behind.

    rows                  id, prompt, meta {category, difficulty}, gt_image (gen_image in older files)
    agent's results       + gen_prompt, reference_images [{img_id, note, local_path, url, title}]
    picture results       + output_path, success, error
    judged results        + eval_success, scores {four dimensions, text_accuracy_na}, error; ends with summaries

All are JSON arrays there and may be JSON lines here. Paths are absolute or relative to the file's folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gen_searcher.bench.pictures import NoPicture, PictureFiles
from gen_searcher.bench.rowfile import Line, Problem, RowFile, id_problem, read_rows, shown
from gen_searcher.bench.scheme import KNOWGEN, Scheme
from gen_searcher.bench.scored import Failure, Scored, failed
from gen_searcher.bench.suite import Choice, DrawnRows, GroundedRows, ScoredRows, TaskRows
from gen_searcher.data.tasks import TaskRow
from gen_searcher.image_store import ImageStore
from gen_searcher.rewards.verdict import TEXT_ACCURACY, check_parts, k_score
from gen_searcher.types import Grounding, ImageRef, Reference, Task

SUMMARY = "summary_type"
"""Key of the judged results' last rows, which are no rows."""


class _Ref(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    img_id: str = ""
    note: str = ""
    local_path: str
    url: str | None = None
    title: str | None = None
    page_url: str | None = None


class _Found(TaskRow):
    """A row of the agent's results."""

    gen_prompt: str | None = None
    reference_images: tuple[_Ref, ...] = ()


class _Picture(TaskRow):
    """A row of the picture results."""

    success: bool = False
    output_path: str | None = None
    error: str | None = None


class _Scores(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    faithfulness: float
    visual_correctness: float
    text_accuracy: float | None = None
    aesthetics: float
    text_accuracy_na: bool = False
    rationale: str = ""


class _Judged(TaskRow):
    """A row of the judged results."""

    eval_success: bool = False
    scores: _Scores | None = None
    error: str | None = None
    cost_usd: float | None = Field(default=None, ge=0.0)


R = TypeVar("R", bound=TaskRow)


class KnowgenFiles:
    """The benchmark's formats; a `Suite`."""

    scheme: Scheme = KNOWGEN

    def __init__(self, pictures: PictureFiles, store: ImageStore) -> None:
        """`pictures` reads files; `store` is where their pictures go, for the paths that `export` writes."""
        self._pictures = pictures
        self._store = store

    def tasks(self, paths: Sequence[Path]) -> TaskRows:
        """Rows of known categories with a ground truth that can be read; the others are problems."""
        tasks: list[Task] = []
        problems: list[Problem] = []
        taken: dict[str, str] = {}
        for path in paths:
            file = read_rows(path)
            problems += file.problems
            for found in _rows(file, TaskRow, taken):
                if isinstance(found, Problem):
                    problems.append(found)
                    continue
                line, row = found
                made = self._task(file, line, row)
                if isinstance(made, Task):
                    tasks.append(made)
                else:
                    problems.append(made)
        return TaskRows(tasks=tuple(tasks), problems=tuple(problems))

    def drawn(self, path: Path, tasks: Sequence[Task], *, others: Set[str] = frozenset()) -> DrawnRows:
        """The picture results of the reference, or of any team that writes `output_path` and `success`."""
        file = read_rows(path)
        choice = Choice(file, tasks, others)
        pictures: dict[str, ImageRef] = {}
        failures: dict[str, Failure] = {}
        for found in _rows(file, _Picture, {}):
            if isinstance(found, Problem):
                choice.problems.append(found)
                continue
            line, row = found
            if not choice.takes(line, row.id, field="id"):
                continue
            made = self._drawn(file, line, row)
            if isinstance(made, ImageRef):
                pictures[row.id] = made
            else:
                failures[row.id] = made
        for task_id in sorted({task.id for task in tasks} - pictures.keys() - failures.keys()):
            failures[task_id] = Failure(stage="picture", what=f"{path} has no usable row of this id")
        return DrawnRows(pictures=pictures, failures=failures, problems=tuple(choice.problems), aside=choice.aside)

    def scored(self, path: Path, tasks: Sequence[Task], *, others: Set[str] = frozenset()) -> ScoredRows:
        """The judged results of the reference, or what `export` wrote."""
        file = read_rows(path)
        choice = Choice(file, tasks or None, others)
        rows: list[Scored] = []
        for found in _rows(file, _Judged, {}):
            if isinstance(found, Problem):
                choice.problems.append(found)
                continue
            line, row = found
            if not choice.takes(line, row.id, field="id"):
                continue
            made = _scored(row)
            if isinstance(made, str):
                choice.problems.append(file.problem(line, row.id, made))
            else:
                rows.append(made)
        there = {row.id for row in rows}
        absent = Failure(stage="judge", what=f"{path} has no usable row of this id")
        rows += [failed(task, absent, scheme=KNOWGEN) for task in tasks if task.id not in there]
        return ScoredRows(rows=tuple(rows), problems=tuple(choice.problems), aside=choice.aside)

    def export(self, rows: Sequence[Scored], folder: Path, *, arm: str) -> Path:
        """Judged results as the reference's scripts read them, without the summaries."""
        path = folder / f"results_eval-{arm}.json"
        path.write_text(json.dumps([self._exported(row) for row in rows], indent=1, ensure_ascii=False), "utf-8")
        return path

    def _task(self, file: RowFile, line: Line, row: TaskRow) -> Task | Problem:
        if KNOWGEN.stratum(row.id, row.meta) is None:
            return file.problem(line, row.id, f"meta.category: {_category(row)}, which is none of KnowGen's")
        name = row.gt_image or row.gen_image
        if name is None:
            return file.problem(line, row.id, "gt_image: is missing; there is nothing to judge by")
        try:
            target = self._pictures.put(name, folder=file.path.parent)
        except NoPicture as error:
            return file.problem(line, row.id, f"gt_image: {error}")
        return Task(id=row.id, prompt=row.prompt, target=target, facts=row.facts, meta=row.meta)

    def _drawn(self, file: RowFile, line: Line, row: _Picture) -> ImageRef | Failure:
        where = f"{file.path}, line {line.number}"
        if not row.success:
            return Failure(stage="generate", what=f"{where}: success is not true: {shown(row.error or 'no reason')}")
        if not row.output_path:
            return Failure(stage="picture", what=f"{where}: output_path: is missing")
        try:
            return self._pictures.put(row.output_path, folder=file.path.parent)
        except NoPicture as error:
            return Failure(stage="picture", what=f"{where}: output_path: {error}")

    def _exported(self, row: Scored) -> Mapping[str, object]:
        picture = None if row.picture is None else str(self._store.path(row.picture).resolve())
        scores = None
        if row.parts is not None:
            text = row.parts[TEXT_ACCURACY]
            scores = {"rationale": row.rationale, **row.parts, "overall": k_score(row.parts)}
            scores |= {TEXT_ACCURACY: 0.5, "text_accuracy_na": True} if text is None else {}
        return {
            "id": row.id,
            "prompt": row.prompt,
            "meta": dict(row.meta),
            "gen_prompt": row.gen_prompt,
            "output_path": picture,
            "success": picture is not None,
            "eval_success": row.parts is not None,
            "scores": scores,
            "error": None if row.failure is None else f"{row.failure.stage}: {row.failure.what}",
            "cost_usd": row.cost_usd,
        }


def read_groundings(path: Path, pictures: PictureFiles, *, most: int | None) -> GroundedRows:
    """What another agent found, from its results file; a reference that cannot be read is a problem and is left out.

    `most` references are taken, the first ones; None = all.
    """
    file = read_rows(path)
    problems = list(file.problems)
    groundings: dict[str, Grounding | None] = {}
    for found in _rows(file, _Found, {}):
        if isinstance(found, Problem):
            problems.append(found)
            continue
        line, row = found
        references: list[Reference] = []
        for ref in row.reference_images[:most]:
            try:
                image = pictures.put(ref.local_path, folder=path.parent)
            except NoPicture as error:
                problems.append(file.problem(line, row.id, f"reference_images: {error}"))
                continue
            references.append(
                Reference(
                    img_id=ref.img_id,
                    note=ref.note,
                    title=ref.title or "",
                    url=ref.url or "",
                    page_url=ref.page_url or "",
                    image=image,
                )
            )
        prompt = (row.gen_prompt or "").strip()
        groundings[row.id] = Grounding(gen_prompt=prompt, references=tuple(references)) if prompt else None
    return GroundedRows(groundings=groundings, problems=tuple(problems))


def _rows(file: RowFile, model: type[R], taken: dict[str, str]) -> Iterator[tuple[Line, R] | Problem]:
    """Rows of a model with ids of their own. `taken` says where the ids of earlier files and rows stand."""
    for line in file.lines:
        if SUMMARY in line.values:
            continue
        given = line.values.get("id", "")
        try:
            row = model.model_validate(line.values)
        except ValidationError as error:
            yield file.problem(line, given, complaint(error))
            continue
        if (wrong := id_problem(row.id)) is not None:
            yield file.problem(line, given, wrong)
        elif row.id in taken:
            yield file.problem(line, row.id, f"id: taken by {taken[row.id]}; this row is not read")
        else:
            taken[row.id] = f"{file.path}, line {line.number}"
            yield line, row


def complaint(error: ValidationError) -> str:
    """The first thing that is wrong with a row, its field first."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the row'}: {first['msg']}"


def _category(row: TaskRow) -> str:
    return shown(row.meta["category"]) if "category" in row.meta else "is missing"


def _scored(row: _Judged) -> Scored | str:
    stratum = KNOWGEN.stratum(row.id, row.meta)
    if stratum is None:
        return f"meta.category: {_category(row)}, which is none of KnowGen's"
    scores = row.scores if row.eval_success else None
    parts: dict[str, float | None] | None = None
    if scores is not None:
        parts = {name: value for name, value in scores.model_dump().items() if name in KNOWGEN.dimensions}
        parts[TEXT_ACCURACY] = None if scores.text_accuracy_na else scores.text_accuracy
        if parts[TEXT_ACCURACY] is None and not scores.text_accuracy_na:
            return "scores.text_accuracy: is missing, and text_accuracy_na does not say that it does not apply"
        try:
            check_parts(parts)
        except ValueError as error:
            return f"scores: {error}"
    return Scored(
        id=row.id,
        prompt=row.prompt,
        meta=row.meta,
        stratum=stratum,
        parts=parts,
        failure=None if parts is not None else Failure(stage="judge", what=shown(row.error or "not evaluated")),
        rationale="" if scores is None else scores.rationale,
        cost_usd=row.cost_usd,
    )
