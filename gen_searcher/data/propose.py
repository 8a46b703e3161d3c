"""Stage 1: sources -> orders -> requests.

world task           -> the request as it is
published row        -> the request as it is, with its ground truth
question and answer  -> a card that carries the answer, or what the writer makes of it
category and number  -> what the writer thinks up
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from gen_searcher.bench.knowgen import complaint
from gen_searcher.bench.pictures import NoPicture, PictureFiles
from gen_searcher.bench.rowfile import Line, RowFile, id_problem, read_rows, shown
from gen_searcher.bench.scheme import POP_CATEGORIES, SCIENCE_CATEGORIES, category
from gen_searcher.config.data import (
    CATEGORIES,
    ProposeConfig,
    QaSource,
    RowsSource,
    Source,
    WorldSource,
    WriterSource,
)
from gen_searcher.data.rows import Origin, Proposal, Reject, Rejected, StageName
from gen_searcher.data.stage import Inputs, Located, Made, Stage
from gen_searcher.data.tasks import TaskRow
from gen_searcher.data.writer import Request, Writer, Written
from gen_searcher.errors import DataError
from gen_searcher.train.seeds import derive_seed
from gen_searcher.types import Facts, ImageRef
from gen_searcher.world.vocabulary import CARD

KNOWN = frozenset(CATEGORIES) | SCIENCE_CATEGORIES | POP_CATEGORIES
"""Categories that a request may have: the paper's and the benchmark's."""
CARD_CHARS = 40
"""Longest answer that goes onto a card."""
PROPOSAL = TypeAdapter(Proposal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A research question."""

    question: str
    answer: str
    category: str
    is_card: bool
    """Asked for on a card; else the writer makes a request of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """So many requests of a category."""

    category: str
    number: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one or more requests are made of: exactly one of the last three is there."""

    id: str
    origin: Origin
    ready: Proposal | None = None
    question: Question | None = None
    sheet: Sheet | None = None


ORDER = TypeAdapter(Order)


class _Qa(BaseModel):
    """A row of a question-answering set; other columns are other people's business."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = ""
    question: str = Field(min_length=3)
    answer: str = Field(min_length=1)
    category: str | None = None

    @field_validator("id", "answer", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def orders(sources: Mapping[str, Source], pictures: PictureFiles) -> Inputs[Order]:
    """All orders of all sources, in their order; rows that cannot be read are rejects.

    Raises:
        DataError: A file is not there or holds no row, or the world has too few tasks.
    """
    rows: list[Located[Order]] = []
    rejects: list[Reject] = []
    taken: dict[str, str] = {}
    for name, source in sources.items():
        for found in _of(name, source, pictures):
            if isinstance(found, Reject):
                rejects.append(found)
                continue
            bad = Reject(stage=StageName.PROPOSE, id=shown(found.value.id), reason="", details="")
            bad = replace(bad, file=found.file, line=found.line)
            wrong = id_problem(found.value.id)
            if wrong is not None:
                rejects.append(replace(bad, reason="bad_id", details=wrong))
            elif found.value.id in taken:
                what = f"id: taken by {taken[found.value.id]}"
                rejects.append(replace(bad, reason="duplicate_id", details=what))
            else:
                taken[found.value.id] = f"{found.file}, line {found.line}" if found.line else found.file
                rows.append(found)
    return Inputs(rows=tuple(rows), rejects=tuple(rejects))


def propose_stage(cfg: ProposeConfig, *, writer: Writer | None, who: str, seed: int) -> Stage[Order, Proposal]:
    """The stage; `who` names the writer and its prompts."""

    async def work(order: Order) -> Made[Proposal]:
        if order.ready is not None:
            return Made(rows=(order.ready,))
        if order.question is not None and order.question.is_card:
            return Made(rows=(_card(order, order.question),))
        if writer is None:
            raise DataError(f"source {order.origin.source} asks the writer; set data.propose.writer")
        asked = derive_seed(seed, "propose", order.id)
        if order.question is not None:
            said = await writer.convert(order.question.question, order.question.answer, seed=asked)
            return _converted(order, order.question, said)
        if order.sheet is None:
            raise ValueError(f"order {order.id} asks for nothing")
        sheet = order.sheet
        said = await writer.write(sheet.category, count=sheet.count, number=sheet.number, seed=asked)
        rows = [_written(order, f"{order.id}-{at}", sheet.category, one, said) for at, one in enumerate(said.requests)]
        return Made(rows=tuple(rows), cost_usd=said.cost_usd)

    def sift(proposal: Proposal) -> Reject | None:
        no = Reject(stage=StageName.PROPOSE, id=proposal.id, reason="", details="the request is empty")
        if category(proposal.meta) not in KNOWN:
            what = shown(proposal.meta["category"]) if "category" in proposal.meta else "is missing"
            return replace(
                no,
                reason="unknown_category",
                details=f"meta.category: {what}, which is none of the paper's or the benchmark's",
            )
        chars = len(proposal.prompt)
        if not proposal.prompt.strip():
            return replace(no, reason="empty_prompt")
        if chars > cfg.max_prompt_chars:
            return replace(no, reason="long_prompt", details=f"{chars} > {cfg.max_prompt_chars} characters")
        return None

    return Stage(
        name=StageName.PROPOSE,
        who=who,
        takes=ORDER,
        gives=PROPOSAL,
        ident=lambda order: order.id,
        work=work,
        sift=sift,
    )


def _of(name: str, source: Source, pictures: PictureFiles) -> Iterator[Located[Order] | Reject]:
    match source:
        case WorldSource():
            yield from _world(name, source)
        case RowsSource():
            yield from _rows(name, source, pictures)
        case QaSource():
            yield from _questions(name, source)
        case WriterSource():
            yield from _sheets(name, source)


def _world(name: str, source: WorldSource) -> Iterator[Located[Order]]:
    from gen_searcher.world.tasks import training_rows
    from gen_searcher.world.world import World

    world = World.load()
    try:
        made = training_rows(source.count, seed=source.seed, families=source.families)
    except ValueError as error:
        raise DataError(f"data.propose.sources.{name}.count: {error}") from None
    for row in made:
        task = TaskRow.model_validate(row)
        pages = [world.pages[world.entities[subject.entity].page_id] for subject in task.facts.subjects]
        licences = " and ".join(sorted({page.licence for page in pages}))
        origin = Origin(
            source=name, kind="world", place=f"the embedded world, {task.meta['template']}", licence=licences
        )
        ready = Proposal(id=f"{name}-{task.id}", prompt=task.prompt, meta=task.meta, facts=task.facts, origin=origin)
        yield Located(file="the embedded world", line=0, value=Order(id=ready.id, origin=origin, ready=ready))


def _rows(name: str, source: RowsSource, pictures: PictureFiles) -> Iterator[Located[Order] | Reject]:
    file = read_rows(source.path)
    yield from _malformed(file)
    for line in file.lines:
        bad = _bad(file, line)
        try:
            row = TaskRow.model_validate(line.values)
        except ValidationError as error:
            yield replace(bad, reason="malformed", details=complaint(error))
            continue
        if (wrong := id_problem(row.id)) is not None:
            yield replace(bad, reason="bad_id", details=wrong)
            continue
        target: ImageRef | None = None
        given = row.gt_image or row.gen_image
        if given is not None:
            try:
                target = pictures.put(given, folder=_folder(source.path, given))
            except NoPicture as error:
                yield replace(bad, reason="missing_picture", details=f"gt_image: {error}")
                continue
        origin = _origin(name, source, line)
        ready = Proposal(
            id=f"{name}-{row.id}",
            prompt=row.prompt,
            meta={**row.meta, "difficulty": row.meta.get("difficulty", "unknown")},
            facts=row.facts,
            origin=origin,
            target=target,
        )
        yield Located(file=str(source.path), line=line.number, value=Order(id=ready.id, origin=origin, ready=ready))


def _questions(name: str, source: QaSource) -> Iterator[Located[Order] | Reject]:
    file = read_rows(source.path)
    yield from _malformed(file)
    for line in file.lines:
        try:
            row = _Qa.model_validate(line.values)
        except ValidationError as error:
            yield replace(_bad(file, line), reason="malformed", details=complaint(error))
            continue
        question = Question(
            question=" ".join(row.question.split()),
            answer=" ".join(row.answer.split()),
            category=row.category or source.category,
            is_card=source.convert == "card",
        )
        order = Order(id=f"{name}-{row.id or line.number}", origin=_origin(name, source, line), question=question)
        yield Located(file=str(source.path), line=line.number, value=order)


def _sheets(name: str, source: WriterSource) -> Iterator[Located[Order]]:
    origin = Origin(source=name, kind="writer", place="", licence=source.licence)
    for each in source.categories:
        left, number = source.per_category, 0
        while left > 0:
            sheet = Sheet(category=each, number=number, count=min(left, source.batch))
            order = Order(id=f"{name}-{each}-{number}", origin=origin, sheet=sheet)
            yield Located(file=f"data.propose.sources.{name}", line=0, value=order)
            left, number = left - source.batch, number + 1


def _card(order: Order, question: Question) -> Proposal:
    if len(question.answer) > CARD_CHARS:
        raise Rejected("long_answer", f"{len(question.answer)} characters; at most {CARD_CHARS} go onto a card")
    if question.answer.casefold() in question.question.casefold():
        raise Rejected("told_answer", "the question holds its answer, so that nothing has to be searched for")
    return Proposal(
        id=order.id,
        prompt=f"Draw a plain white card. As caption write the answer to this question: {question.question}",
        meta={"category": question.category, "difficulty": "unknown"},
        facts=Facts(
            layout=CARD,
            style="plain",
            caption=question.answer,
            explanation=f"A white card that says: {question.answer}",
        ),
        origin=order.origin,
    )


def _converted(order: Order, question: Question, said: Written) -> Made[Proposal]:
    if not said.requests:
        raise Rejected("not_drawable", "the writer finds no picture in it", said.cost_usd)
    row = _written(order, order.id, question.category, said.requests[0], said)
    if question.answer.casefold() in row.prompt.casefold():
        raise Rejected("told_answer", f"the request holds the answer: {shown(row.prompt)}", said.cost_usd)
    return Made(rows=(row,), cost_usd=said.cost_usd)


def _written(order: Order, row_id: str, named: str, request: Request, said: Written) -> Proposal:
    place = order.origin.place or f"written by {said.model}"
    return Proposal(
        id=row_id,
        prompt=request.prompt.strip(),
        meta={"category": named, "difficulty": request.difficulty},
        facts=Facts(caption=request.text or None, explanation=request.shows),
        origin=replace(order.origin, place=place),
    )


def _malformed(file: RowFile) -> Iterator[Reject]:
    for one in file.problems:
        yield Reject(
            stage=StageName.PROPOSE, id=one.row, reason="malformed", details=one.what, file=one.file, line=one.line
        )


def _bad(file: RowFile, line: Line) -> Reject:
    row_id = shown(line.values.get("id", ""))
    return Reject(stage=StageName.PROPOSE, id=row_id, reason="", details="", file=str(file.path), line=line.number)


def _origin(name: str, source: RowsSource | QaSource, line: Line) -> Origin:
    return Origin(source=name, kind=source.kind, place=f"{source.path}, line {line.number}", licence=source.licence)


def _folder(path: Path, given: str) -> Path:
    """Where a picture's name begins. Raises NoPicture for one that leads out of the file's folder."""
    folder = path.parent.resolve()
    if not Path(given).is_absolute() and not (folder / given).resolve().is_relative_to(folder):
        raise NoPicture(f"{given[:200]!r} leads out of the folder {folder}")
    return path.parent
